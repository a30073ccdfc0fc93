"""A run with other settings: it shares what does not depend on them, and touches nothing of the default's."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from merit.config import changed, folder_name, resolve, run_name
from merit.studies import Workspace
from merit.studies.probing import linear_probe


def with_settings(workspace: Workspace, **changes: str) -> Workspace:
    """The same folder with these settings; `__` stands for a dot."""
    profile = changed(workspace.profile, {path.replace("__", "."): value for path, value in changes.items()})
    return dataclasses.replace(workspace, profile=profile, used={})


def digests(folder: Path) -> dict[str, str]:
    """All files by their bytes, but for locks and other notes for the next run, whose names begin with a dot."""
    names = {path: path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    shown = {path: name for path, name in names.items() if not any(part.startswith(".") for part in name.parts)}
    return {str(name): hashlib.sha256(path.read_bytes()).hexdigest() for path, name in shown.items()}


def test_another_mask_is_trained_beside_and_nothing_of_the_default_changes(workspace):
    default = workspace.checkpoint("cma")
    before, other = digests(workspace.folder), with_settings(workspace, model__mask_ratio="0.5")
    folder = other.checkpoint("cma")
    linear_probe(other, "cma", "superclass")
    after = digests(workspace.folder)
    assert folder.parent == default.parent
    assert folder != default
    assert (other.text_identity, other.store("ptb-xl").identity) == (
        workspace.text_identity, workspace.store("ptb-xl").identity,
    )  # fmt: skip
    assert {name: after[name] for name in before} == before
    new = {name.split("/")[0] for name in set(after) - set(before)}
    assert new == {"checkpoints", "embeddings", "results"}


def test_a_setting_that_pretraining_does_not_see_trains_nothing_again(workspace):
    other = with_settings(workspace, probe__epochs="2", generation__lora_rank="1", embed_batch="7")
    assert other.checkpoint_identity("cma") == workspace.checkpoint_identity("cma")
    probed = [linear_probe(ws, "cma", "superclass") for ws in (workspace, other)]
    assert not probed[0]["value"].equals(probed[1]["value"])


def test_the_pretraining_seed_counts_for_all_runs(workspace):
    other = with_settings(workspace, pretrain__seed="1")
    assert other.checkpoint_identity("cma", 0) == workspace.checkpoint_identity("cma", 1)
    assert other.encoder_identity("random", 0) == workspace.encoder_identity("random", 1)
    assert other.checkpoint("cma").name.startswith("cma-seed1-")
    assert other.configs("merit", 2)[1].seed == 3


def test_cma_and_ib_train_on_whole_recordings_and_reconstruction_refuses(workspace):
    whole = with_settings(workspace, model__mask_ratio="0")
    assert whole.checkpoint_identity("cma") == workspace.checkpoint_identity("cma-whole")
    assert whole.configs("ib", 0)[0].mask_ratio == 0
    for name in ("merit", "mse", "st-mem-ours"):
        with pytest.raises(ValueError, match=r"^model\.mask_ratio: (merit|mse) reconstructs hidden patches"):
            whole.checkpoint(name)
    assert linear_probe(workspace, "cma-whole", "superclass")["reason"].isna().all()


def test_a_workspace_says_what_is_set_and_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("MERIT_HOME", str(tmp_path))
    opened = Workspace.open("smoke", settings="model.mask_ratio=0.5")
    assert opened.settings == "model.mask_ratio=0.5"
    monkeypatch.setattr(Workspace, "pretraining_cohort", "mimic-iv-ecg")
    assert opened.note().endswith("Set: model.mask_ratio=0.5.")
    assert opened.folder == tmp_path / "artifacts" / "smoke" == Workspace.open("smoke").folder
    assert folder_name(opened.profile, None) != run_name(opened.profile, None)
    assert Workspace.open("smoke", settings="hospitals.seed=3").folder != opened.folder
    assert opened.profile == resolve("smoke", "model.mask_ratio=0.5")
    assert not list(tmp_path.iterdir())
    assert opened.note().endswith("Set: model.mask_ratio=0.5.")


def test_numbers_stand_beside_the_papers_where_nothing_but_the_place_of_models_is_set(tmp_path, monkeypatch):
    monkeypatch.setattr(Workspace, "synthetic", False)
    monkeypatch.setenv("MERIT_HOME", str(tmp_path))
    for settings, expected in {
        "": True, "text.source=/folder generation.bert=/x": True, "model.mask_ratio=0.5": False, "limit=64": False,
        "text.pooling=cls": False,
    }.items():  # fmt: skip
        assert Workspace.open("paper", settings=settings).as_paper == expected, settings
    assert not Workspace.open("demo").as_paper
