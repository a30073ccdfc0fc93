"""A book of recordings whose ids, codes, reports, files and folder are made to be read as HTML, Markdown or TeX."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from merit.config import HospitalConfig

ROOT = Path(__file__).parents[2]
RECORDINGS = {"mimic-iv-ecg": 80, "ptb-xl": 100, "cpsc2018": 80, "csn": 80}
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

    write_hospitals(folder, HospitalConfig(recordings=RECORDINGS, min_positives=4), progress=False)
    path = folder / "ptb-xl" / "ptbxl_database.csv"
    table = pd.read_csv(path, dtype=str)
    text = [TEXTS[k % len(TEXTS)] for k in range(len(table))]
    table["ecg_id"] = [f"{k}{one}" for k, one in enumerate(text)]
    table["patient_id"] = [
        f"{one}{TEXTS[int(one) % len(TEXTS)]}" for one in table["patient_id"].astype(float).astype(int)
    ]
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
def pages(request, tmp_path_factory) -> Path:
    """The folder of the built pages."""
    if "slow" not in request.config.getoption("-m"):
        pytest.skip("takes minutes; run with -m slow")
    root = tmp_path_factory.mktemp("hostile")
    data = root / f"<b id={TOKEN}>&$\\frac {{{{7 * 7}}}}"
    hostile_trees(data)
    for name in ("_config.yml", "_toc.yml", "requirements.txt"):
        shutil.copyfile(ROOT / name, root / name)
    shutil.copytree(ROOT / "book", root / "book")
    call = [sys.executable, "-m", "merit", "book", "--profile", "smoke", "--data", data, "--device", "cpu"]
    environment = {**os.environ, "MERIT_HOME": str(root)}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return next((root / "_build").glob("smoke-data-*")) / "html" / "book"


def from_data(page: str) -> list[str]:
    """Elements of a page that a text of the data has become, or reaches into."""
    found = []
    for tag in BeautifulSoup(page, "html.parser").find_all(True):
        attributes = {name: value for name, value in tag.attrs.items() if name not in ("title", "content")}
        live = TOKEN in str(attributes) or (tag.name in ("script", "style") and TOKEN in tag.get_text())
        if (
            live
            or any(name.startswith("on") for name in tag.attrs)
            or (tag.name in ("em", "strong") and tag.string == TOKEN)
        ):
            found.append(str(tag)[:200])
    return found


@pytest.mark.slow
def test_no_text_of_the_data_is_a_live_element_on_any_page(pages):
    shown = {}
    for source in (ROOT / "book").glob("*.ipynb"):
        page = (pages / f"{source.stem}.html").read_text(encoding="utf-8")
        assert from_data(page) == [], source.stem
        shown[source.stem] = page.count(TOKEN)
    print(shown)
    assert shown["fig1_framework"] > 3
    assert shown["cohorts"]
    assert sum(bool(count) for count in shown.values()) > 20  # the folder's name stands at least in every footer


@pytest.mark.slow
def test_a_live_element_would_be_found():
    page = f"<p>{TOKEN}</p><b id={TOKEN}></b><script>{TOKEN}()</script><em>{TOKEN}</em><a onclick=x></a>"
    assert len(from_data(page)) == 4
