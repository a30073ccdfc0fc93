"""How a user names corruptions."""

from __future__ import annotations

import pytest

from merit.pipeline.strengths import FEW, STRENGTHS, chosen, pairs


def test_nothing_said_is_what_the_profile_affords():
    assert chosen(None, small=False) == STRENGTHS
    assert chosen(None, small=True) == FEW
    assert all(set(levels) <= set(STRENGTHS[kind]) for kind, levels in FEW.items())


def test_kinds_with_and_without_levels():
    assert chosen("lost:1:4, wander,swap:arms,gain:0.5", small=True) == {
        "lost": (1, 4), "wander": STRENGTHS["wander"], "swap": ("arms",), "gain": (0.5,),
    }  # fmt: skip
    assert pairs({"lost": (1, 4), "swap": ("arms",)}) == [("lost", 1), ("lost", 4), ("swap", "arms")]


@pytest.mark.parametrize(
    ("text", "says"),
    [("fog", "expected kinds of lost"), ("lost:few", "lost takes numbers; got 'few'"), ("", "got ''")],
)
def test_what_is_not_known_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        chosen(text, small=True)
