"""The workspace on tiny hospitals: what is made once, what is kept apart, what is said where data are missing."""

from __future__ import annotations

import gc
import json
import pickle
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import merit
from merit import runs
from merit.config import changed, folder_name, profile, resolve, run_name
from merit.data.batches import load_tokens
from merit.evaluate import zero_shot as prompts
from merit.evaluate.tasks import SeenInPretraining
from merit.pretrain import checkpoint
from merit.studies import workspace as training
from merit.studies.information import information
from merit.studies.probing import linear_probe
from merit.studies.reconstruction import bounds
from merit.studies.workspace import NoCohort, Workspace
from merit.studies.zero_shot import zero_shot


def reset(workspace: Workspace, **changes: str) -> Workspace:
    """Another session on the same folder, with these settings; `__` stands for a dot."""
    profile = changed(workspace.profile, {path.replace("__", "."): value for path, value in changes.items()})
    return Workspace(profile, None, "cpu", workspace.folder)


CACHED = """
import pickle, sys
from merit.studies import Workspace
profile, folder = pickle.loads(sys.stdin.buffer.read())
from merit.studies.probing import linear_probe
print(linear_probe(Workspace(profile, None, 'cpu', folder), 'random', 'superclass')['n'].iloc[0])
sys.exit('torch was imported' if 'torch' in sys.modules else 0)
"""


def test_a_result_that_is_there_is_read_without_torch(workspace):
    first = linear_probe(workspace, ["random"], "superclass")
    (file,) = (workspace.folder / "results").glob("linear_probe-*.json")
    written = file.stat().st_mtime_ns
    pd.testing.assert_frame_equal(first, linear_probe(reset(workspace), ["random"], "superclass"))
    used = workspace.provenance().set_index("what")
    assert used.loc["linear_probe random superclass", ["device", "seed"]].tolist() == ["cpu", 0]
    assert used.loc["store ptb-xl", "seed"] is None
    given = pickle.dumps((workspace.profile, workspace.folder))
    shown = subprocess.run([sys.executable, "-c", CACHED], input=given, capture_output=True, check=False)
    assert shown.returncode == 0, shown.stderr.decode()
    assert (float(shown.stdout) > 0, file.stat().st_mtime_ns) == (True, written)


