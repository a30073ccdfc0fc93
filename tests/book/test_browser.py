"""Every built page as a reader without a network sees it, in Debian's Chromium: `make browser`, or pytest -m browser.

MERIT_BOOK names the folder of pages (default: the newest of `_build/demo/html` and `_build/smoke/html`) and
MERIT_CHROMIUM the browser. The checks run inside the page (`checks.js`); each is shown a made-up page with the fault
that it looks for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
CHECKS = (Path(__file__).parent / "checks.js").read_text(encoding="utf-8")
IN_PAGE = ("overflow", "cutOff", "rawTex", "alternativeText", "pictures", "contrast", "anchors")
WIDTHS = {1280: 800, 390: 844}
"""Width of the window in pixels -> its height: a small laptop, a phone."""
THEMES = ("light", "dark")
PATIENCE_MS = 120_000

SETTLED = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  await document.fonts.ready;
  for (const fading of document.getAnimations()) if (fading.effect.getTiming().iterations < Infinity) fading.finish();
}"""
"""What is waited for before looking: formulas set, folds open, fonts there, nothing half faded in."""


def book() -> Path | None:
    """The folder of pages to look at."""
    if os.environ.get("MERIT_BOOK"):
        return Path(os.environ["MERIT_BOOK"]).resolve()
    built = [ROOT / "_build" / name / "html" for name in ("demo", "smoke")]
    fronts = [folder / "book" / "intro.html" for folder in built]
    newest = max((path for path in fronts if path.exists()), key=lambda path: path.stat().st_mtime, default=None)
    return newest and newest.parents[1]


def pages() -> list[str]:
    """The pages below that folder, but for the root, which only leads to the first, and the theme's templates."""
    folder = book()
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html")) if folder else []
    return [name for name in found if name != "index.html" and not name.startswith("_")]


class Browser:
    """A Chromium without network, with a window for each width and theme."""

    def __init__(self, chromium) -> None:
        self.chromium, self.windows = chromium, {}

    def window(self, width: int, theme: str):
        """The window of that size, in a reader's light or dark mode."""
        if (width, theme) not in self.windows:
            size, still = {"width": width, "height": WIDTHS[width]}, {"reduced_motion": "reduce"}
            window = self.chromium.new_context(offline=True, viewport=size, color_scheme=theme, **still)
            self.windows[width, theme] = window
        return self.windows[width, theme]

    def faults(self, address: str, width: int = 1280, theme: str = "light") -> dict[str, list[str]]:
        """Kind of fault -> what is wrong with the page, in sentences; only kinds of which there are any."""
        page = self.window(width, theme).new_page()
        try:
            heard = _listen(page)
            page.goto(address, timeout=PATIENCE_MS)
            page.evaluate(SETTLED)
            seen = page.evaluate(f"() => {{ {CHECKS}; return {{ {', '.join(f'{n}: {n}()' for n in IN_PAGE)} }} }}")
            seen["links"] = _dead_links(page.eval_on_selector_all("a[href], link[href]", "all => all.map(a => a.href)"))
            return {kind: faults for kind, faults in {**seen, **heard}.items() if faults}
        finally:
            page.close()


def _listen(page) -> dict[str, list[str]]:
    """Lists that fill while the page loads: script errors, assets that do not come, requests that leave the disk."""
    heard: dict[str, list[str]] = {"script": [], "asset": [], "network": []}
    page.on("pageerror", lambda error: heard["script"].append(str(error)))
    page.on("console", lambda line: heard["script"].append(line.text) if line.type == "error" else None)
    page.on("requestfailed", lambda request: heard["asset"].append(f"{request.url}: {request.failure}"))
    page.on("request", lambda sent: heard["network"].append(sent.url) if sent.url.startswith(("http", "ws")) else None)
    return heard


def _dead_links(addresses: list[str]) -> list[str]:
    """Those that lead to files which are not there."""
    files = {urlsplit(one).path for one in addresses if one.startswith("file:")}
    return sorted(f"leads nowhere: {path}" for path in files if not Path(unquote(path)).exists())


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, started once."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = os.environ.get("MERIT_CHROMIUM", "/usr/bin/chromium")
        chromium = playwright.chromium.launch(executable_path=path, timeout=PATIENCE_MS, args=["--disable-gpu"])
        yield Browser(chromium)
        chromium.close()


def test_there_is_a_book():
    assert len(pages()) > 20, f"no book in {book() or ROOT / '_build'}: make book, or MERIT_BOOK=folder of its pages"


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", pages())
def test_a_page_without_fault(browser, name, width, theme):
    faults = browser.faults((book() / name).as_uri(), width, theme)
    assert not faults, "\n".join(f"{kind}: {one}" for kind, several in faults.items() for one in several)


@pytest.fixture
def front(browser) -> Iterator:
    """Call it with a page's name and theme; the page in the wide window, loaded, and what was heard."""
    opened = []

    def load(name: str, theme: str = "light"):
        opened.append(browser.window(1280, theme).new_page())
        heard = _listen(opened[-1])
        opened[-1].goto(f"{book().as_uri()}/{name}", timeout=PATIENCE_MS)
        return opened[-1], heard

    yield load
    for page in opened:
        page.close()


def test_the_front_page_has_the_readers_theme_is_led_to_and_says_it_in_one_screen(front):
    for theme in THEMES:
        page, _ = front("book/intro.html", theme)
        assert page.evaluate("document.documentElement.dataset.theme") == theme
    page, _ = front("index.html")
    page.wait_for_url("**/book/intro.html", timeout=PATIENCE_MS)
    box = page.locator("dl.merit-front").bounding_box()
    assert box["y"] + box["height"] <= WIDTHS[1280]
    assert page.locator("dl.merit-front dt").count() == 5


