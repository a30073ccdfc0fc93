"""Figure 4's pictures, table and sentences on made-up values whose answer is plain."""

from __future__ import annotations

import numpy as np

from merit.report import cluster_figures as fig4

CLASSES = ["SR", "PACE", "AFIB", "TRIGU"]


def interval(value: float | None) -> dict:
    return {
        "value": value,
        "low": None if value is None else value - 0.05,
        "high": None if value is None else value + 0.05,
    }


def result(encoder: str, level: float) -> dict:
    numbers = {
        "per_class": [interval(0.8), interval(level), interval(0.5), interval(None)],
        "macro": interval(level) | {"resamples": [level - 0.01, level, level + 0.01]},
    }
    values = {
        "encoder": encoder, "task": "rhythm", "classes": CLASSES, "n": [30, 6, 3, 1], "n_groups": [30, 6, 3, 1],
        "scored": [True, True, True, False], "chance": [0.75, 0.15, 0.1, None], "n_records": 40, "n_patients": 39,
        "n_several": 2, "spaces": {s: {"purity": numbers, "silhouette": numbers} for s in ("encoder", "umap")},
        "points": np.random.default_rng(0).normal(size=(40, 2)).tolist(),
        "point_class": [0] * 30 + [1] * 6 + [2] * 3 + [3],
    }  # fmt: skip
    return {"values": values}


MISSING = {"values": {"encoder": "ib", "task": "rhythm", "reason": "too few"}}
RESULTS = [result("merit", 0.9), result("cma", 0.4), MISSING]


def test_pictures_are_drawn_with_and_without_numbers():
    for draw in (fig4.picture, fig4.numbers):
        assert draw(RESULTS)._repr_png_().startswith(b"\x89PNG")
        assert draw([MISSING])._repr_png_().startswith(b"\x89PNG")


def test_the_commonest_is_drawn_first_and_thinned():
    lines = fig4.picture(RESULTS, most=10).axes[0].lines
    assert [line.get_label() for line in lines] == ["SR", "PACE", "AFIB", "TRIGU"]
    assert [len(line.get_xdata()) for line in lines] == [10, 6, 3, 1]


def test_every_rhythm_has_a_look_of_its_own():
    assert len(fig4.LOOKS) == len(set(fig4.LOOKS.values())) == 12
    assert len({colour for colour, _ in fig4.LOOKS.values()}) == 12


def test_about_names_what_is_thinned_and_what_is_missing():
    text = fig4.about(RESULTS, 10)
    assert "40 recordings of 39 patients; 2 have several" in text
    assert "Of SR (30) the picture shows 10" in text
    assert "Not scored, for want of two patients: TRIGU" in text
    assert "IB: not drawn, too few" in text
    assert fig4.about([MISSING], 10) == "- IB: not drawn, too few"


def test_table_and_sentences_follow_the_numbers():
    assert "0.90\n[0.85, 0.95]" in fig4.table(RESULTS)._repr_html_()
    assert fig4.table([MISSING])._repr_html_() == ""
    text = fig4.reading(RESULTS)
    assert "highest first: MERIT 0.90 and CMA 0.40. MERIT minus CMA: +0.50 [+0.50, +0.50], higher." in text
    assert (
        "PACE, purity in the encoder's space (by chance 0.150): MERIT 0.90 [0.85, 0.95]; CMA 0.40 [0.35, 0.45]." in text
    )
    assert "place" not in text
    assert "MERIT 0.00 and CMA 0.00." in text
    assert fig4.reading([MISSING]) == "Nothing could be scored."
    assert "[-" not in fig4.reading([result("merit", -0.3), result("cma", 0.4)])
    assert "MERIT −0.30" in fig4.reading([result("merit", -0.3), result("cma", 0.4)])
    assert "lower" in fig4.reading([result("merit", 0.3), result("cma", 0.4)])


def test_pacing_says_whose_intervals_overlap():
    text = fig4.reading([result("merit", 0.5), result("cma", 0.58), result("ib", 0.1), result("random", 0.45)])
    assert "MERIT's interval overlaps that of CMA and random and is apart from that of IB (not paired)." in text
    assert "interval" not in fig4.reading([result("cma", 0.5), result("ib", 0.5)])


def test_silhouettes_below_zero_in_both_spaces_are_said_to_be():
    below = "All macro silhouettes are below 0"
    assert below in fig4.reading([result("merit", -0.1), result("cma", -0.2)])
    assert below not in fig4.reading([result("merit", -0.1), result("cma", 0.0)])
