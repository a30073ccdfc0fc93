"""Ridge against loops, partial R² where it is known in closed form, every number against an oracle, and LUDB."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import roc_auc_score

from merit.data.wfdb_io import read_raw
from merit.evaluate import retention
from merit.evaluate.retention import DECODERS, PENALTIES, TRAINING_ONLY, Block, Question, features, words
from merit.evaluate.tasks import NotEnoughData
from merit.intervals import weights_of

N = 600
FOLDS = np.arange(N) % 5
REPORTS = [
    "Sinusrhythmus, Lagetyp normal",
    "sinusrhythmus lagetyp links",
    "Lagetyp normal. AV-Block I",
    "lagetyp unklar",
]


@pytest.mark.parametrize("fewest", [1, 2])
def test_words_and_pairs_that_are_frequent_each_once(fewest):
    tokens = ["".join(c if c.isalnum() else " " for c in r.lower()).split() for r in REPORTS]
    own = [set(t) | {f"{a} {b}" for a, b in pairwise(t)} for t in tokens]
    columns = {tuple(float(w in said) for said in own) for w in set().union(*own)}
    found = words(REPORTS, fewest)
    assert {tuple(column) for column in found.T} == {c for c in columns if fewest <= sum(c) < len(REPORTS)}
    assert len(set(map(tuple, found.T))) == found.shape[1]
    assert found.dtype == np.uint8
    for nothing, least in ((["a b", "a b"], 1), (["x", "y"], 2), (["", ""], 1)):
        assert words(nothing, least).shape == (2, 0)


def test_features_have_unit_variance_in_total_and_constants_are_dropped():
    rng = np.random.default_rng(7)
    rows = np.hstack([rng.normal(size=(400, 3)) * [1, 10, 100], np.ones((400, 1))])
    read, again = features(rows, rows, standardise=True, nonlinear=True, seed=0)
    assert read[:, :4].var(axis=0) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert read[:, 4:].var(axis=0).sum() == pytest.approx(1)
    assert np.array_equal(read, again)
    plain, _ = features(rows, rows[:2], standardise=False, nonlinear=False, seed=0)
    assert plain.var(axis=0) == pytest.approx(rows.var(axis=0) / rows.var(axis=0).sum())
    empty = np.zeros((20, 2))
    assert np.isfinite(features(empty, empty, standardise=False, nonlinear=True, seed=0)).all()


def test_ridge_has_the_penalty_and_the_residuals_of_leaving_each_row_out():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)) * [3, 1, 1, 0.3, 1, 1] + 2
    y = np.column_stack([x @ rng.normal(size=6) + rng.normal(size=40), rng.normal(size=40)])
    (predicted, residuals), total = retention.ridge(x, y, x[:5]), float(((x - x.mean(0)) ** 2).sum())
    for k in range(2):
        left_out = np.empty((len(PENALTIES), 40))
        for row in range(40):
            others = np.arange(40) != row
            for p, penalty in enumerate(PENALTIES):
                model = Ridge(alpha=penalty * total).fit(x[others], y[others, k])
                left_out[p, row] = y[row, k] - model.predict(x[[row]])[0]
        best = int((left_out**2).sum(axis=1).argmin())
        assert residuals[:, k] == pytest.approx(left_out[best])
        model = Ridge(alpha=PENALTIES[best] * total).fit(x, y[:, k])
        assert predicted[:, k] == pytest.approx(model.predict(x[:5]))


def independent(seed: int, count: int) -> np.ndarray:
    """[count, N, 1] normal draws, made uncorrelated and of variance 1 in this very sample."""
    draws = np.random.default_rng(seed).normal(size=(N, count))
    basis = np.linalg.qr(draws - draws.mean(axis=0))[0]
    return (basis * np.sqrt(N)).T[:, :, None]


def share_explained(target: np.ndarray, predicted: np.ndarray, reference: np.ndarray) -> float:
    return float(1 - ((target - predicted) ** 2).sum() / ((target - reference) ** 2).sum())


def partial(report: np.ndarray, embedding: np.ndarray, target: np.ndarray, decoder: str = "linear") -> float:
    block = Block(report, target, FOLDS)
    return share_explained(target, block.both(embedding, [decoder])[decoder], block.predicted)


def test_partial_r2_of_gaussians_is_the_closed_form():
    """Of y = s + z + e with independent parts the report explains 1/3, the embedding half of what is left."""
    s, z, e = independent(0, 3)
    y = s + z + e
    block = Block(s, y, FOLDS)
    assert share_explained(y, block.predicted, block.mean) == pytest.approx(1 / 3, abs=0.03)
    assert share_explained(y, block.embedding(z, "linear"), block.mean) == pytest.approx(1 / 3, abs=0.03)
    for decoder in DECODERS:
        assert partial(s, z, y, decoder) == pytest.approx(0.5, abs=0.03)
    # The report is a noisy copy of what the embedding holds whole: nothing is left over after both.
    z, e = independent(1, 2)
    assert partial(z + e, z, z) > 0.98
    assert partial(e, np.hstack([z + e, e]), z + e) > 0.98


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_function_of_the_statements_and_noise_add_nothing(decoder):
    rng = np.random.default_rng(2)
    s = (rng.random((N, 6)) < 0.4).astype(float)
    y = (s[:, [0]] * s[:, [1]] + s[:, [2]] - 0.5 * s[:, [3]]) + rng.normal(size=(N, 1))
    copies = np.hstack([s[:, [0]] * s[:, [1]], np.tanh(s @ rng.normal(size=(6, 8)))])
    assert abs(partial(s, copies, y, decoder)) < 0.03
    block = Block(s, y, FOLDS)
    assert share_explained(y, block.embedding(copies, decoder), block.mean) > 0.1
    assert abs(partial(s, rng.normal(size=(N, 40)), y, decoder)) < 0.03


def test_only_the_nonlinear_decoder_finds_a_square_and_what_is_never_scored_trains():
    rng = np.random.default_rng(4)
    s, z = rng.normal(size=(N, 1)), rng.normal(size=(N, 2))
    y = s + z[:, [0]] ** 2
    assert partial(s, z, y, "linear") < 0.05
    assert partial(s, z, y, "nonlinear") > 0.8
    z = np.random.default_rng(5).normal(size=(200, 1))
    folds = np.where(np.arange(200) < 150, TRAINING_ONLY, np.arange(200) % 2)
    block = Block(np.zeros((200, 1)), 2 * z, folds, also=z)
    found = block.embedding(z, "linear")
    assert np.isnan(found[:150]).all()
    assert found[150:] == pytest.approx(np.hstack([2 * z, z])[150:], abs=0.02)
    assert block.predicted[150:] == pytest.approx(block.mean[150:])
    assert len(next(block.splits())[0]) == 175
    with pytest.raises(ValueError, match="a row for each of 200 records; got 30"):
        block.both(np.zeros((30, 2)))
    # What is scored does not move what is learnt.
    rng = np.random.default_rng(6)
    s, z = rng.normal(size=(100, 2)), rng.normal(size=(100, 3))
    y, folds = z[:, [0]] + s[:, [1]], np.arange(100) % 2
    targets = y, np.where(folds[:, None] == 0, 99.0, y)
    before, after = (Block(s, target, folds).both(z, ["nonlinear"])["nonlinear"] for target in targets)
    assert np.array_equal(before[folds == 0], after[folds == 0])


def test_memory_is_that_of_one_fold_and_not_of_all():
    """Ten folds of 3,000 reports with 300 features: held together, features and decompositions took 140 MB."""
    s = (np.random.default_rng(8).random((3000, 200)) < 0.1).astype(np.uint8)
    tracemalloc.start()
    Block(s, s[:, :2].astype(np.float64), np.arange(3000) % 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


RECORDINGS = 400
CONFIG = retention.RetentionConfig(n_resamples=40)


@pytest.fixture(scope="module")
def case() -> tuple[Question, np.ndarray, np.ndarray]:
    """A question, the reports' features and an embedding that holds the axis, half of PR and the finding."""
    n, rng = RECORDINGS, np.random.default_rng(0)
    s = rng.random((n, 2)) < 0.4
    axis, pr, rate = rng.normal(size=(3, n))
    finding = axis + rng.normal(size=n) > 0.8
    pr = np.where(np.arange(n) % 4, pr, np.nan)
    question = Question(
        factors={"axis": np.column_stack([axis, -axis]) + s[:, :1], "pr": pr[:, None], "heart_rate": rate[:, None]},
        findings={"block": finding, "rare": np.arange(n) < 4},
        silent={"block": ~(finding & s[:, 0]), "rare": np.ones(n, bool)},
        stated={"block": finding & s[:, 0], "always": np.ones(n, bool)},
        groups=np.arange(n) // 2,
        folds=np.arange(n) // 2 % 5,
    )
    embedding = np.column_stack([axis, np.nan_to_num(pr) + rng.normal(size=n), rng.normal(size=(n, 3))])
    return question, s.astype(float), embedding


