"""Whether synthetic recordings are as hard as real ones, and alike in intervals and amplitudes.

How hard it is to rebuild leads from leads is told by three shares of variance that both must have.

A fixed lead field would make twelve leads rank 3 and masked reconstruction trivial. Legend: N recordings, L = 12 leads,
T samples. Every recording is z-scored over all its leads together, as the encoder sees it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from merit import runs
from merit.data.cohorts.registry import open_cohort
from merit.data.lead_geometry import hardness
from merit.data.recording import LEADS, RejectedRecording
from merit.data.wfdb_io import read_annotation
from merit.synthetic.real_statistics import QUANTILES, beat_amplitudes, delineated_waves, intervals, table

TARGETS = {"own_three": 0.978, "common_three": 0.912, "three_lead_bound": 0.37}
"""What 2,000 recordings of PTB-XL show; `tolerance` is how far the synthetic PTB-XL-like site may be from it."""
TOLERANCE = {"own_three": 0.02, "common_three": 0.02, "three_lead_bound": 0.07}
LUDB_FS_HZ = 500.0
INTERVALS = ("heart_rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "p_ms")


def measure_ptb_xl(root: Path, limit: int | None = None) -> dict[str, Any]:
    """Hardness of the 100 Hz recordings of a PTB-XL tree, and amplitudes of the normal ones that are not rescaled."""
    cohort = open_cohort("ptb-xl", root)
    rescaled_list = root / "RESCALED.txt"
    rescaled = set(rescaled_list.read_text(encoding="utf-8").split()) if rescaled_list.is_file() else set()
    signals, rows = [], []
    for ref in cohort.refs().itertuples():
        if (limit is None or len(signals) < limit) and cohort.has_waveform(ref):
            try:
                one = cohort.read(ref, fs_hz=100)
            except RejectedRecording:
                continue
            signals.append(np.nan_to_num(one.signal_mv))
            if "NORM" in one.labels and not {one.record_id, f"{int(one.record_id):05d}"} & rescaled:
                rows.append(beat_amplitudes(one.signal_mv, one.fs_hz))
    return {"hardness": hardness(np.stack(signals)), "amplitudes_of_normal": {"n_recordings": len(rows), **table(rows)}}


def measure_ludb(root: Path, limit: int | None = None) -> dict[str, Any]:
    """Intervals of LUDB's recordings from its manual delineations, median over leads and beats of each recording."""
    names = sorted({path.stem for path in (root / "data").glob("[!.]*.hea")}, key=int)[:limit]
    rows = []
    for name in names:
        leads = {}
        for lead in LEADS:
            samples, symbols = read_annotation(str(root), f"data/{name}", lead.lower())
            leads[lead] = delineated_waves(samples, symbols, LUDB_FS_HZ)
        rows.append(intervals(leads))
    return {"n_recordings": len(rows), **table(rows)}


def measure_truth(root: Path) -> dict[str, Any]:
    """The same intervals of a synthetic tree, from its hidden truth."""
    truth = pd.read_parquet(root / "truth.parquet")
    return {"n_recordings": len(truth), **table(truth[list(INTERVALS)].to_dict("records"))}


def real_recordings(data: Path) -> dict[str, Any]:
    """What `book/reference/real_recordings.json` holds: numbers of real recordings below `data`, with provenance."""
    ptb_xl = measure_ptb_xl(data / "ptb-xl")
    return {
        "what": "Quantiles and shares of real recordings that the synthetic ones are compared with; no waveforms.",
        "made_by": "python -m merit.synthetic.realism --data DATA --out FILE",
        "quantiles": list(QUANTILES),
        "hardness": {"source": "PTB-XL 1.0.3 (CC BY 4.0), the recordings at hand at 100 Hz", **ptb_xl["hardness"]},
        "intervals": {"source": "LUDB 1.0.1 (ODC-By 1.0), manual delineations", **measure_ludb(data / "ludb")},
        "amplitudes_of_normal": {
            "source": "PTB-XL 1.0.3 (CC BY 4.0), official recordings at 100 Hz labelled NORM, median beat",
            **ptb_xl["amplitudes_of_normal"],
        },
    }


def main() -> None:
    """Write the real numbers, and print them beside those of a synthetic PTB-XL-like tree if one is given."""
    parser = argparse.ArgumentParser(prog="python -m merit.synthetic.realism", description=main.__doc__)
    parser.add_argument("--data", type=Path, help="root of the real recordings (folders ptb-xl and ludb)")
    parser.add_argument("--out", type=Path, help="file to write, with --data")
    parser.add_argument("--synthetic", type=Path, help="root of a synthetic PTB-XL-like tree to compare")
    options = parser.parse_args()
    shown: dict[str, dict[str, Any]] = {}
    if options.data:
        shown["real"] = real_recordings(options.data)
        if options.out:
            runs.write_json(options.out, shown["real"])
    if options.synthetic:
        shown["synthetic"] = {**measure_ptb_xl(options.synthetic), "intervals": measure_truth(options.synthetic)}
    for part in ("hardness", "intervals", "amplitudes_of_normal"):
        for key in next(iter(shown.values()), {part: {}})[part]:
            print(part, key, *(f"{name}: {one[part].get(key)}" for name, one in shown.items()))


if __name__ == "__main__":
    main()
