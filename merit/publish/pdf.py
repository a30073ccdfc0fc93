"""The whole book as one PDF: the built pages joined into one, printed by the system's Chromium without network."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urldefrag

from merit import runs
from merit.profiles import resolve, run_name
from merit.publish.record import pages

JOINED = "merit-print.html"
PATIENCE_S = 600
DROPPED = "script, a.headerlink, details.hide, button, .merit-front-here"
"""What paper has no use for; the code of each cell is in the notebook, which the HTML pages offer."""

STYLE = """
@page { size: A4; margin: 16mm 14mm; }
body { background: white; }
.bd-content { display: block !important; }
article.merit-chapter { break-before: page; max-width: none; font-size: 9.5pt; line-height: 1.4; }
article.merit-chapter h1 { font-size: 20pt; }
article.merit-chapter h2 { font-size: 14pt; margin-top: 1.2rem; }
article.merit-chapter img { max-height: 150mm; width: auto; max-width: 100%; }
article.merit-chapter:first-of-type { break-before: auto; }
article.merit-chapter :is(figure, img, pre, .admonition, tr) { break-inside: avoid; }
article.merit-chapter h1, article.merit-chapter h2 { break-after: avoid; }
.merit-scroll, .pst-scrollable-table-container { overflow: visible !important; background: none !important; }
.merit-table tbody th { position: static !important; }
"""

FIT = """
addEventListener("load", () => {
  const narrow = (node, inner) => {
    if (inner && inner.scrollWidth > node.clientWidth) inner.style.zoom = node.clientWidth / inner.scrollWidth;
  };
  for (const box of document.querySelectorAll(".merit-scroll, .pst-scrollable-table-container"))
    narrow(box, box.querySelector("table"));
});
"""
"""What scrolls on a screen is made to fit on paper."""


def make_pdf(
    profile: str = "demo",
    data: str | None = None,
    root: Path | str = ".",
    chromium: str = "/usr/bin/chromium",
    settings: str = "",
) -> Path:
    """Print the book that `make book` built to `_build/<workspace>/merit.pdf` and return where it is.

    Raises FileNotFoundError where there is no book or no browser, RuntimeError where the browser prints nothing.
    """
    root = Path(root).resolve()
    built = root / "_build" / run_name(resolve(profile, settings), data)
    folder, out = built / "html" / "book", built / "merit.pdf"
    if not (folder / "intro.html").exists():
        raise FileNotFoundError(f"{folder}: expected the built pages; make book first, with the same settings")
    if not Path(chromium).exists():
        raise FileNotFoundError(f"no browser at {chromium}: apt-get install chromium, or make pdf CHROMIUM=path")
    source = folder / JOINED
    with runs.claimed(built):
        try:
            source.write_text(joined(folder, [Path(page).name for page in pages(root / "_toc.yml")]), encoding="utf-8")
            with runs.written(out) as temporary:
                _print(chromium, source, temporary)
        finally:
            source.unlink(missing_ok=True)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return out


def joined(folder: Path, names: list[str]) -> str:
    """One page with the articles of all: links between pages become links within it."""
    from bs4 import BeautifulSoup

    whole = BeautifulSoup((folder / f"{names[0]}.html").read_text(encoding="utf-8"), "html.parser")
    every = [BeautifulSoup((folder / f"{name}.html").read_text("utf-8"), "html.parser") for name in names]
    chapters = [_chapter(page, name, names) for page, name in zip(every, names)]
    for tag, text in (("style", STYLE), ("script", FIT)):
        whole.head.append(whole.new_tag(tag))
        whole.head.contents[-1].string = text
    whole.html["data-theme"] = whole.html["data-mode"] = "light"
    whole.body.clear()
    content = whole.new_tag("div", attrs={"class": "bd-content"})
    content.extend(chapters)
    whole.body.append(content)
    return str(whole)


def _chapter(page, name: str, names: list[str]):
    """The article of a page, its ids made unique by the page's name."""
    article = page.select_one("article.bd-article")
    for tag in article.select(DROPPED):
        tag.decompose()
    for tag in article.select("[id]"):
        tag["id"] = f"{name}--{tag['id']}"
    for link in article.select("a[href]"):
        address, place = urldefrag(link["href"])
        target = Path(address).stem if address else name
        if target in names and Path(address).suffix in ("", ".html") and "/" not in address:
            link["href"] = f"#{target}--{place}" if place else f"#{target}"
    article["id"], article["class"] = name, "bd-article merit-chapter"
    return article


def _print(chromium: str, source: Path, out: Path) -> None:
    """Let the browser set all formulas and print, without a network or a profile of anybody's."""
    options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-sync --disable-background-networking"
    options += " --disable-component-update --virtual-time-budget=60000 --no-pdf-header-footer"
    with tempfile.TemporaryDirectory(prefix="merit-chromium-") as scratch:
        command = [chromium, *options.split(), "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={scratch}"]
        command += [f"--print-to-pdf={out}", source.as_uri()]
        done = subprocess.run(command, text=True, capture_output=True, timeout=PATIENCE_S, check=False)
    if done.returncode or not out.exists():
        raise RuntimeError(f"{chromium} printed nothing, exit status {done.returncode}: {done.stderr.strip()[-300:]}")
