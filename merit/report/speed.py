"""The committed measurement of `make bench` as a table: ratios taken in one run, beside what they should be."""

from __future__ import annotations

import json
from pathlib import Path

from merit import runs
from merit.report import tables
from merit.report.prose import Html


def table(path: Path | None = None) -> Html:
    """A row a figure, from `book/reference/bench.json`; a sentence where nothing has been measured."""
    path = path or runs.home() / "book" / "reference" / "bench.json"
    if not path.exists():
        return Html("<p>Nothing has been measured; <code>make bench</code> does.</p>")
    found = json.loads(path.read_text(encoding="utf-8"))
    ingest, probe, rates = found["ingest"], found["linear_probe"], found["pretraining"]["recordings_per_s"]
    small, large = ingest["peak_mb_500"], ingest["peak_mb_2000"]
    rows = {
        "ingest beside wfdb alone, per core": (f"{ingest['ratio']:.2f} times", "at most 1.3"),
        "ingest, one worker": (f"{ingest['recordings_per_s']:.0f} recordings/s", "–"),
        "memory of ingest, 500 and 2,000 recordings": (f"{small:.0f} and {large:.0f} MB", "equal"),
        "probing PTB-XL's five tasks, both variants": (f"{probe['probe_s']:.0f} s", "under 120 s"),
        "the same folds one after another": (f"{probe['ratio']:.1f} times as long", "–"),
        **{f"pretraining, {name}": (f"{rate:.0f} recordings/s", "–") for name, rate in rates.items()},
    }
    return tables.mapping(
        {name: {"measured": value, "wanted": wanted} for name, (value, wanted) in rows.items()}, "speed"
    )


def where(path: Path | None = None) -> str:
    """On what the committed figures were measured."""
    path = path or runs.home() / "book" / "reference" / "bench.json"
    if not path.exists():
        return ""
    about = json.loads(path.read_text(encoding="utf-8"))["about"]
    source = "synthetic hospitals" if about["synthetic"] else "2,000 real recordings of PTB-XL and its label matrix"
    versions = f"torch {about['versions']['torch']}, Python {about['versions']['python']}"
    return f"Measured on {about['cores']} CPU cores with {source}, commit {about['commit']}, {versions}."
