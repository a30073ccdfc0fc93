"""Peers' methods through the workspace: trained under their names, scored as all others, and what they cost."""

from __future__ import annotations

import dataclasses
import json

import pytest

from merit import scores
from merit.config import PEERS, EncoderConfig, TinyVitConfig, profile
from merit.studies import Workspace, framework
from merit.studies.probing import linear_probe


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


def test_costs_are_counted_and_read(trained):
    rows = {row["encoder"]: row for row in framework.costs(trained, ("merit", *PEERS, "random"), (0,))}
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
    found = framework.of_network(PEERS["merl-ours"].model(model), pretrain)
    assert found["parameters"] == 3_848_832
    assert found["embedding_flops"] == pytest.approx(3.43e9 / 5, rel=0.01)  # a fifth of MERL's samples
    assert found["trained_parameters"] > found["parameters"]


SMALL = TinyVitConfig(widths=(8, 16, 16, 32), depths=(1, 1, 1, 1), heads=(1, 2, 2, 4))


@pytest.fixture(scope="module")
def hierarchical(workspace) -> Workspace:
    """The same folder, stores and text encoder, another network."""
    encoder = EncoderConfig(kind="tiny_vit", patch=100, tiny_vit=SMALL)
    model = dataclasses.replace(workspace.profile.model, encoder=encoder)
    return Workspace(dataclasses.replace(workspace.profile, model=model), None, "cpu", workspace.folder)


def test_it_is_probed_beside_its_random_start(hierarchical, workspace):
    probed = linear_probe(hierarchical, ["merit", "random"], "superclass", variant="as_published")
    auroc = scores.scored(probed, scored="by fold", metric="auroc")
    assert list(auroc["encoder"]) == ["merit", "random"]
    assert auroc["value"].between(0, 1).all()
    other = linear_probe(workspace, "random", "superclass", variant="as_published")
    assert not other["value"].equals(probed[probed["encoder"] == "random"]["value"].reset_index(drop=True))
    assert hierarchical.embedding("merit", "ptb-xl").shape[1] == 32


def test_its_facts_are_read_off_the_network(hierarchical):
    found = framework.facts(hierarchical.profile.model)
    assert found["shapes"]["encoder"] == {"in": [12, 1000], "out": [32, 32]}
    assert found["shapes"]["encoder.blocks.0"]["in"] == [250, 8]
    assert found["shapes"]["decoder"] == {"in": [32, 32], "out": [12, 10, 100]}
    assert found["embedding"]["encoder"]["out"] == [32, 32]
    for parts in found["flops"].values():
        assert parts["encoder"]["all"] > parts["encoder"]["biases"] == 0  # added to the scores, not multiplied
