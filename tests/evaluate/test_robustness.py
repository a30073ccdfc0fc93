"""From a recording to the store's row, corrupted or not; and what a probe's values are made of."""

from __future__ import annotations

import numpy as np
import pytest

from merit.config import ProbeConfig, SignalConfig
from merit.data.preprocess import process
from merit.data.recording import Recording
from merit.evaluate.robustness import CLEAN, Probe, stored_row, stored_rows
from merit.evaluate.tasks import TaskData

SIGNAL = SignalConfig()


def recording(fs_hz: float, seconds: float, seed: int = 0, gaps: bool = False) -> Recording:
    rng = np.random.default_rng(seed)
    signal_mv = rng.normal(0, 0.3, (12, round(seconds * fs_hz))).cumsum(axis=1).astype(np.float32) / 10
    if gaps:
        signal_mv[3, 40:90] = np.nan
        signal_mv[5, -30:] = np.nan
        signal_mv[7, round(9.8 * fs_hz) : round(14 * fs_hz)] = np.nan  # over the end of what is stored
    return Recording(
        record_id=f"r{seed}", patient_id="p", signal_mv=signal_mv, fs_hz=fs_hz, report="", labels=frozenset()
    )


@pytest.mark.parametrize("fs_hz", [100.0, 257.0, 500.0])
@pytest.mark.parametrize("seconds", [4.0, 10.0, 31.0])
@pytest.mark.parametrize("gaps", [False, True])
def test_nothing_done_is_the_stores_row(fs_hz, seconds, gaps):
    one = recording(fs_hz, seconds, gaps=gaps)
    np.testing.assert_array_equal(stored_row(one, CLEAN, None, 0, SIGNAL, 0.2), process(one, SIGNAL, 0.2)[0])


def test_no_strength_is_the_stores_row_too():
    one = recording(500.0, 12.0, gaps=True)
    for kind, level in (("lost", 0), ("gain", 1), ("duration", 11), ("rate", 500), ("hum_50", 0), ("wander", 0)):
        np.testing.assert_array_equal(stored_row(one, kind, level, 0, SIGNAL, 0.2), process(one, SIGNAL, 0.2)[0])


def test_a_short_recording_ends_in_zeros_and_a_gain_is_a_gain():
    one = recording(500.0, 12.0)
    clean = stored_row(one, CLEAN, None, 0, SIGNAL, 0.2)
    short = stored_row(one, "duration", 2.5, 0, SIGNAL, 0.2)
    assert short.shape == (12, 1000)
    assert not short[:, 250:].any()
    np.testing.assert_allclose(short[:, :240], clean[:, :240], atol=1)
    np.testing.assert_allclose(stored_row(one, "gain", 4, 0, SIGNAL, 0.2), 4.0 * clean, atol=2)


def test_rows_do_not_depend_on_the_order_and_what_is_refused_is_flat_and_counted():
    several = [recording(100.0, 10.0, seed) for seed in range(3)]
    several[1].signal_mv[0] = 0  # alone, this lead is flat
    forward = stored_rows(several, "muscle", 10, 0, SIGNAL, 0.2)
    backward = stored_rows(several[::-1], "muscle", 10, 0, SIGNAL, 0.2)
    np.testing.assert_array_equal(forward.signal_uv, backward.signal_uv[::-1])
    assert forward.n_refused == 0
    alone = stored_rows(several, "kept", "I", 0, SIGNAL, 0.2)
    assert alone.n_refused == 1
    assert [bool(one.any()) for one in alone.signal_uv] == [True, False, True]
    assert alone.records["record_id"].tolist() == ["r0", "r1", "r2"]


@pytest.fixture
def task() -> TaskData:
    """Two hundred records of a hundred patients, two classes and one that is never there."""
    rng = np.random.default_rng(1)
    labels = np.zeros((200, 3), dtype=bool)
    labels[:, :2] = rng.random((200, 2)) < 0.4
    patients = np.array([f"p{i // 2}" for i in range(200)], dtype=object)
    return TaskData(
        task="superclass", cohort="ptb-xl", classes=("A", "B", "C"), rows=np.arange(200), labels=labels,
        folds=np.arange(200) // 2 % 10 + 1, patients=patients, groups=patients, n_left_out=0,
    )  # fmt: skip


@pytest.fixture
def features(task) -> np.ndarray:
    rng = np.random.default_rng(2)
    return (task.labels[:, [0, 1, 0, 1]] + rng.normal(0, 0.7, (200, 4))).astype(np.float32)


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Pairs of a positive and a negative, one by one."""
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels] for n in scores[~labels]]
    return float(np.mean(pairs))


def test_values_against_counting_pairs_one_by_one(task, features):
    config = ProbeConfig(epochs=20, n_resamples=40)
    probe = Probe.fit(task, features, config)
    test = np.flatnonzero(task.folds == 10)
    noisy = features[test] + np.random.default_rng(3).normal(0, 2, (len(test), 4)).astype(np.float32)
    clean, now = probe.clean(), probe.corrupted(noisy)
    assert clean["classes"] == {"A": int(task.labels[test, 0].sum()), "B": int(task.labels[test, 1].sum())}
    assert clean["unscored"] == ["C"]
    assert (clean["n_records"], clean["n_patients"], clean["n_train"]) == (20, 10, 160)

    def by_hand(rows: np.ndarray) -> float:
        logits = probe.head.logits(rows)
        return float(np.mean([auroc(task.labels[test, c], logits[:, c]) for c in range(2)]))

    assert clean["auroc"]["value"] == pytest.approx(by_hand(features[test]))
    assert now["auroc"]["value"] == pytest.approx(by_hand(noisy))
    assert now["change"]["value"] == pytest.approx(by_hand(noisy) - by_hand(features[test]))
    drawn = np.array(now["resamples"], dtype=float) - np.array(clean["resamples"], dtype=float)
    reach = 1.959964 * np.sqrt(np.nanmean((drawn - now["change"]["value"]) ** 2))
    assert now["change"]["low"] == pytest.approx(now["change"]["value"] - reach, abs=1e-6)
    assert now["change"]["high"] == pytest.approx(now["change"]["value"] + reach, abs=1e-6)
    train = features[task.folds <= 8]
    z = [(rows - train.mean(axis=0)) / train.std(axis=0) for rows in (features[test], noisy)]
    pairs = [np.sum((a - b) ** 2) for a in z[0] for b in z[0]]
    expected = np.mean(np.linalg.norm(z[1] - z[0], axis=1)) / np.sqrt(np.mean(pairs))
    assert now["moved"]["value"] == pytest.approx(expected, rel=1e-4)
    assert now["moved"]["low"] < expected < now["moved"]["high"]


def test_the_same_embeddings_change_nothing_and_constant_ones_have_no_distance(task, features):
    config = ProbeConfig(epochs=1, n_resamples=10)
    same = Probe.fit(task, features, config).corrupted(features[task.folds == 10])
    assert same["change"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert same["moved"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    constant = Probe.fit(task, np.ones_like(features), config).corrupted(features[task.folds == 10])
    assert constant["moved"]["value"] is None
