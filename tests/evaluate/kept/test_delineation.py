"""Delineation against the known truth of synthetic recordings, against LUDB's marks, and on what is no ECG."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from merit.config import HospitalConfig
from merit.data.wfdb_io import read_raw, read_waveform
from merit.evaluate.kept import delineation, ludb, manual
from merit.evaluate.kept.marks import intervals
from merit.evaluate.kept.measured import measure_all, measure_one
from merit.synthetic.hospitals import write_hospitals

TOLERANCES = {
    "heart_rate_bpm": (0.5, 1.0), "rr_rmssd_ms": (10, 1.0), "pr_ms": (25, 0.6), "qrs_ms": (15, 0.9),
    "qt_ms": (30, 0.7), "axis_deg": (6, 0.95), "r_mv_V5": (0.1, 0.95), "s_mv_V1": (0.1, 0.95), "t_mv_V3": (0.08, 0.8),
    "st_mv_V3": (0.06, 0.95),
}  # fmt: skip
"""Column -> largest median error, and smallest share of the recordings that have the factor in which it is measured."""


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> tuple[pd.DataFrame, np.ndarray]:
    """The truth of twenty-four recordings and their signals at 100 Hz, int16 µV [N, 12, T]."""
    config = HospitalConfig(recordings={"ptb-xl": 24}, workers=1)
    root = write_hospitals(tmp_path_factory.mktemp("hospital"), config, progress=False)["ptb-xl"]
    truth = pd.read_parquet(root / "truth.parquet")
    files = {str(int(path.stem.split("_")[0])): path for path in (root / "records100").rglob("*.hea")}
    names = [str(files[one].relative_to(root).with_suffix("")) for one in truth["record_id"].astype(str)]
    return truth, np.array([read_waveform(str(root), name).signal_mv * 1000 for name in names]).astype(np.int16)


@pytest.fixture(scope="module")
def measured(hospital) -> pd.DataFrame:
    return measure_all(hospital[1], 100.0, workers=1, progress=False)


@pytest.mark.parametrize("column", sorted(TOLERANCES))
def test_measured_factors_are_near_the_truth(hospital, measured, column):
    error, share = TOLERANCES[column]
    truth = hospital[0][column].to_numpy(np.float64)
    difference = measured[column].to_numpy() - truth
    if column == "axis_deg":
        difference = (difference + 180) % 360 - 180
    there = np.isfinite(difference)
    assert there.sum() >= share * np.isfinite(truth).sum()
    assert np.median(np.abs(difference[there])) <= error


def test_a_table_has_the_columns_that_factors_are_read_from(measured, hospital):
    from merit.evaluate.kept.factors import continuous

    assert all(len(values) == len(hospital[0]) for values in continuous(measured).values())
    assert measured["n_beats"].min() > 2


def test_the_rate_and_the_scale_do_not_matter(hospital):
    one = hospital[1][0] / 1000.0
    at_100 = intervals(delineation.delineate(one, 100.0))
    louder = intervals(delineation.delineate(3 * one, 100.0))
    assert louder == pytest.approx(at_100, nan_ok=True, abs=1e-6)
    assert measure_one(3 * one, 100.0)["r_mv_V5"] == pytest.approx(3 * measure_one(one, 100.0)["r_mv_V5"], rel=1e-6)


def test_no_ecg_gives_no_number_and_no_exception():
    rng = np.random.default_rng(0)
    t = np.arange(1000) / 100
    spike = np.zeros((12, 1000))
    spike[:, 500] = 1.0
    signals = {
        "flat": np.zeros((12, 1000)), "one level": np.full((12, 1000), 0.3), "spike": spike,
        "hum": np.tile(np.sin(2 * np.pi * 50 * t + 0.3), (12, 1)), "drift": np.tile(t, (12, 1)),
        "noise": rng.normal(0, 0.5, (12, 1000)), "faint noise": rng.normal(0, 1e-4, (12, 1000)),
    }  # fmt: skip
    for name, signal in signals.items():
        found = measure_one(signal, 100.0)
        if name not in ("noise", "hum"):  # where a beat can be imagined, it may be
            assert np.isnan(found["pr_ms"]), name
        assert np.isnan(found["heart_rate_bpm"]) or found["n_beats"] > 2, name
    assert all(np.isnan(value) for key, value in measure_one(signals["flat"], 100.0).items() if key != "n_beats")


def test_a_lead_that_is_off_does_not_stop_the_others(hospital):
    one = hospital[1][0] / 1000.0
    off = one.copy()
    off[[0, 7]] = 0.0
    whole, part = measure_one(one, 100.0), measure_one(off, 100.0)
    assert part["heart_rate_bpm"] == pytest.approx(whole["heart_rate_bpm"], rel=0.02)
    assert part["qrs_ms"] == pytest.approx(whole["qrs_ms"], abs=25)


def test_what_the_library_raises_gives_no_marks(monkeypatch, hospital):
    library = delineation._library()

    def fail(*args, **kwargs):
        raise IndexError("index 0 is out of bounds")

    one = hospital[1][0] / 1000.0
    with monkeypatch.context() as patch:
        patch.setattr(library, "ecg_delineate", fail)
        marks = delineation.delineate(one, 100.0)
        assert np.isnan(marks.p_on_s).all()
        assert np.isfinite(intervals(marks)["qrs_ms"])
    with monkeypatch.context() as patch:
        patch.setattr(library, "ecg_peaks", fail)
        assert not len(delineation.delineate(one, 100.0).r_s)


@pytest.fixture
def marked(real_data):
    root = real_data / "ludb"
    if not root.is_dir():
        pytest.skip("no ludb in MERIT_REAL_DATA")
    return root


def test_raw_units_of_ludb_satisfy_einthoven(marked):
    signal = read_raw(str(marked / "data"), "1")
    assert signal.shape == (12, 5000)
    assert np.abs(signal[0] + signal[2] - signal[1]).max() <= 2


def test_manual_marks_of_a_record_are_those_of_its_files(marked):
    marks = manual.marks(marked, "1")
    assert len(marks.r_s) == 6
    assert marks.qrs_on_s.shape == (12, 6)
    assert marks.qrs_on_s[1, 0] == 644 / 500
    assert marks.qrs_off_s[1, 0] == 682 / 500
    assert marks.t_off_s[1, 0] == 878 / 500
    assert np.isnan(marks.p_on_s[1, 0])
    assert marks.p_on_s[1, 1] == 1250 / 500


def test_measured_factors_agree_with_manual_marks(marked, monkeypatch):
    names = manual.record_names(marked)[:30]
    monkeypatch.setattr(manual, "record_names", lambda root: names)
    rows = {row["factor"]: row for row in ludb.rows(
        marked, [ludb.Way(100.0)], n_resamples=20, seed=0, workers=1, progress=False
    )}  # fmt: skip
    least = {"heart_rate": 0.8, "pr": 0.3, "qrs": 0.5, "qt": 0.6, "axis": 0.7, "variability": 0.6}
    for name, value in least.items():
        assert rows[name]["r2"]["value"] > value, name
        assert rows[name]["n"] >= 0.8 * rows[name]["n_manual"]
