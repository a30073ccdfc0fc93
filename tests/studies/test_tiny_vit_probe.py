"""The hierarchical encoder through the workspace: pretrained, embedded, probed, its facts read off."""

from __future__ import annotations

import dataclasses

import pytest

from merit import scores
from merit.config import EncoderConfig, TinyVitConfig
from merit.studies import Workspace, framework
from merit.studies.probing import linear_probe

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


def test_its_facts_are_read_off_the_network():
    config = dataclasses.replace(
        framework.profile("smoke").model, encoder=EncoderConfig(kind="tiny_vit", patch=100, tiny_vit=SMALL)
    )
    found = framework.facts(config)
    assert found["shapes"]["encoder"] == {"in": [12, 1000], "out": [32, 32]}
    assert found["shapes"]["encoder.blocks.0"]["in"] == [250, 8]
    assert found["shapes"]["decoder"] == {"in": [32, 32], "out": [12, 10, 100]}
    assert found["embedding"]["encoder"]["out"] == [32, 32]
    for parts in found["flops"].values():
        assert parts["encoder"]["all"] > 0
        assert parts["encoder"]["biases"] == 0  # added to the scores, not multiplied
