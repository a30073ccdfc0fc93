"""Linear probing as studies: what `merit evaluate` prints, groups of people on a made-up store, protocol rules on tiny
hospitals.
"""

from __future__ import annotations

import pandas as pd
import pytest

from merit import scores
from merit.config import HospitalConfig, ProbeConfig, profile, replace
from merit.evaluate import protocol_effects as measures
from merit.evaluate.tasks import SeenInPretraining
from merit.studies import Workspace
from merit.studies.probing import lines, protocol_effects, seen_effects, subgroups

SMOKE = profile("smoke")


def test_a_line_per_variant_or_the_reason() -> None:
    front = {"task": "form", "encoder": "merit", "scored": "by fold", "n": 480}
    auroc, f1 = {"metric": "auroc", "value": 0.9, "sd": 0.01}, {"metric": "f1", "value": None, "sd": None}
    rows = [{**front, "variant": v, **row} for v in ("as_published", "standardised") for row in (auroc, f1)]
    found = lines(scores.frame([*rows, {**rows[0], "scored": "pooled"}]))
    assert found[0] == "form               as_published  merit   AUROC 90.0 ± 1.0   F1 none   (480 recordings)"
    assert len(found) == 2
    assert lines(scores.frame([{**front, "reason": "form: too few"}]))[0].endswith(" merit   form: too few")


@pytest.fixture
def made_up(made_up_workspace, tmp_path) -> Workspace:
    """600 recordings of PTB-XL with sex and age; no other cohort."""
    config = ProbeConfig(epochs=1, n_resamples=10)
    made = made_up_workspace(replace(SMOKE, probe=config), None, "cpu", tmp_path / "run")
    made.n, made.missing = 600, ("csn", "cpsc2018")
    return made


def macro(found: pd.DataFrame, attribute: str, scored: str = "level") -> pd.DataFrame:
    """A row per group."""
    own = found[(found["attribute"] == attribute) & (found["scored"] == scored) & (found["class"] == "macro")]
    return own.set_index("group")


def test_groups_are_those_of_the_records_of_the_task(made_up) -> None:
    found, records = subgroups(made_up, "random", "superclass"), made_up.store("ptb-xl").records
    sexes, ages = macro(found, "sex"), macro(found, "age")
    counted = {sex: int((records["sex"] == sex).sum()) for sex in ("female", "male")}
    assert sexes["n"].to_dict() == {**counted, "unknown": 4}
    assert ages.loc["unknown", "n"] == 20
    assert ages.loc["80 and over", "n"] == int((records["age"] >= 80).sum())
    assert sexes["n"].sum() == ages["n"].sum() == 600
    assert list(macro(found, "sex", "difference")["against"]) == ["male"]
    assert set(macro(found, "age", "difference").index) < {"under 40", "40 to 64", "65 to 79", "80 and over"}
    csn, form = subgroups(made_up, "random", ["csn", "form"])["reason"]
    assert csn == "csn: no such data set under /nowhere"
    assert form.startswith("form: ")


def test_groups_have_limits_and_those_that_were_seen_are_not_scored(made_up, monkeypatch):
    strict = subgroups(made_up, "random", "superclass", min_positives=100_000)
    assert "no class has 100000" in macro(strict, "sex")["reason"].iloc[0]
    with pytest.raises(ValueError, match="min_records: expected at least 1; got 0"):
        subgroups(made_up, "random", "superclass", min_records=0)
    with pytest.raises(ValueError, match="select: expected one of last"):
        subgroups(made_up, "random", "superclass", select="best_validation")
    with pytest.raises(ValueError, match="select: expected one of last"):
        protocol_effects(made_up, ["random"], ["superclass"], select="best_validation")
    seen = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": ["p7"], "record_id": ["x"]})
    monkeypatch.setattr(made_up, "seen", lambda *_: seen)
    with pytest.raises(SeenInPretraining, match="patient p7"):
        subgroups(made_up, "merit", "superclass")
    assert set(subgroups(made_up, "merit", "superclass", allow_seen=True)["n_seen"]) == {1}
    with pytest.raises(SeenInPretraining):
        protocol_effects(made_up, ["merit"], ["superclass"], epochs=1)


@pytest.fixture(scope="module")
def hospitals(workspace, tmp_path_factory) -> Workspace:
    sizes = {"mimic-iv-ecg": 60, "ptb-xl": 80, "cpsc2018": 12, "csn": 12}
    pretrain = replace(workspace.profile.pretrain, updates=2, validation_share=0.3)
    probe, made = ProbeConfig(epochs=2, n_resamples=10, min_positives=1), HospitalConfig(recordings=sizes, workers=1)
    tiny = replace(workspace.profile, hospitals=made, pretrain=pretrain, probe=probe)
    return Workspace(tiny, None, "cpu", tmp_path_factory.mktemp("run") / "smoke")


def test_seen_patients_are_told_from_held_out_ones_as_pretraining_did(hospitals, monkeypatch, again):
    from merit.data.batches import hold_out_patients, pair

    caught = {}

    def stand_in(ecg, text, text_row, sides, seed):
        caught["sides"] = sides
        return [{"rule": "seen", "scored": "effect", "metric": "recall@10", "value": 0.0}]

    monkeypatch.setattr(measures, "retrieval", stand_in)
    found = seen_effects(again(hospitals), ["merit", "mse"], "standardised")
    store = hospitals.store("mimic-iv-ecg")
    data = pair(store, hospitals.pretraining_rows, hospitals.report_embeddings())
    training, validation = hold_out_patients(data, 0.3, 0)
    sides = caught["sides"]
    assert sides.seen.tolist() == training.rows.tolist()
    assert sides.held_out.tolist() == validation.rows.tolist()
    assert not set(sides.patients[sides.seen]) & set(sides.patients[sides.held_out])
    assert found["n_seen"].iloc[0] == len(set(sides.patients[sides.seen]))
    without = found[(found["encoder"] == "mse") & (found["metric"] == "recall@10")]
    assert "without text" in without["reason"].item()
    probed = found[(found["metric"] == "auroc") & (found["scored"] == "effect")]
    assert list(probed["encoder"]) == ["merit", "mse"]


def test_where_ptb_xl_is_pretrained_on_folds_by_recording_are_not_drawn(hospitals, again):
    other = again(hospitals)
    other.sources.pop("mimic-iv-ecg")
    found = protocol_effects(other, ["merit", "random"], ["superclass"], epochs=1)
    assert set(found["protocol"]) == {other.protocol("ptb-xl")} != {"ten folds"}
    reasons = found[found["rule"] == "by_recording"].groupby("encoder")["reason"].first()
    assert "pretrained on" in reasons["merit"]
    assert "pretrained on" not in str(reasons["random"])
    other = again(hospitals)
    for cohort in ("mimic-iv-ecg", "ptb-xl", "csn"):
        other.sources.pop(cohort)
    found = protocol_effects(other, ["merit", "random"], ["superclass", "csn"])
    reasons = [*found["reason"], *seen_effects(other, ["merit", "random"])["reason"]]
    assert len(reasons) == 6
    assert all("no such data set" in reason or "expected mimic-iv-ecg" in reason for reason in reasons)
