"""The six transfers and Table 5 from a workspace whose stores and embeddings are made up."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from merit.config import ProbeConfig, profile, replace
from merit.data import taxonomy
from merit.evaluate import shift as module
from merit.evaluate.tasks import MERL_FOLDER, SeenInPretraining
from merit.studies import Workspace
from merit.studies.shift import TRANSFERS, label_alignment, shift, sinus_rhythm

PROFILE = replace(profile("smoke"), probe=ProbeConfig(epochs=2, n_resamples=10))


@pytest.fixture
def workspace(made_up_workspace: type[Workspace], tmp_path: Path) -> Workspace:
    return made_up_workspace(PROFILE, None, "cpu", tmp_path / "run")


def macro(found: pd.DataFrame, scored: str = "target") -> pd.DataFrame:
    """A row per transfer."""
    return found[(found["scored"] == scored) & (found["class"] == "macro")].reset_index(drop=True)


def test_six_directions_are_computed_once_and_then_read(workspace, monkeypatch) -> None:
    trained, train = [], module.train_head
    with monkeypatch.context() as patch:
        patch.setattr(module, "train_head", lambda task, *rest: (trained.append(task.task), train(task, *rest))[1])
        found = shift(workspace, ["random"])
    assert sorted(trained) == ["cpsc2018", "csn", "superclass"]  # once for both targets
    target = macro(found)
    assert list(target["transfer"]) == list(TRANSFERS)
    assert list(target["n_classes"]) == [3, 5, 3, 9, 5, 9]
    assert set(target["scope"]) == {"the whole data set"}
    assert set(target["n"]) == {200}
    assert target["split"][0] == "official folds 1-8, 9, 10"
    monkeypatch.setattr("merit.evaluate.shift.train_head", lambda *_: pytest.fail("computed again"))
    pd.testing.assert_frame_equal(shift(workspace, ["random"]), found)
    kept = [result for name, result in workspace.used.items() if name.startswith("shift")]
    assert kept[0]["parameters"]["config"]["select"] == "best_validation"


def test_a_missing_data_set_is_a_reason_and_not_a_stop(workspace: Workspace) -> None:
    workspace.missing = ("csn",)
    found = shift(workspace, ["random"])
    reasons = found[found["value"].isna() & found["scored"].isna()].set_index("transfer")["reason"]
    assert list(reasons.index) == [name for name in TRANSFERS if "csn" in name]
    assert reasons["superclass>csn"] == "csn: no such data set under /nowhere"
    assert not list((workspace.folder / "results").glob("shift-*csn*"))
    aligned = label_alignment(workspace)
    assert (aligned["value"].isna() == (aligned["space"] == "csn")).all()
    assert set(aligned.loc[aligned["space"] == "csn", "reason"]) == {"no recordings of csn"}
    assert sinus_rhythm(workspace, "csn")["reason"][0] == "csn: no such data set under /nowhere"


def test_what_was_pretrained_on_is_scored_on_folds_nine_and_ten_and_what_was_seen_is_refused(workspace, monkeypatch):
    workspace.pretrained_on_ptb_xl = True
    found = macro(shift(workspace, ["random"])).set_index("transfer")
    assert found.loc["cpsc2018>superclass", "n"] == 40
    assert "not seen" in found.loc["cpsc2018>superclass", "scope"]
    assert found.loc["superclass>cpsc2018", "n"] == 200
    assert set(found["n_seen"]) == {0}
    workspace.pretrained_on_ptb_xl = False
    seen = pd.DataFrame({"cohort": ["csn"], "patient_id": ["p3"], "record_id": ["x"]})
    monkeypatch.setattr(type(workspace), "seen", lambda *_: seen)
    with pytest.raises(SeenInPretraining, match="patient p3 of csn"):
        shift(workspace, ["merit"])
    assert list(macro(shift(workspace, ["merit"], allow_seen=True))["n_seen"]) == [0, 1, 0, 1, 0, 0]


def test_merls_lists_divide_a_data_set_where_they_are(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "data" / MERL_FOLDER / "icbeb"
    folder.mkdir(parents=True)
    for part, rows in {"train": range(120), "val": range(120, 150), "test": range(150, 190)}.items():
        (folder / f"icbeb_{part}.csv").write_text("\n".join(["filename", *(f"cpsc2018{i:03d}" for i in rows)]))
    workspace.data = tmp_path / "data"
    shift(type(workspace)(PROFILE, None, "cpu", workspace.folder), ["random"])
    found = shift(workspace, ["random"])
    assert macro(found)["split"][2] == "MERL's lists"
    assert macro(found, "own")["n"][0] == 40
    assert macro(found)["n"][0] == 200
    n_kept = len(list((workspace.folder / "results").glob("shift-*.json")))
    assert n_kept == 10  # the four directions with CPSC2018 twice


def test_an_empty_part_leaves_the_target_and_takes_the_source(workspace, monkeypatch) -> None:
    csn, whole = workspace.store("csn"), type(workspace).store
    csn.records["fold"] = csn.records["fold"].mask(csn.records["fold"] == 9)
    monkeypatch.setattr(type(workspace), "store", lambda ws, cohort: csn if cohort == "csn" else whole(ws, cohort))
    found = shift(workspace, ["random"])
    assert macro(found).set_index("transfer").loc["superclass>csn", "n"] == 200
    reasons = found[found["reason"].notna()].drop_duplicates("transfer").set_index("transfer")["reason"]
    assert "too few recordings" in reasons["superclass>csn"]
    assert reasons["csn>superclass"] == "csn: no head, since training, validation or test part is empty"


def test_positives_and_sinus_rhythm_alone_are_counted_as_loops_do(workspace, monkeypatch) -> None:
    store = workspace.store("csn")
    store.records["labels"] = [["XYZ"] if k < 7 else one for k, one in enumerate(store.records["labels"])]
    whole, labels = type(workspace).store, store.records["labels"]
    monkeypatch.setattr(type(workspace), "store", lambda ws, name: store if name == "csn" else whole(ws, name))
    found = label_alignment(workspace, "superclass>csn")
    found = found[found["side"] == "target"].set_index("class")
    assert found.loc["HYP", "value"] == sum(bool({"RVH", "LVH"} & set(one)) for one in labels)
    assert found.loc["macro", "value"] == sum(bool(set(one) & set(taxonomy.classes("csn"))) for one in labels)
    assert found.loc["HYP", "codes"] == ["RVH", "LVH"]
    assert found.loc["macro", "n_classes"] == 38
    sinus = sinus_rhythm(workspace, "csn").set_index("metric").loc["alone"]
    assert sinus["value"] == sum(set(one) == {"SR"} for one in labels)
    assert sinus["n"] == sum("SR" in one for one in labels)


def test_a_table_of_ones_own_makes_results_of_its_own(workspace: Workspace, tmp_path: Path) -> None:
    lines = ["space,class,counterpart_space,counterpart_codes", "superclass,MI,csn,MI", "superclass,CD,cpsc2018,1AVB"]
    path = tmp_path / "own.csv"
    path.write_text("\n".join([*lines, "cpsc2018,AFIB,csn,AFIB AF"]))
    classes = macro(shift(workspace, ["random"], alignment=path))["classes"]
    assert list(classes) == [["CD"], ["MI"], ["CD"], ["AFIB"], ["MI"], ["AFIB"]]
