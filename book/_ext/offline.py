"""Serve MathJax from the book itself: the formulas read without a network.

The package sphinx-mathjax-offline carries MathJax 3.2.2 whole (24 MB); one component and its extensions are enough.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path


def copy_mathjax(app, error) -> None:
    """Put the component that turns TeX into SVG, with the TeX extensions it may load, under `_static`."""
    if error is not None:
        return
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    if package is None:
        raise RuntimeError("formulas need the package sphinx-mathjax-offline: pip install -r requirements.txt")
    source = Path(package.origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "tex-svg.js", target / "tex-svg.js")
    extensions = Path("input", "tex", "extensions")
    shutil.copytree(source / extensions, target / extensions, dirs_exist_ok=True)


def setup(app) -> dict:
    """Sphinx calls this: one file name to load, one hook to copy it."""
    app.config.mathjax_path = "mathjax/tex-svg.js"
    app.connect("build-finished", copy_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
