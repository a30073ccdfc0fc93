"""Each corruption does what it says; from a recording to the store's row; what a probe's scores are made of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from merit.config import ProbeConfig, SignalConfig
from merit.data.preprocess import DERIVED, process, resample
from merit.data.recording import LEADS, Recording
from merit.evaluate import robustness
from merit.evaluate.robustness import CLEAN, STRENGTHS, Probe, corrupt, overall, stored_row, stored_rows
from merit.evaluate.tasks import TaskData

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


@pytest.mark.parametrize(("kind", "level"), [(kind, level) for kind, levels in STRENGTHS.items() for level in levels])
def test_same_record_same_corruption_and_the_input_stays(signal, kind, level):
    before = signal.copy()
    first = changed(signal, kind, level)
    corrupt(signal, 100.0, kind, level, "r2", 0)  # another record between changes nothing
    np.testing.assert_array_equal(first, changed(signal, kind, level))
    assert (first.dtype, first.shape[0], np.isfinite(first).all()) == (np.float32, 12, True)
    np.testing.assert_array_equal(signal, before)


@pytest.mark.parametrize("kind", ["lost", "gain_error", "hum_50", "hum_60", "wander", "white", "muscle"])
def test_records_and_seeds_draw_apart(signal, kind):
    a, *others = (corrupt(signal, 100.0, kind, STRENGTHS[kind][1], name, seed)[0] for name, seed in ("a0", "b0", "a1"))
    assert not any(np.array_equal(a, other) for other in others)


def test_lost_leads_are_nested_and_take_the_derived_ones_along(signal):
    for record in map(str, range(40)):
        gone_before: set[str] = set()
        for n in (1, 2, 4, 6, 7):
            out = changed(signal, "lost", n, record=record)
            gone = {name for name in LEADS if not out[ROW[name]].any()}
            assert len(gone & set(robustness.INDEPENDENT)) == n
            assert (gone >= set(DERIVED)) == bool(gone & {"I", "II"})
            assert gone_before <= gone
            gone_before = gone
            kept = [ROW[name] for name in LEADS if name not in gone]
            np.testing.assert_array_equal(out[kept], signal[kept])
    for name, n in (("limb", 6), ("I", 1)):
        out = changed(signal, "kept", name)
        np.testing.assert_array_equal(out[:n], signal[:n])
        assert not out[n:].any()


def test_swaps_are_what_exchanged_electrodes_record(signal):
    for level, a, b in (("arms", 0, 1), ("RA-LL", 0, 2), ("LA-LL", 1, 2), ("V1-V3", 3, 5)):
        electrodes, out = potentials(), changed(signal, "swap", level)
        electrodes[[a, b]] = electrodes[[b, a]]
        np.testing.assert_allclose(out, leads_of(electrodes), atol=1e-6)
        np.testing.assert_array_equal(changed(out, "swap", level), signal)  # twice is not at all


@pytest.mark.parametrize("kind", ["swap", "gain", "gain_error", "hum_50", "hum_60", "wander", "white", "muscle"])
def test_einthovens_law_survives(signal, kind):
    """And Goldberger's: the derived leads follow I and II as in textbooks."""
    np.testing.assert_allclose(robustness.ELECTRODES_TO_LEADS @ potentials(), signal, atol=1e-6)
    out = changed(signal, kind, STRENGTHS[kind][-1]).astype(float)
    for name, (a, b) in DERIVED.items():
        np.testing.assert_allclose(out[ROW[name]], a * out[0] + b * out[1], atol=1e-5)


def test_gain_errors_are_of_the_size_that_they_say(signal):
    v4 = [changed(signal, "gain_error", 0.2, record=str(k))[ROW["V4"]].max() for k in range(400)]
    factors = np.log(np.array(v4) / signal[ROW["V4"]].max())
    assert (factors.std(), factors.mean()) == (pytest.approx(0.2, rel=0.15), pytest.approx(0, abs=0.04))


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
        inside = (f > robustness.WANDER_HZ[0] - 0.02) & (f < robustness.WANDER_HZ[1] + 0.02)
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


def test_rate_and_duration(signal):
    half, fs_hz = corrupt(signal, 100.0, "rate", 50, "r1", 0)
    assert (half.shape, fs_hz) == ((12, 500), 50.0)
    np.testing.assert_array_equal(half, resample(signal, 100.0, 50.0).astype(np.float32))
    np.testing.assert_array_equal(changed(signal, "duration", 2.5), signal[:, :250])
    np.testing.assert_array_equal(changed(signal, "duration", 60), signal)