@pytest.fixture(scope="module")
def numbers(case) -> dict[tuple[str, ...], dict]:
    """(kind, target, decoder, metric) -> row."""
    question, s, embedding = case
    by_text = retention.blocks(question, embedding, standardise=True, findings=False)
    rows = retention.measure(embedding, question, retention.blocks(question, s), by_text, CONFIG)
    return {(row["kind"], row["target"], row["decoder"], row["metric"]): row for row in rows}


def test_values_are_what_the_data_hold(numbers):
    value = {key: row["value"] for key, row in numbers.items()}
    assert list(dict.fromkeys(key[1] for key in numbers if key[0] == "factor")) == ["axis", "pr", "heart_rate"]
    assert value["factor", "axis", "linear", "r2_partial"] > 0.97
    assert 0.1 < value["factor", "axis", "report", "r2"] < 0.35
    assert value["factor", "pr", "linear", "r2_partial"] == pytest.approx(0.5, abs=0.1)
    assert numbers["factor", "pr", "linear", "r2_partial"]["n"] == 300
    assert abs(value["factor", "heart_rate", "linear", "r2_partial"]) < 0.05
    for name in ("axis", "pr", "heart_rate"):
        row = numbers["factor", name, "linear", "r2_partial"]
        assert row["low"] <= row["value"] <= row["high"]
        report, both = value["factor", name, "report", "r2"], value["factor", name, "linear", "r2_both"]
        assert row["value"] == pytest.approx((both - report) / (1 - report), abs=1e-6)
    # The mean leaves out the rate.
    named = [value["factor", name, "linear", "r2_partial"] for name in ("axis", "pr")]
    mean = numbers["summary", "mean", "linear", "r2_partial"]
    assert mean["value"] == pytest.approx(np.mean(named), abs=1e-6)
    assert len(mean["draws"]) == 40
    # Only statements that some make and some do not are scored; beyond a text that is the embedding there is nothing.
    (statement,) = (row for key, row in numbers.items() if key[0] == "statement")
    assert statement["target"] == "block"
    assert value["summary", "mean", "linear", "auroc_stated"] == pytest.approx(statement["value"], abs=1e-6)
    assert abs(value["summary", "mean", "linear", "r2_partial_text"]) < 0.05


