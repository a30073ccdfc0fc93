"""Peers' methods through the workspace: trained under their names, scored as all others, and what they cost."""

from __future__ import annotations

import dataclasses
import json

import pytest

from merit.config import PEERS, profile
from merit.studies import Workspace
from merit.studies.framework import costs, of_network
from merit.studies.probing import linear_probe
from merit.studies.shift import shift
from merit.studies.zero_shot import zero_shot


@pytest.fixture(scope="module")
def trained(workspace) -> Workspace:
    """The workspace with the checkpoints of all four."""
    workspace.checkpoints(tuple(PEERS))
    return workspace


def test_every_method_has_a_checkpoint_of_its_own(trained):
    folders = trained.checkpoints((*PEERS, "mse"))
    assert [folder.name.split("-seed0-")[0] for folder in folders] == [*PEERS, "mse"]
    assert len({trained.checkpoint_identity(name) for name in (*PEERS, "mse")}) == 5
    histories = trained.histories(tuple(PEERS))
    assert set(histories["term"]) == {"masked_mse", "info_nce", "dropout_views", "nt_xent", "segments"}
    assert len(trained.seen("clocs")) == len(trained.seen("merit"))


def test_they_are_probed_and_moved_as_all_others(trained):
    probed = linear_probe(trained, tuple(PEERS), "superclass", variant="as_published", scored="by fold")
    auroc = probed[probed["metric"] == "auroc"]
    assert list(auroc["encoder"]) == list(PEERS)
    assert auroc["value"].between(0, 1).all()
    moved = shift(trained, tuple(PEERS))
    assert set(moved["encoder"]) == set(PEERS)


def test_zero_shot_needs_a_space_shared_with_texts(trained):
    found = zero_shot(trained, tuple(PEERS), "superclass").drop_duplicates("encoder").set_index("encoder")
    assert 0 <= found.loc["merl-ours", "value"] <= 1
    for name, reason in found["reason"].drop("merl-ours").items():
        assert reason == f"{name} is pretrained without text: it shares no space with the prompts"
        with pytest.raises(ValueError, match="expected one with a shared space"):
            trained.shared(name, "ptb-xl")


def test_costs_are_counted_and_read(trained):
    rows = {row["encoder"]: row for row in costs(trained, ("merit", *PEERS, "random"), (0,))}
    vit = rows["merit"]["parameters"]
    assert rows["random"]["parameters"] == rows["simclr"]["parameters"] == rows["clocs"]["parameters"] == vit
    assert rows["st-mem-ours"]["parameters"] < vit  # no attention biases
    assert rows["merl-ours"]["network"] == "resnet18"
    assert rows["merl-ours"]["update_flops"] <= rows["merit"]["update_flops"]
    assert rows["simclr"]["update_flops"] > 1.9 * rows["simclr"]["embedding_flops"]  # two views
    assert rows["clocs"]["update_flops"] < rows["simclr"]["update_flops"]  # two halves
    for name, row in rows.items():
        assert ("seconds" in row) == (name != "random")
    assert (rows["clocs"]["updates"], rows["clocs"]["batch"]) == (4, 8)
    assert set(rows["merl-ours"]["validation"]) == {"info_nce", "dropout_views"}
    line = (trained.checkpoint("clocs") / "history.jsonl").read_text().splitlines()[-1]
    assert rows["clocs"]["validation"] == json.loads(line)["validation"]


def test_at_the_papers_size_merls_network_is_its_published_one():
    model, pretrain = profile("paper").model, dataclasses.replace(profile("paper").pretrain, objective="merl")
    found = of_network(PEERS["merl-ours"].model(model), pretrain)
    assert found["parameters"] == 3_848_832
    assert found["embedding_flops"] == pytest.approx(3.43e9 / 5, rel=0.01)  # a fifth of MERL's samples
    assert found["trained_parameters"] > found["parameters"]