WRONG = {
    "lost": (8, 1.5), "kept": ("chest",), "swap": ("legs",), "gain": (0,), "gain_error": (-1,), "rate": (0,),
    "duration": (-2,), "hum_50": (-1,), "wander": (float("inf"),), "fog": (1,),
}  # fmt: skip


def test_other_levels_are_rejected(signal):
    for kind, levels in WRONG.items():
        for level in levels:
            with pytest.raises(ValueError, match=f"{kind}|corruption"):
                corrupt(signal, 100.0, kind, level, "r1", 0)


SIGNAL = SignalConfig()


def recording(fs_hz: float, seconds: float, seed: int = 0, gaps: bool = False) -> Recording:
    rng = np.random.default_rng(seed)
    signal_mv = rng.normal(0, 0.3, (12, round(seconds * fs_hz))).cumsum(axis=1).astype(np.float32) / 10
    if gaps:
        signal_mv[3, 40:90] = np.nan
        signal_mv[5, -30:] = np.nan
        signal_mv[7, round(9.8 * fs_hz) : round(14 * fs_hz)] = np.nan  # over the end of what is stored
    row = {"record_id": f"r{seed}", "patient_id": "p", "report": "", "labels": frozenset()}
    return Recording(**row, signal_mv=signal_mv, fs_hz=fs_hz)


@pytest.mark.parametrize("fs_hz", [100.0, 257.0, 500.0])
@pytest.mark.parametrize("seconds", [4.0, 10.0, 31.0])
@pytest.mark.parametrize("gaps", [False, True])
def test_nothing_done_is_the_stores_row(fs_hz, seconds, gaps):
    """Clean, or corrupted with a strength that is none."""
    one = recording(fs_hz, seconds, gaps=gaps)
    expected = process(one, SIGNAL, 0.2)[0]
    np.testing.assert_array_equal(stored_row(one, CLEAN, None, 0, SIGNAL, 0.2), expected)
    none = {"lost": 0, "gain": 1, "duration": 31, "rate": 500, "gain_error": 0, "hum_50": 0, "hum_60": 0, "wander": 0}
    for kind, level in none.items():
        np.testing.assert_array_equal(stored_row(one, kind, level, 0, SIGNAL, 0.2), expected)


def test_rows_do_not_depend_on_the_order_and_a_gain_is_a_gain():
    one = recording(500.0, 12.0)
    clean = stored_row(one, CLEAN, None, 0, SIGNAL, 0.2)
    short = stored_row(one, "duration", 2.5, 0, SIGNAL, 0.2)
    assert short.shape == (12, 1000)
    assert not short[:, 250:].any()
    np.testing.assert_allclose(short[:, :240], clean[:, :240], atol=1)
    np.testing.assert_allclose(stored_row(one, "gain", 4, 0, SIGNAL, 0.2), 4.0 * clean, atol=2)
    several = [recording(100.0, 10.0, seed) for seed in range(3)]
    several[1].signal_mv[0] = 0  # alone, this lead is flat
    forward = stored_rows(several, "muscle", 10, 0, SIGNAL, 0.2)
    backward = stored_rows(several[::-1], "muscle", 10, 0, SIGNAL, 0.2)
    np.testing.assert_array_equal(forward.signal_uv, backward.signal_uv[::-1])
    assert forward.n_rejected == 0
    alone = stored_rows(several, "kept", "I", 0, SIGNAL, 0.2)
    assert alone.n_rejected == 1
    assert [bool(one.any()) for one in alone.signal_uv] == [True, False, True]
    assert alone.records["record_id"].tolist() == ["r0", "r1", "r2"]


