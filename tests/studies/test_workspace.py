"""The workspace on tiny hospitals: what is made once, what is kept apart, what is said where data are missing."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest

from merit import scores
from merit.evaluate.tasks import SeenInPretraining
from merit.studies import workspace as training
from merit.studies.probing import linear_probe
from merit.studies.reconstruction import bounds
from merit.studies.workspace import NoCohort, Workspace


def again(workspace: Workspace, **changes) -> Workspace:
    """Another session on the same folder."""
    return Workspace(**{**vars_of(workspace), **changes})


def vars_of(workspace: Workspace) -> dict:
    return {"profile": workspace.profile, "data": None, "device": "cpu", "folder": workspace.folder}


def test_a_result_is_computed_once_and_then_read(workspace):
    first = linear_probe(workspace, ["merit", "random"], "superclass")
    files = sorted((workspace.folder / "results").glob("linear_probe-*.json"))
    assert len(files) == 2
    times = [f.stat().st_mtime_ns for f in files]
    second = linear_probe(again(workspace), ["merit", "random"], "superclass")
    pd.testing.assert_frame_equal(first, second)
    assert times == [f.stat().st_mtime_ns for f in files]
    assert list(first["encoder"].unique()) == ["merit", "random"]
    assert first["protocol"].iloc[0] == "ten folds"
    assert set(workspace.provenance().dropna()["device"]) == {"cpu"}


def test_both_variants_are_computed_together_and_one_may_be_chosen(workspace):
    both = linear_probe(workspace, "random", "superclass")
    assert list(both["variant"].unique()) == ["as_published", "standardised"]
    single = linear_probe(again(workspace), "random", "superclass", variant="standardised")
    assert scores.records(single) == scores.records(both[both["variant"] == "standardised"])
    with pytest.raises(ValueError, match="variant: expected one of as_published, standardised; got 'raw'"):
        linear_probe(workspace, "random", "superclass", variant="raw")


def test_the_random_encoder_depends_on_its_seed_alone(workspace):
    z = [workspace.embedding("random", "csn", seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(z[0], z[1])
    assert not np.allclose(z[0], z[2])
    assert workspace.seen("random").empty


def test_side_by_side_equals_one_after_another(workspace, tmp_path, monkeypatch):
    """The network's numbers depend neither on company nor on the number of cores."""
    import torch
    from safetensors.torch import load_file

    alone = {name: load_file(workspace.checkpoint(name) / "model.safetensors") for name in ("cma", "ib")}
    for name in alone:
        folder = workspace.folder / "checkpoints" / f"{name}-seed0-{workspace.checkpoint_identity(name)}"
        folder.rename(tmp_path / name)
    monkeypatch.setattr(training, "usable_cores", lambda: 2)
    for name, folder in zip(alone, again(workspace).checkpoints(list(alone))):
        beside = load_file(folder / "model.safetensors")
        assert all(torch.equal(alone[name][k], beside[k]) for k in beside)


def test_what_was_seen_is_not_scored(workspace, monkeypatch):
    seen = pd.DataFrame(workspace.store("ptb-xl").records[["patient_id", "record_id"]].head(1)).assign(cohort="ptb-xl")
    other = again(workspace)
    monkeypatch.setattr(other, "seen", lambda encoder, seed=0: seen)
    with pytest.raises(SeenInPretraining, match="1 of"):
        linear_probe(other, "random", "superclass", epochs=2)
    assert set(linear_probe(other, "random", "superclass", epochs=2, allow_seen=True)["n_seen"]) == {1}


def test_ptb_xl_in_place_of_mimic_keeps_folds_nine_and_ten_out(workspace):
    other = again(workspace)
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


def test_too_few_recordings_give_a_reason_in_place_of_scores(workspace):
    found = linear_probe(workspace, "random", "csn", variant="as_published")
    assert "csn" in found["reason"].item()
    assert np.isnan(found["value"].item())
    assert {"scored", "class", "variant", "sd"} <= set(found)


