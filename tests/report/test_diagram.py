"""Figure 1 says what it was given, and no text leaves its box or covers another, in any profile."""

from __future__ import annotations

from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle

from merit.config import OBJECTIVE_NAMES, profile, replace
from merit.report import diagram
from merit.studies import framework

TEXT = {"source": "trained", "parameters": None, "known": "", "trained_layers": 0}


@pytest.fixture(scope="module", params=["smoke", "demo", "paper"])
def facts(request) -> dict:
    """A profile's network, as the study gives it."""
    return {**framework.facts(profile(request.param).model), "profile": request.param}


@pytest.fixture(scope="module")
def objectives() -> dict:
    smoke = profile("smoke")
    return {o: framework.of_network(smoke.model, replace(smoke.pretrain, objective=o)) for o in OBJECTIVE_NAMES}


def texts(sheet: diagram.Diagram) -> str:
    return "\n".join(text.get_text() for text in sheet.axes.texts)


def assert_legible(sheet: diagram.Diagram) -> None:
    """Every text fits its box, covers no other, and lies on the sheet."""
    assert sheet.overflowing() == []
    renderer = FigureCanvasAgg(sheet.figure).get_renderer()
    extents = [(text.get_text(), text.get_window_extent(renderer)) for text in sheet.axes.texts]
    assert [(a, b) for (a, one), (b, other) in combinations(extents, 2) if one.overlaps(other)] == []
    width, height = sheet.figure.get_size_inches() * sheet.figure.dpi
    for text, extent in extents:
        assert 0 <= extent.x0 < extent.x1 <= width, text
        assert 0 <= extent.y0 < extent.y1 <= height, text


def test_figure_1_shows_the_shapes_of_the_profile(facts, objectives):
    sheet = diagram.framework(facts, objectives, TEXT)
    assert_legible(sheet)
    shown = texts(sheet)
    for shape in (facts["shapes"]["encoder"]["out"], facts["shapes"]["decoder"]["out"]):
        assert diagram.times(shape) in shown
    assert f"{facts['shapes']['encoder.blocks.0']['in'][0]} tokens" in shown
    assert "for MERIT and MSE" in shown
    assert "for MERIT, CMA and IB; IB adds 0.5 (1 − cosine)" in shown
    cells = sum(isinstance(patch, Rectangle) for patch in sheet.axes.patches)
    assert cells == facts["patches"][0] * facts["patches"][1]
    changed = {**facts, "parameters": {**facts["parameters"], "encoder": 7_654_321}}
    assert "7.65 M" in texts(diagram.framework(changed, objectives, TEXT))
    assert len(diagram.framework(facts, objectives, TEXT, [0, 3, -4, 0] * 250).axes.lines) == 1
    assert diagram.framework(facts, objectives, TEXT, [0] * 1000)._repr_png_().startswith(b"\x89PNG")


def test_the_text_encoder_is_shown_as_it_is(facts, objectives):
    long = {**TEXT, "source": "x/<b>" + "y" * 200, "parameters": 5}
    assert diagram.framework(facts, objectives, long).overflowing() == []
    assert "frozen" in texts(diagram.framework(facts, objectives, TEXT))
    sheet = diagram.framework(facts, objectives, {**TEXT, "trained_layers": 2})
    assert "last 2 trained" in texts(sheet)
    assert "frozen" not in texts(sheet)


def test_an_overflow_is_found():
    sheet = diagram.Diagram(1.0)
    sheet.box(diagram.Box(0.1, 0.1, 0.5, 0.5), "far too long a title for it", ["x"])
    assert sheet.overflowing() == ["far too long a title for it"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (999.9, "1.00 k"), (65_536, "65.5 k"), (999_949, "1.00 M"), (1_235_814_400, "1.24 G")],
)
def test_short_keeps_three_digits(number, text):
    assert diagram.short(number) == text


def test_tint_goes_from_white_to_the_colour():
    assert (diagram.tint("#0072B2", 0.0), diagram.tint("#0072B2", 1.0)) == ("#ffffff", "#0072b2")
