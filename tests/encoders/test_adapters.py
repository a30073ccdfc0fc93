"""What holds of every adapter: the authors' network by golden file, sizes and keys as published, the protocols."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from merit.encoders import golden
from merit.encoders.base import Encoder, TextAligned
from merit.encoders.outside import OUTSIDE, NoWeights


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is particular to an adapter."""

    parameters: int
    """Of the authors' own network, at the published size, counted in a scratch folder."""
    out: tuple[int, ...]
    """Shape of the network's output for one crop at the published size, without the batch."""
    width: int
    """Of the feature at the small size; so is what follows."""
    tokens: tuple[int, int]
    mean: bool = True
    """Whether the mean of the tokens is the feature."""
    shared: int | None = None


FACTS = {
    "ecg-fm": Facts(parameters=90_373_248, out=(768,), width=16, tokens=(312, 16)),
    "st-mem": Facts(parameters=85_150_614, out=(768,), width=16, tokens=(30, 16), mean=False),
    "st-mem-s": Facts(parameters=21_341_718, out=(384,), width=8, tokens=(30, 8), mean=False),
    "merl": Facts(parameters=3_848_832, out=(512,), width=24, tokens=(26, 24), shared=16),
    "merl-vit": Facts(parameters=5_473_152, out=(192,), width=24, tokens=(8, 24), shared=16),
    "esi": Facts(parameters=85_558_528, out=(1024,), width=24, tokens=(156, 24), shared=16),
    "d-beta": Facts(parameters=63_203_712, out=(768,), width=24, tokens=(312, 24), mean=False, shared=26),
    "melp": Facts(parameters=62_618_496, out=(256,), width=8, tokens=(312, 16), mean=False, shared=8),
    "qoq": Facts(parameters=85_374_720, out=(768,), width=16, tokens=(50, 16)),
    "ecg-chat": Facts(parameters=85_989_888, out=(512,), width=24, tokens=(8, 32), mean=False, shared=24),
    "medtvt-r1": Facts(parameters=7_865_984, out=(768, 32), width=768, tokens=(32, 768)),
}
WITH_TEXT = [name for name, entry in OUTSIDE.items() if entry.text]
KEYS_OF_THEIR_OWN = {"ecg-fm", "merl", "merl-vit", "medtvt-r1"}
"""Counted with what is left out of the file, in the adapter's own tests; of the last no key is known."""


@pytest.fixture(scope="module", params=OUTSIDE)
def peer(request, small_peer):
    return small_peer(request.param)


@pytest.fixture(scope="module", params=WITH_TEXT)
def peer_with_text(request, small_peer):
    return small_peer(request.param)


@pytest.fixture(scope="module")
def encoder(peer, tmp_path_factory):
    return peer.load(peer.write(tmp_path_factory.mktemp(peer.name)))


def test_every_adapter_has_its_facts():
    assert list(FACTS) == list(OUTSIDE)
    assert {name for name, facts in FACTS.items() if facts.shared} == set(WITH_TEXT)


def test_it_is_the_authors_network(peer):
    found = golden.agreement(peer.name, peer.module.__name__)
    assert max(found.values()) <= golden.TOLERANCE, found


@pytest.mark.parametrize("name", [name for name in OUTSIDE if name not in KEYS_OF_THEIR_OWN])
def test_it_reads_the_published_keys_and_shapes(small_peer, name):
    peer = small_peer(name)
    with torch.device("meta"):
        assert golden.key_digest(peer.shapes(peer.published)) == golden.kept(name)["about"]["published_keys"]


def test_parameters_and_width_at_the_published_size(peer):
    with torch.device("meta"):
        network, x = peer.module.network(peer.name), torch.empty(2, *OUTSIDE[peer.name].input_shape[1:])
    facts = FACTS[peer.name]
    assert sum(p.numel() for p in network.parameters()) == facts.parameters
    assert network(x).shape == (2, *facts.out)


