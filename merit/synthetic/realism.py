"""Whether synthetic recordings are as hard as real ones, and alike in intervals and amplitudes.

How hard it is to rebuild leads from leads is measured by three shares of variance, alike in both: a fixed lead field
would make twelve leads rank 3 and masked reconstruction trivial. Intervals come from manual delineations (events of P,
QRS and T with begin, peak and end), amplitudes from the median beat of a recording. The same functions measure both
kinds. Legend: L = 12 leads, T samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.signal import butter, find_peaks, sosfiltfilt

from merit import runs
from merit.data.cohorts import open_cohort
from merit.data.preprocess import hardness
from merit.data.recording import LEADS, RejectedRecording
from merit.data.wfdb_io import read_annotation

TARGETS = {"own_three": 0.978, "common_three": 0.912, "three_lead_bound": 0.37}
"""What 2,000 recordings of PTB-XL show; `tolerance` is how far the synthetic PTB-XL-like site may be from it."""
TOLERANCE = {"own_three": 0.02, "common_three": 0.02, "three_lead_bound": 0.07}
LUDB_FS_HZ = 500.0
INTERVALS = ("heart_rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "p_ms")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PEAKS = {"p": "p", "N": "qrs", "t": "t"}
"""Symbols of LUDB's annotations at the peak of a wave; "(" and ")" stand before and after it."""


def delineated_waves(samples: Sequence[int], symbols: Sequence[str], fs_hz: float) -> list[tuple[str, float, float]]:
    """(wave, begin, end) in ms of an annotated lead, in time order, of the waves whose begin and end are marked."""
    waves = []
    for k, symbol in enumerate(symbols):
        if symbol in PEAKS and 0 < k < len(symbols) - 1 and symbols[k - 1] == "(" and symbols[k + 1] == ")":
            waves.append((PEAKS[symbol], 1000 * samples[k - 1] / fs_hz, 1000 * samples[k + 1] / fs_hz))
    return sorted(waves, key=lambda wave: wave[1])


def intervals(leads: Mapping[str, list[tuple[str, float, float]]]) -> dict[str, float]:
    """Heart rate, PR, QRS, QT and P durations of a recording from its delineated leads: medians over leads and beats.

    NaN for what no lead shows (PR and P in atrial fibrillation).
    """
    values: dict[str, list[float]] = {"pr_ms": [], "qrs_ms": [], "qt_ms": [], "p_ms": [], "rr_ms": []}
    for waves in leads.values():
        starts = [begin for wave, begin, _ in waves if wave == "qrs"]
        values["rr_ms"] += list(np.diff(starts))
        for k, (wave, begin, end) in enumerate(waves):
            if wave == "p":
                values["p_ms"].append(end - begin)
            elif wave == "qrs":
                values["qrs_ms"].append(end - begin)
                if k and waves[k - 1][0] == "p":
                    values["pr_ms"].append(begin - waves[k - 1][1])
                if k + 1 < len(waves) and waves[k + 1][0] == "t":
                    values["qt_ms"].append(waves[k + 1][2] - begin)
    median = {name: float(np.median(v)) if v else np.nan for name, v in values.items()}
    return {"heart_rate_bpm": 60_000 / median.pop("rr_ms"), **median}


def beat_amplitudes(signal_mv: np.ndarray, fs_hz: float) -> dict[str, float]:
    """R, S and T amplitudes of each lead (mV, against the level before QRS) on the recording's median beat.

    R and S are the highest and lowest value within 60 ms of QRS's middle, T the extreme value from 120 to 420 ms after.
    Empty where there are fewer than three beats.
    """
    # QRS complexes: maxima of the smoothed slope over all leads
    band = butter(2, (8, min(35, 0.45 * fs_hz)), "band", fs=fs_hz, output="sos")
    slope = np.abs(np.gradient(sosfiltfilt(band, signal_mv, axis=1), axis=1)).sum(0)
    width = max(round(0.10 * fs_hz), 3)
    smooth = np.convolve(slope, np.hanning(width) / np.hanning(width).sum(), "same")
    height = 0.35 * np.quantile(smooth, 0.985)
    peaks = find_peaks(smooth, height=height, distance=max(round(0.27 * fs_hz), 1))[0]
    before, after = round(0.30 * fs_hz), round(0.45 * fs_hz)
    peaks = peaks[(peaks >= before) & (peaks + after < signal_mv.shape[1])]
    if len(peaks) < 3:
        return {}
    beat = np.median([signal_mv[:, p - before : p + after] for p in peaks], axis=0)

    def part(start_s: float, end_s: float) -> np.ndarray:
        return beat[:, before + round(start_s * fs_hz) : before + round(end_s * fs_hz) + 1]

    level = np.median(part(-0.10, -0.06), axis=1, keepdims=True)
    qrs, late = part(-0.06, 0.06) - level, part(0.12, 0.42) - level
    t = late[np.arange(len(late)), np.abs(late).argmax(1)]
    values = {}
    for k, lead in enumerate(LEADS):
        values |= {f"r_mv_{lead}": qrs[k].max(), f"s_mv_{lead}": qrs[k].min(), f"t_mv_{lead}": t[k]}
    return {name: float(value) for name, value in values.items()}


