"""The six transfers from a workspace whose stores and embeddings are made up: no hospital, no network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from merit.config import ProbeConfig, replace
from merit.data import taxonomy
from merit.evaluate import merl_splits
from merit.evaluate.label_alignment import DIRECTIONS
from merit.evaluate.seen import SeenInPretraining
from merit.evaluate.splits import OFFICIAL_SPLIT, TEN_FOLDS
from merit.pipeline import Workspace
from merit.pipeline.label_alignment import label_alignment, label_notes
from merit.pipeline.recordings import NoCohort
from merit.pipeline.shift import shift
from merit.profiles import profile

PROFILE = replace(profile("smoke"), probe=ProbeConfig(epochs=2, n_resamples=10))
CODES = {"ptb-xl": ("NORM", "IMI", "LVH", "CLBBB", "NDT"), "cpsc2018": taxonomy.classes("cpsc2018")}
CODES["csn"] = taxonomy.classes("csn")


class MadeUp(Workspace):
    """A workspace of 200 drawn recordings a cohort and random embeddings of width 4."""

    synthetic = True
    missing: tuple[str, ...] = ()
    pretrained_on_ptb_xl = False

    def store(self, cohort: str) -> SimpleNamespace:
        if cohort in self.missing:
            raise NoCohort(f"{cohort}: no such data set under /nowhere")
        generator = np.random.default_rng(len(cohort))
        records = pd.DataFrame({
            "record_id": [f"{cohort}{i:03d}" for i in range(200)],
            "patient_id": [f"p{i // 2}" for i in range(200)],
            "group": [f"p{i // 2}" for i in range(200)],
            "fold": pd.array(np.arange(200) // 2 % 10 + 1, dtype="Int64"),
            "labels": [["XYZ", CODES[cohort][k % len(CODES[cohort])]] for k in generator.permutation(200)],
        })  # fmt: skip
        return SimpleNamespace(records=records, identity=f"store of {cohort}")

    def embedding_identity(self, encoder: str, cohort: str, seed: int = 0) -> str:
        return f"{encoder} {cohort} {seed}"

    def embedding(self, encoder: str, cohort: str, seed: int = 0) -> np.ndarray:
        return np.random.default_rng([len(encoder), len(cohort)]).normal(size=(200, 4)).astype(np.float32)

    def seen(self, encoder: str, seed: int = 0) -> pd.DataFrame:
        patients = [f"p{i}" for i in range(100) if i % 10 < 8] if self.pretrained_on_ptb_xl else []
        return pd.DataFrame({"cohort": "ptb-xl", "patient_id": patients, "record_id": patients})

    def protocol(self, cohort: str) -> str:
        return OFFICIAL_SPLIT if cohort == "ptb-xl" and self.pretrained_on_ptb_xl else TEN_FOLDS


@pytest.fixture
def workspace(tmp_path: Path) -> MadeUp:
    return MadeUp(PROFILE, None, "cpu", tmp_path / "run")


def test_six_directions_are_computed_once_and_then_read(workspace: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    results = shift(workspace, ["random"])
    values = [one["values"] for one in results]
    assert [(v["source"], v["target"]) for v in values] == list(DIRECTIONS)
    assert [v["n_classes"] for v in values] == [3, 5, 3, 9, 5, 9]
    assert {v["scope"] for v in values} == {"the whole data set"}
    assert {v["n_records"] for v in values} == {200}
    assert values[0]["parts"] == {"source": "official folds 1-8, 9, 10", "target": "our folds 1-8, 9, 10"}
    monkeypatch.setattr("merit.evaluate.shift.train_head", lambda *_: pytest.fail("computed again"))
    assert shift(workspace, ["random"]) == results
    assert results[0]["parameters"]["probe"]["select"] == "best_validation"


def test_a_head_is_trained_once_for_both_targets(workspace: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    from merit.evaluate import shift as module

    trained, train = [], module.train_head
    monkeypatch.setattr(module, "train_head", lambda d, *rest: (trained.append(d.task.task), train(d, *rest))[1])
    shift(workspace, ["random"])
    assert sorted(trained) == ["cpsc2018", "csn", "superclass"]


def test_settings_and_variants_have_results_of_their_own(workspace: MadeUp) -> None:
    both = shift(workspace, ["random"], ("as_published", "standardised"))
    last = shift(workspace, ["random"], select="last")
    ids = [one["id"] for one in (*both, *last)]
    assert len(set(ids)) == 18
    alone = MadeUp(PROFILE, None, "cpu", workspace.folder.with_name("other"))
    again = shift(alone, ["random"], ("standardised",))
    assert [one["values"] for one in again] == [one["values"] for one in both[1::2]]
    with pytest.raises(ValueError, match="variant: expected one of"):
        shift(workspace, ["random"], ("raw",))


def test_a_missing_data_set_is_a_reason_and_not_a_stop(workspace: MadeUp) -> None:
    workspace.missing = ("csn",)
    results = shift(workspace, ["random"])
    reasons = [one["values"].get("reason") for one in results]
    assert [bool(reason) for reason in reasons] == ["csn" in direction for direction in DIRECTIONS]
    assert reasons[1] == "csn: no such data set under /nowhere"
    aligned = label_alignment(workspace)
    assert [bool(one["values"]["missing"]) for one in aligned] == ["csn" in direction for direction in DIRECTIONS]
    assert aligned[1]["values"]["positives"]["target"] is None
    assert label_notes(workspace)["company"]["csn"] is None


def test_what_was_pretrained_on_is_scored_on_folds_nine_and_ten_alone(workspace: MadeUp) -> None:
    workspace.pretrained_on_ptb_xl = True
    found = {(v["source"], v["target"]): v for v in (one["values"] for one in shift(workspace, ["random"]))}
    assert found["cpsc2018", "superclass"]["n_records"] == 40
    assert "not seen" in found["cpsc2018", "superclass"]["scope"]
    assert found["superclass", "cpsc2018"]["n_records"] == 200
    assert {v["n_seen"] for v in found.values()} == {0}


def test_what_was_seen_is_refused_unless_allowed(workspace: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = pd.DataFrame({"cohort": ["csn"], "patient_id": ["p3"], "record_id": ["x"]})
    monkeypatch.setattr(MadeUp, "seen", lambda *_: seen)
    with pytest.raises(SeenInPretraining, match="patient p3 of csn"):
        shift(workspace, ["merit"])
    marked = shift(workspace, ["merit"], allow_seen=True)
    assert [one["values"]["n_seen"] for one in marked] == [0, 1, 0, 1, 0, 0]


def test_merls_lists_divide_a_data_set_where_they_are(workspace: MadeUp, tmp_path: Path) -> None:
    folder = tmp_path / "data" / merl_splits.FOLDER / "icbeb"
    folder.mkdir(parents=True)
    for part, rows in {"train": range(120), "val": range(120, 150), "test": range(150, 190)}.items():
        (folder / f"icbeb_{part}.csv").write_text("\n".join(["filename", *(f"cpsc2018{i:03d}" for i in rows)]))
    workspace.data = tmp_path / "data"
    ours, first = shift(MadeUp(PROFILE, None, "cpu", workspace.folder), ["random"])[0], shift(workspace, ["random"])[0]
    assert first["values"]["parts"]["target"] == "MERL's lists"
    assert first["values"]["in_domain"]["n_target_test"] == 40
    assert first["values"]["n_records"] == 200
    assert first["id"] != ours["id"]


def test_an_empty_part_leaves_the_target_and_takes_the_source(
    workspace: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = MadeUp.store

    def without_fold_nine(self: MadeUp, cohort: str) -> SimpleNamespace:
        store = whole(self, cohort)
        if cohort == "csn":
            store.records["fold"] = store.records["fold"].mask(store.records["fold"] == 9)
        return store

    monkeypatch.setattr(MadeUp, "store", without_fold_nine)
    values = [one["values"] for one in shift(workspace, ["random"])]
    assert values[1]["n_records"] == 200
    assert "too few recordings" in values[1]["in_domain"]["reason"]
    assert values[4]["reason"] == "csn: no head, since training, validation or test part is empty"


def test_positives_are_counted_as_a_loop_does(workspace: MadeUp) -> None:
    values = label_alignment(workspace)[1]["values"]
    labels = workspace.store("csn").records["labels"]
    wanted = {"RVH", "LVH"}
    assert values["positives"]["target"]["HYP"] == sum(bool(wanted & set(one)) for one in labels)
    assert values["n_target"] == sum(bool(set(one) & set(taxonomy.classes("csn"))) for one in labels)
    assert values["from_target"]["HYP"] == ["RVH", "LVH"]


def test_a_table_of_ones_own_makes_results_of_its_own(workspace: MadeUp, tmp_path: Path) -> None:
    lines = ["space,class,counterpart_space,counterpart_codes", "superclass,MI,csn,MI", "superclass,CD,cpsc2018,1AVB"]
    path = tmp_path / "own.csv"
    path.write_text("\n".join([*lines, "cpsc2018,AFIB,csn,AFIB AF"]))
    results = shift(workspace, ["random"], alignment=path)
    assert [one["values"]["classes"] for one in results] == [["CD"], ["MI"], ["CD"], ["AFIB"], ["MI"], ["AFIB"]]
