"""ESI's adapter: the authors' network by golden file, its published format, its scaling and its text path."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from merit.baselines import esi, golden
from merit.baselines.base import Encoder, TextAligned
from merit.baselines.outside import NoWeights
from merit.config import TextConfig
from merit.data.recording import LEADS
from merit.model.text import make_tokenizer

TEXTS = ["sinus rhythm", "atrial fibrillation with a rapid ventricular response", "left bundle branch block"]


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """What `load` reads, at the small size."""
    return golden.weights(esi.expected(esi.SMALL))


@pytest.fixture(scope="module")
def published(state) -> dict[str, torch.Tensor]:
    """As accelerate saves it: the text tower under both names, the captioning parts there."""
    twice = {key.replace(*esi.TOWERS): value.clone() for key, value in state.items() if key.startswith(esi.TOWERS[0])}
    left = {name + "weight" * name.endswith("."): torch.zeros(2) for name in esi.NOT_RUN}
    return {**state, **twice, **left}


@pytest.fixture
def encoder(published, tmp_path) -> esi.EsiEncoder:
    torch.save(published, tmp_path / "pytorch_model.bin")
    return esi.load(tmp_path / "pytorch_model.bin", size=esi.SMALL)


@pytest.fixture
def with_text(encoder, tmp_path) -> esi.EsiEncoder:
    esi.SMALL.text.config().save_pretrained(tmp_path / "text")
    make_tokenizer(TEXTS, TextConfig(vocabulary=esi.SMALL.text.vocabulary)).save_pretrained(tmp_path / "text")
    return encoder


def recordings(seconds: float = 10, fs_hz: int = 500) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.3, (2, 12, round(seconds * fs_hz))).astype(np.float32)


def test_it_is_the_authors_network():
    assert max(golden.agreement("esi", "merit.baselines.esi").values()) <= golden.TOLERANCE


def test_it_reads_the_published_keys_and_shapes():
    lines = sorted(f"{key} {list(value.shape)}" for key, value in esi.expected().items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    assert f"{len(lines)} {digest}" == golden.kept("esi")["about"]["published_keys"]


def test_parameters_on_the_meta_device():
    with torch.device("meta"):
        network = esi.network("esi")
        assert network(torch.zeros(1, 12, 5000)).shape == (1, 1024)
    assert sum(p.numel() for p in network.parameters()) == 85_558_528


@pytest.mark.parametrize(("seconds", "fs_hz"), [(10, 500), (10, 250), (10, 100), (3, 500), (17, 100)])
def test_it_embeds_at_any_rate_and_length(encoder, seconds, fs_hz):
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, TextAligned)
    signal_mv = recordings(seconds, fs_hz)
    z = encoder.embed(signal_mv, fs_hz)
    assert z.shape == (2, 24)
    assert np.isfinite(z).all()
    shared = encoder.embed_shared(signal_mv, fs_hz)
    np.testing.assert_allclose(np.linalg.norm(shared, axis=1), 1, atol=1e-5)


def test_tokens_average_to_the_embedding(encoder):
    tokens = encoder.tokens(recordings(), 500)
    assert tokens.shape == (2, 156, 24)
    np.testing.assert_allclose(tokens.mean(1), encoder.embed(recordings(), 500), atol=1e-5)


def test_gain_and_offset_of_the_whole_recording_do_nothing_but_of_one_lead_do(encoder):
    signal_mv = recordings()
    x = encoder.prepared(signal_mv, 500)
    assert abs(x.mean()) < 1e-6
    assert x[0].std(ddof=1) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(encoder.prepared(3 * signal_mv + 0.5, 500), x, atol=2e-5)
    one = signal_mv * np.where(np.arange(12) == 4, 3, 1)[:, None]
    assert np.abs(encoder.prepared(one, 500) - x).max() > 0.1


def test_leads_come_in_the_order_of_its_pretraining(encoder):
    signal_mv = np.zeros((1, 12, 5000), np.float32)
    signal_mv[0, LEADS.index("aVL"), 7] = 1
    assert encoder.prepared(signal_mv, 500)[0, :, 7].argmax() == 5


def test_texts_become_unit_rows_that_depend_on_the_text_alone(with_text):
    rows = with_text.embed_text(TEXTS)
    assert rows.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[:1], with_text.embed_text(TEXTS[:1]), atol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


def test_without_its_tokenizer_it_embeds_signals_but_no_texts(encoder):
    assert encoder.embed_shared(recordings(), 500).shape == (2, 16)
    with pytest.raises(NoWeights, match="esi: no folder weights/esi/text; it takes"):
        encoder.embed_text(TEXTS)


@pytest.mark.parametrize("name", esi.TOWERS)
def test_a_file_that_lists_the_text_tower_once_loads_under_either_name(state, tmp_path, encoder, name):
    save_file({key.replace(esi.TOWERS[0], name): value for key, value in state.items()}, tmp_path / "model.safetensors")
    assert esi.load(tmp_path / "model.safetensors", size=esi.SMALL).identity == encoder.identity


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"model": s}, "expected names and tensors; got the keys"),
        (lambda s: {"x": torch.zeros(3)}, "expected ESI's ConvNeXt V2; Missing key"),
        (lambda s: _renamed(s, "img_encoder.norm.bias", "img_encoder.norm.offset"), "expected ESI's ConvNeXt V2"),
        (lambda s: _renamed(s, "img_token_head.bias", "img_token_head.offset"), "expected ESI's image heads"),
        (lambda s: {**s, "more.weight": torch.zeros(2)}, "expected ESI's image heads; Unexpected key"),
        (lambda s: {**s, "text_to_latents.to_latents.weight": torch.zeros(3, 3)}, "expected ESI's text head"),
        (lambda s: {k: v for k, v in s.items() if not k.startswith(esi.TOWERS)}, "expected a BERT of width 16"),
        (lambda s: {**s, esi.TOWERS[0] + "pooler.dense.bias": torch.ones(16)}, "one text tower, and differ in pooler"),
    ],
)
def test_other_files_are_refused_in_one_line(published, tmp_path, change, message):
    torch.save(change(published), tmp_path / "x.bin")
    with pytest.raises(ValueError, match=message) as error:
        esi.load(tmp_path / "x.bin", size=esi.SMALL)
    assert "\n" not in str(error.value)


def _renamed(state: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    return {new if key == old else key: value for key, value in state.items()}
