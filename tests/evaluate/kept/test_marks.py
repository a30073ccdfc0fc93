"""Intervals from marks, the typical beat and what is read off it, on signals whose answer is plain."""

from __future__ import annotations

import numpy as np
import pytest

from merit.data.recording import LEADS
from merit.evaluate.kept import beat as typical
from merit.evaluate.kept.marks import Marks, intervals, over_beats, over_sources, rhythm

FS_HZ = 500.0
R_S = np.array([0.5, 1.4, 2.3, 3.3, 4.2])


def marks(p_ms=160.0, jitter_ms=0.0, sources: int = 3) -> Marks:
    """QRS from 40 ms before the beat to 50 after it, T to 350 after, PR as asked for."""
    own = np.tile(R_S, (sources, 1))
    wobble = jitter_ms / 1000 * np.array([2, -2, 1, -1, 0])
    return Marks(R_S, own - 0.04 - p_ms / 1000 + wobble, own - 0.04, own + 0.05, own + 0.35)


def test_intervals_are_differences_of_marks():
    found = intervals(marks())
    assert found["pr_ms"] == pytest.approx(160)
    assert found["qrs_ms"] == pytest.approx(90)
    assert found["qt_ms"] == pytest.approx(390)
    rr = np.diff(R_S)
    assert found["heart_rate_bpm"] == pytest.approx(60 / rr.mean())
    assert found["rr_rmssd_ms"] == pytest.approx(1000 * np.sqrt(np.mean(np.diff(rr) ** 2)))


def test_one_wrong_lead_and_one_wrong_beat_do_not_matter():
    one = marks()
    one.qrs_off_s[0] += 0.5
    one.p_on_s[:, 2] -= 0.09
    assert intervals(one) == pytest.approx(intervals(marks()))


def test_what_is_missing_unsteady_or_inconceivable_is_not_measured():
    few = marks()
    few.p_on_s[:, :3] = np.nan
    assert np.isnan(intervals(few)["pr_ms"])
    assert np.isnan(intervals(marks(jitter_ms=30))["pr_ms"])
    assert intervals(marks(jitter_ms=5))["pr_ms"] == pytest.approx(160, abs=6)
    assert np.isnan(intervals(marks(p_ms=600))["pr_ms"])
    assert all(np.isnan(value) for value in intervals(Marks.none()).values())
    assert np.isnan(rhythm(R_S[:2])["heart_rate_bpm"])
    assert np.isnan(rhythm(R_S[:3])["rr_rmssd_ms"])
    assert rhythm(R_S[:3])["heart_rate_bpm"] == pytest.approx(60 / 0.9)


def test_medians_leave_out_what_is_not_marked():
    assert over_sources(np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, np.nan]]))[0] == 2
    assert np.isnan(over_sources(np.full((2, 1), np.nan)))[0]
    assert over_beats(np.array([1.0, 3.0, np.nan, np.nan])) == 2
    assert np.isnan(over_beats(np.array([1.0, np.nan, np.nan])))


def test_marks_of_a_span():
    part = marks().within(1.0, 3.4)
    assert part.r_s.tolist() == R_S[1:4].tolist()
    assert part.t_off_s.shape == (3, 3)


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


@pytest.mark.parametrize("axis_deg", [-60.0, 0.0, 60.0, 135.0, -150.0])
def test_axis_and_waves_of_a_drawn_beat(axis_deg):
    found = typical.voltages(signal(axis_deg, st_mv=0.0, t_mv=0.3), FS_HZ, marks())
    assert (found["axis_deg"] - axis_deg + 180) % 360 - 180 == pytest.approx(0, abs=0.5)
    found = typical.voltages(signal(), FS_HZ, marks())
    assert found["r_mv_V2"] == pytest.approx(0.5, abs=0.01)
    assert found["s_mv_V2"] == pytest.approx(0, abs=1e-9)
    assert found["s_mv_V1"] == pytest.approx(-0.8, abs=0.01)
    assert found["st_mv_V3"] == pytest.approx(0.1, abs=0.01)
    assert found["t_mv_V3"] == pytest.approx(0.3, abs=0.01)


def test_without_marks_or_whole_beats_nothing_is_read():
    for one in (Marks.none(), marks().within(-1, -0.5)):
        found = typical.voltages(signal(), FS_HZ, one)
        assert list(found) == list(typical.NOTHING)
        assert all(np.isnan(value) for value in found.values())
    assert typical.typical_beat(signal(), np.array([0.1]), FS_HZ) is None


def slow_extent(beat: np.ndarray, fs_hz: float) -> tuple[float, float]:
    """Sample by sample, as the docstring of `qrs_extent` says it."""
    times = [k / fs_hz - typical.BEFORE_S for k in range(beat.shape[1])]
    speed = {}
    for k in range(1, beat.shape[1] - 1):
        if abs(times[k]) < typical.QRS_REACH_S:
            speed[times[k]] = sum(((lead[k + 1] - lead[k - 1]) / 2) ** 2 for lead in beat) ** 0.5
    slowest = sorted(speed.values())[: round(typical.REST_SHARE * len(speed))]
    rest = float(np.median(slowest))
    inside = [t for t, v in speed.items() if v > rest + typical.QRS_SHARE * (max(speed.values()) - rest)]
    return min(inside), max(inside)


def test_qrs_is_where_the_voltage_changes_fast():
    beat = typical.typical_beat(signal(), R_S, FS_HZ)
    found = typical.qrs_extent(beat, FS_HZ)
    assert found == pytest.approx(slow_extent(beat, FS_HZ))
    assert found == pytest.approx((-0.04, 0.05), abs=0.012)
    noisy = beat + np.random.default_rng(0).normal(0, 0.002, beat.shape)
    assert typical.qrs_extent(noisy, FS_HZ) == pytest.approx(slow_extent(noisy, FS_HZ))
    assert np.isnan(typical.qrs_extent(None, FS_HZ)).all()
    assert np.isnan(typical.qrs_extent(np.ones_like(beat), FS_HZ)).all()
