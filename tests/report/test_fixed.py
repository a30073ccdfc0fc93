"""A minus is a minus, and a zero has no sign."""

from __future__ import annotations

import pytest

from merit.report.prose import fixed


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [
        (-0.004, 2, False, "0.00"), (-0.004, 2, True, "0.00"), (0.0, 1, True, "0.0"), (-0.006, 2, False, "−0.01"),
        (1.25, 2, True, "+1.25"), (10.0, 0, False, "10"), (-0.4, 0, False, "0"), (100.0, 1, True, "+100.0"),
    ],
)  # fmt: skip
def test_text(value, digits, sign, text):
    assert fixed(value, digits, sign) == text