def test_an_interval_is_that_of_a_loop_over_resamples(case, numbers):
    question, s, embedding = case
    block = retention.blocks(question, s)[0]
    weights = weights_of(question.groups, CONFIG.n_resamples, CONFIG.seed)
    alone, both = block.predicted[:, :2], block.both(embedding, ["linear"])["linear"][:, :2]
    drawn = []
    for r in range(1, 41):
        lost = np.zeros(2)
        for row in range(RECORDINGS):
            truth = block.targets[row, :2]
            lost += weights[row, r] * np.array([((truth - p[row]) ** 2).sum() for p in (both, alone)])
        drawn.append(1 - lost[0] / lost[1])
    row = numbers["factor", "axis", "linear", "r2_partial"]
    reach = 1.959964 * np.sqrt(np.mean((np.array(drawn) - row["value"]) ** 2))
    assert row["draws"] == pytest.approx(drawn, abs=1e-6)
    assert (row["low"], row["high"]) == pytest.approx((row["value"] - reach, row["value"] + reach), abs=1e-6)


def test_findings_are_scored_over_all_and_where_the_report_is_silent(case, numbers):
    question, s, embedding = case
    column = retention.blocks(question, s)[0].embedding(embedding, "linear")[:, 4 - 1]
    silent, truth = question.silent["block"], question.findings["block"]
    everywhere, where_silent = (numbers["finding", "block", "linear", name] for name in ("auroc", "auroc_silent"))
    assert everywhere["value"] == pytest.approx(roc_auc_score(truth, column), abs=1e-6)
    assert where_silent["value"] == pytest.approx(roc_auc_score(truth[silent], column[silent]), abs=1e-6)
    assert (everywhere["n"], where_silent["n"]) == (truth.sum(), (truth & silent).sum())
    rare = [row for key, row in numbers.items() if key[1] == "rare"]
    assert [(row["n"], row["value"], row["low"]) for row in rare] == [(4, None, None)] * 6


