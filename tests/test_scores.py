"""The verbs on frames of scores, against the functions that they lead to and small loops; their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from merit import intervals, scores

DRAWS = {name: np.random.default_rng(k).normal(0.7 + 0.02 * k, 0.02, 50) for k, name in enumerate("abc")}


def drawn(encoder: str, task: str, value: float, name: str, **facts: object) -> dict:
    return {"encoder": encoder, "task": task, "metric": "auroc", "value": value, "draws": DRAWS[name], **facts}


def test_paired_by_halves_is_the_difference_half_by_half_with_holm_over_all() -> None:
    rows = [drawn("cma", "form", 0.7, "a"), drawn("merit", "form", 0.72, "b"), drawn("random", "form", 0.5, "c")]
    more = [drawn("merit", "rhythm", 0.9, "c"), {"encoder": "cma", "task": "rhythm", "reason": "none"}]
    frame = scores.frame([*rows, *more])
    found = scores.paired(frame, ["task"])
    others = [["form", "merit", "cma"], ["form", "merit", "random"]]
    assert found[["task", "encoder", "other"]].values.tolist() == others
    wanted = [intervals.paired_resamples(0.72, DRAWS["b"], v, DRAWS[n]) for v, n in ((0.7, "a"), (0.5, "c"))]
    for column in ("value", "low", "high", "p", "n"):
        assert list(found[column]) == [one[column] for one in wanted]
    assert list(found["p_holm"]) == list(scores.holm(found["p"]))
    assert set(found["n_comparisons"]) == {2}
    form = scores.scored(frame, task="form")
    family = scores.paired(pd.concat([form, form.assign(task="all")]), ["task"], family=["task"])
    assert list(family["p_holm"]) == 2 * list(found["p_holm"])
    assert set(family["n_comparisons"]) == {2}
    nothing = scores.paired(scores.frame([]), [])
    assert len(nothing) == len(scores.beyond_zero(nothing)) == 0


def test_paired_by_folds_is_the_corrected_test_and_by_seed_takes_the_seeds_that_both_have() -> None:
    front, folds = {"task": "form", "metric": "f1"}, {"merit": [0.8, 0.7, 0.9], "cma": [0.7, 0.69, None]}
    rows = [{**front, "encoder": name, "value": 0.7, "folds": f, "test_share": 0.25} for name, f in folds.items()]
    (found,) = scores.paired(scores.frame(rows), ["task"], over="folds").to_dict("records")
    wanted = intervals.corrected_t([0.8 - 0.7, 0.7 - 0.69, None], 0.25)
    assert {name: found[name] for name in wanted} == wanted
    values = {("merit", 0): 0.8, ("merit", 1): 0.9, ("merit", 2): 0.7, ("cma", 1): 0.5, ("cma", 0): 0.6}
    frame = scores.frame({**front, "encoder": e, "encoder_seed": s, "value": v} for (e, s), v in values.items())
    (found,) = scores.paired(frame, ["task"], over="encoder_seed").to_dict("records")
    wanted = intervals.corrected_t([0.8 - 0.6, 0.9 - 0.5, None], 0.0)
    assert {name: found[name] for name in wanted} == wanted
    means = scores.over_seeds(frame, ["task"]).set_index("encoder")
    assert means.loc["merit", ["value", "sd"]].tolist() == pytest.approx([0.8, 0.1])
    assert list(means["n"]) == [3, 2]


def test_what_is_not_of_the_same_recordings_is_not_compared() -> None:
    rows = [drawn("merit", "form", 0.7, "a", n=10), drawn("cma", "form", 0.7, "b", n=11)]
    with pytest.raises(ValueError, match=r"merit and cma on form, auroc: .* with the same n; got 10 and 11"):
        scores.paired(scores.frame(rows), ["task"])
    twice = [drawn("merit", "form", 0.7, "a"), drawn("merit", "form", 0.7, "a"), drawn("cma", "form", 0.7, "b")]
    with pytest.raises(ValueError, match="expected one score per encoder and task, metric; got 2"):
        scores.paired(scores.frame(twice), ["task"])


def test_scored_takes_values_and_fields() -> None:
    rows = [drawn("merit", "form", 0.7, "a"), drawn("merit", "all", 0.8, "a"), {"encoder": "cma", "task": "all"}]
    frame = scores.frame(rows)
    assert list(scores.scored(frame, task=["form", "all"])["value"]) == [0.7, 0.8]
    assert scores.leader(frame)["task"] == "all"
    assert len(scores.scored(frame, encoder="cma")) == 0
    with pytest.raises(ValueError, match=r"scored: expected columns of the scores, .*; got variant"):
        scores.scored(frame, variant="raw")
    assert len(scores.scored(frame[frame["encoder"] == "cma"], variant="raw")) == 0
    nothing = dict.fromkeys(("metric", "value", "draws", "low", "high", "reason"))
    assert scores.unpack(scores.pack(frame))[2] == {"encoder": "cma", "task": "all", **nothing}


def test_holm_against_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    for seed, n in enumerate((1, 2, 7, 40)):
        p = np.random.default_rng(seed).random(n) ** 3
        assert scores.holm(pd.Series(p)).tolist() == pytest.approx(multipletests(p, method="holm")[1].tolist())
    gaps = scores.holm(pd.Series([0.01, np.nan, 0.04, 0.03]))
    assert gaps.tolist() == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert scores.holm(pd.Series([], dtype=float)).tolist() == []


def sides(*intervals_given: tuple, digits: int = 1, unit: float = 100, **columns: object) -> list[int]:
    given = pd.DataFrame(intervals_given, columns=["low", "high"]).assign(**columns)
    return scores.beyond_zero(given, digits, unit).tolist()


def test_what_is_told_apart_is_so_by_holm_over_all_and_an_end_that_is_printed_as_0_leaves_nothing_out() -> None:
    alone = (0.001, 0.041)  # p 0.04
    assert sides(alone) == [1]
    assert sides((-0.041, -0.001)) == [-1]
    assert sides(alone, (-0.05, 0.05)) == [0, 0]
    assert sides(alone, (0.1, 0.12)) == [1, 1]
    assert sides(alone, (None, None)) == [1, 0]
    assert sides(alone, p=0.2) == sides(alone, p=0.001, p_holm=0.06) == [0]
    for low, digits, unit, side in ((4e-4, 1, 100, 0), (6e-4, 1, 100, 1), (4e-4, 2, 100, 1), (4e-3, 2, 1, 0)):
        assert sides((low, low + 0.02), digits=digits, unit=unit, p=0.001) == [side]
        assert sides((-low - 0.02, -low), digits=digits, unit=unit, p=0.001) == [-side]


def test_a_committed_file_gives_its_scores_back_to_six_digits(tmp_path: Path) -> None:
    row = {"encoder": "merit", "metric": "auroc", "value": 1 / 3, "n": 5, "draws": [1.0]}
    frame = scores.frame([row, {"encoder": "cma", "metric": "auroc", "reason": "no weights"}])
    path = tmp_path / "counted-demo.json"
    scores.write(path, {"profile": "demo", "synthetic": True}, frame)
    about, found = scores.read(path)
    assert about == {"profile": "demo", "synthetic": True}
    assert found["value"][0] == 0.333333
    assert "draws" not in found
    assert found["reason"][1] == "no weights"
    assert scores.held(path, frame[:1])
    assert not scores.held(path, frame.assign(value=[0.5, None]))
    path.write_text("{}")
    with pytest.raises(ValueError, match="expected scores with about, columns and rows"):
        scores.read(path)


def test_over_rotations_is_the_mean_of_means_over_seeds_and_pairs_within_a_rotation() -> None:
    rng, rows, values = np.random.default_rng(0), [], {}
    for rotation in (1, 2, 3):
        patients = rng.normal(0, 0.02, 40)  # both encoders are scored on the same halves of a rotation's patients
        for name, level in (("merit", 0.8), ("random", 0.6)):
            for seed in (0, 1):
                value = level + 0.01 * rotation + 0.002 * seed
                values[name, rotation, seed] = value
                drawn = list(value + patients + rng.normal(0, 0.001, 40))
                about = {"encoder": name, "task": "form", "metric": "auroc", "encoder_seed": seed, "rotation": rotation}
                rows.append({**about, "value": value, "draws": drawn})
    difference_of_one = {**rows[0], "value": 9.0, "other": "random"}  # as `kept` has beside its scores
    found = scores.over_rotations(scores.frame([*rows, difference_of_one]), ["task"]).set_index(["encoder", "other"])
    merit, difference = found.loc[("merit", None)], found.loc[("merit", "random")]
    each = [np.mean([values["merit", rotation, seed] for seed in (0, 1)]) for rotation in (1, 2, 3)]
    assert merit["each"] == pytest.approx(each)
    assert (merit["value"], merit["n"], merit["n_seeds"]) == (pytest.approx(np.mean(each)), 3, 2)
    assert difference["value"] == pytest.approx(0.2)
    assert merit["high"] - merit["low"] > 5 * (difference["high"] - difference["low"]), "patients cancel in the pair"
    lone = scores.over_rotations(scores.frame([row for row in rows if row["rotation"] == 2]), ["task"])
    assert lone["low"].isna().all(), "one rotation tells nothing of the others"
