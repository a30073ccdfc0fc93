"""Zero-shot as a stage on tiny hospitals: computed once, kept apart by its inputs, reasons in place of numbers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from merit.data import taxonomy
from merit.evaluate import metrics
from merit.evaluate.prompts import load
from merit.evaluate.tasks import SeenInPretraining
from merit.pipeline import Workspace
from merit.pipeline.recordings import NoCohort
from merit.pipeline.zero_shot import prompt_facts, sensitivity, zero_shot


def again(workspace: Workspace) -> Workspace:
    """Another session on the same folder."""
    return Workspace(workspace.profile, None, "cpu", workspace.folder)


def test_a_result_is_computed_once_and_then_read(workspace):
    first = zero_shot(workspace, ["merit", "random"], ["superclass"])
    files = sorted((workspace.folder / "results").glob("zero_shot-*.json"))
    times = [f.stat().st_mtime_ns for f in files]
    assert json.loads(json.dumps(first)) == zero_shot(again(workspace), ["merit", "random"], ["superclass"])
    assert times == [f.stat().st_mtime_ns for f in files]
    values = first[0]["values"]
    assert (values["encoder"], values["prompts"], values["ensemble"], values["n_seen"]) == (
        "merit",
        "enriched",
        True,
        0,
    )
    assert len(values["resamples"]["auroc"]) == 10


def test_values_are_those_of_cosines_made_by_hand(workspace):
    (found,) = zero_shot(workspace, ["random"], ["superclass"], "names")
    records = workspace.store("ptb-xl").records
    classes = taxonomy.classes("superclass")
    labels = taxonomy.label_matrix("superclass", records["labels"].tolist())
    texts = [load("names", "superclass").texts[code][0] for code in classes]
    scores = workspace.shared("random", "ptb-xl").astype(float) @ workspace.shared_text("random", texts).T
    kept = labels.any(axis=1)
    expected = metrics.auroc(labels[kept], scores[kept])
    for code, value in zip(classes, expected):
        assert found["values"]["per_class"][code]["auroc"] == pytest.approx(value, abs=1e-6)


def test_whatever_changes_the_numbers_changes_the_identity(workspace, tmp_path):
    own = tmp_path / "own.json"
    own.write_text(json.dumps({code: f"finding {code}" for code in taxonomy.classes("superclass")}))
    calls = [
        {}, {"prompts": "names"}, {"prompts": own}, {"ensemble": False}, {"scope": "test_fold"}, {"seed": 1},
        {"n_resamples": 3}, {"encoder_seed": 1}, {"allow_seen": True},
    ]  # fmt: skip
    found = [zero_shot(workspace, ["random"], ["superclass"], **call)[0] for call in calls]
    assert len({one["id"] for one in found}) == len(calls)
    assert found[2]["values"]["prompts"] == load(own, "superclass").digest
    own.write_text(own.read_text().replace("finding NORM", "nothing found"))
    assert zero_shot(workspace, ["random"], ["superclass"], own)[0]["id"] != found[2]["id"]


def test_what_was_seen_is_not_scored(workspace, monkeypatch):
    seen = pd.DataFrame(workspace.store("ptb-xl").records[["patient_id", "record_id"]].head(1)).assign(cohort="ptb-xl")
    other = again(workspace)
    monkeypatch.setattr(other, "seen", lambda encoder, seed=0: seen)
    with pytest.raises(SeenInPretraining, match="1 of"):
        zero_shot(other, ["random"], ["all"], n_resamples=2)
    assert zero_shot(other, ["random"], ["all"], n_resamples=2, allow_seen=True)[0]["values"]["n_seen"] == 1


def test_where_ptb_xl_is_pretrained_on_only_folds_nine_and_ten_are_scored(workspace):
    other = again(workspace)
    other.sources.pop("mimic-iv-ecg")
    held_out = other.store("ptb-xl").records["fold"].isin((9, 10)).sum()
    (unseen,) = zero_shot(other, ["random"], ["all"])
    (everything,) = zero_shot(other, ["random"], ["all"], allow_seen=True)
    assert unseen["values"]["n_records"] == held_out
    assert everything["values"]["n_records"] == len(other.store("ptb-xl").records)
    (test,) = zero_shot(other, ["random"], ["rhythm"], scope="test_fold")
    assert test["values"].get("n_records", 0) < held_out


def test_an_encoder_without_a_shared_space_and_a_cohort_that_is_missing_give_reasons(workspace):
    (mse,) = zero_shot(workspace, ["mse"], ["superclass"])
    assert "shares no space" in mse["values"]["reason"]
    other = again(workspace)
    other.sources.pop("csn")
    (missing,) = zero_shot(other, ["random"], ["csn"])
    assert "csn: no such data set" in missing["values"]["reason"]
    assert (missing["values"]["task"], missing["values"]["encoder"], missing["id"]) == ("csn", "random", None)


def test_a_task_without_a_class_to_score_gives_a_reason(workspace):
    other = again(workspace)
    records = other.store("cpsc2018").records
    records["labels"] = [["NORM"]] * len(records)
    (result,) = zero_shot(other, ["random"], ["cpsc2018"], n_resamples=1)
    assert "no class has 2 positives and 2 negatives" in result["values"]["reason"]


def test_sensitivity_has_three_wordings_of_which_the_last_is_the_main_one(workspace):
    results = [one["values"] for one in sensitivity(workspace, ["random"], ["superclass"])]
    assert [(one["prompts"], one["ensemble"]) for one in results] == [
        ("names", False), ("enriched", False), ("enriched", True),
    ]  # fmt: skip
    (main,) = zero_shot(workspace, ["random"], ["superclass"])
    assert results[-1]["macro"]["auroc"]["value"] == main["values"]["macro"]["auroc"]["value"]
    assert results[-1]["macro"]["auroc"]["low"] is None


def test_unknown_names_are_refused_with_the_right_ones(workspace):
    with pytest.raises(ValueError, match="task: expected one of superclass"):
        zero_shot(workspace, ["random"], ["super"])
    with pytest.raises(ValueError, match="scope: expected one of unseen, test_fold; got 'whole'"):
        zero_shot(workspace, ["random"], ["superclass"], scope="whole")
    with pytest.raises(ValueError, match="there is no file enrichd"):
        zero_shot(workspace, ["random"], ["superclass"], "enrichd")


def test_facts_say_how_well_the_prompts_are_known(workspace):
    facts = prompt_facts(workspace, ["superclass", "form"])
    assert (facts["form"]["n_classes"], facts["form"]["n_prompts"]) == (19, len(load("enriched", "form").flat))
    for one in facts.values():
        assert one["alike"] > 0.9
        assert 0 < one["words_in_reports"] <= 1
        assert 0 <= one["unknown_tokens"] <= 1
        assert one["worst_split"] >= one["split_words"]
    assert facts["form"]["worst_class"] in taxonomy.classes("form")


def test_without_anything_to_pretrain_on_facts_are_a_reason(workspace):
    other = again(workspace)
    for cohort in ("mimic-iv-ecg", "ptb-xl"):
        other.sources.pop(cohort)
    assert "expected mimic-iv-ecg or ptb-xl" in prompt_facts(other, ["csn"])["csn"]["reason"]
    (result,) = zero_shot(other, ["random"], ["cpsc2018"])
    assert "expected mimic-iv-ecg or ptb-xl" in result["values"]["reason"]
    with pytest.raises(NoCohort):
        _ = other.text_identity


def test_a_projection_is_made_once_for_all_tasks_of_a_cohort(workspace, monkeypatch):
    other = again(workspace)
    made = []
    shared = other.shared
    monkeypatch.setattr(other, "shared", lambda *args: made.append(args) or shared(*args))
    zero_shot(other, ["random"], ["superclass", "subclass", "rhythm"], n_resamples=4)
    assert made == [("random", "ptb-xl", 0)]
    assert np.allclose(np.linalg.norm(other.shared("random", "ptb-xl"), axis=1), 1, atol=1e-5)