def test_too_few_recordings_are_named_and_what_it_takes_is_measured_in_a_fresh_process(case):
    question, s, _ = case
    few = Question(*list(vars(question).values())[:-1], folds=np.full(RECORDINGS, TRAINING_ONLY))
    with pytest.raises(NotEnoughData, match="at least 60 scored recordings; got 0"):
        retention.blocks(few, s)
    nothing = {"value": None, "low": None, "high": None, "draws": [None] * 4}
    assert retention.number(np.full(5, np.nan), draws=True) == nothing
    sizes = {"records": 700, "words": 30, "statements": 3, "width": 4}
    found = retention.in_fresh_process(**sizes)
    assert found.items() >= sizes.items()
    assert min(found["report_s"], found["embedding_s"]) > 0
    assert 30 < found["peak_mb"] < 1000
    with pytest.raises(RuntimeError, match=r"measuring what_is_kept failed: .*at least 60 scored recordings; got 20"):
        retention.in_fresh_process(**sizes | {"records": 200})


def frames(n: int = 80) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measured and manual values; of PR, ten are not measured and fifteen not marked."""
    rng = np.random.default_rng(0)
    manual = pd.DataFrame({column: rng.uniform(50, 150, n) for column in retention.COLUMNS.values()})
    measured = manual + rng.normal(5, 10, manual.shape)
    measured.loc[:9, "pr_ms"] = np.nan
    manual.loc[5:19, "pr_ms"] = np.nan
    return measured, manual


def by_factor(measured: pd.DataFrame, manual: pd.DataFrame) -> dict[str, dict]:
    return {row["factor"]: row for row in retention.agreement(measured, manual, 50, 0)}


def test_numbers_are_those_of_a_regression_and_of_the_differences():
    measured, manual = frames()
    found = by_factor(measured, manual)
    x, y = manual["qrs_ms"].to_numpy(), measured["qrs_ms"].to_numpy()
    r2 = LinearRegression().fit(x[:, None], y).score(x[:, None], y)
    values = {key: found["qrs"][key]["value"] for key in ("bias", "sd", "r2")}
    assert values == pytest.approx({"bias": sum(y - x) / len(x), "sd": np.std(y - x), "r2": r2}, abs=1e-6)
    angles = [np.radians(frame["axis_deg"].to_numpy()) for frame in (manual, measured)]
    a, b = (np.column_stack([np.cos(angle), np.sin(angle)]) for angle in angles)
    left = b - LinearRegression().fit(a, b).predict(a)
    oracle = 1 - (left**2).sum() / ((b - b.mean(axis=0)) ** 2).sum()
    assert found["axis"]["r2"]["value"] == pytest.approx(oracle, abs=1e-6)
    for row in found.values():
        for key in ("bias", "sd", "r2"):
            assert row[key]["low"] <= row[key]["value"] <= row[key]["high"]
    pr = found["pr"]
    assert (pr["n"], pr["n_manual"], pr["n_without"], pr["n_invented"]) == (60, 65, 15, 10)
    assert np.isnan(retention.explained(np.ones(5), x[:5]))
    measured["axis_deg"], manual["axis_deg"] = -179.0, 179.0  # around the circle
    assert by_factor(measured, manual)["axis"]["bias"]["value"] == pytest.approx(2)
    few = by_factor(*frames(retention.FEWEST_COMPARED - 1))
    assert few["qt"]["r2"] == {"value": None, "low": None, "high": None}


def test_waves_belong_to_the_beat_that_they_are_near_and_an_end_needs_its_bracket(monkeypatch, tmp_path):
    """QRS at 1 and 2 s; P before both, the second without its onset; T after the first, and too late after the last."""
    waves = {"p": (0.8, 1.8), "N": (1.0, 2.0), "t": (1.3, 2.6)}
    peaks = sorted((500 * peak, kind) for kind, own in waves.items() for peak in own)
    found = [(at + shift, symbol) for at, kind in peaks for shift, symbol in ((-10, "("), (0, kind), (20, ")"))]
    samples, symbols = zip(*(mark for mark in found if mark != (500 * 1.8 - 10, "(")))
    monkeypatch.setattr(retention, "read_annotation", lambda *a: (np.array(samples), list(symbols)))
    marks = retention.manual_marks(tmp_path, "1")
    assert marks.r_s.tolist() == [1.0, 2.0]
    found = np.array([marks.p_on_s, marks.qrs_on_s, marks.qrs_off_s, marks.t_off_s])
    expected = np.array([[0.78, np.nan], [0.98, 1.98], [1.04, 2.04], [1.34, np.nan]])
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 12, axis=1))


def test_raw_units_and_marks_are_those_of_the_files_and_measured_factors_agree_with_them(real_data, monkeypatch):
    ludb = real_data / "ludb"
    if not ludb.is_dir():
        pytest.skip("no ludb in MERIT_REAL_DATA")
    signal = read_raw(str(ludb / "data"), "1")
    assert signal.shape == (12, 5000)
    assert np.abs(signal[0] + signal[2] - signal[1]).max() <= 2
    marks = retention.manual_marks(ludb, "1")
    assert marks.r_s.shape == (6,)
    assert marks.qrs_on_s.shape == (12, 6)
    assert (marks.qrs_on_s[1, 0], marks.qrs_off_s[1, 0], marks.t_off_s[1, 0]) == (644 / 500, 682 / 500, 878 / 500)
    assert np.isnan(marks.p_on_s[1, 0])
    assert marks.p_on_s[1, 1] == 1250 / 500
    names = retention.record_names(ludb)[:30]
    monkeypatch.setattr(retention, "record_names", lambda root: names)
    how = {"n_resamples": 20, "seed": 0, "workers": 1}
    rows = retention.measure_agreement(ludb, [retention.Delineator(100.0)], **how)
    least = {"heart_rate": 0.8, "pr": 0.3, "qrs": 0.5, "qt": 0.6, "axis": 0.7, "variability": 0.6}
    assert [row["factor"] for row in rows] == list(least)
    for row in rows:
        assert row["r2"]["value"] > least[row["factor"]], row["factor"]
        assert row["n"] >= 0.8 * row["n_manual"]
