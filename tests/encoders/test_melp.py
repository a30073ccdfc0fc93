"""MELP's adapter: both forms of its weights, its scaling and its text path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from merit.config import TextConfig
from merit.data.recording import LEADS
from merit.encoders import melp
from merit.encoders.outside import NoWeights
from merit.model.text import make_tokenizer

TEXTS = ["Sinus rhythm", "atrial fibrillation with a rapid ventricular response", "left bundle branch block"]


@pytest.fixture(scope="module")
def state(small_peer) -> dict[str, torch.Tensor]:
    """A checkpoint's state at the small size: what is read, and what is left out."""
    left = [*(f"ecg_encoder.{name}" for name in melp.ECG_NOT_RUN), *melp.TEXT_NOT_RUN]
    names = {name + "weight" * name.endswith(".") for name in left}
    return {**small_peer("melp").state(), **{name: torch.zeros(2) for name in names}}


def checkpoint(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    """As Lightning writes it."""
    torch.save({"epoch": 3, "hyper_parameters": {"max_seq_len": 128}, "state_dict": state}, folder / "melp.ckpt")
    return folder / "melp.ckpt"


@pytest.fixture
def encoder(state, tmp_path) -> melp.MELPEncoder:
    return melp.load(checkpoint(tmp_path, state), size=melp.SMALL)


@pytest.fixture
def with_text(encoder, small_peer, tmp_path) -> melp.MELPEncoder:
    small_peer("melp").write_text(tmp_path / "text")
    return encoder


def test_gain_and_offset_of_a_recording_do_nothing_and_leads_are_mimics(encoder, recordings):
    signal_mv = recordings()
    np.testing.assert_allclose(encoder.embed(2 * signal_mv + 0.4, 500), encoder.embed(signal_mv, 500), atol=1e-4)
    x = encoder.prepared(signal_mv, 500)
    assert (x.min(), x.max()) == pytest.approx((0, 1))
    avl, avf = LEADS.index("aVL"), LEADS.index("aVF")
    for mine, row in ((5, avl), (4, avf)):
        assert np.corrcoef(x[0, mine], signal_mv[0, row])[0, 1] > 0.999


def test_a_flat_recording_is_finite(encoder):
    assert np.isfinite(encoder.embed(np.full((1, 12, 5000), 0.3, np.float32), 500)).all()


def test_the_published_file_is_the_ecg_side_alone(encoder, state, tmp_path, recordings):
    ecg = {key: value.clone() for key, value in state.items() if key.startswith("ecg_encoder.")}
    save_file(ecg, tmp_path / "model.safetensors")
    alone = melp.load(tmp_path / "model.safetensors", size=melp.SMALL)
    assert alone.identity == encoder.identity
    np.testing.assert_array_equal(alone.embed_shared(recordings(), 500), encoder.embed_shared(recordings(), 500))
    with pytest.raises(NoWeights, match=r"melp: model\.safetensors holds the ECG side alone"):
        alone.embed_text(TEXTS)


def test_the_number_of_queries_is_the_files(state, tmp_path, recordings):
    key = "ecg_encoder.attn_pool_contrast.query"
    encoder = melp.load(checkpoint(tmp_path, {**state, key: torch.randn(5, 8)}), size=melp.SMALL)
    assert encoder.embed(recordings(), 500).shape == (2, 8)


def test_many_and_long_texts(with_text):
    vectors = with_text.embed_text([TEXTS[1] * 40, *[TEXTS[0]] * 70])
    assert vectors.shape == (71, 8)
    np.testing.assert_allclose(vectors[2:], vectors[1:-1], atol=1e-5)


def test_a_text_is_read_as_in_training(with_text):
    """[BOS] text [SEP] padding [CLS]: the last, which has read all before it but padding, is the text's vector."""
    seen = {}
    side = with_text.text()
    side.vectors = lambda ids, attention: seen.update(ids=ids, attention=attention) or torch.ones(len(ids), 8)
    with_text.embed_text(TEXTS[:1])
    ids, attention = seen["ids"][0].tolist(), seen["attention"][0].tolist()
    vocabulary = side.tower.tokenizer.get_vocab()
    pad, start, end, sep = (vocabulary[name] for name in ("[PAD]", "[BOS]", "[CLS]", "[SEP]"))
    n = ids.index(sep) + 1
    assert (len(ids), ids[0], ids[-1]) == (128, start, end)
    assert ids[n:-1] == [pad] * (127 - n)
    assert attention == [1] * n + [0] * (127 - n) + [1]
    assert side.tower.model.config.is_decoder


def test_a_folder_that_does_not_fit_is_refused(encoder, tmp_path):
    melp.SMALL.text.config().save_pretrained(tmp_path / "text")
    make_tokenizer(TEXTS, TextConfig(vocabulary=melp.SMALL.text.vocabulary - 2)).save_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match="expected a tokenizer of 90 words with"):
        encoder.embed_text(TEXTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {}}, r"expected the weights under state_dict; got the keys \['model'\]"),
        ({"state_dict": {"ecg_encoder.x": torch.zeros(3)}}, "expected MELP's ECG side; Missing key"),
        ({"state_dict": {"ecg_encoder": None}}, "expected names and tensors"),
        ({"state_dict": {}, "hyper_parameters": {"p": Path("x")}}, "the file holds other objects"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, refused, content, message):
    torch.save(content, tmp_path / "x.ckpt")
    refused(message, melp.load, tmp_path / "x.ckpt", size=melp.SMALL)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("ecg_encoder.attn_pool_contrast.ln_k.bias", "MELP's ECG side"),
        ("ecg_encoder.proj_contrast", "MELP's ECG side"),
        ("lm_model.bert.encoder.layer.1.output.dense.bias", "a BERT of width 16"),
        ("proj_t.2.weight", "MELP's proj_t"),
    ],
)
@pytest.mark.parametrize("change", ["missing", "renamed", "shape"])
def test_every_key_counts(state, tmp_path, key, message, change):
    changed = dict(state)
    value = changed.pop(key)
    if change != "missing":
        changed[key if change == "shape" else f"{key}x"] = value[None]
    with pytest.raises(ValueError, match=message):
        melp.load(checkpoint(tmp_path, changed), size=melp.SMALL)
