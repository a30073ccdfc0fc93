"""MERL's adapter: the authors' network by outputs and keys, both published files, texts, what min-max removes."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from merit.baselines import golden, merl
from merit.baselines.base import Encoder, TextAligned
from merit.baselines.outside import NoWeights
from merit.config import TextConfig
from merit.model.text import make_tokenizer

NAMES = ("merl", "merl-vit")
TEXTS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block"]


def left_out(name: str, size: merl.ResNetSize | merl.ViTSize) -> dict[str, torch.Tensor]:
    """What a published file holds besides."""
    width = size.shared if name == "merl" else size.width
    found = {f"linear{i}.weight": torch.zeros(size.shared, width) for i in (1, 2)}
    if name == "merl":
        found["ecg_encoder.linear.weight"] = torch.zeros(10, size.widths[-1])
        found["ecg_encoder.linear.bias"] = torch.zeros(10)
    return found


def digest(state: dict[str, torch.Tensor]) -> str:
    lines = sorted(f"{key} {list(value.shape)}" for key, value in state.items())
    return f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"


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


def recording(n_samples: int = 500) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 12, n_samples)).astype(np.float32)


def test_it_is_the_authors_network(name):
    assert max(golden.agreement(name, "merit.baselines.merl").values()) <= golden.TOLERANCE


def test_its_keys_are_the_published_ones(name):
    size, about = merl.PUBLISHED[name], golden.kept(name)["about"]
    whole = {**merl.shapes(name, size), **left_out(name, size)}
    assert digest(whole) == about["published_keys"]
    own = {key.removeprefix("ecg_encoder."): value for key, value in whole.items() if key.startswith("ecg_encoder.")}
    assert digest(own) == about["published_encoder_keys"]


@pytest.mark.parametrize(("form", "parameters", "width"), [("merl", 3_848_832, 512), ("merl-vit", 5_473_152, 192)])
def test_parameters_and_width_at_the_published_size(form, parameters, width):
    with torch.device("meta"):
        network, x = merl.network(form), torch.empty(2, 12, 5000)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network(x).shape == (2, width)


@pytest.mark.parametrize(("fs_hz", "n_samples"), [(500, 410), (250, 100), (100, 900), (360, 37)])
def test_it_embeds_at_any_rate_and_length(encoder, fs_hz, n_samples):
    z = encoder.embed(recording(n_samples), fs_hz)
    assert z.shape == (2, 24)
    assert z.dtype == np.float32
    assert np.isfinite(z).all()
    assert not np.allclose(z[0], z[1])


def test_it_fulfils_the_protocols(encoder):
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, TextAligned)
    assert len(encoder.identity) == 16
    shared = encoder.embed_shared(recording(), 500)
    assert shared.shape == (2, 16)
    np.testing.assert_allclose(np.linalg.norm(shared, axis=1), 1, rtol=1e-5)


def test_the_mean_of_the_tokens_is_the_feature(encoder):
    tokens = encoder.tokens(recording(), 500)
    assert tokens.shape == (2, 26 if encoder.name == "merl" else 8, 24)
    np.testing.assert_allclose(tokens.mean(1), encoder.embed(recording(), 500), atol=1e-5)


def test_gain_and_offset_do_nothing_and_a_flat_recording_is_zero(encoder):
    z = encoder.embed(recording(), 500)
    np.testing.assert_allclose(encoder.embed(3 * recording() + 2, 500), z, atol=1e-4)
    x = encoder.prepared(recording(), 500)
    np.testing.assert_allclose([x.min(axis=(1, 2)), x.max(axis=(1, 2))], [[0, 0], [1, 1]], atol=1e-6)
    assert not encoder.prepared(np.full((1, 12, 500), 0.7, np.float32), 500).any()


def test_leads_come_in_the_order_of_mimic(encoder):
    signal = recording(encoder.prepared(recording(), 500).shape[2])
    low, high = signal.min(axis=(1, 2), keepdims=True), signal.max(axis=(1, 2), keepdims=True)
    swapped = ((signal - low) / (high - low))[:, [0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11]]
    np.testing.assert_allclose(encoder.prepared(signal, 500), swapped, atol=1e-6)


def test_the_file_of_the_encoder_alone_embeds_but_has_no_texts(encoder, name, tmp_path):
    own = {k.removeprefix("ecg_encoder."): v for k, v in state(name).items() if k.startswith("ecg_encoder.")}
    alone = loaded(written(tmp_path, "alone", own), name)
    np.testing.assert_array_equal(alone.embed(recording(), 500), encoder.embed(recording(), 500))
    assert alone.identity == encoder.identity
    for call in (lambda: alone.embed_text(TEXTS), lambda: alone.embed_shared(recording(), 500)):
        with pytest.raises(NoWeights, match="holds the ECG encoder alone; texts take the"):
            call()


def test_texts_need_their_folder_and_their_vectors_have_length_1(encoder):
    with pytest.raises(NoWeights, match="no folder weights/"):
        encoder.embed_text(TEXTS)
    folder = encoder.path.parent / "text"
    make_tokenizer(TEXTS, TextConfig(vocabulary=100, max_tokens=32)).save_pretrained(folder)
    merl.SMALL[encoder.name].text.config().save_pretrained(folder)
    vectors = encoder.embed_text([*TEXTS, TEXTS[0].upper()])
    assert vectors.shape == (4, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert len(np.unique(vectors[:3].round(4), axis=0)) == 3
    np.testing.assert_allclose(vectors[3], vectors[0], atol=1e-6)
    np.testing.assert_allclose(encoder.embed_text(TEXTS[:1])[0], vectors[0], atol=1e-5)


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
def test_other_files_are_refused_in_one_line(name, tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as error:
        loaded(written(tmp_path, name, change(state(name))), name)
    assert "\n" not in str(error.value)


def test_one_form_is_not_the_other(tmp_path):
    with pytest.raises(ValueError, match="expected the ECG encoder of merl;"):
        loaded(written(tmp_path, "x", state("merl-vit")), "merl")


def test_numbers_of_positions_that_older_libraries_saved_are_no_weights(name, tmp_path):
    older = {**state(name), "lm_model.embeddings.position_ids": torch.arange(32)[None]}
    assert loaded(written(tmp_path, name, older), name).text is not None