@pytest.mark.parametrize(
    ("n_samples", "fs_hz"),
    [(5000, 500), (2500, 250), (1000, 100), (1500, 500), (1700, 100), (100, 250), (900, 100), (37, 360)],
)
def test_it_embeds_at_any_rate_and_length(peer, encoder, recordings, n_samples, fs_hz):
    signal_mv, facts = recordings(n_samples), FACTS[peer.name]
    z, tokens = encoder.embed(signal_mv, fs_hz), encoder.tokens(signal_mv, fs_hz)
    assert z.shape == (2, facts.width)
    assert tokens.shape == (2, *facts.tokens)
    assert z.dtype == tokens.dtype == np.float32
    assert np.isfinite(z).all()
    assert not np.allclose(z[0], z[1])
    assert np.ptp(tokens, axis=1).max() > 1e-3
    if facts.mean:
        np.testing.assert_allclose(tokens.mean(1), z, atol=1e-5)
    if facts.shared:
        shared = encoder.embed_shared(signal_mv, fs_hz)
        assert shared.shape == (2, facts.shared)
        np.testing.assert_allclose(np.linalg.norm(shared, axis=1), 1, atol=1e-5)


def test_it_fulfils_the_protocols(peer, encoder, tmp_path):
    assert encoder.name == peer.name
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, TextAligned) == peer.has_text
    assert len(encoder.identity) == 16
    assert peer.load(peer.write(tmp_path)).identity == encoder.identity


def test_the_registry_says_what_it_reads(peer, encoder):
    assert OUTSIDE[peer.name].fs_hz == peer.module.spec(peer.name).fs_hz == encoder.input_spec.fs_hz


def test_another_weight_is_another_identity(peer, encoder, tmp_path):
    state = peer.state()
    own = {"esi": "img_encoder.", "merl": "ecg_encoder.", "merl-vit": "ecg_encoder.", "melp": "ecg_encoder."}
    prefix = {**own, "d-beta": "ecg_encoder.", "ecg-chat": "ecg."}.get(peer.name, "")
    key = next(key for key, value in state.items() if key.startswith(prefix) and value.is_floating_point())
    assert peer.load(peer.write(tmp_path, {**state, key: state[key] + 1})).identity != encoder.identity


def test_texts_need_their_folder_and_signals_do_not(peer_with_text, tmp_path, recordings):
    encoder, name = peer_with_text.load(peer_with_text.write(tmp_path)), peer_with_text.name
    assert encoder.embed_shared(recordings(), 500).shape == (2, FACTS[name].shared)
    with pytest.raises(NoWeights, match=f"{name}: no folder weights/{name}/text; it takes"):
        encoder.embed_text(peer_with_text.texts)
    (tmp_path / "text").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected .*a tokenizer's files"):
        encoder.embed_text(peer_with_text.texts)


def test_texts_become_unit_rows_that_depend_on_the_text_alone(peer_with_text, tmp_path):
    encoder, texts = peer_with_text.load(peer_with_text.write(tmp_path)), peer_with_text.texts
    peer_with_text.write_text(tmp_path / "text")
    rows = encoder.embed_text(texts)
    assert rows.shape == (len(texts), FACTS[peer_with_text.name].shared)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.embed_text(texts[:1]), rows[:1], atol=1e-5)
    np.testing.assert_array_equal(encoder.embed_text([text.upper() for text in texts]), rows)
    assert len(np.unique(rows.round(4), axis=0)) == len(texts)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


@pytest.mark.slow
def test_the_published_size_loads_and_embeds(peer, tmp_path):
    encoder = peer.module.load(peer.write(tmp_path, peer.state(peer.published)), "cpu", peer.name)
    z = encoder.embed(golden.signal(1, 12, 5000), 500)
    assert z.shape == (1, FACTS[peer.name].out[0])
    assert np.isfinite(z).all()
