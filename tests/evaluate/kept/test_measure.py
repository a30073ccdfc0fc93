"""Numbers and intervals of one embedding on made-up factors, against loops over resamples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from merit.data.recording import LEADS
from merit.evaluate.bootstrap import weights_of
from merit.evaluate.kept import factors, measure
from merit.evaluate.tasks import NotEnoughData

N = 400
CONFIG = measure.KeptConfig(n_resamples=40)


@pytest.fixture(scope="module")
def case() -> tuple[measure.Asked, np.ndarray, np.ndarray]:
    """A question, the reports' features and an embedding that holds the axis, half of PR and the finding."""
    rng = np.random.default_rng(0)
    s = rng.random((N, 2)) < 0.4
    axis, pr, rate = rng.normal(size=(3, N))
    finding = axis + rng.normal(size=N) > 0.8
    pr = np.where(np.arange(N) % 4, pr, np.nan)
    asked = measure.Asked(
        factors={"axis": np.column_stack([axis, -axis]) + s[:, :1], "pr": pr[:, None], "heart_rate": rate[:, None]},
        findings={"block": finding, "rare": np.arange(N) < 4},
        silent={"block": ~(finding & s[:, 0]), "rare": np.ones(N, bool)},
        stated={"block": finding & s[:, 0], "always": np.ones(N, bool)},
        groups=np.arange(N) // 2, folds=np.arange(N) // 2 % 5,
    )  # fmt: skip
    embedding = np.column_stack([axis, np.nan_to_num(pr) + rng.normal(size=N), rng.normal(size=(N, 3))])
    return asked, s.astype(float), embedding


@pytest.fixture(scope="module")
def values(case) -> dict:
    asked, s, embedding = case
    return measure.measure(embedding, asked, measure.blocks(asked, s), CONFIG)


def test_values_are_what_the_data_hold(values):
    found = values["factors"]
    assert list(found) == ["axis", "pr", "heart_rate"]
    assert found["axis"]["linear"]["partial"]["value"] > 0.97
    assert 0.1 < found["axis"]["report"]["value"] < 0.35
    assert found["pr"]["n"] == 300
    assert found["pr"]["linear"]["partial"]["value"] == pytest.approx(0.5, abs=0.1)
    assert abs(found["heart_rate"]["linear"]["partial"]["value"]) < 0.05
    for numbers in found.values():
        partial = numbers["linear"]["partial"]
        assert partial["low"] <= partial["value"] <= partial["high"]
        report, both = numbers["report"]["value"], numbers["linear"]["both"]["value"]
        assert partial["value"] == pytest.approx((both - report) / (1 - report), abs=1e-6)


def test_the_mean_leaves_out_the_rate(values):
    named = [values["factors"][name]["linear"]["partial"]["value"] for name in ("axis", "pr")]
    beyond = values["summary"]["linear"]["beyond"]
    assert beyond["value"] == pytest.approx(np.mean(named), abs=1e-6)
    assert len(beyond["draws"]) == 40


def test_an_interval_is_that_of_a_loop_over_resamples(case, values):
    asked, s, embedding = case
    report = measure.blocks(asked, s)[0].report
    weights = weights_of(asked.groups, CONFIG.n_resamples, CONFIG.seed)
    alone, both = report.predicted[:, :2], report.both(embedding, ["linear"])["linear"][:, :2]
    drawn = []
    for r in range(1, 41):
        lost = np.zeros(2)
        for row in range(N):
            truth = report.targets[row, :2]
            lost += weights[row, r] * np.array([((truth - p[row]) ** 2).sum() for p in (both, alone)])
        drawn.append(1 - lost[0] / lost[1])
    partial = values["factors"]["axis"]["linear"]["partial"]
    reach = 1.959964 * np.sqrt(np.mean((np.array(drawn) - partial["value"]) ** 2))
    low, high = partial["value"] - reach, partial["value"] + reach
    assert (partial["low"], partial["high"]) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


def test_findings_are_scored_over_all_and_where_the_report_is_silent(case, values):
    asked, s, embedding = case
    block, rare = values["findings"]["block"], values["findings"]["rare"]
    column = measure.blocks(asked, s)[0].report.embedding(embedding, "linear")[:, 4 - 1]
    silent = asked.silent["block"]
    truth = asked.findings["block"]
    assert block["linear"]["all"]["value"] == pytest.approx(roc_auc_score(truth, column), abs=1e-6)
    assert block["linear"]["silent"]["value"] == pytest.approx(roc_auc_score(truth[silent], column[silent]), abs=1e-6)
    assert block["n_silent"] == int((truth & silent).sum())
    assert rare == {"n": 4, "n_silent": 4, "report": {}, "linear": {}, "nonlinear": {}}


def test_only_statements_that_some_make_and_some_do_not_are_scored(values):
    assert list(values["statements"]) == ["block"]
    mean = values["summary"]["linear"]["in_report"]
    assert mean["value"] == pytest.approx(values["statements"]["block"], abs=1e-6)


def test_another_description_of_the_report_changes_what_is_beyond_it(case, values):
    asked, _, embedding = case
    told = measure.blocks(asked, embedding, standardise=True, findings=False)
    nothing = measure.beyond_another(embedding, asked, told, CONFIG)
    assert abs(nothing["value"]) < 0.05
    assert nothing["value"] < values["summary"]["linear"]["beyond"]["value"]


def test_too_few_recordings_are_named(case):
    asked, s, _ = case
    few = measure.Asked(asked.factors, asked.findings, asked.silent, asked.stated, asked.groups, np.full(N, -1))
    with pytest.raises(NotEnoughData, match="at least 60 scored recordings; got 0"):
        measure.blocks(few, s)


def test_nothing_is_none():
    assert measure.number(np.full(5, np.nan), keep=True) == {
        "value": None, "low": None, "high": None, "draws": [None] * 4,
    }  # fmt: skip


def measured(scale: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    waves = {f"{w}_mv_{lead}": scale * rng.normal(size=5) for w in "rt" for lead in LEADS}
    waves |= {f"s_mv_{lead}": -scale * np.ones(5) for lead in LEADS} | {
        f"st_mv_{lead}": scale * np.ones(5) for lead in LEADS
    }
    about = {"heart_rate_bpm": 60.0, "pr_ms": [150, np.nan, 160, 170, 180], "qrs_ms": 90.0, "qt_ms": 400.0}
    about |= {"rr_rmssd_ms": [0.0, 1.0, 20, 30, 40], "axis_deg": [-45.0, -30, 0, 90, 120]}
    return pd.DataFrame(about | waves)


def test_factors_do_not_depend_on_voltage():
    once, twice = (factors.continuous(measured(scale)) for scale in (1.0, 2.0))
    for name in once:
        assert once[name].shape == (5, {"axis": 2, "qrs_leads": 12, "t_leads": 12, "st_leads": 12}.get(name, 1))
        np.testing.assert_allclose(once[name], twice[name])
    assert np.isnan(once["pr"][1, 0])
    assert once["variability"][:2, 0].tolist() == [0.0, 0.0]
    assert once["axis"][2] == pytest.approx([1, 0])
    assert (once["qrs_leads"] ** 2).mean(axis=1) == pytest.approx(np.ones(5))
    assert factors.axis_deviates(measured()).tolist() == [True, False, False, False, True]
