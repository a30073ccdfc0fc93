"""Make the pages work from the disk: MathJax from the book itself, nothing asked for that `file://` refuses.

The package sphinx-mathjax-offline carries MathJax 3.2.2 whole (24 MB); one component and its extensions are enough.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

FONT_HINT = re.compile(r'<link rel="preload" as="font"[^>]*>\n?')
"""The theme's hints to load its icon font early: an error from the disk. Its icons are drawn by a script anyway."""

NO_EXCERPTS = "if (location.protocol === 'file:') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;"
"""Search shows an excerpt of each page by fetching it, which no browser does from the disk; the hits need no fetch."""


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


def tidy(app, pagename, templatename, context, doctree) -> None:
    """Leave out Thebe, which runs cells on a server and declares itself twice; let the reader's system choose light or
    dark where the theme is told nothing."""
    context["default_mode"] = context.get("default_mode") or "auto"
    context["script_files"] = [one for one in context["script_files"] if "thebe" not in _told(one).lower()]


def _told(script) -> str:
    """The address of a script or, where it is written into the page, the script."""
    return f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', {}).get('body', '')}"


def drop_font_hints(app, error) -> None:
    """Take the theme's hints out of every page."""
    for page in Path(app.outdir).rglob("*.html") if error is None else ():
        text = page.read_text(encoding="utf-8")
        page.write_text(FONT_HINT.sub("", text), encoding="utf-8")


def setup(app) -> dict:
    """Sphinx calls this: one file name to load, a line of script, and what is done once the pages are written."""
    app.config.mathjax_path = "mathjax/tex-svg.js"
    app.add_js_file(None, body=NO_EXCERPTS)
    app.connect("html-page-context", tidy, priority=900)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", drop_font_hints)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
