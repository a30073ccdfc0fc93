"""MERL's adapter: the published keys, both published files, what min-max removes, the order of leads."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from merit.encoders import golden, merl
from merit.encoders.outside import NoWeights

NAMES = ("merl", "merl-vit")


def left_out(name: str, size: merl.ResNetSize | merl.ViTSize) -> dict[str, torch.Tensor]:
    """What a published file holds besides."""
    width = size.shared if name == "merl" else size.width
    found = {f"linear{i}.weight": torch.zeros(size.shared, width) for i in (1, 2)}
    if name == "merl":
        found["ecg_encoder.linear.weight"] = torch.zeros(10, size.widths[-1])
        found["ecg_encoder.linear.bias"] = torch.zeros(10)
    return found


@functools.cache
def state(name: str) -> dict[str, torch.Tensor]:
    size = merl.SMALL[name]
    return {**golden.weights(merl.shapes(name, size)), **left_out(name, size)}


def written(folder: Path, name: str, content: dict) -> Path:
    torch.save(content, folder / f"{name}_ckpt.pth")
    return folder / f"{name}_ckpt.pth"


def loaded(path: Path, name: str) -> merl.MerlEncoder:
    return merl.load(path, name=name, size=merl.SMALL[name])


@pytest.fixture(scope="module", params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def encoder(name, tmp_path_factory) -> merl.MerlEncoder:
    return loaded(written(tmp_path_factory.mktemp(name), name, state(name)), name)


def test_its_keys_are_the_published_ones(name):
    size, about = merl.PUBLISHED[name], golden.kept(name)["about"]
    whole = {**merl.shapes(name, size), **left_out(name, size)}
    assert golden.key_digest(whole) == about["published_keys"]
    own = {key.removeprefix("ecg_encoder."): value for key, value in whole.items() if key.startswith("ecg_encoder.")}
    assert golden.key_digest(own) == about["published_encoder_keys"]


def test_gain_and_offset_do_nothing_and_a_flat_recording_is_zero(encoder, recordings):
    z = encoder.embed(recordings(), 500)
    np.testing.assert_allclose(encoder.embed(3 * recordings() + 2, 500), z, atol=1e-4)
    x = encoder.prepared(recordings(), 500)
    np.testing.assert_allclose([x.min(axis=(1, 2)), x.max(axis=(1, 2))], [[0, 0], [1, 1]], atol=1e-6)
    assert not encoder.prepared(np.full((1, 12, 500), 0.7, np.float32), 500).any()


def test_leads_come_in_the_order_of_mimic(encoder, recordings):
    signal = recordings(encoder.prepared(recordings(), 500).shape[2])
    low, high = signal.min(axis=(1, 2), keepdims=True), signal.max(axis=(1, 2), keepdims=True)
    swapped = ((signal - low) / (high - low))[:, [0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11]]
    np.testing.assert_allclose(encoder.prepared(signal, 500), swapped, atol=1e-6)


def test_the_file_of_the_encoder_alone_embeds_but_has_no_texts(encoder, name, tmp_path, recordings):
    own = {k.removeprefix("ecg_encoder."): v for k, v in state(name).items() if k.startswith("ecg_encoder.")}
    alone = loaded(written(tmp_path, "alone", own), name)
    np.testing.assert_array_equal(alone.embed(recordings(), 500), encoder.embed(recordings(), 500))
    assert alone.identity == encoder.identity
    for call in (lambda: alone.embed_text(["sinus rhythm"]), lambda: alone.embed_shared(recordings(), 500)):
        with pytest.raises(NoWeights, match="holds the ECG encoder alone; texts take the"):
            call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"state_dict": s}, "expected names and tensors"),
        (lambda s: {"model": torch.zeros(3)}, "expected the ECG encoder of"),
        (lambda s: {**s, "other.weight": torch.zeros(2)}, "expected the projection of"),
        (lambda s: {**s, "proj_t.1.weight": torch.zeros(2)}, "expected the projection of texts"),
        (lambda s: {**s, "lm_model.other": torch.zeros(2)}, "expected a BERT of width 24"),
        (lambda s: {k: v for k, v in s.items() if not k.startswith("lm_model.pooler")}, "pooler.dense.weight"),
        (lambda s: {**s, "ecg_encoder.other": torch.zeros(2)}, "expected the ECG encoder of"),
        (lambda s: {k: v[..., :-1] if "proj_t.0.w" in k else v for k, v in s.items()}, "size mismatch for 0.weight"),
    ],
)
def test_other_files_are_refused_in_one_line(name, tmp_path, refused, change, message):
    refused(message, loaded, written(tmp_path, name, change(state(name))), name)


def test_one_form_is_not_the_other(tmp_path):
    with pytest.raises(ValueError, match="expected the ECG encoder of merl;"):
        loaded(written(tmp_path, "x", state("merl-vit")), "merl")


def test_numbers_of_positions_that_older_libraries_saved_are_no_weights(name, tmp_path):
    older = {**state(name), "lm_model.embeddings.position_ids": torch.arange(32)[None]}
    assert loaded(written(tmp_path, name, older), name).text is not None