def table(rows: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    """QUANTILES of the finite values of each measurement over recordings, rounded to three decimals."""
    collected: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            collected.setdefault(name, []).extend([value] if np.isfinite(value) else [])
    return {k: [round(float(q), 3) for q in np.quantile(v, QUANTILES)] if v else [] for k, v in collected.items()}


def typical(truth: pd.DataFrame, finding: str, simple: int = 6) -> Any:
    """Index of the recording in a table of hidden truth (`truth.parquet`) that is most like the others with a finding.

    Its intervals, axis and amplitudes lie nearest to the medians of the class, in interquartile ranges; fourth powers,
    so that none of them is unusual. Chosen from those with the fewest other findings (`simple` of them, and ties).
    """
    rows = truth[[finding in found for found in truth["findings"]]]
    if rows.empty:
        raise ValueError(f"no recording has {finding!r}")
    measured = rows[[name for name in rows if "_mv_" in name or name in (*INTERVALS, "axis_deg")]].astype(float)
    spread = measured.quantile(0.75) - measured.quantile(0.25)
    distance = (((measured - measured.median()) / spread.where(spread > 0)) ** 4).mean(axis=1).fillna(0)
    count = rows["findings"].map(len)
    return distance[count <= count.nsmallest(simple).max()].idxmin()


def measure_ptb_xl(root: Path) -> dict[str, Any]:
    """Hardness of the 100 Hz recordings of a PTB-XL tree, and amplitudes of the normal ones that are not rescaled."""
    cohort = open_cohort("ptb-xl", root)
    rescaled_list = root / "RESCALED.txt"
    rescaled = set(rescaled_list.read_text(encoding="utf-8").split()) if rescaled_list.is_file() else set()
    signals, rows = [], []
    for ref in cohort.refs()[cohort.present()].itertuples():
        try:
            recording = cohort.read(ref, fs_hz=100)
        except RejectedRecording:
            continue
        signals.append(np.nan_to_num(recording.signal_mv))
        if "NORM" in recording.labels and not {recording.record_id, f"{int(recording.record_id):05d}"} & rescaled:
            rows.append(beat_amplitudes(recording.signal_mv, recording.fs_hz))
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


def real_recordings(data: Path) -> dict[str, Any]:
    """What `book/reference/real_recordings.json` holds: numbers of real recordings below `data`, with provenance."""
    ptb_xl, source = measure_ptb_xl(data / "ptb-xl"), "PTB-XL 1.0.3 (CC BY 4.0), "
    normal = {"source": source + "official recordings at 100 Hz labelled NORM, median beat"}
    return {
        "what": "Quantiles and shares of real recordings that the synthetic ones are compared with; no waveforms.",
        "made_by": "python -m merit.synthetic.realism --data DATA --out FILE",
        "quantiles": list(QUANTILES),
        "hardness": {"source": source + "the recordings at hand at 100 Hz", **ptb_xl["hardness"]},
        "intervals": {"source": "LUDB 1.0.1 (ODC-By 1.0), manual delineations", **measure_ludb(data / "ludb")},
        "amplitudes_of_normal": {**normal, **ptb_xl["amplitudes_of_normal"]},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m merit.synthetic.realism", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="real recordings (folders ptb-xl and ludb)")
    parser.add_argument("--out", type=Path, required=True, help="book/reference/real_recordings.json")
    options = parser.parse_args()
    runs.write_json(options.out, real_recordings(options.data))