@pytest.fixture
def task() -> TaskData:
    """Two hundred records of a hundred patients, two classes and one that is never there."""
    labels, n = np.zeros((200, 3), dtype=bool), np.arange(200)
    labels[:, :2] = np.random.default_rng(1).random((200, 2)) < 0.4
    patients = np.array([f"p{i // 2}" for i in n], dtype=object)
    front = {"task": "superclass", "cohort": "ptb-xl", "classes": ("A", "B", "C"), "n_left_out": 0}
    return TaskData(**front, rows=n, labels=labels, folds=n // 2 % 10 + 1, patients=patients, groups=patients)


@pytest.fixture
def features(task) -> np.ndarray:
    rng = np.random.default_rng(2)
    return (task.labels[:, [0, 1, 0, 1]] + rng.normal(0, 0.7, (200, 4))).astype(np.float32)


def test_values_against_counting_pairs_one_by_one(task, features):
    config = ProbeConfig(epochs=20, n_resamples=40)
    probe = Probe(task, features, config)
    test = np.flatnonzero(task.folds == 10)
    noisy = features[test] + np.random.default_rng(3).normal(0, 2, (len(test), 4)).astype(np.float32)
    (clean,) = probe.clean().to_dict("records")
    now = probe.corrupted(noisy).set_index("metric")
    change, moved = now.loc["change"], now.loc["moved"]
    assert (clean["classes"], clean["unscored"]) == (["A", "B"], ["C"])
    assert clean["n_positive"] == task.labels[test, :2].sum(axis=0).tolist()
    assert (clean["n"], clean["n_patients"], clean["n_train"]) == (20, 10, 160)

    def by_hand(rows: np.ndarray) -> float:
        logits = probe.heads.logits(rows)
        return float(np.mean([roc_auc_score(task.labels[test, c], logits[:, c]) for c in range(2)]))

    assert clean["value"] == pytest.approx(by_hand(features[test]))
    assert now.loc["auroc", "value"] == pytest.approx(by_hand(noisy))
    assert change["value"] == pytest.approx(by_hand(noisy) - by_hand(features[test]))
    drawn = np.array(now.loc["auroc", "draws"], dtype=float) - np.array(clean["draws"], dtype=float)
    reach = 1.959964 * np.sqrt(np.nanmean((drawn - change["value"]) ** 2))
    interval = change["value"] - reach, change["value"] + reach
    assert (change["low"], change["high"]) == pytest.approx(interval, abs=1e-6)
    train = features[task.folds <= 8]
    z = [(rows - train.mean(axis=0)) / train.std(axis=0) for rows in (features[test], noisy)]
    pairs = [np.sum((a - b) ** 2) for a in z[0] for b in z[0]]
    expected = np.mean(np.linalg.norm(z[1] - z[0], axis=1)) / np.sqrt(np.mean(pairs))
    assert moved["value"] == pytest.approx(expected, rel=1e-4)
    assert moved["low"] < expected < moved["high"]
    config = ProbeConfig(epochs=1, n_resamples=10)
    same = Probe(task, features, config).corrupted(features[task.folds == 10]).set_index("metric")
    assert (same.loc[["change", "moved"], ["value", "low", "high"]] == 0).all(axis=None)
    constant = Probe(task, np.ones_like(features), config).corrupted(features[task.folds == 10])
    assert np.isnan(constant.set_index("metric").loc["moved", "value"])


def made(levels: dict[str, tuple[float, dict[tuple[str, float], float]]]) -> pd.DataFrame:
    """Encoder -> (clean AUROC, (kind, level) -> loss) as scores; every level moves with the same draws."""
    draws = np.random.default_rng(0).normal(0, 0.01, 50)
    rows = []
    for encoder, (clean, losses) in levels.items():
        for (kind, level), loss in {(CLEAN, None): 0.0, **losses}.items():
            resamples = [None, *(clean - loss + draws * (1 + loss))]
            rows.append({"encoder": encoder, "corruption": kind, "level": level, "draws": resamples})
            rows[-1] |= {"metric": "auroc", "value": clean - loss}
    return pd.DataFrame(rows)


def test_overall_is_the_mean_of_kinds_and_the_share_is_of_what_lies_above_chance():
    losses = {("lost", 1): 0.02, ("lost", 4): 0.1, ("gain", 0.25): 0.0, ("hum_60", 1): 0.01}
    less = {("lost", 1): 0.04, ("gain", 0.25): 0.0, ("hum_60", 1): 0.01}
    found = made({"merit": (0.9, losses), "random": (0.7, less)})
    rows = overall(found).set_index(["encoder", "metric"])
    loss = (0.06 + 0 + 0.01) / 3
    expected = {"clean": 0.9, "change": -loss, "left": 0.9 - loss, "share": loss / 0.4}
    assert rows["value"]["merit"].to_dict() == pytest.approx(expected)
    assert rows.loc[("random", "share"), "value"] == pytest.approx(0.05 / 3 / 0.2)
    assert rows.loc[("merit", "change"), "low"] < -loss < rows.loc[("merit", "change"), "high"]
    assert len(rows.loc[("merit", "change"), "draws"]) == 51
    kinds = robustness.mean_changes(found).set_index(["encoder", "corruption"])["value"]
    assert kinds["merit"].to_dict() == pytest.approx({"lost": -0.06, "gain": 0.0, "hum_60": -0.01})
    rows = overall(made({"merit": (0.505, {("lost", 1): 0.2}), "random": (0.7, {("lost", 1): 0.01})}))
    share = rows[rows["metric"] == "share"].set_index("encoder")
    assert share.loc["merit", ["value", "low", "high"]].isna().all()
    assert share.loc["random", "value"] == pytest.approx(0.05)
    assert overall(made({"merit": (0.6, {})})).empty
    assert robustness.mean_changes(made({"merit": (0.6, {})})).empty
