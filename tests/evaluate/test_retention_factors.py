"""Measured factors: on marks and beats whose answer is plain, on synthetic recordings, and on what is no ECG."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from merit.config import HospitalConfig
from merit.data.recording import LEADS
from merit.data.wfdb_io import read_waveform
from merit.evaluate import retention_factors as factors
from merit.evaluate.retention_factors import Marks, beat_intervals, measure_recording
from merit.synthetic.hospitals import write_hospitals

FS_HZ = 500.0
R_S = np.array([0.5, 1.4, 2.3, 3.3, 4.2])


def marks(p_ms: float = 160.0, jitter_ms: float = 0.0) -> Marks:
    """QRS from 40 ms before the beat to 50 after it, T to 350 after, PR as asked for, in three leads."""
    own = np.tile(R_S, (3, 1))
    wobble = jitter_ms / 1000 * np.array([2, -2, 1, -1, 0])
    return Marks(R_S, own - 0.04 - p_ms / 1000 + wobble, own - 0.04, own + 0.05, own + 0.35)


def test_intervals_are_differences_of_marks():
    rr = np.diff(R_S)
    rhythm = {"heart_rate_bpm": 60 / rr.mean(), "rr_rmssd_ms": 1000 * np.sqrt(np.mean(np.diff(rr) ** 2))}
    expected = {"pr_ms": 160, "qrs_ms": 90, "qt_ms": 390} | rhythm
    assert beat_intervals(marks()) == pytest.approx(expected)
    wrong = marks()  # one lead and one beat
    wrong.qrs_off_s[0] += 0.5
    wrong.p_on_s[:, 2] -= 0.09
    assert beat_intervals(wrong) == pytest.approx(expected)


def test_what_is_missing_unsteady_or_inconceivable_is_not_measured():
    few = marks()
    few.p_on_s[:, :3] = np.nan
    assert np.isnan(beat_intervals(few)["pr_ms"])
    assert np.isnan(beat_intervals(marks(jitter_ms=30))["pr_ms"])
    assert beat_intervals(marks(jitter_ms=5))["pr_ms"] == pytest.approx(160, abs=6)
    assert np.isnan(beat_intervals(marks(p_ms=600))["pr_ms"])
    assert all(np.isnan(value) for value in beat_intervals(Marks.none()).values())
    assert np.isnan(beat_intervals(marks().within(0, 2))["heart_rate_bpm"])
    three = beat_intervals(marks().within(0, 2.4))
    assert three["heart_rate_bpm"] == pytest.approx(60 / 0.9)
    assert np.isnan(three["rr_rmssd_ms"])


def signal(axis_deg: float = 60.0, st_mv: float = 0.1, t_mv: float = 0.3) -> np.ndarray:
    """[12, T]: a triangle of QRS from 40 ms before to 50 ms after each beat, ST, T, and an offset in every lead."""
    t = np.arange(round(5 * FS_HZ)) / FS_HZ
    shape, late = np.zeros_like(t), np.zeros_like(t)
    for r in R_S:
        shape += np.interp(t - r, [-0.04, 0.0, 0.05], [0, 1.0, 0], left=0, right=0)
        late += np.interp(t - r, [0.05, 0.06, 0.2, 0.28, 0.35], [0, st_mv, st_mv, t_mv, 0], left=0, right=0)
    axis = np.radians(axis_deg)
    size = {"I": np.cos(axis), "aVF": np.sin(axis) * np.sqrt(3) / 2, "V1": -0.8}
    return np.array([0.7 + size.get(lead, 0.5) * shape + late for lead in LEADS])


def test_the_waves_of_a_drawn_beat_and_nothing_without_marks_or_whole_beats():
    for axis_deg in (-60.0, 0.0, 60.0, 135.0, -150.0):
        found = factors.voltages(signal(axis_deg, st_mv=0.0), FS_HZ, marks())["axis_deg"]
        assert (found - axis_deg + 180) % 360 - 180 == pytest.approx(0, abs=0.5)
    found = factors.voltages(signal(), FS_HZ, marks())
    expected = {"r_mv_V2": 0.5, "s_mv_V2": 0, "s_mv_V1": -0.8, "st_mv_V3": 0.1, "t_mv_V3": 0.3}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=0.01)
    for empty in (Marks.none(), marks().within(-1, -0.5)):
        found = factors.voltages(signal(), FS_HZ, empty)
        assert list(found) == list(factors.NO_VOLTAGES)
        assert all(np.isnan(value) for value in found.values())
    assert np.isnan(factors.typical_beat(signal(), np.array([0.1]), FS_HZ)[1]).all()
    # QRS is where the voltage changes fast.
    t, beat = factors.typical_beat(signal(), R_S, FS_HZ)
    assert factors.qrs_extent(t, beat, FS_HZ) == pytest.approx((-0.04, 0.05), abs=0.012)
    for none in (np.ones_like(beat), np.full_like(beat, np.nan)):
        assert np.isnan(factors.qrs_extent(t, none, FS_HZ)).all()


# Column -> largest median error, and smallest share of the recordings that have the factor in which it is measured.
TOLERANCES = {
    "heart_rate_bpm": (0.5, 1.0), "rr_rmssd_ms": (10, 1.0), "pr_ms": (25, 0.6), "qrs_ms": (15, 0.9), "qt_ms": (30, 0.7),
    "axis_deg": (6, 0.95), "r_mv_V5": (0.1, 0.95), "s_mv_V1": (0.1, 0.95), "t_mv_V3": (0.08, 0.8),
    "st_mv_V3": (0.06, 0.95),
}  # fmt: skip


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> tuple[pd.DataFrame, np.ndarray]:
    """The truth of twenty-four recordings and their signals at 100 Hz, int16 µV [N, 12, T]."""
    config = HospitalConfig(recordings={"ptb-xl": 24}, workers=1)
    root = write_hospitals(tmp_path_factory.mktemp("hospital"), config, progress=False)["ptb-xl"]
    truth = pd.read_parquet(root / "truth.parquet")
    files = {str(int(path.stem.split("_")[0])): path for path in (root / "records100").rglob("*.hea")}
    names = [str(files[key].relative_to(root).with_suffix("")) for key in truth["record_id"].astype(str)]
    return truth, np.array([read_waveform(str(root), name).signal_mv * 1000 for name in names]).astype(np.int16)


def test_measured_factors_are_near_the_truth(hospital):
    truth, measured = hospital[0], factors.measure_recordings(hospital[1], 100.0, workers=1, progress=False)
    for column, (error, share) in TOLERANCES.items():
        difference = measured[column].to_numpy() - truth[column].to_numpy(np.float64)
        if column == "axis_deg":
            difference = (difference + 180) % 360 - 180
        there = np.isfinite(difference)
        assert there.sum() >= share * np.isfinite(truth[column].to_numpy(np.float64)).sum(), column
        assert np.median(np.abs(difference[there])) <= error, column
    assert all(len(values) == len(truth) for values in factors.continuous(measured).values())
    assert measured["n_beats"].min() > 2
    assert measured.iloc[0].to_dict() == pytest.approx(measure_recording(hospital[1][0] / 1000, 100.0), nan_ok=True)


def test_neither_scale_nor_a_lead_that_is_off_nor_what_the_library_raises_stops_the_others(hospital, monkeypatch):
    first_mv = hospital[1][0] / 1000.0
    whole, louder = measure_recording(first_mv, 100.0), measure_recording(3 * first_mv, 100.0)
    for name, value in whole.items():
        scale = 3 if "_mv_" in name else 1
        assert louder[name] == pytest.approx(scale * value, rel=1e-6, abs=1e-6, nan_ok=True)
    off = first_mv.copy()
    off[[0, 7]] = 0.0
    part = measure_recording(off, 100.0)
    assert part["heart_rate_bpm"] == pytest.approx(whole["heart_rate_bpm"], rel=0.02)
    assert part["qrs_ms"] == pytest.approx(whole["qrs_ms"], abs=25)

    def fail(*args, **kwargs):
        raise IndexError("index 0 is out of bounds")

    monkeypatch.setattr(factors.neurokit(), "ecg_delineate", fail)
    found = factors.delineate(first_mv, 100.0)
    assert np.isnan(found.p_on_s).all()
    assert np.isfinite(beat_intervals(found)["qrs_ms"])
    monkeypatch.setattr(factors.neurokit(), "ecg_peaks", fail)
    assert not len(factors.delineate(first_mv, 100.0).r_s)


def test_no_ecg_gives_no_number_and_no_exception():
    rng, t = np.random.default_rng(0), np.arange(1000) / 100
    drawn = rng.normal(size=(2, 12, 1000)) * [[[0.5]], [[1e-4]]]
    alike = {"flat": 0 * t, "one level": 0 * t + 0.3, "spike": 1.0 * (t == 5), "drift": t}
    alike["hum"] = np.sin(100 * np.pi * t + 0.3)
    signals = {name: np.tile(lead, (12, 1)) for name, lead in alike.items()}
    signals |= {"noise": drawn[0], "faint noise": drawn[1]}
    for name, shown in signals.items():
        found = measure_recording(shown, 100.0)
        if name not in ("noise", "hum"):  # where a beat can be imagined, it may be
            assert np.isnan(found["pr_ms"]), name
        assert np.isnan(found["heart_rate_bpm"]) or found["n_beats"] > 2, name
        assert name != "flat" or all(np.isnan(value) for key, value in found.items() if key != "n_beats")


def test_leads_that_were_scaled_by_themselves_are_told(monkeypatch):
    """II = I + III up to rounding in five recordings; then one lead halved, all doubled, one with an offset."""
    leads = np.random.default_rng(0).normal(0, 300, (5, 12, 1000))
    leads[:, 2] = leads[:, 1] - leads[:, 0]
    leads = np.rint(leads).astype(np.int16)
    assert factors.on_one_scale(leads).all()
    for share, holds in ((0.9, True), (1.1, False)):  # the residual, as a share of what is allowed
        changed, off = leads[:2].astype(np.float64), np.random.default_rng(1).normal(0, 1, 1000)
        spread = np.sqrt((changed[0, :3] ** 2).mean())
        changed[0, 2] += share * factors.MOST_RESIDUAL * spread * off / off.std()
        assert factors.on_one_scale(changed).tolist() == [holds, True]
    leads[1, 0] = leads[1, 0] // 2
    leads[3] *= 2
    leads[4, 1] += 500
    monkeypatch.setattr(factors, "SCALE_CHUNK", 2)
    assert factors.on_one_scale(leads).tolist() == [True, False, True, True, True]
    assert factors.on_one_scale(np.zeros((1, 12, 10), np.int16)).tolist() == [True]
    assert factors.on_one_scale(np.zeros((0, 12, 10), np.int16)).tolist() == []


def test_factors_do_not_depend_on_voltage():
    def measured(scale: float) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        waves = {f"{w}_mv_{lead}": scale * rng.normal(size=5) for w in "rt" for lead in LEADS}
        waves |= {f"{w}_mv_{lead}": scale * np.full(5, v) for w, v in (("s", -1.0), ("st", 1.0)) for lead in LEADS}
        about = {"heart_rate_bpm": 60.0, "pr_ms": [150, np.nan, 160, 170, 180], "qrs_ms": 90.0, "qt_ms": 400.0}
        about |= {"rr_rmssd_ms": [0.0, 1.0, 20, 30, 40], "axis_deg": [-45.0, -30, 0, 90, 120]}
        return pd.DataFrame(about | waves)

    once, twice = (factors.continuous(measured(scale)) for scale in (1.0, 2.0))
    for name in once:
        assert once[name].shape == (5, {"axis": 2, "qrs_leads": 12, "t_leads": 12, "st_leads": 12}.get(name, 1))
        np.testing.assert_allclose(once[name], twice[name])
    assert np.isnan(once["pr"][1, 0])
    assert once["variability"][:2, 0].tolist() == [0.0, 0.0]
    assert once["axis"][2] == pytest.approx([1, 0])
    assert (once["qrs_leads"] ** 2).mean(axis=1) == pytest.approx(np.ones(5))
