"""Synthetic hospitals: four sites, each a genuine WFDB tree in the layout of one published data set.

`write_hospitals` samples who has what, generates each recording from its own seed (so that the number of processes does
not matter), writes the trees under a temporary name and renames them when they are complete.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from merit import runs
from merit.config import HospitalConfig
from merit.data import taxonomy
from merit.parallel import ordered_map
from merit.synthetic.labels import Order, plan_site, vocabulary
from merit.synthetic.layouts import LAYOUTS
from merit.synthetic.recordings import SITES, Made, render

RECORD_FILE = "synthetic.json"
"""Beside SYNTHETIC.md: what a tree was made from."""
CHUNK = 25
"""Recordings that a worker makes at a time."""


def write_hospitals(folder: Path, config: HospitalConfig, progress: bool = True) -> dict[str, Path]:
    """Write every site of `config.recordings` as `folder/<data set>`; returns cohort name -> root.

    A site that is there from the same settings (of that site) and the same generator is kept as it is. Other processes
    wait for the one that is writing it.
    """
    for site in config.recordings:
        if site not in SITES:
            raise ValueError(f"unknown site {site!r} in HospitalConfig.recordings; known: {sorted(SITES)}")
    roots = {site: folder / site for site in config.recordings}
    for site, root in roots.items():
        if not is_complete(root, site, config):
            with runs.claimed(root):
                if not is_complete(root, site, config):
                    _write_site(root, site, config, progress)
    return roots


def site_identity(site: str, config: HospitalConfig) -> dict[str, Any]:
    """What a site's tree depends on: its settings and the generator's own source."""
    settings = {key: value for key, value in asdict(config).items() if key not in ("recordings", "workers")}
    source = runs.source_closure(["merit.synthetic.hospitals"])
    return {"site": site, "recordings": config.recordings[site], **settings, "generator": runs.digest(source)}


def is_complete(root: Path, site: str, config: HospitalConfig) -> bool:
    """Whether a site is there from these settings and this generator. Whoever reads its recordings checks them."""
    if not runs.sealed(root):
        return False
    runs.check(root, RECORD_FILE)
    return json.loads((root / RECORD_FILE).read_text(encoding="utf-8")) == site_identity(site, config)


def _write_site(root: Path, site: str, config: HospitalConfig, progress: bool) -> None:
    identity, layout = site_identity(site, config), LAYOUTS[site]
    orders = plan_site(site, config)
    chunks = [orders[k : k + CHUNK] for k in range(0, len(orders), CHUNK)]
    made: list[Made] = []
    with (
        runs.new_folder(root) as folder,
        tqdm(total=len(orders), desc=f"synthetic {site}", unit="rec", disable=not progress) as bar,
    ):
        work = partial(make_chunk, root=folder, omission=config.report_omission)
        for part in ordered_map(work, chunks, config.workers if len(chunks) > 2 else 1):
            made += part
            bar.update(len(part))
        layout.tables(folder, made)
        rows = []
        for m in made:  # the hidden truth: identity, patient, findings (all, and named by the report), measurements
            row = {"record_id": layout.record_id(m.order), "patient_id": layout.patient_id(m.order)}
            row |= {"age": m.order.age, "sex": "female" if m.order.female else "male"}
            rows.append(row | {"findings": sorted(m.order.findings), "named": m.named, **m.truth})
        pd.DataFrame(rows).to_parquet(folder / "truth.parquet", index=False)
        (folder / "SYNTHETIC.md").write_text(_about(site, identity), encoding="utf-8")
        runs.write_json(folder / RECORD_FILE, identity)


def make_chunk(orders: list[Order], root: Path, omission: float) -> list[Made]:
    """Generate and write some recordings: what a worker does."""
    done = []
    for order in orders:
        made, signal_mv, fs_hz = render(order, omission)
        LAYOUTS[order.site].record(root, made, signal_mv, fs_hz)
        done.append(made)
    return done


def left_out() -> dict[str, list[str]]:
    """What no synthetic recording has of PTB-XL's statements (all 71 are made) and of the conditions in CSN's table."""
    table = vocabulary()
    known = {"ptb-xl": taxonomy.statements()["code"], "csn": taxonomy.csn_conditions()["label"]}
    return {name: [label for label in labels if label not in set(table[name])] for name, labels in known.items()}


def left_out_in_words() -> str:
    """One sentence that names what no synthetic recording has."""
    ptb_xl, csn = (", ".join(names) or "none" for names in left_out().values())
    return (
        f"Left out of the synthetic hospitals: of PTB-XL's statements {ptb_xl}; of the conditions in CSN's table, "
        f"beyond the 38 that are scored, {csn}."
    )


def _about(site: str, identity: dict[str, Any]) -> str:
    """Text of SYNTHETIC.md, which lies in every synthetic tree and says what it is."""
    lacking = left_out()
    return f"""# Synthetic recordings in the layout of {site}

None of these is a recording of a person. A model of the heart's electric vector made them, to show that the programs
around it work and to test a theory where the truth is known. Numbers obtained here say nothing about real hearts.

Made from: `{json.dumps(identity, sort_keys=True)}`

- `truth.parquet` holds what no report says: findings, those that the report names, heart rate, intervals (ms), axis
  (degrees, 0 left, 90 feet), amplitudes and ST level of each lead (mV, noise-free).
- Reports are in English everywhere; the real PTB-XL's are mostly German.
- Labels are what the generator was asked for. Severity varies, so some findings are borderline and cannot be seen, and
  some mild changes carry no label, as in real data.
- PTB-XL statements left out: {", ".join(lacking["ptb-xl"]) or "none"}. Conditions of the Chapman-Shaoxing-Ningbo table
  left out: {", ".join(lacking["csn"])}.
"""
