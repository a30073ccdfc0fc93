"""TEXT_LAYERS on tiny hospitals: whoever asks a checkpoint for texts gets its own text encoder, not the frozen one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import merit
from merit.pretrain import checkpoint
from merit.studies import Workspace
from merit.studies.information import information
from merit.studies.zero_shot import zero_shot


@pytest.fixture(scope="module")
def trained(workspace) -> Workspace:
    """The same recordings, the text encoder's one layer trained too, fast enough to be seen in four updates."""
    pretrain = dataclasses.replace(workspace.profile.pretrain, text_layers=1, text_rate_scale=1.0)
    profile = dataclasses.replace(workspace.profile, pretrain=pretrain)
    made = Workspace(profile, None, "cpu", workspace.folder)
    made.checkpoint("merit")
    return made


TEXTS = ["atrial fibrillation", "sinus rhythm, normal ecg", "complete left bundle branch block, abnormal ecg"]


def test_every_way_to_its_texts_is_one(trained, workspace):
    shared = trained.shared_text("merit", TEXTS)
    model = merit.load(trained.checkpoint("merit"))
    np.testing.assert_allclose(model.embed_text(TEXTS), shared, atol=1e-6)
    frozen = trained.encoder("merit").project_text(trained.text_embeddings(TEXTS))
    assert np.abs(frozen - shared).max() > 1e-3
    assert np.array_equal(workspace.text_embeddings(TEXTS), trained.text_embeddings(TEXTS))
    reports = trained.distinct_reports()
    own = trained.projected_text(trained.encoder("merit"))
    np.testing.assert_allclose(own, trained.shared_text("merit", reports), atol=1e-6)


def test_the_loop_and_the_encoder_read_texts_alike(trained):
    """What the network makes of a batch's tokens in training is what its text encoder gives of the texts."""
    import torch

    from merit.data.batches import load_tokens

    (folder,) = (trained.folder / "text").glob("states-*")
    tokens = load_tokens(folder)
    model, _ = checkpoint.load_model(trained.checkpoint("merit"))
    rows = np.array([3, 0, 5, 1])
    with torch.inference_mode():
        out = torch.nn.functional.normalize(model.text_head(model.text_tower(tokens.take(rows, torch.device("cpu")))))
    np.testing.assert_allclose(out.numpy(), trained.projected_text(trained.encoder("merit"))[rows], atol=1e-5)


def test_zero_shot_and_information_use_it(trained, workspace):
    own, frozen = (zero_shot(ws, "merit", "superclass", n_resamples=0) for ws in (trained, workspace))
    assert (own["value"] != frozen["value"]).any()
    found = merit.load(trained.checkpoint("merit")).zero_shot(
        np.random.default_rng(0).normal(size=(2, 12, 1000)), fs_hz=100
    )
    assert np.isfinite(found.to_numpy()).all()
    for ws in (trained, workspace):
        information(ws, "merit")
    assert trained.used["information merit unseen"]["id"] != workspace.used["information merit unseen"]["id"]


def test_a_moved_folder_holds_all_of_it(trained, tmp_path):
    model = merit.load(trained.checkpoint("merit"))
    model.save_pretrained(tmp_path / "moved")
    moved = merit.load(tmp_path / "moved")
    np.testing.assert_allclose(moved.embed_text(TEXTS), model.embed_text(TEXTS), atol=1e-6)


def test_the_card_says_so_and_frozen_ones_keep_theirs(trained, workspace):
    card = (trained.checkpoint("merit") / "README.md").read_text()
    assert "its last 1 layers were trained with the network" in card
    assert "The frozen text encoder is" in (workspace.checkpoint("merit") / "README.md").read_text()


def test_what_reads_no_reports_is_the_same_run(trained):
    pretrain = dataclasses.replace(trained.profile.pretrain, text_layers=0)
    frozen = Workspace(dataclasses.replace(trained.profile, pretrain=pretrain), None, "cpu", trained.folder)
    for objective, same in {"mse": True, "st-mem-ours": True, "simclr": True, "cma": False, "merl-ours": False}.items():
        assert (trained.checkpoint_identity(objective) == frozen.checkpoint_identity(objective)) == same


def test_the_environment_sets_it(monkeypatch):
    assert Workspace.open("smoke").profile.pretrain.text_layers == 0
    monkeypatch.setenv("MERIT_TEXT_LAYERS", "2")
    assert Workspace.open("smoke").profile.pretrain.text_layers == 2
    monkeypatch.setenv("MERIT_TEXT_LAYERS", "two")
    with pytest.raises(ValueError, match=r"^MERIT_TEXT_LAYERS: expected a whole number; got 'two'"):
        Workspace.open("smoke")
