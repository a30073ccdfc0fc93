"""D-BETA's adapter: the authors' network by golden file, its published format, its product and its text path."""

from __future__ import annotations

import hashlib
import string

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from merit.baselines import d_beta, golden
from merit.baselines.base import Encoder, TextAligned
from merit.baselines.outside import NoWeights

TEXTS = ["sinus rhythm", "atrial fibrillation with a rapid ventricular response", "left bundle branch block"]


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """The published state at the small size, the parts of pretraining there."""
    state = golden.weights(d_beta.expected(d_beta.SMALL))
    state[d_beta.WORDS[1]] = state[d_beta.WORDS[0]]
    return {**state, **{name + "weight" * name.endswith("."): torch.zeros(2) for name in d_beta.NOT_RUN}}


@pytest.fixture
def encoder(published, tmp_path) -> d_beta.DBetaEncoder:
    torch.save({"model": published, "num_updates": 3}, tmp_path / "sample.pt")
    return d_beta.load(tmp_path / "sample.pt", size=d_beta.SMALL)


@pytest.fixture
def with_text(encoder, tmp_path) -> d_beta.DBetaEncoder:
    from transformers import T5Tokenizer

    pieces = ["▁", "▁sinus", "▁rhythm", *string.ascii_letters]
    vocabulary = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        *((piece, -float(i)) for i, piece in enumerate(pieces)),
    ]
    T5Tokenizer(vocab=vocabulary, extra_ids=0).save_pretrained(tmp_path / "text")
    return encoder


def recordings(seconds: float = 10, fs_hz: int = 500) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.3, (2, 12, round(seconds * fs_hz))).astype(np.float32)


def test_it_is_the_authors_network():
    assert max(golden.agreement("d-beta", "merit.baselines.d_beta").values()) <= golden.TOLERANCE


def test_it_reads_the_published_keys_and_shapes():
    lines = sorted(f"{key} {list(value.shape)}" for key, value in d_beta.expected().items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    assert f"{len(lines)} {digest}" == golden.kept("d-beta")["about"]["published_keys"]


def test_parameters_on_the_meta_device():
    with torch.device("meta"):
        network = d_beta.network("d-beta")
        assert network(torch.zeros(1, 12, 5000)).shape == (1, 768)
    assert sum(p.numel() for p in network.parameters()) == 63_203_712


@pytest.mark.parametrize(("seconds", "fs_hz"), [(10, 500), (10, 250), (10, 100), (3, 500), (17, 100)])
def test_it_embeds_at_any_rate_and_length(encoder, seconds, fs_hz):
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, TextAligned)
    signal_mv = recordings(seconds, fs_hz)
    z = encoder.embed(signal_mv, fs_hz)
    assert z.shape == (2, 24)
    assert np.isfinite(z).all()
    np.testing.assert_allclose(np.linalg.norm(encoder.embed_shared(signal_mv, fs_hz), axis=1), 1, atol=1e-5)


def test_tokens_are_positions_in_time(encoder):
    signal_mv = recordings()
    tokens = encoder.tokens(signal_mv, 500)
    assert tokens.shape == (2, 312, 24)
    assert np.ptp(tokens, axis=1).max() > 1e-3


def test_the_signal_is_left_as_it_is_and_its_group_norm_takes_gain_and_offset_out_of_all_leads_but_not_of_one(encoder):
    signal_mv = recordings()
    np.testing.assert_array_equal(encoder.prepared(signal_mv, 500), signal_mv)
    z = encoder.embed(signal_mv, 500)
    np.testing.assert_allclose(encoder.embed(3 * signal_mv + 1, 500), z, atol=1e-4)
    one = signal_mv * np.where(np.arange(12) == 4, 9, 1)[:, None].astype(np.float32)
    assert np.abs(encoder.embed(one, 500) - z).max() > 1e-3


def test_rows_of_length_1_keep_the_original_s_products():
    drawn = np.random.default_rng(0)
    ecg, text = np.tanh(drawn.normal(size=(5, 24))), np.tanh(drawn.normal(size=(4, 24)))
    rows, columns = d_beta.unit_keeping_products(ecg, 0), d_beta.unit_keeping_products(text, 1)
    np.testing.assert_allclose(24 * rows @ columns.T, ecg @ text.T, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(columns, axis=1), 1, atol=1e-6)
    full = d_beta.unit_keeping_products(np.ones((1, 24), np.float32), 0)
    np.testing.assert_allclose(np.linalg.norm(full, axis=1), 1, atol=1e-6)


def test_texts_become_unit_rows_that_depend_on_the_text_alone(with_text):
    rows = with_text.embed_text(TEXTS)
    assert rows.shape == (3, 26)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[:1], with_text.embed_text(TEXTS[:1]), atol=1e-5)
    np.testing.assert_array_equal(rows, with_text.embed_text([text.upper() for text in TEXTS]))
    assert np.abs(rows[0] - rows[1]).max() > 1e-4


def test_without_its_tokenizer_it_embeds_signals_but_no_texts(encoder, tmp_path):
    assert encoder.embed_shared(recordings(), 500).shape == (2, 26)
    with pytest.raises(NoWeights, match="d-beta: no folder weights/d-beta/text; it takes"):
        encoder.embed_text(TEXTS)
    (tmp_path / "text").mkdir()
    with pytest.raises(FileNotFoundError, match="expected a tokenizer's files"):
        encoder.embed_text(TEXTS)


def test_safetensors_with_the_word_table_once_load_too(published, tmp_path, encoder):
    once = {key: value for key, value in published.items() if key != d_beta.WORDS[0]}
    save_file(once, tmp_path / "state.safetensors")
    assert d_beta.load(tmp_path / "state.safetensors", size=d_beta.SMALL).identity == encoder.identity


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s, "expected the weights under model; got the keys"),
        (lambda s: {"model": {"x": torch.zeros(3)}}, "expected D-BETA's ECG side; Missing key"),
        (lambda s: {"model": _renamed(s, "class_embedding", "class_token")}, "expected D-BETA's ECG side"),
        (lambda s: {"model": {**s, "more.weight": torch.zeros(2)}}, "expected D-BETA's ECG side; Unexpected key"),
        (lambda s: {"model": {**s, d_beta.WORDS[0]: torch.ones(100, 24)}}, "are one table, and differ"),
        (lambda s: {"model": _renamed(s, "unimodal_language_pooler.dense.bias", "x")}, "D-BETA's"),
        (lambda s: {"model": {**s, "multi_modal_language_proj.bias": torch.ones(2)}}, "expected D-BETA's text side"),
    ],
)
def test_other_files_are_refused_in_one_line(published, tmp_path, change, message):
    torch.save(change(published), tmp_path / "x.pt")
    with pytest.raises(ValueError, match=message) as error:
        d_beta.load(tmp_path / "x.pt", size=d_beta.SMALL)
    assert "\n" not in str(error.value)


def _renamed(state: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    return {new if key == old else key: value for key, value in state.items()}
