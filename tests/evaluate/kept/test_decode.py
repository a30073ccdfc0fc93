"""Decoding from report, embedding and both, where partial R² is known in closed form."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from merit.evaluate.kept import features
from merit.evaluate.kept.decode import DECODERS, NEVER, Report
from merit.evaluate.kept.features import reader

N = 600
FOLDS = np.arange(N) % 5


def independent(seed: int, count: int) -> np.ndarray:
    """[count, N, 1] normal draws, made uncorrelated and of variance 1 in this very sample."""
    draws = np.random.default_rng(seed).normal(size=(N, count))
    basis = np.linalg.qr(draws - draws.mean(axis=0))[0]
    return (basis * np.sqrt(N)).T[:, :, None]


def explained(target: np.ndarray, predicted: np.ndarray, reference: np.ndarray) -> float:
    return float(1 - ((target - predicted) ** 2).sum() / ((target - reference) ** 2).sum())


def partial(report: np.ndarray, embedding: np.ndarray, target: np.ndarray, decoder: str = "linear") -> float:
    fitted = Report.fitted(report, target, FOLDS)
    return explained(target, fitted.both(embedding, [decoder])[decoder], fitted.predicted)


def test_partial_r2_of_gaussians_is_the_closed_form():
    """y = s + z + e with independent parts: the report explains 1/3, the embedding half of what is left."""
    s, z, e = independent(0, 3)
    y = s + z + e
    fitted = Report.fitted(s, y, FOLDS)
    assert explained(y, fitted.predicted, fitted.mean()) == pytest.approx(1 / 3, abs=0.03)
    assert explained(y, fitted.embedding(z, "linear"), fitted.mean()) == pytest.approx(1 / 3, abs=0.03)
    for decoder in DECODERS:
        assert partial(s, z, y, decoder) == pytest.approx(0.5, abs=0.03)


def test_an_embedding_that_overlaps_with_the_report_gets_all_of_what_is_its_own():
    """The report is a noisy copy of what the embedding holds whole: nothing is left over after both."""
    z, e = independent(1, 2)
    assert partial(z + e, z, z) > 0.98
    mixed = np.hstack([z + e, e])
    assert partial(e, mixed, z + e) > 0.98


def test_an_embedding_that_is_a_function_of_the_statements_adds_nothing():
    rng = np.random.default_rng(2)
    s = (rng.random((N, 6)) < 0.4).astype(float)
    y = (s[:, [0]] * s[:, [1]] + s[:, [2]] - 0.5 * s[:, [3]]) + rng.normal(size=(N, 1))
    copies = np.hstack([s[:, [0]] * s[:, [1]], np.tanh(s @ rng.normal(size=(6, 8)))])
    for decoder in DECODERS:
        assert abs(partial(s, copies, y, decoder)) < 0.03
        fitted = Report.fitted(s, y, FOLDS)
        assert explained(y, fitted.embedding(copies, decoder), fitted.mean()) > 0.1


def test_noise_adds_nothing_and_takes_nothing():
    rng = np.random.default_rng(3)
    s = rng.normal(size=(N, 2))
    y = s[:, [0]] + rng.normal(size=(N, 1))
    for decoder in DECODERS:
        assert abs(partial(s, rng.normal(size=(N, 40)), y, decoder)) < 0.03


def test_only_the_nonlinear_decoder_finds_a_square():
    rng = np.random.default_rng(4)
    s, z = rng.normal(size=(N, 1)), rng.normal(size=(N, 2))
    y = s + z[:, [0]] ** 2
    assert partial(s, z, y, "linear") < 0.05
    assert partial(s, z, y, "nonlinear") > 0.8


def test_records_that_are_never_scored_train_and_get_no_prediction():
    rng = np.random.default_rng(5)
    z = rng.normal(size=(200, 1))
    folds = np.where(np.arange(200) < 150, NEVER, np.arange(200) % 2)
    fitted = Report.fitted(np.zeros((200, 1)), 2 * z, folds, also=z)
    found = fitted.embedding(z, "linear")
    assert np.isnan(found[:150]).all()
    assert found[150:, 0] == pytest.approx(2 * z[150:, 0], abs=0.02)
    assert found[150:, 1] == pytest.approx(z[150:, 0], abs=0.02)
    assert fitted.predicted[150:] == pytest.approx(fitted.mean()[150:])
    assert len(next(fitted.splits())[0]) == 175


def test_an_embedding_of_other_records_is_refused():
    fitted = Report.fitted(np.zeros((20, 1)), np.zeros((20, 1)), np.arange(20) % 2)
    with pytest.raises(ValueError, match="a row for each of 20 records; got 30"):
        fitted.both(np.zeros((30, 2)))


def test_what_is_scored_does_not_move_what_is_learnt():
    rng = np.random.default_rng(6)
    s, z = rng.normal(size=(100, 2)), rng.normal(size=(100, 3))
    y, folds = z[:, [0]] + s[:, [1]], np.arange(100) % 2
    before = Report.fitted(s, y, folds).both(z, ["nonlinear"])["nonlinear"]
    changed = y.copy()
    changed[folds == 0] = 99.0
    after = Report.fitted(s, changed, folds).both(z, ["nonlinear"])["nonlinear"]
    assert np.array_equal(before[folds == 0], after[folds == 0])


def test_features_have_unit_variance_in_total_and_constants_are_dropped():
    rng = np.random.default_rng(7)
    rows = np.hstack([rng.normal(size=(400, 3)) * [1, 10, 100], np.ones((400, 1))])
    read = reader(rows, standardise=True, nonlinear=True, seed=0)(rows)
    assert read[:, :4].var(axis=0) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert read[:, 4:].var(axis=0).sum() == pytest.approx(1)
    assert np.array_equal(read, reader(rows, standardise=True, nonlinear=True, seed=0)(rows))
    plain = reader(rows, standardise=False, nonlinear=False, seed=0)(rows)
    assert plain.var(axis=0) == pytest.approx(rows.var(axis=0) / rows.var(axis=0).sum())
    empty = np.zeros((20, 2))
    assert np.isfinite(reader(empty, standardise=False, nonlinear=True, seed=0)(empty)).all()


def test_memory_is_that_of_one_fold_and_not_of_all():
    """Ten folds of 3,000 reports with 300 features: held together, features and decompositions took 140 MB."""
    s = (np.random.default_rng(8).random((3000, 200)) < 0.1).astype(np.uint8)
    tracemalloc.start()
    try:
        Report.fitted(s, s[:, :2].astype(np.float64), np.arange(3000) % 10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6


def test_chunks_and_the_type_of_statements_change_nothing(monkeypatch):
    rng = np.random.default_rng(9)
    s, z = (rng.random((300, 20)) < 0.3).astype(np.float64), rng.normal(size=(300, 4))
    y, folds = z[:, [0]] + s[:, [1]], np.arange(300) % 3
    whole = Report.fitted(s, y, folds)
    monkeypatch.setattr(features, "CHUNK", 37)
    chunked = Report.fitted(s.astype(np.uint8), y, folds)
    assert chunked.predicted == pytest.approx(whole.predicted, abs=1e-9)
    for decoder, found in whole.both(z).items():
        assert chunked.both(z)[decoder] == pytest.approx(found, abs=1e-9)
        assert chunked.both(z, [decoder])[decoder] == pytest.approx(found, abs=1e-9)
