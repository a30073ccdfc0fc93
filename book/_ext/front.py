"""On the first page: the box that the claims page computes, where the page has a place for it."""

from __future__ import annotations

import json
from pathlib import Path

PLACE = '<div class="merit-front-here"></div>'
CELL = "front"
"""The cell of `claims.ipynb` whose output is shown."""


def box(claims: Path) -> str:
    """The HTML that the cell gave; empty where the notebook is not there or has not run."""
    cells = json.loads(claims.read_text(encoding="utf-8"))["cells"] if claims.exists() else []
    outputs = [output for cell in cells if cell.get("id") == CELL for output in cell.get("outputs", [])]
    return "".join("".join(output.get("data", {}).get("text/html", "")) for output in outputs)


def fill(app, pagename, templatename, context, doctree) -> None:
    """Put the box in its place."""
    if PLACE in (context.get("body") or ""):
        context["body"] = context["body"].replace(PLACE, box(Path(app.srcdir) / "book" / "claims.ipynb"))


def setup(app) -> dict:
    """Sphinx calls this."""
    app.connect("html-page-context", fill)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
