"""From a workspace to use: a file has the embedding and the scores of its row of a store."""

from __future__ import annotations

import json

import numpy as np

import merit
from merit.evaluate import zero_shot
from merit.pretrain.checkpoint import read_origin


def test_a_file_has_the_embedding_and_scores_of_its_row(workspace, tmp_path):
    folder = workspace.checkpoint("merit")
    model = merit.load(folder)
    store = workspace.store("ptb-xl")
    paths = [workspace.sources["ptb-xl"] / path for path in store.records["path"]]
    z = workspace.embedding("merit", "ptb-xl")
    assert np.array_equal(model.embed(paths), z)
    chosen = zero_shot.load_prompts("enriched", "superclass")
    vectors = zero_shot.class_vectors(workspace.shared_text("merit", chosen.flat), chosen.owner)
    expected = zero_shot.cosines(workspace.shared("merit", "ptb-xl"), vectors)
    np.testing.assert_allclose(model.zero_shot(paths, "superclass").to_numpy(), expected, atol=1e-5)
    nearest = model.similar(paths[:3], store, k=1)
    assert nearest["record"].tolist() == store.records["record_id"].tolist()[:3]
    assert model.similar(paths[:3], store.folder, k=1)["row"].tolist() == [0, 1, 2]


def test_a_checkpoint_says_where_it_comes_from(workspace):
    folder = workspace.checkpoint("merit")
    said = read_origin(folder)
    assert said["synthetic"] is True
    assert (folder / said["text"]["source"] / "model.safetensors").is_file()
    assert said["text"]["max_tokens"] == workspace.profile.text.max_tokens
    card = (folder / "README.md").read_text()
    assert "**synthetic**" in card
    assert json.loads((folder / "config.json").read_text())["pretrain"]["objective"] in card
