"""Which corruptions are tried, how strong, and how a user names them. A strength that is added recomputes no other."""

from __future__ import annotations

from collections.abc import Mapping

STRENGTHS: dict[str, tuple[float | str, ...]] = {
    "lost": (1, 2, 4, 6),
    "kept": ("limb", "I"),
    "swap": ("V1-V3", "LA-LL", "RA-LL", "arms"),
    "gain": (0.25, 0.5, 2, 4),
    "gain_error": (0.05, 0.1, 0.2, 0.4),
    "duration": (8, 5, 2.5),
    "rate": (500, 250, 125, 50),
    "hum_50": (0.1, 0.3, 1),
    "hum_60": (0.1, 0.3, 1),
    "wander": (0.1, 0.3, 1),
    "white": (20, 10, 0),
    "muscle": (20, 10, 0),
}
"""Kind of `evaluate.corruptions` -> its levels, from mild to strong (gain: rising)."""

FEW: dict[str, tuple[float | str, ...]] = {
    "lost": (1, 4), "kept": ("limb", "I"), "swap": ("arms",), "gain": (0.25,), "duration": (5, 2.5), "rate": (50,),
    "hum_50": (1,), "hum_60": (1,), "wander": (0.3, 1), "muscle": (0,),
}  # fmt: skip
"""What the small profiles try: each level costs an embedding of the test part by every encoder."""


def chosen(text: str | None, small: bool) -> dict[str, tuple[float | str, ...]]:
    """Kind -> levels, from a text such as `lost:1:4,wander`: a kind alone stands for all its strengths.

    None: every kind, with few strengths where `small`. A ValueError names what is not known.
    """
    if text is None:
        return dict(FEW if small else STRENGTHS)
    found: dict[str, tuple[float | str, ...]] = {}
    for part in text.split(","):
        kind, *levels = part.strip().split(":")
        if kind not in STRENGTHS:
            raise ValueError(f"corruptions: expected kinds of {', '.join(STRENGTHS)}; got {kind!r}")
        found[kind] = tuple(_level(kind, level) for level in levels) or STRENGTHS[kind]
    return found


def _level(kind: str, text: str) -> float | str:
    """A number where the kind's strengths are numbers."""
    if isinstance(STRENGTHS[kind][0], str):
        return text
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"corruptions: {kind} takes numbers; got {text!r}") from None
    return int(number) if number.is_integer() else number


def pairs(strengths: Mapping[str, tuple[float | str, ...]]) -> list[tuple[str, float | str]]:
    """(kind, level), one after the other."""
    return [(kind, level) for kind, levels in strengths.items() for level in levels]
