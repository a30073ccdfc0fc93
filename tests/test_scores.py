"""The verbs on frames of scores, against the functions that they lead to and small loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from merit import intervals, scores

DRAWS = {name: np.random.default_rng(k).normal(0.7 + 0.02 * k, 0.02, 50) for k, name in enumerate("abc")}
FOLDS = {"merit": [0.8, 0.7, 0.9], "cma": [0.7, 0.69, None]}


def drawn(encoder: str, task: str, value: float, name: str, **facts: object) -> dict:
    return {"encoder": encoder, "task": task, "metric": "auroc", "value": value, "draws": DRAWS[name], **facts}


def test_paired_by_halves_is_the_difference_half_by_half_with_holm_over_all() -> None:
    frame = scores.frame([
        drawn("cma", "form", 0.7, "a"), drawn("merit", "form", 0.72, "b"), drawn("random", "form", 0.5, "c"),
        drawn("merit", "rhythm", 0.9, "c"), {"encoder": "cma", "task": "rhythm", "reason": "none"},
    ])  # fmt: skip
    found = scores.paired(frame, ["task"])
    assert list(zip(found["task"], found["encoder"], found["other"])) == [
        ("form", "merit", "cma"), ("form", "merit", "random")
    ]  # fmt: skip
    wanted = [intervals.paired_resamples(0.72, DRAWS["b"], v, DRAWS[n]) for v, n in ((0.7, "a"), (0.5, "c"))]
    for column in ("value", "low", "high", "p", "n"):
        assert list(found[column]) == [one[column] for one in wanted]
    assert list(found["p_holm"]) == intervals.holm([one["p"] for one in wanted])
    assert set(found["n_comparisons"]) == {2}
    sides = scores.beyond_zero(found)
    assert list(sides) == intervals.told_apart(found.to_dict("records"))


def test_paired_by_folds_is_the_corrected_test() -> None:
    rows = [{"encoder": name, "task": "form", "metric": "f1", "value": 0.7, "folds": folds, "test_share": 0.25}
            for name, folds in FOLDS.items()]  # fmt: skip
    (found,) = scores.paired(scores.frame(rows), ["task"], over="folds").to_dict("records")
    wanted = intervals.corrected_t([0.8 - 0.7, 0.7 - 0.69, None], 0.25)
    assert {name: found[name] for name in wanted} == wanted


def test_paired_by_seed_takes_the_seeds_that_both_have() -> None:
    values = {("merit", 0): 0.8, ("merit", 1): 0.9, ("merit", 2): 0.7, ("cma", 1): 0.5, ("cma", 0): 0.6}
    rows = [
        {"encoder": e, "encoder_seed": s, "task": "form", "metric": "f1", "value": v} for (e, s), v in values.items()
    ]
    frame = scores.frame(rows)
    (found,) = scores.paired(frame, ["task"], over="encoder_seed").to_dict("records")
    wanted = intervals.seed_t([0.8 - 0.6, 0.9 - 0.5, None])
    assert {name: found[name] for name in wanted} == wanted
    means = scores.over_seeds(frame, ["task"]).set_index("encoder")
    assert means.loc["merit", "value"] == pytest.approx(0.8)
    assert means.loc["merit", "sd"] == pytest.approx(0.1)
    assert list(means["n"]) == [3, 2]


def test_a_family_is_corrected_by_itself() -> None:
    rows = [drawn(e, t, v, n) for t in ("form", "all") for e, v, n in (("merit", 0.72, "b"), ("cma", 0.7, "a"))]
    found = scores.paired(scores.frame(rows), ["task"], family=["task"])
    assert list(found["p_holm"]) == list(found["p"])
    assert set(found["n_comparisons"]) == {1}


def test_what_is_not_of_the_same_recordings_is_not_compared() -> None:
    rows = [drawn("merit", "form", 0.7, "a", n=10), drawn("cma", "form", 0.7, "b", n=11)]
    with pytest.raises(
        ValueError, match="merit and cma on form, auroc: expected scores with the same n; got 10 and 11"
    ):
        scores.paired(scores.frame(rows), ["task"])
    twice = scores.frame(
        [drawn("merit", "form", 0.7, "a"), drawn("merit", "form", 0.7, "a"), drawn("cma", "form", 0.7, "b")]
    )
    with pytest.raises(ValueError, match="expected one score per encoder and task, metric; got 2"):
        scores.paired(twice, ["task"])


def test_nothing_to_compare_is_an_empty_frame() -> None:
    found = scores.paired(scores.frame([]), [])
    assert len(found) == 0
    assert list(scores.beyond_zero(found)) == []


def test_scored_takes_values_and_fields() -> None:
    frame = scores.frame(
        [drawn("merit", "form", 0.7, "a"), drawn("merit", "all", 0.8, "a"), {"encoder": "cma", "task": "all"}]
    )
    assert list(scores.scored(frame, task=["form", "all"])["value"]) == [0.7, 0.8]
    assert scores.leader(frame)["task"] == "all"
    assert len(scores.scored(frame, encoder="cma")) == 0
    with pytest.raises(ValueError, match=r"scored: expected columns of the scores, .*; got variant"):
        scores.scored(frame, variant="raw")
    assert len(scores.scored(frame[frame["encoder"] == "cma"], variant="raw")) == 0
    assert scores.unpack(scores.pack(frame))[2] == {
        "encoder": "cma", "task": "all", "metric": None, "value": None, "draws": None, "low": None, "high": None,
        "reason": None,
    }  # fmt: skip
    assert isinstance(scores.records(pd.DataFrame({"n": np.array([1])}))[0]["n"], int)
