"""Figures show what they were given: panels, lines, and one look per objective."""

from __future__ import annotations

import pandas as pd
import pytest

from merit.report import figures, style


@pytest.fixture
def history() -> pd.DataFrame:
    """Two objectives, two updates, both splits."""
    rows = [
        (objective, 0, update, update / 10, split, term, 1.0 / update)
        for objective, term in (("merit", "masked_mse"), ("merit", "info_nce"), ("cma", "info_nce"))
        for update in (10, 20)
        for split in ("train", "validation")
    ]
    return pd.DataFrame(rows, columns=["objective", "seed", "update", "epoch", "split", "term", "value"])


def test_histories_has_a_panel_a_term_and_the_bounds_in_the_right_one(history):
    drawn = figures.histories(history, {"three_lead_error": 0.37, "linear_bound": 0.45, "noise_floor": None})
    panels = {axis.get_title(): axis for axis in drawn.axes if axis.get_visible()}
    assert set(panels) == {style.TERM_LABELS["masked_mse"], style.TERM_LABELS["info_nce"]}
    masked = panels[style.TERM_LABELS["masked_mse"]]
    assert [line.get_ydata()[0] for line in masked.lines[2:]] == [0.45, 0.37]
    colours = {line.get_color() for line in panels[style.TERM_LABELS["info_nce"]].lines}
    assert colours == {style.look("merit").colour, style.look("cma").colour}
    assert drawn._repr_png_().startswith(b"\x89PNG")


def test_looks_differ_in_colour_marker_and_line():
    for values in zip(*(style.LOOKS[name] for name in style.LOOKS)):
        assert len(set(map(str, values))) == len(style.LOOKS)
    every = [*style.LOOKS.values(), *style.PEER_LOOKS.values()]
    assert len({(one.colour, one.marker) for one in every}) == len({one.label for one in every}) == len(every)


def test_nothing_to_draw_is_said():
    columns = ["objective", "seed", "update", "epoch", "split", "term", "value"]
    empty = figures.histories(pd.DataFrame(columns=columns), {})
    assert empty.texts[0].get_text() == "nothing was pretrained"
