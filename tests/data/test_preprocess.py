from __future__ import annotations

import numpy as np
import pytest

from merit.data import preprocess
from merit.data.recording import RejectedRecording

NAN = np.nan


def leads(**rows: list[float]) -> np.ndarray:
    """[12, T] with lead rows given by index, `row3=[...]`, the others a ramp."""
    n = len(next(iter(rows.values())))
    signal = np.tile(np.arange(n, dtype=np.float32), (12, 1))
    for name, values in rows.items():
        signal[int(name[3:])] = values
    return signal


def slow_repair(values: list[float]) -> list[float]:
    """One lead, sample by sample."""
    good = [i for i, v in enumerate(values) if np.isfinite(v)]
    out = []
    for i, v in enumerate(values):
        before, after = [g for g in good if g <= i], [g for g in good if g >= i]
        if np.isfinite(v):
            out.append(v)
        elif before and after:
            a, b = before[-1], after[0]
            out.append(values[a] + (values[b] - values[a]) * (i - a) / (b - a))
        else:
            out.append(values[(before or after[:1])[-1]])
    return out


def test_a_gap_is_bridged_from_its_own_lead():
    values = [NAN, 1.0, 2.0, NAN, np.inf, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, -np.inf]
    signal = leads(row3=values)
    repaired, count = preprocess.repair_gaps(signal, max_fraction=0.5)
    assert repaired[3] == pytest.approx(slow_repair(values))
    assert repaired[3, :6] == pytest.approx([1, 1, 2, 4, 6, 8])
    assert count == 4
    assert np.array_equal(np.delete(repaired, 3, axis=0), np.delete(signal, 3, axis=0))
    assert np.isnan(signal[3, 0]), "the input is left as it is"


def test_a_whole_signal_comes_back_untouched():
    signal = leads(row0=[0.0, 1.0])
    assert preprocess.repair_gaps(signal)[0] is signal


def test_a_lead_without_any_sample_is_derived_or_refused():
    signal = np.random.default_rng(0).normal(size=(12, 20)).astype(np.float32)
    signal[4] = NAN
    repaired, _ = preprocess.repair_gaps(signal)
    assert repaired[4] == pytest.approx(signal[0] - signal[1] / 2, abs=1e-6)
    signal[6] = NAN
    with pytest.raises(RejectedRecording, match=r"^not finite: V1 100%"):
        preprocess.repair_gaps(signal)


def test_too_long_a_gap_is_refused():
    signal = leads(row7=[NAN] * 3 + [1.0] * 7)
    with pytest.raises(RejectedRecording, match=r"^not finite: V2 30% of the samples, at most 20%"):
        preprocess.repair_gaps(signal)
    assert preprocess.repair_gaps(signal, max_fraction=0.3)[1] == 3
    with pytest.raises(RejectedRecording, match="no sample of any lead"):
        preprocess.repair_gaps(np.full((12, 5), NAN))


@pytest.mark.parametrize("fs_hz", [500.0, 257.0, 360.0, 128.0, 99.5, 1000.0, 250.0, 60.0, 99.9999])
def test_resampling_keeps_a_sine_and_its_timing(fs_hz):
    seconds = np.arange(round(10 * fs_hz)) / fs_hz
    wave = np.sin(2 * np.pi * 7.0 * seconds) + 0.3 * np.cos(2 * np.pi * 1.0 * seconds)
    out = preprocess.resample(np.tile(wave, (12, 1)).astype(np.float32), fs_hz, 100.0)
    expected = np.sin(2 * np.pi * 7.0 * np.arange(1000) / 100) + 0.3 * np.cos(2 * np.pi * 1.0 * np.arange(1000) / 100)
    assert out.shape == (12, 1000)
    assert np.abs(out[0] - expected)[100:-100].max() < 5e-3


@pytest.mark.parametrize("fs_hz", [500.0, 257.0])
def test_an_offset_and_a_drift_make_no_transient(fs_hz):
    seconds = np.arange(round(10 * fs_hz)) / fs_hz
    out = preprocess.resample(np.stack([np.full_like(seconds, 3.0), 1 + 0.5 * seconds]), fs_hz, 100.0)
    assert np.abs(out[0] - 3.0).max() < 1e-3
    assert np.abs(out[1] - (1 + 0.5 * np.arange(1000) / 100)).max() < 5e-3


def test_resampling_removes_what_the_new_rate_cannot_carry():
    seconds = np.arange(5000) / 500
    out = preprocess.resample(np.sin(2 * np.pi * 90 * seconds)[None], 500.0, 100.0)
    assert np.abs(out[:, 100:-100]).max() < 0.01


def test_equal_rates_change_nothing_and_absurd_ones_are_refused():
    signal = np.ones((12, 5))
    assert preprocess.resample(signal, 100.0, 100) is signal
    for rate in (1e9, 1e-6):
        with pytest.raises(RejectedRecording, match=r"^invalid rate: "):
            preprocess.resample(signal, rate, 100.0)


def test_length_is_fixed_at_the_end():
    signal = np.arange(8).reshape(2, 4)
    assert preprocess.fix_length(signal, 3).tolist() == [[0, 1, 2], [4, 5, 6]]
    assert preprocess.fix_length(signal, 6).tolist() == [[0, 1, 2, 3, 0, 0], [4, 5, 6, 7, 0, 0]]
    assert preprocess.fix_length(signal, 4).tolist() == signal.tolist()


def test_microvolts_round_trip_for_every_value_a_file_can_hold():
    digital = np.arange(-32767, 32768)
    for dtype in (np.float32, np.float64):
        stored, saturated = preprocess.to_microvolts((digital / 1000.0).astype(dtype)[None])
        assert np.array_equal(stored[0], digital)
        assert saturated == 0


def test_saturation_is_clipped_and_counted_never_wrapped():
    stored, saturated = preprocess.to_microvolts(np.array([[40.0, -40.0, 32.7674, 0.0006, -32.768]]))
    assert stored.tolist() == [[32767, -32767, 32767, 1, -32767]]
    assert saturated == 3
