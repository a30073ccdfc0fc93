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

import numpy as np
import pandas as pd
from tqdm import tqdm

from merit import runs
from merit.config import HospitalConfig
from merit.pool import ordered_map
from merit.synthetic.about import about_page
from merit.synthetic.admissions import admit
from merit.synthetic.cases import cardiac_signal, make_case
from merit.synthetic.labels import sample_findings
from merit.synthetic.leads import twelve_leads
from merit.synthetic.orders import Made, Order
from merit.synthetic.recorder import SITES, electrode_noise, noise_share
from merit.synthetic.reports import named_findings, write_report
from merit.synthetic.site_trees import LAYOUTS
from merit.synthetic.truth import measure

RECORD_FILE = "synthetic.json"
"""Beside SYNTHETIC.md: what a tree was made from."""

CHUNK = 25


def write_hospitals(folder: Path, config: HospitalConfig, progress: bool = True) -> dict[str, Path]:
    """Write every site of `config.recordings` as `folder/<data set>`; returns cohort name -> root.

    A site that is there from the same settings (of that site) and the same generator is kept as it is; whoever else is
    writing it is waited for.
    """
    for site in config.recordings:
        if site not in SITES:
            raise ValueError(f"unknown site {site!r} in HospitalConfig.recordings; known: {sorted(SITES)}")
    for site in config.recordings:
        if not is_complete(folder / site, site, config):
            with runs.claimed(folder / site):
                if not is_complete(folder / site, site, config):
                    _write_site(folder / site, site, config, progress)
    return {site: folder / site for site in config.recordings}


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
    identity = site_identity(site, config)
    with runs.new_folder(root) as made_in:
        made = _make(site, config, made_in, progress)
        LAYOUTS[site].tables(made_in, made)
        _write_truth(made_in / "truth.parquet", made)
        (made_in / "SYNTHETIC.md").write_text(about_page(site, identity), encoding="utf-8")
        runs.write_json(made_in / RECORD_FILE, identity)


def plan_site(site: str, config: HospitalConfig) -> list[Order]:
    """Who comes to a site and with which findings; no waveform is needed for it."""
    n, code = config.recordings[site], list(SITES).index(site)
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, code]))
    floor = 0 if site == "mimic-iv-ecg" else config.min_positives
    findings = sample_findings(site, n, floor, rng)
    rows = admit(site, findings, rng)
    seeds = [np.random.SeedSequence([config.seed, code, k]).generate_state(2, np.uint64) for k in range(n)]
    return [
        Order(site=site, index=k, patient_seed=int(seeds[row["patient"]][0]), record_seed=int(seeds[k][1]), **row)
        for k, row in enumerate(rows)
    ]


def _make(site: str, config: HospitalConfig, root: Path, progress: bool) -> list[Made]:
    orders = plan_site(site, config)
    n = len(orders)
    chunks = [orders[k : k + CHUNK] for k in range(0, n, CHUNK)]
    work = partial(make_chunk, root=root, omission=config.report_omission)
    LAYOUTS[site].folders(root, orders)
    made: list[Made] = []
    with tqdm(total=n, desc=f"synthetic {site}", unit="rec", disable=not progress) as shown:
        for part in ordered_map(work, chunks, config.workers if len(chunks) > 2 else 1):
            made += part
            shown.update(len(part))
    return made


def make_chunk(orders: list[Order], root: Path, omission: float) -> list[Made]:
    """Generate and write some recordings."""
    return [_make_one(order, root, omission) for order in orders]


def _make_one(order: Order, root: Path, omission: float) -> Made:
    made, signal_mv, fs_hz = render(order, omission)
    LAYOUTS[order.site].record(root, made, signal_mv, fs_hz)
    return made


def render(order: Order, omission: float = 0.3) -> tuple[Made, np.ndarray, int]:
    """One recording in memory: its truth and report, twelve leads float32 [12, T] in mV, and their rate."""
    site = SITES[order.site]
    fs_hz = 500 if order.also_500_hz else site.fs_hz
    n_samples = round(order.duration_s * fs_hz)
    guard_s = 0.1325 / 150 if order.also_500_hz else site.guard_s
    case = make_case(order.findings, site, order.age, order.female, order.patient_seed, order.record_seed)
    eight, events = cardiac_signal(case, fs_hz, n_samples, guard_s)
    rng = np.random.default_rng([order.record_seed, 1])
    noise = electrode_noise(site, fs_hz, n_samples, guard_s, rng)
    truth = measure(case, events, order.duration_s) | {"noise_share": noise_share(eight, noise, fs_hz)}
    named = named_findings(order.findings, omission, rng)
    made = Made(order=order, truth=truth, named=named, report=write_report(named, truth, rng))
    return made, twelve_leads(eight + noise), fs_hz


def _write_truth(path: Path, made: list[Made]) -> None:
    """One row a recording: identity, patient, findings (all, and named by the report), continuous truth."""
    layout = LAYOUTS[made[0].order.site] if made else None
    rows = [
        {
            "record_id": layout.record_id(one.order), "patient_id": layout.patient_id(one.order),
            "age": one.order.age, "sex": "female" if one.order.female else "male",
            "findings": sorted(one.order.findings), "named": one.named, **one.truth,
        }
        for one in made
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(path, index=False)