def test_a_cohort_that_is_missing_is_a_reason_and_not_a_stop(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(LookupError, match="looked for"):
        Workspace.open("smoke", tmp_path / "data").store("ptb-xl")
    with pytest.raises(NoCohort, match="there is no folder"):
        Workspace.open("smoke", tmp_path / "nothing")


def test_unknown_names_are_refused_with_the_right_ones(workspace):
    known = r"one of merit, cma, ib, mse, cma-whole, st-mem-ours.* or ib-STRENGTH .* got 'merti'"
    with pytest.raises(ValueError, match=known):
        workspace.encoder_identity("merti")
    for other in ("ib-much", "cma-0.1", "merit-", "-0.1"):
        with pytest.raises(ValueError, match="encoder: expected one of"):
            workspace.encoder_identity(other)
    with pytest.raises(ValueError, match=r"unknown settings \['epoch'\] of ProbeConfig"):
        linear_probe(workspace, ["random"], ["form"], epoch=3)


def test_a_bottleneck_at_another_strength_is_another_checkpoint(workspace):
    assert workspace.checkpoint_identity("ib-0.5") == workspace.checkpoint_identity("ib")
    assert len({workspace.checkpoint_identity(name) for name in ("ib", "ib-0.1", "ib-1")}) == 3


def test_every_setting_changes_the_identity_of_a_checkpoint(workspace):
    base = workspace.checkpoint_identity("merit")
    identities = {base, workspace.checkpoint_identity("merit", 1)}
    changes = [
        {"pretrain": {"learning_rate": 1e-4}}, {"pretrain": {"weight_decay": 0.1}}, {"pretrain": {"batch": 4}},
        {"pretrain": {"updates": 6}}, {"pretrain": {"bottleneck_strength": 0.1}}, {"pretrain": {"info_nce_scale": 2.0}},
        {"model": {"mask_ratio": 0.5}}, {"model": {"scaling": "minmax"}}, {"model": {"temperature": 0.1}},
        {"text": {"updates": 3}}, {"text": {"pooling": "cls"}}, {"text": {"seed": 1}},
    ]  # fmt: skip
    for change in changes:
        ((part, settings),) = change.items()
        other = dataclasses.replace(
            workspace.profile, **{part: dataclasses.replace(getattr(workspace.profile, part), **settings)}
        )
        identities.add(again(workspace, profile=other).checkpoint_identity("merit"))
    assert len(identities) == 2 + len(changes)
    assert again(workspace).checkpoint_identity("merit") == base


def test_without_anything_to_pretrain_on_the_random_encoder_is_still_scored(workspace):
    other = again(workspace)
    for cohort in ("mimic-iv-ecg", "ptb-xl"):
        other.sources.pop(cohort)
    assert other.histories().empty
    assert "expected mimic-iv-ecg or ptb-xl" in bounds(other)["reason"][0]
    assert "Nothing was pretrained" in other.note()
    trained, random = (linear_probe(other, name, "cpsc2018")["reason"].iloc[0] for name in ("merit", "random"))
    assert "expected mimic-iv-ecg or ptb-xl" in trained
    assert "expected mimic-iv-ecg" not in str(random)


def test_the_cached_path_needs_no_torch(workspace):
    """A result that is there is read without torch."""
    import subprocess
    import sys

    linear_probe(workspace, "random", "superclass")
    code = (
        "import pickle, sys\n"
        "from merit.studies import Workspace\n"
        "profile, folder = pickle.loads(sys.stdin.buffer.read())\n"
        "ws = Workspace(profile, None, 'cpu', folder)\n"
        "from merit.studies.probing import linear_probe\n"
        "print(linear_probe(ws, 'random', 'superclass')['n'].iloc[0])\n"
        "sys.exit('torch was imported' if 'torch' in sys.modules else 0)\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps((workspace.profile, workspace.folder)), capture_output=True
    )
    assert shown.returncode == 0, shown.stderr.decode()
    assert float(shown.stdout) > 0