@pytest.mark.parametrize(("word", "there"), [("rhythm", True), ("InfoNCE", True), ("xyzzyplugh", False)])
def test_the_search_finds_words_without_a_server(front, word, there):
    page, heard = front(f"search.html?q={word}")
    page.wait_for_selector("#search-results .search-summary:not(:empty)", timeout=PATIENCE_MS)
    page.wait_for_function("/finished|did not match/i.test(document.querySelector('#search-results').innerText)")
    assert (page.locator("#search-results li a").count() > 0) == there
    assert not any(heard.values()), heard


SOUND = """<h1 id="top">A page</h1><p>Prose of \\(no\\) fault in <code>\\frac</code>, <a href="#top">up</a>.</p>
<div style="overflow-x: auto"><table><tr><td style="min-width: 3000px">a table that scrolls</td></tr></table></div>
<img alt="a dot" src="dot.svg" width="40" height="40"><p style="font-size: 24px; color: #949494">Large and grey.</p>
""".replace("\\(no\\)", "no")
GREY = "color: #8a8a8a"  # 3.45 to 1 on white
FAULTY = {
    "an error in a script": ("script", "<script>nothing.there()</script>"),
    "an error that is logged": ("script", "<script>console.error('no')</script>"),
    "a broken promise": ("script", "<script>Promise.reject(new Error('no'))</script>"),
    "a picture elsewhere": ("network", "<img alt='x' width=40 src='https://example.org/x.png'>"),
    "a dead link": ("links", "<a href='gone.html'>gone</a>"),
    "a dead place": ("anchors", "<a href='#gone'>gone</a>"),
    "a wide body": ("overflow", "<div style='width: 3000px'>wide</div>"),
    "wide behind a clipped body": ("overflow", "<style>body {overflow-x: clip}</style><p style='width: 3000px'>w</p>"),
    "a long word": ("overflow", f"<p>{'longword' * 400}</p>"),
    "cut off": ("cutOff", "<article class=bd-article><p style='overflow: hidden; width: 40px'>morethanfitsin</p>"),
    "a formula unset": ("rawTex", "<p>let \\(x\\) be</p>"),
    "dollars unset": ("rawTex", "<p>let $$x$$ be</p>"),
    "a command unset": ("rawTex", "<p>in \\mathbb{R}</p>"),
    "a formula refused": ("rawTex", "<mjx-container><mjx-merror>x</mjx-merror></mjx-container>"),
    "no alternative": ("alternativeText", "<img src='dot.svg' width=40>"),
    "a path as alternative": ("alternativeText", "<img src='dot.svg' width=40 alt='_images/dot.png'>"),
    "a drawing without": ("alternativeText", "<svg role=img width=9 height=9><rect width=9 height=9 /></svg>"),
    "too small a picture": ("pictures", "<img alt='x' src='dot.svg' width=9>"),
    "grey on white": ("contrast", f"<p style='{GREY}'>grey</p>"),
    "thin by opacity": ("contrast", "<div style='opacity: .5'><p>thin</p></div>"),
    "on a ground of its parent": ("contrast", "<div style='background: #555'><p style='color: #000'>dark</p></div>"),
    "on two half grounds": ("contrast", "<div style='background: #0008'><p style='background: #0008'>dark</p></div>"),
    "within a fold": ("contrast", f"<details><summary>fold</summary><p style='{GREY}'>grey</p></details>"),
    "large but not enough": ("contrast", "<p style='font-size: 24px; color: #a0a0a0'>grey</p>"),
    "bold below the size": ("contrast", f"<p style='font-size: 18px; font-weight: 700; {GREY}'>grey</p>"),
    "a grey formula": ("contrast", f"<mjx-container style='{GREY}; display: block'><svg width=9 height=9 />"),
}
"""What is wrong with a made-up page -> the kind of fault that must be found, and the HTML."""


@pytest.fixture
def made_up(tmp_path):
    """Writes a page of that HTML, beside a small picture, and gives its address."""
    dot = "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='40'><circle r='9' cx='20' cy='20'/></svg>"
    (tmp_path / "dot.svg").write_text(dot)

    def write(html: str) -> str:
        (tmp_path / "page.html").write_text(f"<!doctype html><html lang=en><title>t</title><body>{html}", "utf-8")
        return (tmp_path / "page.html").as_uri()

    return write


@pytest.mark.parametrize("width", WIDTHS)
def test_a_sound_page_has_no_fault_and_one_that_lacks_a_script_or_light_has(browser, made_up, width):
    large, on_black = f"<p style='font-size: 24px; {GREY}'>grey</p>", f"<p style='background: #000; {GREY}'>grey</p>"
    for sound in (SOUND, large, on_black):  # large letters may be fainter
        assert browser.faults(made_up(sound), width) == {}
    assert "gone.js" in browser.faults(made_up("<script src='gone.js'></script>"), width)["asset"][0]
    dark = "<style>:root {color-scheme: dark}</style><p style='color: #333'>dark</p>"
    assert set(browser.faults(made_up(dark), width, "dark")) == {"contrast"}


@pytest.mark.parametrize("what", FAULTY)
def test_each_fault_is_found(browser, made_up, what):
    kind, html = FAULTY[what]
    found = browser.faults(made_up(SOUND + html))
    assert found.pop(kind)
    assert set(found) <= {"network": {"asset", "script", "pictures"}}.get(kind, set())
