"""Figure 2 as the cells of its page draw it: no text leaves its box or covers another, and sizes are read off facts."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from merit.studies import framework

NETWORKS = {
    "smoke": {"tokens": 144, "width": 32, "parameters": 16_800},
    "paper": {"tokens": 1200, "width": 192, "parameters": 5_354_412},
}


@pytest.fixture(params=sorted(NETWORKS))
def shown(request, monkeypatch) -> dict:
    """What the cells define: `facts`, `sentence` and `sheet`."""
    size, name = NETWORKS[request.param], request.param
    shapes = {"encoder.blocks.0": {"in": [size["tokens"], size["width"]]}, "encoder": {"out": [12, 50, size["width"]]}}
    network = {"profile": name, "settings": {}, "signal": [12, 1000], "patches": [12, 50, 20], "embedding": shapes}
    network["parameters"] = {"encoder": size["parameters"]}
    monkeypatch.setattr(framework, "framework", lambda ws, part: pd.DataFrame([network]))
    notebook = Path(__file__).parents[2] / "book" / "fig2_generation.ipynb"
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]}
    imports = [
        line for line in cells["start"].splitlines() if line.startswith(("from merit.report", "from merit.studies"))
    ]
    defined = {"ws": SimpleNamespace(profile=SimpleNamespace(name=name))}
    results = cells["results"].replace("prose.Sentence(", "sentence = prose.Sentence(")
    exec("\n".join([*imports, results, cells["generation"]]), defined)
    return defined


def test_every_text_fits_its_box_and_covers_no_other(shown):
    sheet = shown["sheet"]
    assert sheet.overflowing() == []
    renderer = FigureCanvasAgg(sheet.figure).get_renderer()
    extents = {text.get_text(): text.get_window_extent(renderer) for text in sheet.axes.texts}
    assert [(a, b) for a, b in combinations(extents, 2) if extents[a].overlaps(extents[b])] == []
    width, height = sheet.figure.get_size_inches() * sheet.figure.dpi
    for text, extent in extents.items():
        assert extent.x0 >= 0, text
        assert extent.x1 <= width, text
        assert extent.y0 >= 0, text
        assert extent.y1 <= height, text


def test_figure_and_sentence_say_the_sizes(shown):
    encoder = shown["facts"]["encoder"]
    texts = "\n".join(text.get_text() for text in shown["sheet"].axes.texts)
    assert f"{encoder['embedding']['encoder.blocks.0']['in'][0]} tokens" in texts
    assert "1.24 G parameters, frozen" in texts
    assert "11,272,192 parameters, 0.9 % of the frozen 1,235,814,400" in shown["sentence"].text
    assert f"{encoder['parameters']:,}" in shown["sentence"].text
