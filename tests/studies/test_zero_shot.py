"""Zero-shot as a study on tiny hospitals: computed once, kept apart by its inputs, reasons in place of numbers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from merit import scores
from merit.data import taxonomy
from merit.evaluate import metrics
from merit.evaluate.tasks import SeenInPretraining
from merit.evaluate.zero_shot import load_prompts
from merit.studies.workspace import NoCohort
from merit.studies.zero_shot import prompt_facts, zero_shot


def auroc(found: pd.DataFrame) -> dict:
    """The only macro AUROC of a frame."""
    (row,) = scores.scored(found, **{"class": "macro", "metric": "auroc"}).to_dict("records")
    return row


def test_values_are_those_of_cosines_made_by_hand(workspace):
    found = zero_shot(workspace, "random", "superclass", "names")
    records = workspace.store("ptb-xl").records
    classes = taxonomy.classes("superclass")
    labels = taxonomy.label_matrix("superclass", records["labels"].tolist())
    texts = [load_prompts("names", "superclass").texts[code][0] for code in classes]
    row = auroc(found)
    assert (row["prompts"], row["ensemble"], row["scope"], row["n_seen"]) == ("names", True, "unseen", 0)
    assert len(row["draws"]) == 10
    cosines = workspace.shared("random", "ptb-xl").astype(float) @ workspace.shared_text("random", texts).T
    kept = labels.any(axis=1)
    by_class = found[(found["metric"] == "auroc") & (found["class"] != "macro")].set_index("class")["value"]
    np.testing.assert_allclose(by_class[list(classes)], metrics.auroc(labels[kept], cosines[kept]), atol=1e-6)


def test_whatever_changes_the_numbers_is_computed_again(workspace, tmp_path):
    own = tmp_path / "own.json"
    own.write_text(json.dumps({code: f"finding {code}" for code in taxonomy.classes("form")}))
    calls = [
        {}, {"prompts": "names"}, {"prompts": own}, {"ensemble": False}, {"scope": "test_fold"}, {"seed": 1},
        {"n_resamples": 3}, {"encoder_seed": 1}, {"allow_seen": True},
    ]  # fmt: skip

    def n_new(**call) -> int:
        before = set((workspace.folder / "results").glob("zero_shot-*.json"))
        zero_shot(workspace, "random", "form", **call)
        return len(set((workspace.folder / "results").glob("zero_shot-*.json")) - before)

    assert [n_new(**call) for call in calls] == [1] * len(calls)
    own.write_text(own.read_text().replace("finding NDT", "nothing found"))
    assert n_new(prompts=own) == 1


def test_what_was_seen_is_not_scored_and_of_ptb_xl_pretrained_on_only_folds_nine_and_ten(workspace, monkeypatch, again):
    seen = pd.DataFrame(workspace.store("ptb-xl").records[["patient_id", "record_id"]].head(1)).assign(cohort="ptb-xl")
    other = again(workspace)
    monkeypatch.setattr(other, "seen", lambda encoder, seed=0: seen)
    with pytest.raises(SeenInPretraining, match="1 of"):
        zero_shot(other, "random", "all", n_resamples=2)
    assert auroc(zero_shot(other, "random", "all", n_resamples=2, allow_seen=True))["n_seen"] == 1
    other = again(workspace)
    other.sources.pop("mimic-iv-ecg")
    held_out = other.store("ptb-xl").records["fold"].isin((9, 10)).sum()
    assert auroc(zero_shot(other, "random", "all"))["n"] == held_out
    assert auroc(zero_shot(other, "random", "all", allow_seen=True))["n"] == len(other.store("ptb-xl").records)


def test_what_cannot_be_scored_is_a_row_with_its_reason(workspace, again):
    other = again(workspace)
    (mse,) = zero_shot(other, "mse", "superclass").to_dict("records")
    assert "shares no space" in mse["reason"]
    records = other.store("cpsc2018").records
    records["labels"] = [["NORM"]] * len(records)
    (few,) = zero_shot(other, "random", "cpsc2018", n_resamples=1)["reason"]
    assert "no class has 2 positives and 2 negatives" in few
    other.sources.pop("csn")
    (missing,) = zero_shot(other, "random", "csn").to_dict("records")
    assert "csn: no such data set" in missing["reason"]
    assert (missing["task"], missing["encoder"], missing["prompts"]) == ("csn", "random", "enriched")


def test_unknown_names_are_rejected_with_the_right_ones(workspace):
    with pytest.raises(ValueError, match="task: expected one of superclass"):
        zero_shot(workspace, "random", "super")
    with pytest.raises(ValueError, match="scope: expected one of unseen, test_fold; got 'whole'"):
        zero_shot(workspace, "random", "superclass", scope="whole")
    with pytest.raises(ValueError, match="there is no file enrichd"):
        zero_shot(workspace, "random", "superclass", "enrichd")
    with pytest.raises(ValueError, match="n_resamples: expected 0 or more; got -1"):
        zero_shot(workspace, "random", "superclass", n_resamples=-1)


def test_facts_say_how_well_the_prompts_are_known(workspace, again):
    facts = prompt_facts(workspace, ["superclass", "form"])
    known = facts[facts["class"] == "macro"].pivot(index="task", columns="metric", values="value")
    worst = facts[facts["class"] != "macro"].set_index("task")
    assert (known["alike"] > 0.9).all()
    assert ((known >= 0) & (known <= 1)).all(axis=None)
    assert (worst["value"] >= known["split_words"][worst.index]).all()
    assert worst.loc["form", "class"] in taxonomy.classes("form")
    form = facts[facts["task"] == "form"].iloc[0]
    assert (form["n_classes"], form["n"]) == (19, len(load_prompts("enriched", "form").flat))
    other = again(workspace)
    for cohort in ("mimic-iv-ecg", "ptb-xl"):
        other.sources.pop(cohort)
    for found in (prompt_facts(other, "csn"), zero_shot(other, "random", "cpsc2018")):
        assert "expected mimic-iv-ecg or ptb-xl" in found["reason"].iloc[0]
    with pytest.raises(NoCohort):
        _ = other.text_identity
