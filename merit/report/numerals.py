"""A number as text: a true minus (U+2212), and no zero with a sign."""

from __future__ import annotations


def fixed(value: float, digits: int, sign: bool = False) -> str:
    """`1.24`, `−0.50`, `0.00`; sign: a plus before what is above zero."""
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if not text.strip("+-0."):
        return text.lstrip("+-")
    return text.replace("-", "−")
