"""Figures 1 and 2 say what they were given, and no text leaves its box or covers another, in any profile."""

from __future__ import annotations

import copy
import functools
import json
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle

from merit.config import replace
from merit.pipeline import framework
from merit.pipeline.recordings import NoCohort
from merit.profiles import profile
from merit.report import diagram, framework_figures, framework_tables


@pytest.fixture(scope="module", autouse=True)
def measured_once():
    """The networks are measured once for all tests; the objectives', in all profiles, are those of smoke."""
    facts, branches = functools.cache(framework.facts), functools.cache(framework.branches)
    smoke = profile("smoke").model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framework, "facts", lambda config: copy.deepcopy(facts(config)))
        patch.setattr(framework, "branches", lambda _, pretrain: branches(smoke, pretrain))
        yield


def values_of(name: str) -> dict:
    """The facts of a profile, as the workspace would give them."""

    def no_text():
        raise NoCohort("none")

    chosen = profile(name)
    ws = SimpleNamespace(
        profile=replace(chosen, pretrain=profile("smoke").pretrain), text_width=chosen.model.text_width,
        text_identity="", text_encoder=no_text,
        result=lambda stage, compute, *_, **__: {"id": "0", "values": compute()},
    )  # fmt: skip
    return {**framework.framework(ws)["values"], "generation": framework.generation(ws)["values"]}


@pytest.fixture(params=["smoke", "demo", "paper"])
def values(request) -> dict:
    return values_of(request.param)


def figure_2(facts: dict) -> dict:
    """What the cells of its page define from these facts: `sheet`, and `shown`, the sentence above it."""
    notebook = Path(__file__).parents[2] / "book" / "fig2_generation.ipynb"
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]}
    imports = [line for line in cells["start"].splitlines() if line.startswith("from merit.report")]
    source = "\n".join(
        [*imports, cells["results"].replace("prose.Sentence(", "shown = prose.Sentence("), cells["generation"]]
    )
    defined = {"generation": lambda ws: {"values": facts}, "ws": None}
    exec(source, defined)
    return defined


def texts(sheet: diagram.Diagram) -> str:
    return "\n".join(one.get_text() for one in sheet.axes.texts)


def covered(sheet: diagram.Diagram) -> list[tuple[str, str]]:
    """Pairs of texts that overlap."""
    renderer = FigureCanvasAgg(sheet.figure).get_renderer()
    extents = [(one.get_text(), one.get_window_extent(renderer)) for one in sheet.axes.texts]
    return [(a, b) for (a, one), (b, other) in combinations(extents, 2) if one.overlaps(other)]


def test_every_text_fits_its_box_and_covers_no_other(values):
    for sheet in (
        framework_figures.framework(values),
        figure_2(values["generation"])["sheet"],
    ):
        assert sheet.overflowing() == []
        assert covered(sheet) == []
        width, height = sheet.figure.get_size_inches() * sheet.figure.dpi
        renderer = FigureCanvasAgg(sheet.figure).get_renderer()
        for one in sheet.axes.texts:
            extent = one.get_window_extent(renderer)
            assert extent.x0 >= 0, one.get_text()
            assert extent.x1 <= width, one.get_text()
            assert extent.y0 >= 0, one.get_text()
            assert extent.y1 <= height, one.get_text()


def test_an_overflow_is_found():
    sheet = diagram.Diagram(1.0)
    sheet.box(diagram.Box(0.1, 0.1, 0.5, 0.5), "far too long a title for it", ["x"])
    assert sheet.overflowing() == ["far too long a title for it"]


def test_the_figure_shows_the_shapes_of_the_profile(values):
    facts = values["profiles"][values["profile"]]
    shown = texts(framework_figures.framework(values))
    for shape in (facts["shapes"]["encoder"]["out"], facts["shapes"]["decoder"]["out"]):
        assert diagram.times(shape) in shown
    assert f"{facts['shapes']['encoder.blocks.0']['in'][0]} tokens" in shown
    assert "for MERIT and MSE" in shown
    assert "for MERIT, CMA and IB; IB adds 0.5 (1 − cosine)" in shown
    drawn = framework_figures.framework(values).axes.patches
    assert sum(isinstance(one, Rectangle) for one in drawn) == facts["patches"][0] * facts["patches"][1]


def test_a_changed_fact_changes_the_figure_and_the_tables():
    values = values_of("demo")
    other = copy.deepcopy(values)
    other["profiles"]["demo"]["parameters"]["encoder"] = 7_654_321
    assert "7.65 M" in texts(framework_figures.framework(other))
    assert "7,654,321" in framework_tables.parameters(other).text
    assert "7,654,321" not in framework_tables.parameters(values).text


def test_tables_hold_every_profile_and_the_sums(values):
    for name, facts in values["profiles"].items():
        assert f"{sum(facts['parameters'].values()):,}" in framework_tables.parameters(values).text
        assert diagram.times(facts["patches"]) in framework_tables.sizes(values).text
        total = diagram.short(sum(part["all"] for part in facts["flops"]["pretraining"].values()))
        assert total in framework_tables.flops(values).text
        assert (f"{name} (here)" in framework_tables.sizes(values).text) == (name == values["profile"])
    assert "InfoNCE + 0.5 (1 − cosine)" in framework_tables.objectives(values).text


def test_the_sentences_read_the_numbers():
    values = values_of("paper")
    assert "7.07 GFLOP" in framework_tables.cost(values)
    assert "5.95 GFLOP" in framework_tables.cost(values)


def test_a_recording_is_drawn_into_the_first_box():
    values = values_of("demo")
    example = {"target": [[0, 3, -4, 0] * 250]}
    assert len(framework_figures.framework(values, example).axes.lines) == 1
    flat = {"target": [[0] * 1000]}
    assert framework_figures.framework(values, flat)._repr_png_().startswith(b"\x89PNG")


def test_source_of_the_text_encoder_is_text_whatever_it_holds():
    values = values_of("smoke")
    values["text_encoder"] = {"source": "x/<b>" + "y" * 200, "parameters": 5, "known": "k", "trained_layers": 0}
    assert framework_figures.framework(values).overflowing() == []


def test_trained_layers_of_the_text_encoder_are_said_in_place_of_frozen():
    values = values_of("smoke")
    said = (texts(framework_figures.framework(values)), framework_tables.parameters(values).text)
    assert all("frozen" in text for text in said)
    values["text_encoder"]["trained_layers"] = 2
    figure = framework_figures.framework(values)
    assert figure.overflowing() == []
    assert "last 2 trained" in texts(figure)
    assert "frozen" not in texts(figure)
    assert "text encoder, last 2 layers trained" in framework_tables.parameters(values).text
    assert "its trained layers run in every update" in framework_tables.cost(values)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (999.9, "1.00 k"), (1000, "1.00 k"), (65_536, "65.5 k"), (163_840, "164 k"),
     (999_949, "1.00 M"), (5_354_412, "5.35 M"), (1_235_814_400, "1.24 G")],
)  # fmt: skip
def test_short_keeps_three_digits(number, text):
    assert diagram.short(number) == text


def test_tint_goes_from_white_to_the_colour():
    assert diagram.tint("#0072B2", 0.0) == "#ffffff"
    assert diagram.tint("#0072B2", 1.0) == "#0072b2"
