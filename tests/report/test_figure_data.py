"""What a figure's axes say in numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from merit.report import figure_data
from merit.report.figures import CSV_MIME, Drawing, nothing
from merit.report.style import look


def drawn() -> tuple[Drawing, list]:
    """A figure of two panels."""
    figure = Drawing()
    return figure, list(figure.subplots(1, 2))


def test_points_have_their_intervals_and_the_names_of_ticks():
    figure, (axis, _) = drawn()
    axis.errorbar([1.0, 2.0], [0.1, 0.9], xerr=[[0.1, 0.2], [0.3, 0.4]], linestyle="none", label="one")
    axis.set_yticks([0, 1], ["low", "high"])
    axis.set_title("a\ntitle")
    found = figure_data.read(figure)
    assert list(found) == ["panel", "series", "x", "x_low", "x_high", "y", "y_name"]
    assert found["panel"].unique().tolist() == ["a title"]
    assert found["y_name"].tolist() == ["low", "high"]
    np.testing.assert_allclose(found[["x_low", "x", "x_high"]], [[0.9, 1.0, 1.3], [1.8, 2.0, 2.4]])


def test_every_kind_of_mark_is_read():
    figure, (axis, other) = drawn()
    axis.bar([1, 2], [3, 4], label="bars")
    axis.barh([5], [6], label="lying")
    axis.scatter([7], [8], label="cloud")
    axis.plot([1, 2, 3], [np.nan, 5, 6], color=look("cma").colour)
    axis.plot([9], [9], gid="named", label="in the legend")
    other.axvline(3, label="upright")
    other.axhline(7, label="level")
    found = figure_data.read(figure).set_index("series")
    assert found.loc["bars", ["x", "y"]].to_numpy().tolist() == [[1, 3], [2, 4]]
    assert found.loc["lying", ["x", "y"]].tolist() == [6, 5]
    assert found.loc["cloud", ["x", "y"]].tolist() == [7, 8]
    assert found.loc[look("cma").label, ["x", "y"]].to_numpy().tolist() == [[2, 5], [3, 6]]
    assert found.loc["named", "x"] == 9
    assert found.loc["upright", "x"] == 3
    assert np.isnan(found.loc["upright", "y"])
    assert found.loc["level", "y"] == 7
    assert found.loc["level", "panel"] == "2"


def test_hidden_panels_marks_of_the_sheet_and_number_ticks_give_nothing():
    figure, (axis, other) = drawn()
    axis.plot([0, 1], [0, 1], transform=axis.transAxes)
    axis.plot([0.1], [0.2])
    axis.set_xticks([0.1, 0.2], ["0.1", "0.2"])
    other.plot([5], [5])
    other.set_visible(False)
    assert figure_data.read(figure)[["x", "y"]].to_numpy().tolist() == [[0.1, 0.2]]
    assert "x_name" not in figure_data.read(figure)


def test_a_figure_offers_its_own_table_first_and_nothing_where_nothing_is_drawn():
    figure, (axis, _) = drawn()
    axis.plot([1], [1 / 3], label="p")
    assert figure._repr_mimebundle_()[CSV_MIME] == "panel,series,x,y\n1,p,1,0.333333\n"
    figure.table = pd.DataFrame({"own": [2]})
    assert figure._repr_mimebundle_() == {CSV_MIME: "own\n2\n"}
    assert nothing("no numbers")._repr_mimebundle_() == {}
