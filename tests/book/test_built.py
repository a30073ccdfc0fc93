"""Whole books as a reader without a network gets them: smoke from nothing, the paper's profile, hostile recordings.

Minutes; run with -m slow.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from merit.config import GenerationConfig, HospitalConfig, TextConfig
from merit.publish.build import build_book

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "book").glob("*.ipynb"))
FETCHED = re.compile(r"""(?:<script[^>]*src|<link[^>]*href|<img[^>]*src)=["']https?://|@import|url\(["']?https?://""")


@pytest.fixture(scope="module")
def home(request, tmp_path_factory) -> Callable[[str], Path]:
    """Makes a folder with the sources of a book; skips where slow tests are not asked for."""
    if "slow" not in request.config.getoption("-m"):
        pytest.skip("takes minutes; run with -m slow")

    def make(name: str) -> Path:
        root = tmp_path_factory.mktemp(name)
        for file in ("_config.yml", "_toc.yml", "requirements.txt"):
            shutil.copyfile(ROOT / file, root / file)
        shutil.copytree(ROOT / "book", root / "book")
        return root

    return make


def run(root: Path, *command: object) -> None:
    environment = {**os.environ, "MERIT_HOME": str(root)}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


# -- the smoke profile ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smoke(home: Callable[[str], Path]) -> Path:
    """The first page of a book built from nothing."""
    return build_book("smoke", None, "cpu", home("book"))


def test_pages_fetch_nothing_bring_their_own_mathjax_and_say_that_they_are_synthetic(smoke, capsys):
    html = smoke.parents[1]
    for page in html.rglob("*.html"):
        assert not FETCHED.search(page.read_text(encoding="utf-8")), page.name
    assert "mathjax/tex-svg.js" in (smoke.parent / "objective.html").read_text(encoding="utf-8")
    assert (html / "_static" / "mathjax" / "tex-svg.js").stat().st_size > 1_000_000
    for name in NOTEBOOKS:
        text = (smoke.parent / f"{name}.html").read_text(encoding="utf-8")
        assert f"make notebook NB={name} PROFILE=smoke" in text
        assert name == "provenance" or "Synthetic recordings" in text
    assert build_book("smoke", None, "cpu", smoke.parents[4]) == smoke
    assert "nothing to do" in capsys.readouterr().out


# -- the paper's profile on a CPU, from trees in the four published layouts ------------------------------------------


@pytest.fixture(scope="module")
def paper(home) -> Path:
    """The folder of a book made by `make book PROFILE=paper` with limits, BERT and Llama small and from folders."""
    from merit.evaluate.generation.language_model import train_language_model
    from merit.model.text import train_text_encoder
    from merit.synthetic.hospitals import write_hospitals

    root, recordings = home("paper"), {"mimic-iv-ecg": 48, "ptb-xl": 60, "cpsc2018": 48, "csn": 48}
    write_hospitals(root / "data", HospitalConfig(recordings=recordings, min_positives=4), progress=False)
    size = TextConfig(width=48, depth=1, heads=2, updates=2, batch=8, max_tokens=128)
    small = {"lm_width": 32, "lm_depth": 1, "lm_heads": 2, "lm_kv_heads": 1, "lm_vocabulary": 300, "lm_updates": 2}
    small = GenerationConfig(**small, max_tokens=600)
    bert = train_text_encoder(["sinus rhythm, normal ecg"], size, root / "bert", progress=False)
    language_model = train_language_model(["Sinus rhythm."], small, root / "llama", progress=False)
    models = [f"TEXT={bert}", f"BERT={bert}", f"LM={language_model}"]
    settings = ["PROFILE=paper", f"DATA={root / 'data'}", *models, "LIMIT=40", "EPOCHS=1", "DEVICE=cpu"]
    run(root, "make", "-C", ROOT, "book", *settings)
    return root


def test_every_page_of_the_papers_profile_says_what_it_is_and_the_network_is_the_papers(paper):
    pages = next((paper / "_build").glob("paper-data-*-limit40-epochs1-set-*")) / "html" / "book"
    for name in NOTEBOOKS:
        text = (pages / f"{name}.html").read_text(encoding="utf-8")
        assert f"NB={name}" in text
        if name not in ("provenance", "cost", "peers"):  # these show no number of the run's own
            assert "limit 40 and epochs 1" in text, name
    folders = list((paper / "artifacts").glob("paper-data-*-limit40/checkpoints/[a-z]*-seed0-*"))
    assert {folder.name.split("-")[0] for folder in folders} == {"merit", "cma", "ib", "mse"}
    for folder in folders:
        settings = json.loads((folder / "config.json").read_text())
        encoder = settings["model"]["encoder"]
        assert (encoder["width"], encoder["depth"], encoder["heads"], encoder["patch"]) == (192, 12, 3, 25)
        assert (settings["model"]["text_width"], settings["pretrain"]["batch"]) == (48, 10)


# -- recordings whose ids, codes, reports, files and folder are made to be read as HTML, Markdown or TeX -------------

TOKEN = "h0stile"
"""Stands in every text below, so that a page can be searched for elements that come from data."""
TEXTS = (
    f"<script>{TOKEN}()</script>",
    f'"><img src=x onerror={TOKEN}()>',
    f"$\\frac{{{TOKEN}}}$",
    f"_{TOKEN}_ **{TOKEN}**",
    f"[{TOKEN}](javascript:{TOKEN}())",
    f"{TOKEN} {{{{7 * 7}}}} {{% raw %}}",
    f"```{{eval-rst}}\n.. raw:: html\n\n   <b id={TOKEN}>\n```",
    f"</td><script>{TOKEN}()</script><td>",
    f"<!-- {TOKEN}",
)


def hostile_trees(folder: Path) -> None:
    """Synthetic hospitals in the published layouts, with such texts wherever a table may hold any text."""
    from merit.synthetic.hospitals import write_hospitals

    recordings = {"mimic-iv-ecg": 80, "ptb-xl": 100, "cpsc2018": 80, "csn": 80}
    write_hospitals(folder, HospitalConfig(recordings=recordings, min_positives=4), progress=False)
    path = folder / "ptb-xl" / "ptbxl_database.csv"
    table = pd.read_csv(path, dtype=str)
    text = [TEXTS[k % len(TEXTS)] for k in range(len(table))]
    table["ecg_id"] = [f"{k}{one}" for k, one in enumerate(text)]
    patients = table["patient_id"].astype(float).astype(int)
    table["patient_id"] = [f"{patient}{TEXTS[patient % len(TEXTS)]}" for patient in patients]
    table["report"] = [f"{report} {one}" for report, one in zip(table["report"], text)]
    table["scp_codes"] = [f"{codes[:-1]}, {one!r}: 100.0}}" for codes, one in zip(table["scp_codes"], text)]
    table.loc[0, "strat_fold"], table.loc[1, "scp_codes"], table.loc[2, "filename_lr"] = TEXTS[0], TEXTS[1], TEXTS[1]
    table.to_csv(path, index=False)
    path = folder / "mimic-iv-ecg" / "machine_measurements.csv"
    table = pd.read_csv(path, dtype=str)
    table["report_0"] = [f"{report} {TEXTS[k % len(TEXTS)]}" for k, report in enumerate(table["report_0"])]
    table.to_csv(path, index=False)
    header = next((folder / "cpsc2018").rglob("*.hea"))
    signal, name = header.with_suffix(".mat"), f"A<b>{TOKEN}&$x$"
    header.with_name(f"{name}.hea").write_text(header.read_text().replace(header.stem, name))
    signal.rename(signal.with_name(f"{name}.mat"))
    header.unlink()
    for name in ("SHA256SUMS", "SYNTHETIC.md", "truth.parquet"):  # so that they pass for real ones, with such ids
        for file in folder.glob(f"*/{name}"):
            file.unlink()


@pytest.fixture(scope="module")
def hostile(home) -> Path:
    """The folder of the built pages."""
    root = home("hostile")
    data = root / f"<b id={TOKEN}>&$\\frac {{{{7 * 7}}}}"
    hostile_trees(data)
    run(root, sys.executable, "-m", "merit", "book", "--profile", "smoke", "--data", data, "--device", "cpu")
    return next((root / "_build").glob("smoke-data-*")) / "html" / "book"


OF_THE_THEME = ("window.print()", "toggleFullScreen()")
"""What its two buttons do when they are pressed; on every page."""


def from_data(page: str) -> list[str]:
    """Elements of a page that a text of the data has become, or reaches into."""
    found = []
    for tag in BeautifulSoup(page, "html.parser").find_all(True):
        attributes = {name: value for name, value in tag.attrs.items() if name not in ("title", "content")}
        live = TOKEN in str(attributes) or (tag.name in ("script", "style") and TOKEN in tag.get_text())
        live |= any(name.startswith("on") and value not in OF_THE_THEME for name, value in tag.attrs.items())
        if live or (tag.name in ("em", "strong") and tag.string == TOKEN):
            found.append(str(tag)[:200])
    return found


def test_no_text_of_the_data_is_a_live_element_on_any_page(hostile):
    made_up = f"<p>{TOKEN}</p><b id={TOKEN}></b><script>{TOKEN}()</script><em>{TOKEN}</em><a onclick=x></a>"
    assert len(from_data(made_up)) == 4
    shown = {}
    for name in NOTEBOOKS:
        page = (hostile / f"{name}.html").read_text(encoding="utf-8")
        assert from_data(page) == [], name
        shown[name] = page.count(TOKEN)
    assert shown["fig1_framework"] > 3
    assert shown["cohorts"]
    assert sum(bool(count) for count in shown.values()) > 20  # the folder's name stands at least in every footer
