"""Each corruption against what it says it does: electrodes, amplitudes, bands, rates, and the same for every order."""

from __future__ import annotations

import numpy as np
import pytest

from merit.data.leads import DERIVED
from merit.data.preprocess import resample
from merit.data.recording import LEADS
from merit.evaluate.corruptions import (
    ELECTRODES_TO_LEADS,
    INDEPENDENT,
    KINDS,
    SWAPS,
    WANDER_HZ,
    corrupt,
    generator,
)  # fmt: skip
from merit.pipeline.strengths import STRENGTHS, pairs

ROW = {name: k for k, name in enumerate(LEADS)}


def potentials(seed: int = 0, n_samples: int = 1000) -> np.ndarray:
    """Nine electrode potentials of a pulse train, mV, [9, T]."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_samples) / 100
    beats = np.exp(-0.5 * ((t % 0.8 - 0.4) / 0.03) ** 2)
    return rng.normal(size=(9, 1)) * beats + 0.1 * rng.normal(size=(9, 1)) * np.sin(2 * np.pi * 1.3 * t)


def leads_of(electrodes: np.ndarray) -> np.ndarray:
    """Twelve leads as textbooks define them, lead by lead."""
    ra, la, ll, *chest = electrodes
    wilson = (ra + la + ll) / 3
    limb = [la - ra, ll - ra, ll - la, ra - (la + ll) / 2, la - (ra + ll) / 2, ll - (ra + la) / 2]
    return np.stack([*limb, *(v - wilson for v in chest)]).astype(np.float32)


@pytest.fixture
def signal() -> np.ndarray:
    return leads_of(potentials())


def changed(signal: np.ndarray, kind: str, level: float | str, fs_hz: float = 100.0, record: str = "r1") -> np.ndarray:
    return corrupt(signal, fs_hz, kind, level, record, 0)[0]


def test_the_matrix_is_the_textbook():
    np.testing.assert_allclose(ELECTRODES_TO_LEADS @ potentials(), leads_of(potentials()), atol=1e-6)


@pytest.mark.parametrize(("kind", "level"), pairs(STRENGTHS))
def test_same_record_same_corruption_and_the_input_stays(signal, kind, level):
    before = signal.copy()
    first = corrupt(signal, 100.0, kind, level, "r1", 0)
    corrupt(signal, 100.0, kind, level, "r2", 0)  # another record between changes nothing
    again = corrupt(signal, 100.0, kind, level, "r1", 0)
    np.testing.assert_array_equal(first[0], again[0])
    assert first[0].dtype == np.float32
    assert first[0].shape[0] == 12
    assert np.isfinite(first[0]).all()
    np.testing.assert_array_equal(signal, before)


@pytest.mark.parametrize("kind", ["lost", "gain_error", "hum_50", "hum_60", "wander", "white", "muscle"])
def test_records_seeds_and_kinds_draw_apart(signal, kind):
    level = STRENGTHS[kind][1]
    drawn = [corrupt(signal, 100.0, kind, level, name, seed)[0] for name, seed in (("a", 0), ("b", 0), ("a", 1))]
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert generator("a", kind, 0).random() != generator("a", "another", 0).random()


@pytest.mark.parametrize(("kind", "level"), [
    ("lost", 0), ("gain", 1), ("gain_error", 0), ("duration", 10), ("rate", 100), ("rate", 500), ("hum_50", 0),
    ("hum_60", 0), ("wander", 0),
])  # fmt: skip
def test_no_strength_is_no_change(signal, kind, level):
    out, fs_hz = corrupt(signal, 100.0, kind, level, "r1", 0)
    np.testing.assert_array_equal(out, signal)
    assert fs_hz == 100.0


def test_lost_leads_are_nested_and_take_the_derived_ones_along(signal):
    for record in map(str, range(40)):
        gone_before: set[str] = set()
        for n in (1, 2, 4, 6, 7):
            out = changed(signal, "lost", n, record=record)
            gone = {name for name in LEADS if not out[ROW[name]].any()}
            assert len(gone & set(INDEPENDENT)) == n
            assert (gone >= set(DERIVED)) == bool(gone & {"I", "II"})
            assert gone_before <= gone
            gone_before = gone
            kept = [ROW[name] for name in LEADS if name not in gone]
            np.testing.assert_array_equal(out[kept], signal[kept])


def test_every_lead_is_lost_equally_often(signal):
    first = [
        next(name for name in INDEPENDENT if not changed(signal[:, :20], "lost", 1, record=str(k))[ROW[name]].any())
        for k in range(800)
    ]
    counts = [first.count(name) for name in INDEPENDENT]
    assert min(counts) > 100 - 4 * np.sqrt(100 * 7 / 8)
    assert max(counts) < 100 + 4 * np.sqrt(100 * 7 / 8)


def test_named_sets(signal):
    limb, one = changed(signal, "kept", "limb"), changed(signal, "kept", "I")
    np.testing.assert_array_equal(limb[:6], signal[:6])
    assert not limb[6:].any()
    np.testing.assert_array_equal(one[0], signal[0])
    assert not one[1:].any()


@pytest.mark.parametrize(
    ("level", "exchanged"), [("arms", (0, 1)), ("RA-LL", (0, 2)), ("LA-LL", (1, 2)), ("V1-V3", (3, 5))]
)
def test_swaps_are_what_exchanged_electrodes_record(signal, level, exchanged):
    electrodes = potentials()
    electrodes[list(exchanged)] = electrodes[list(exchanged)[::-1]]
    out = changed(signal, "swap", level)
    np.testing.assert_allclose(out, leads_of(electrodes), atol=1e-6)
    np.testing.assert_array_equal(changed(out, "swap", level), signal)  # twice is not at all
    assert set(SWAPS) == set(STRENGTHS["swap"])


def einthoven(signal: np.ndarray) -> float:
    """The largest violation of Einthoven's and Goldberger's laws, mV."""
    return max(
        np.abs(signal[ROW[n]] - (a * signal[0].astype(float) + b * signal[1])).max() for n, (a, b) in DERIVED.items()
    )


@pytest.mark.parametrize("kind", ["swap", "gain", "gain_error", "hum_50", "hum_60", "wander", "white", "muscle"])
def test_einthovens_law_survives(signal, kind):
    assert einthoven(changed(signal, kind, STRENGTHS[kind][-1])) < 1e-5


def test_gain_errors_are_of_the_size_that_they_say(signal):
    factors = [
        changed(signal, "gain_error", 0.2, record=str(k))[ROW["V4"]].max() / signal[ROW["V4"]].max() for k in range(400)
    ]
    assert np.log(factors).std() == pytest.approx(0.2, rel=0.15)
    assert np.log(factors).mean() == pytest.approx(0, abs=0.04)


@pytest.mark.parametrize("mains", [50, 60])
def test_hum_has_its_amplitude_frequency_and_harmonics(mains):
    silent = np.zeros((12, 5000), np.float32)
    out = changed(silent, f"hum_{mains}", 0.5, 500.0)
    spectrum = 2 * np.abs(np.fft.rfft(out * np.hanning(5000) * 2, axis=1)) / 5000
    f = np.fft.rfftfreq(5000, 1 / 500)

    def peak(at: float) -> float:
        near = np.abs(f - at) <= 0.6
        return float(np.sqrt((spectrum[:, near].max(axis=1) ** 2).mean()))

    assert peak(mains) == pytest.approx(0.5, rel=0.16)  # between two bins a Hann window reads up to 15 % low
    assert peak(3 * mains) / peak(mains) == pytest.approx(0.3, rel=0.16)
    assert np.abs(f[spectrum[1].argmax()] - mains) <= 0.2
    np.testing.assert_allclose(changed(silent, f"hum_{mains}", 1, 500.0), 2 * out, atol=1e-6)  # the same hum, stronger


def test_wander_has_its_size_and_band():
    n = 200 * 100
    sizes = []
    for record in map(str, range(20)):
        out = changed(np.zeros((12, n), np.float32), "wander", 0.3, record=record)
        power = np.abs(np.fft.rfft(out * np.hanning(n), axis=1)) ** 2
        f = np.fft.rfftfreq(n, 1 / 100)
        inside = (f > WANDER_HZ[0] - 0.02) & (f < WANDER_HZ[1] + 0.02)
        assert power[:, inside].sum() / power.sum() > 0.999
        sizes.append(np.sqrt((out.astype(float) ** 2).mean()))
    assert np.mean(sizes) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(("kind", "low", "high"), [("white", 0, 250), ("muscle", 20, 150)])
def test_noise_has_its_ratio_and_band(kind, low, high):
    signal = leads_of(potentials(n_samples=5000))
    added = changed(signal, kind, 10, 500.0).astype(float) - signal
    ratio = signal.astype(float).var(axis=1).mean() / (added**2).mean()
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.05)
    power, f = np.abs(np.fft.rfft(added, axis=1)) ** 2, np.fft.rfftfreq(5000, 1 / 500)
    assert power[:, (f >= low - 0.2) & (f <= high + 0.2)].sum() / power.sum() > 0.999
    middle = power[:, (f > 80) & (f < 120)].mean() / power[:, (f > max(low, 1)) & (f < 50)].mean()
    assert middle == pytest.approx(1, abs=0.2)
    doubled = changed(signal, kind, 10 - 20 * np.log10(2), 500.0) - signal
    np.testing.assert_allclose(doubled, 2 * added, atol=1e-4)


@pytest.mark.parametrize("kind", ["hum_50", "hum_60", "white", "muscle", "wander"])
def test_a_slower_file_gets_what_the_filter_leaves_of_the_same_disturbance(kind):
    fast = np.repeat(leads_of(potentials()), 5, axis=1)
    slow = resample(fast, 500, 100)
    level = STRENGTHS[kind][1]
    at_fast = resample(changed(fast, kind, level, 500.0) - fast, 500, 100)
    at_slow = changed(slow, kind, level, 100.0) - slow
    if kind in ("white", "muscle"):  # the ratio is to a signal that lost a little to the filter
        at_slow *= np.sqrt((at_fast**2).mean() / (at_slow**2).mean())
    inner = slice(20, -20)
    np.testing.assert_allclose(at_slow[:, inner], at_fast[:, inner], atol=2e-4)


def test_100_hz_keeps_half_of_50_hz_hum_and_nothing_of_60():
    silent = np.zeros((12, 3000), np.float32)
    left = {mains: np.mean([
        np.sqrt((changed(silent, f"hum_{mains}", 1, record=str(k)).astype(float) ** 2).mean()) * np.sqrt(2)
        for k in range(10)
    ]) for mains in (50, 60)}  # fmt: skip
    assert 0.3 < left[50] < 0.8
    assert left[60] < 0.02


def test_rate_and_duration(signal):
    half, fs_hz = corrupt(signal, 100.0, "rate", 50, "r1", 0)
    assert (half.shape, fs_hz) == ((12, 500), 50.0)
    np.testing.assert_array_equal(half, resample(signal, 100.0, 50.0).astype(np.float32))
    np.testing.assert_array_equal(changed(signal, "duration", 2.5), signal[:, :250])
    np.testing.assert_array_equal(changed(signal, "duration", 60), signal)


@pytest.mark.parametrize(("kind", "level"), [
    ("lost", 8), ("lost", 1.5), ("kept", "chest"), ("swap", "legs"), ("gain", 0), ("gain_error", -1), ("rate", 0),
    ("duration", -2), ("hum_50", -1), ("wander", float("inf")), ("fog", 1),
])  # fmt: skip
def test_other_levels_are_refused(signal, kind, level):
    with pytest.raises(ValueError, match=f"{kind}|corruption"):
        corrupt(signal, 100.0, kind, level, "r1", 0)


def test_every_kind_has_strengths():
    assert set(KINDS) == set(STRENGTHS)
