"""Figures 1 and 2 as their pages' cells draw them: no text leaves its box or covers another. ECG paper to scale."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from merit.config import OBJECTIVE_NAMES, profile, replace
from merit.report import drawings
from merit.report.drawings import LEAD_NAMES, MM_PER_INCH, Diagram, draw_ecg
from merit.studies import framework

TEXT = {"source": "trained", "parameters": None, "known": "", "trained_layers": 0}
FS_HZ = 100


def texts(sheet: Diagram) -> str:
    return "\n".join(text.get_text() for text in sheet.axes.texts)


def overflowing(sheet: Diagram) -> list[str]:
    """The texts that reach over the edge of their box."""
    renderer, found = FigureCanvasAgg(sheet.figure).get_renderer(), []
    for place, lines in sheet.boxed:
        corners = ((place.left, place.bottom), (place.left + place.width, place.bottom + place.height))
        inside = Bbox(sheet.axes.transData.transform(corners))
        for text in lines:
            extent = text.get_window_extent(renderer)
            if not (inside.contains(extent.x0, extent.y0) and inside.contains(extent.x1, extent.y1)):
                found.append(text.get_text())
    return found


def test_an_overflow_is_found_and_short_keeps_three_digits():
    sheet = Diagram(1.0)
    sheet.box(drawings.Box(0.1, 0.1, 0.5, 0.5), "far too long a title for it", ["x"])
    assert overflowing(sheet) == ["far too long a title for it"]
    numbers = {0: "0", 999: "999", 999.9: "1.00 k", 65_536: "65.5 k", 999_949: "1.00 M", 1_235_814_400: "1.24 G"}
    assert {number: drawings.short(number) for number in numbers} == numbers


def assert_legible(sheet: Diagram) -> None:
    """Every text fits its box, covers no other, and lies on the sheet."""
    assert overflowing(sheet) == []
    renderer = FigureCanvasAgg(sheet.figure).get_renderer()
    extents = [(text.get_text(), text.get_window_extent(renderer)) for text in sheet.axes.texts]
    assert [(a, b) for (a, one), (b, other) in combinations(extents, 2) if one.overlaps(other)] == []
    width, height = sheet.figure.get_size_inches() * sheet.figure.dpi
    for text, extent in extents:
        assert 0 <= extent.x0 < extent.x1 <= width, text
        assert 0 <= extent.y0 < extent.y1 <= height, text


@pytest.fixture(params=["smoke", "demo", "paper"])
def figure_1(request, run_cells):
    """Draws Figure 1 of a profile's network by its page's cell, as the study `framework` describes it."""
    model, smoke = profile(request.param).model, profile("smoke")
    branches = {o: framework.of_network(smoke.model, replace(smoke.pretrain, objective=o)) for o in OBJECTIVE_NAMES}
    here = framework.facts(model)
    trained = pd.DataFrame(branches).T.rename_axis("encoder").reset_index()

    def draw(trace=(), text=TEXT, **changes) -> tuple[Diagram, dict]:
        facts = {**here, **changes}
        defined = {"errors": trace, "example": pd.DataFrame({"target": [trace]}), "trained": trained, "text": text}
        return run_cells("fig1_framework", "fig1-framework-6", here=facts, **defined)["shown"], facts

    return draw


def test_figure_1_shows_the_shapes_of_the_profile(figure_1):
    sheet, facts = figure_1()
    assert_legible(sheet)
    shown = texts(sheet)
    for shape in (facts["shapes"]["encoder"]["out"], facts["shapes"]["decoder"]["out"]):
        assert " × ".join(f"{n:,}" for n in shape) in shown
    assert f"{facts['shapes']['encoder.blocks.0']['in'][0]} tokens" in shown
    assert "for MERIT and MSE" in shown
    assert "for MERIT, CMA and IB; IB adds 0.5 (1 − cosine)" in shown
    cells = sum(isinstance(patch, Rectangle) for patch in sheet.axes.patches)
    assert cells == facts["patches"][0] * facts["patches"][1]
    assert "7.65 M" in texts(figure_1(parameters={**facts["parameters"], "encoder": 7_654_321})[0])
    assert len(figure_1([0, 3, -4, 0] * 250)[0].axes.lines) == 1
    assert figure_1([0] * 1000)[0]._repr_png_().startswith(b"\x89PNG")
    assert "frozen" in shown
    assert overflowing(figure_1(text={**TEXT, "source": "x/<b>" + "y" * 200, "parameters": 5})[0]) == []
    trained = texts(figure_1(text={**TEXT, "trained_layers": 2})[0])
    assert "last 2 trained" in trained
    assert "frozen" not in trained


@pytest.mark.parametrize(
    ("name", "tokens", "width", "parameters"), [("smoke", 144, 32, 16_800), ("paper", 1200, 192, 5_354_412)]
)
def test_figure_2_says_the_sizes(run_cells, monkeypatch, name, tokens, width, parameters):
    shapes = {"encoder.blocks.0": {"in": [tokens, width]}, "encoder": {"out": [12, 50, width]}}
    network = {"profile": name, "settings": {}, "signal": [12, 1000], "patches": [12, 50, 20], "embedding": shapes}
    network["parameters"] = {"encoder": parameters}
    monkeypatch.setattr(framework, "framework", lambda ws, part: pd.DataFrame([network]))
    ws = SimpleNamespace(profile=SimpleNamespace(name=name))
    cells = run_cells("fig2_generation", "results", ws=ws)
    assert "11,272,192 parameters, 0.9 % of the frozen 1,235,814,400" in cells["shown"].text
    assert f"{parameters:,}" in cells["shown"].text
    sheet = run_cells("fig2_generation", "generation", **cells)["shown"]
    assert_legible(sheet)
    assert f"{tokens} tokens" in texts(sheet)
    assert "1.24 G parameters, frozen" in texts(sheet)


def test_25_mm_are_a_second_10_a_millivolt_and_a_millimetre_is_one():
    t = np.arange(10 * FS_HZ) / FS_HZ
    recording = ((t % 1) >= 0.5) * 0.1 * np.arange(1, 13)[:, None]  # lead k: a step of 0.1 (k + 1) mV
    figure = draw_ecg(recording, FS_HZ, "a title")
    (axes,) = figure.axes
    *leads, strip = [line.get_xydata() for line in axes.lines if len(line.get_xdata()) > 20]
    assert len(leads) == 12
    for k, line in enumerate(leads):
        assert len(line) == 250
        assert np.diff(line[:, 0]) == pytest.approx(25 / FS_HZ)
        assert np.ptp(line[:, 1]) == pytest.approx(10 * 0.1 * (k + 1))
    assert len({line[0, 0].round(3) for line in leads}) == 4
    assert (len(strip), np.ptp(strip[:, 1])) == (1000, pytest.approx(2.0))  # all of lead II
    names = [text.get_text() for text in axes.texts]
    assert all(names.count(name) == 1 + (name == "II") for name in LEAD_NAMES)
    box, (width_mm, height_mm) = axes.get_position(), figure.get_size_inches() * MM_PER_INCH
    assert np.ptp(axes.get_xlim()) == pytest.approx(width_mm * box.width)
    assert np.ptp(axes.get_ylim()) == pytest.approx(height_mm * box.height)
    assert list(figure.table) == ["seconds", *LEAD_NAMES]
    assert figure.table["V6"].max() == pytest.approx(1.2)
    lines = [line.get_xdata() for line in draw_ecg(recording[:, :600], FS_HZ, "").axes[0].lines]
    assert sum(len(line) == 250 for line in lines) == 6, "a short one leaves paper empty"
    assert max(map(len, lines)) == 600
    with pytest.raises(ValueError, match=r"shape \(8, 100\), expected \(12, T\)"):
        draw_ecg(np.zeros((8, 100)), FS_HZ, "")
