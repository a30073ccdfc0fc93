"""The recording is drawn where it was hidden, errors where they lie, and the sentences read the numbers."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from merit.report import reconstruction_figures as drawn
from merit.report.style import look

SUMMARY = {"mean": 0.4, "low": 0.3, "high": 0.5, "first": 0.2, "median": 0.35, "third": 0.6}


@pytest.fixture
def values() -> dict:
    """Two leads of 4 patches of 50 samples; merit fills with 1, mse with 2, the linear map with 3."""
    errors = {"merit": [0.2, 0.4], "mse": [0.1, 0.3], "instant": [0.3, 0.35], "interpolation": [2, 3], "mean": [1, 1]}
    return {
        "cohort": "ptb-xl", "scaling": "zscore", "n_recordings": 2, "n_patients": 2, "hidden_share": 0.75,
        "decoders": ["merit", "mse"], "without_decoder": ["cma", "ib"], "errors": errors,
        "summary": {name: {**SUMMARY, "mean": float(np.mean(one))} for name, one in errors.items()},
        "difference": {"of": ["merit", "mse"], **SUMMARY, "mean": 0.1, "low": 0.05, "high": 0.15},
        "example": {
            "record_id": "<7>", "labels": ["SR", "LVH"], "rule": "median error of merit", "fs_hz": 100.0,
            "unit_mv": 0.2, "leads": ["II", "V1"], "hidden": [[1, 0, 1, 1], [0, 1, 1, 1]],
            "target": [[0, 100] * 100, [0, -50] * 100],
            "filled": {name: [[100 * k] * 200] * 2 for k, name in enumerate(("merit", "mse", "instant", "x"), 1)},
            "errors": {name: one[0] for name, one in errors.items()},
        },
    }  # fmt: skip


def test_a_panel_a_decoder_and_one_of_the_linear_map(values):
    figure = drawn.recording(values, seconds=2.0)
    assert [axis.get_title(loc="left").split(":")[0] for axis in figure.axes] == [
        "MERIT", "MSE", "other leads, linear map",
    ]  # fmt: skip
    first = figure.axes[0]
    over = [line for line in first.lines if line.get_color() == look("merit").colour]
    assert len(over) == 2
    for line, patches in zip(over, values["example"]["hidden"]):
        np.testing.assert_array_equal(np.isfinite(line.get_ydata()), np.repeat(patches, 50).astype(bool))
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_the_linear_map_has_a_colour_and_a_line_of_its_own(values):
    shown = drawn.BASELINES["instant"]
    assert shown.colour not in {look(name).colour for name in ("merit", "cma", "ib", "mse", "random")}
    axis = drawn.recording(values, seconds=2.0).axes[-1]
    over = [line for line in axis.lines if line.get_color() == shown.colour]
    assert [line.get_linestyle() for line in over] == ["--", "--"]


def test_leads_keep_one_scale_and_their_own_strip(values):
    axis = drawn.recording(values, seconds=2.0).axes[0]
    recorded = [line.get_ydata() for line in axis.lines if line.get_color() == drawn.INK and len(line.get_ydata()) > 2]
    assert [np.ptp(one) for one in recorded] == pytest.approx([1.0, 0.5])
    assert recorded[0].min() > recorded[1].max()
    low, high = axis.get_ylim()
    assert low < min(one.min() for one in recorded)
    assert high > max(one.max() for one in recorded)


def test_the_scale_bar_is_one_millivolt(values):
    axis = drawn.recording(values, seconds=2.0).axes[-1]
    bar = axis.lines[-1].get_ydata()
    low, high = axis.get_ylim()
    assert (bar[1] - bar[0]) * (high - low) * values["example"]["unit_mv"] == pytest.approx(1.0)


def test_errors_lie_where_they_are_and_the_drawn_one_has_a_ring(values):
    axis = drawn.errors(values).axes[0]
    strokes = [line for line in axis.lines if line.get_marker() == "|"]
    assert [line.get_xdata().tolist() for line in strokes] == [
        values["errors"][name] for name in ("merit", "mse", "instant", "interpolation", "mean")
    ]
    rings = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o" and line.get_markersize() == 8]
    assert rings == [0.2, 0.1, 0.3, 2, 1]
    assert axis.get_xscale() == "log"


def test_sentences(values):
    assert "Drawn is recording <7> (labels SR and LVH), the one at the median error of MERIT" in drawn.chosen(values)
    assert drawn.chosen(values).startswith(
        "75 % of the patches of 2 recordings of PTB-XL (one per patient) were hidden"
    )
    assert "CMA and IB have no decoder" in drawn.chosen(values)
    text = drawn.compared(values)
    assert "MERIT is below it on 50 % and MSE is below it on 100 %" in text
    assert "MERIT leaves 0.100 more than MSE" in text
    assert "holds zero" not in text
    other = copy.deepcopy(values)
    other["difference"].update(mean=-0.1, low=-0.2, high=0.1)
    assert "MERIT leaves 0.100 less than MSE" in drawn.compared(other)
    assert "the interval holds zero" in drawn.compared(other)
    assert "−0.200 to +0.100" in drawn.compared(other)
    other["difference"].update(mean=1e-5, low=-1e-5, high=4e-4)
    assert "MERIT and MSE leave the same to three digits" in drawn.compared(other)
    other["difference"] = None
    assert "On the same recordings" not in drawn.compared(other)


def test_the_table_has_a_row_for_those_without_a_decoder(values):
    text = drawn.summary(values).text
    assert "0.300 [0.300, 0.500]" in text
    assert text.count("no decoder") == 2


def test_a_reason_stands_in_place_of_everything():
    values = {"reason": "no recordings under <b>"}
    assert drawn.recording(values).texts[0].get_text() == drawn.errors(values).texts[0].get_text() == values["reason"]
    assert "no recordings under" in drawn.chosen(values)
    assert drawn.compared(values) == drawn.summary(values).text == ""