def test_the_random_encoder_depends_on_its_seed_alone_and_what_was_seen_is_not_scored(workspace):
    z = [workspace.embedding("random", "csn", seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(z[0], z[1])
    assert not np.allclose(z[0], z[2])
    assert workspace.seen("random").empty
    other, of = reset(workspace), workspace.store("ptb-xl").records[["patient_id", "record_id"]].head(1)
    other.seen = lambda encoder, seed=0: of.assign(cohort="ptb-xl")
    with pytest.raises(SeenInPretraining, match="1 of"):
        linear_probe(other, "random", "superclass", epochs=2)
    assert set(linear_probe(other, "random", "superclass", epochs=2, allow_seen=True)["n_seen"]) == {1}


def test_side_by_side_equals_one_after_another(workspace, tmp_path, monkeypatch):
    """The network's numbers depend neither on company nor on the number of cores."""
    alone = {name: load_file(workspace.checkpoint(name) / "model.safetensors") for name in ("cma", "ib")}
    for name in alone:
        workspace.checkpoint(name).rename(tmp_path / name)
    monkeypatch.setattr(training, "usable_cores", lambda: 2)
    for name, folder in zip(alone, reset(workspace).checkpoints(list(alone))):
        beside = load_file(folder / "model.safetensors")
        assert all(torch.equal(alone[name][k], beside[k]) for k in beside)


def test_ptb_xl_in_place_of_mimic_keeps_folds_nine_and_ten_out(workspace):
    other = reset(workspace)
    other.sources.pop("mimic-iv-ecg")
    records = other.store("ptb-xl").records
    kept_out = records["fold"] > 8
    twin = records.index[~kept_out][0]
    records.loc[twin, "group"] = records.loc[kept_out, "group"].iloc[0]
    rows = other.pretraining_rows
    assert other.pretraining_cohort == "ptb-xl"
    assert set(records["fold"].iloc[rows]) == set(range(1, 9))
    assert twin not in rows
    assert len(rows) == (~kept_out).sum() - 1


def test_without_anything_to_pretrain_on_or_score_there_is_a_reason(workspace, tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(LookupError, match="looked for"):
        Workspace.open("smoke", tmp_path / "data").store("ptb-xl")
    with pytest.raises(NoCohort, match="there is no folder"):
        Workspace.open("smoke", tmp_path / "nothing")
    assert "csn" in linear_probe(workspace, "random", "csn", variant="as_published")["reason"].item()
    other = reset(workspace)
    for cohort in ("mimic-iv-ecg", "ptb-xl"):
        other.sources.pop(cohort)
    assert other.histories().empty
    assert "expected mimic-iv-ecg or ptb-xl" in bounds(other)["reason"][0]
    assert "Nothing was pretrained" in other.note()
    trained, random = (linear_probe(other, name, "cpsc2018")["reason"].iloc[0] for name in ("merit", "random"))
    assert "expected mimic-iv-ecg or ptb-xl" in trained
    assert "expected mimic-iv-ecg" not in str(random)


def test_unknown_names_and_rotations_are_refused_with_the_right_ones(workspace):
    known = r"one of merit, cma, ib, mse, cma-whole, st-mem-ours.* or a variant such as .* got 'merti'"
    with pytest.raises(ValueError, match=known):
        workspace.encoder_identity("merti")
    for other in ("ib-much", "cma-0.1", "merit-", "-0.1"):
        with pytest.raises(ValueError, match="encoder: expected one of"):
            workspace.encoder_identity(other)
    with pytest.raises(ValueError, match=r"unknown settings \['epoch'\] of ProbeConfig"):
        linear_probe(workspace, ["random"], ["form"], epoch=3)
    with pytest.raises(ValueError, match=r"^rotation: expected PTB-XL to be pretrained on; mimic-iv-ecg is$"):
        workspace.rotated(1)
    with pytest.raises(ValueError, match=r"^rotation: expected one of 1, 2, 3, 4, 5; got 0$"):
        workspace.rotated(0)


def test_last_results_are_held_by_their_workspace_and_go_with_it(workspace):
    calls, own = [], reset(workspace)

    @training.remembered(2)
    def double(ws: Workspace, x: int) -> int:
        calls.append(x)
        return 2 * x

    assert [double(own, x) for x in (1, 2, 1, 3, 1, 2)] == [2, 4, 2, 6, 2, 4]
    assert calls == [1, 2, 3, 2]
    gone = weakref.ref(own)
    del own
    gc.collect()
    assert gone() is None


def test_every_setting_changes_the_identity_of_a_checkpoint(workspace):
    settings = (
        "pretrain.learning_rate=1e-4 pretrain.weight_decay=0.1 pretrain.batch=4 pretrain.updates=6 "
        "pretrain.bottleneck_strength=0.1 pretrain.info_nce_scale=2 model.mask_ratio=0.5 model.scaling=minmax "
        "model.temperature=0.1 text.updates=3 text.pooling=cls text.seed=1"
    )
    changes = [dict([setting.replace(".", "__", 1).split("=")]) for setting in settings.split()]
    identities = [reset(workspace, **change).checkpoint_identity("merit") for change in changes]
    identities += [workspace.checkpoint_identity("merit", seed) for seed in (0, 1)]
    assert len(set(identities)) == len(identities)
    assert reset(workspace).checkpoint_identity("merit") == workspace.checkpoint_identity("merit")
    assert workspace.checkpoint_identity("ib-0.5") == workspace.checkpoint_identity("ib")
    assert len({workspace.checkpoint_identity(name) for name in ("ib", "ib-0.1", "ib-1")}) == 3
    other = reset(workspace, pretrain__seed="1")
    assert other.checkpoint_identity("cma", 0) == workspace.checkpoint_identity("cma", 1)
    assert other.encoder_identity("random", 0) == workspace.encoder_identity("random", 1)
    assert other.checkpoint("cma").name.startswith("cma-seed1-")
    assert other.configs("merit", 2)[1].seed == 3
    other = reset(workspace, probe__epochs="2", generation__lora_rank="1", embed_batch="7")
    assert other.checkpoint_identity("cma") == workspace.checkpoint_identity("cma")
    probed = [linear_probe(ws, "cma", "superclass") for ws in (workspace, other)]
    assert not probed[0]["value"].equals(probed[1]["value"])


def digests(folder: Path) -> dict[str, str]:
    """All files by their bytes, but for locks and other notes for the next run, whose names begin with a dot."""
    names = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: runs.file_digest(path) for name, path in names.items() if "/." not in f"/{name}"}


def test_another_mask_is_trained_beside_and_nothing_of_the_default_changes(workspace):
    default = workspace.checkpoint("cma")
    before, other = digests(workspace.folder), reset(workspace, model__mask_ratio="0.5")
    folder = other.checkpoint("cma")
    linear_probe(other, "cma", "superclass")
    after = digests(workspace.folder)
    assert (folder.parent, folder == default) == (default.parent, False)
    assert other.text_identity == workspace.text_identity
    assert other.store("ptb-xl").identity == workspace.store("ptb-xl").identity
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in set(after) - set(before)} == {"checkpoints", "embeddings", "results"}


def test_cma_and_ib_train_on_whole_recordings_and_reconstruction_refuses(workspace):
    whole = reset(workspace, model__mask_ratio="0")
    assert whole.checkpoint_identity("cma") == workspace.checkpoint_identity("cma-whole")
    assert whole.configs("ib", 0)[0].mask_ratio == 0
    for name in ("merit", "mse", "st-mem-ours"):
        with pytest.raises(ValueError, match=r"^model\.mask_ratio: (merit|mse) reconstructs hidden patches"):
            whole.checkpoint(name)
    assert linear_probe(workspace, "cma-whole", "superclass")["reason"].isna().all()


def test_a_workspace_says_what_is_set_and_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("MERIT_HOME", str(tmp_path))
    monkeypatch.setattr(Workspace, "pretraining_cohort", "mimic-iv-ecg")
    opened = Workspace.open("smoke", settings="model.mask_ratio=0.5")
    assert opened.note().endswith("Set: model.mask_ratio=0.5.")
    assert opened.folder == tmp_path / "artifacts" / "smoke" == Workspace.open("smoke").folder
    assert folder_name(opened.profile, None) != run_name(opened.profile, None)
    assert Workspace.open("smoke", settings="hospitals.seed=3").folder != opened.folder
    assert opened.profile == resolve("smoke", "model.mask_ratio=0.5")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(Workspace, "synthetic", False)  # beside the paper's numbers stand those of its settings alone
    for settings, expected in {
        "": True, "text.source=/folder generation.bert=/x": True, "model.mask_ratio=0.5": False, "limit=64": False,
        "text.pooling=cls": False,
    }.items():  # fmt: skip
        assert Workspace.open("paper", settings=settings).as_paper == expected, settings
    assert not Workspace.open("demo").as_paper


TEXTS = ["atrial fibrillation", "sinus rhythm, normal ecg", "complete left bundle branch block, abnormal ecg"]


@pytest.fixture(scope="module")
def trained(workspace) -> Workspace:
    """The same recordings, the text encoder's one layer trained too, fast enough to be seen in four updates."""
    made = reset(workspace, pretrain__text_layers="1", pretrain__text_rate_scale="1")
    made.checkpoint("merit")
    return made


def test_every_way_to_its_texts_is_one(trained, workspace, tmp_path):
    shared = trained.shared_text("merit", TEXTS)
    model = merit.load(trained.checkpoint("merit"))
    model.save_pretrained(tmp_path / "moved")
    for loaded in (model, merit.load(tmp_path / "moved")):
        np.testing.assert_allclose(loaded.embed_text(TEXTS), shared, atol=1e-6)
    frozen = trained.encoder("merit").project_text(trained.text_embeddings(TEXTS))
    assert np.abs(frozen - shared).max() > 1e-3
    assert np.array_equal(workspace.text_embeddings(TEXTS), trained.text_embeddings(TEXTS))
    own = trained.projected_text(trained.encoder("merit"))
    np.testing.assert_allclose(own, trained.shared_text("merit", trained.distinct_reports()), atol=1e-6)
    # What the network makes of a batch's tokens in training is what its text encoder gives of the texts.
    (folder,) = (trained.folder / "text").glob("states-*")
    model, _ = checkpoint.load_model(trained.checkpoint("merit"))
    rows = np.array([3, 0, 5, 1])
    with torch.inference_mode():
        tokens = load_tokens(folder).take(rows, torch.device("cpu"))
        out = torch.nn.functional.normalize(model.text_head(model.text_tower(tokens)))
    np.testing.assert_allclose(out.numpy(), trained.projected_text(trained.encoder("merit"))[rows], atol=1e-5)


def test_zero_shot_and_information_use_it_and_the_card_says_so(trained, workspace):
    own, frozen = (zero_shot(ws, "merit", "superclass", n_resamples=0) for ws in (trained, workspace))
    assert (own["value"] != frozen["value"]).any()
    signal_mv = np.random.default_rng(0).normal(size=(2, 12, 1000))
    scores = merit.load(trained.checkpoint("merit")).zero_shot(signal_mv, fs_hz=100)
    assert np.isfinite(scores.to_numpy()).all()
    for ws in (trained, workspace):
        information(ws, "merit")
    assert trained.used["information merit unseen"]["id"] != workspace.used["information merit unseen"]["id"]
    card = (trained.checkpoint("merit") / "README.md").read_text()
    assert "its last 1 layers were trained with the network" in card
    assert "The frozen text encoder is" in (workspace.checkpoint("merit") / "README.md").read_text()


def test_what_reads_no_reports_is_the_same_run(trained):
    frozen = reset(trained, pretrain__text_layers="0")
    for objective, same in {"mse": True, "st-mem-ours": True, "simclr": True, "cma": False, "merl-ours": False}.items():
        assert (trained.checkpoint_identity(objective) == frozen.checkpoint_identity(objective)) == same


def test_a_checkpoint_says_where_it_comes_from_and_scores_a_file_as_its_row(workspace):
    folder = workspace.checkpoint("merit")
    said, card = checkpoint.read_origin(folder), (folder / "README.md").read_text()
    assert said["synthetic"] is True
    assert (folder / said["text"]["source"] / "model.safetensors").is_file()
    assert said["text"]["max_tokens"] == workspace.profile.text.max_tokens
    assert "**synthetic**" in card
    assert json.loads((folder / "config.json").read_text())["pretrain"]["objective"] in card
    model = merit.load(workspace.checkpoint("merit"))
    store = workspace.store("ptb-xl")
    paths = [workspace.sources["ptb-xl"] / path for path in store.records["path"]]
    assert np.array_equal(model.embed(paths), workspace.embedding("merit", "ptb-xl"))
    chosen = prompts.load_prompts("enriched", "superclass")
    vectors = prompts.class_vectors(workspace.shared_text("merit", chosen.flat), chosen.owner)
    expected = prompts.cosines(workspace.shared("merit", "ptb-xl"), vectors)
    np.testing.assert_allclose(model.zero_shot(paths, "superclass").to_numpy(), expected, atol=1e-5)
    nearest = model.similar(paths[:3], store, k=1)
    assert nearest["record"].tolist() == store.records["record_id"].tolist()[:3]
    assert model.similar(paths[:3], store.folder, k=1)["row"].tolist() == [0, 1, 2]


def test_rotations_score_every_recording_once_by_an_encoder_that_has_not_seen_its_patient(real_data, tmp_path):
    """Of PTB-XL's real recordings; neither patients nor duplicates are on both sides."""
    changes = {"pretrain.updates": 2, "probe.epochs": 1, "probe.n_resamples": 5}
    ws = Workspace(changed(profile("smoke"), changes), real_data, "cpu", tmp_path / "real")
    scored: list[str] = []
    for rotation in training.ROTATIONS:
        rotated = ws.rotated(rotation)
        records = rotated.store("ptb-xl").records
        pretrained, held_out = records.iloc[rotated.pretraining_rows], records[records["fold"].isin((9, 10))]
        assert set(pretrained["fold"]) == set(range(1, 9))
        for name in ("record_id", "patient_id", "group"):
            assert not set(pretrained[name]) & set(held_out[name]), name
        official = ws.store("ptb-xl").records["fold"]
        assert set(official[held_out.index]) == {2 * rotation - 1, 2 * rotation}
        scored += held_out["record_id"].tolist()
    assert sorted(scored) == sorted(ws.store("ptb-xl").records["record_id"])
    assert ws.rotated(5).checkpoint_identity("merit") == ws.checkpoint_identity("merit")
    assert len({ws.rotated(rotation).checkpoint_identity("merit") for rotation in training.ROTATIONS}) == 5
    found = [linear_probe(ws.rotated(rotation), "merit", "superclass") for rotation in (2, 5)]
    for scores in found:
        assert scores["protocol"].iloc[0].startswith("cross-fitted")
        pooled = scores[(scores["scored"] == "pooled") & (scores["class"] == "macro")].iloc[0]
        assert pooled["low"] < pooled["value"] < pooled["high"]
        assert (scores["n_seen"].dropna() == 0).all()
    assert not found[0]["value"].equals(found[1]["value"])
    assert linear_probe(ws, "random", "superclass")["protocol"].iloc[0].startswith("official")
