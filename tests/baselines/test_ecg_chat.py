"""ECG-Chat's adapter: the authors' network by its outputs and keys, the file that their training writes, and texts."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from merit.baselines import ecg_chat, golden
from merit.baselines.base import Encoder, TextAligned
from merit.baselines.ecg_chat import PUBLISHED, SMALL
from merit.baselines.outside import NoWeights
from merit.config import TextConfig
from merit.model.text import make_tokenizer

TEXTS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block"]
LEFT_OUT = {"text_decoder.ln_final.weight": torch.zeros(4), "logit_scale": torch.zeros(())}


@functools.cache
def state() -> dict[str, torch.Tensor]:
    """As several GPUs save it."""
    whole = {**golden.weights(ecg_chat.shapes(SMALL)), **LEFT_OUT}
    return {f"module.{key}": value for key, value in whole.items()}


def written(folder: Path, content: dict[str, torch.Tensor]) -> Path:
    """A checkpoint as the authors' training writes it."""
    checkpoint = {"epoch": 20, "name": "coca", "state_dict": content, "optimizer": {"state": {}, "param_groups": []}}
    torch.save(checkpoint, folder / "epoch_20.pt")
    return folder / "epoch_20.pt"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> ecg_chat.EcgChatEncoder:
    return ecg_chat.load(written(tmp_path_factory.mktemp("weights"), state()), size=SMALL)


def recording(n_samples: int = 500) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 12, n_samples)).astype(np.float32)


def test_it_is_the_authors_network():
    assert max(golden.agreement("ecg-chat", "merit.baselines.ecg_chat").values()) <= golden.TOLERANCE


def test_its_keys_are_those_of_the_authors_network():
    lines = sorted(f"{key} {list(value.shape)}" for key, value in ecg_chat.shapes(PUBLISHED).items())
    digest = f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"
    assert digest == golden.kept("ecg-chat")["about"]["published_keys"]


def test_parameters_and_width_at_the_authors_size():
    with torch.device("meta"):
        network, x = ecg_chat.network("ecg-chat"), torch.empty(2, 12, 5000)
    assert sum(p.numel() for p in network.parameters()) == 85_989_888
    assert network(x).shape == (2, 512)


@pytest.mark.parametrize(("fs_hz", "n_samples"), [(500, 400), (250, 100), (100, 900), (360, 37)])
def test_it_embeds_at_any_rate_and_length(encoder, fs_hz, n_samples):
    z = encoder.embed(recording(n_samples), fs_hz)
    assert z.shape == (2, 24)
    assert z.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)
    assert not np.allclose(z[0], z[1])


def test_it_fulfils_the_protocols(encoder):
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, TextAligned)
    assert len(encoder.identity) == 16
    np.testing.assert_array_equal(encoder.embed_shared(recording(), 500), encoder.embed(recording(), 500))
    assert encoder.tokens(recording(), 500).shape == (2, 8, 32)


def test_the_signal_stays_in_millivolts_in_its_order(encoder):
    signal = recording(300)
    np.testing.assert_array_equal(encoder.prepared(signal, 500), np.pad(signal, ((0, 0), (0, 0), (0, 100))))


def test_one_gpus_file_is_the_same_encoder(encoder, tmp_path):
    alone = {key.removeprefix("module."): value for key, value in state().items()}
    assert ecg_chat.load(written(tmp_path, alone), size=SMALL).identity == encoder.identity


def test_texts_need_their_folder_and_their_vectors_have_length_1(encoder):
    with pytest.raises(NoWeights, match="no folder weights/ecg-chat/text"):
        encoder.embed_text(TEXTS)
    folder = encoder.text.path.parent / "text"
    make_tokenizer(TEXTS, TextConfig(vocabulary=100, max_tokens=32)).save_pretrained(folder)
    SMALL.text.config().save_pretrained(folder)
    vectors = encoder.embed_text([*TEXTS, "  Sinus   rhythm "])
    assert vectors.shape == (4, 24)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert len(np.unique(vectors[:3].round(4), axis=0)) == 3
    np.testing.assert_allclose(vectors[3], vectors[0], atol=1e-6)
    np.testing.assert_allclose(encoder.embed_text(TEXTS[:1])[0], vectors[0], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {}, "expected the projection of texts|expected the ECG encoder"),
        (lambda s: {**s, "module.visual.proj": torch.zeros(2)}, "expected the parts ecg, text"),
        (lambda s: {**s, "module.ecg.other": torch.zeros(2)}, "expected the ECG encoder of ECG-CoCa; Unexpected"),
        (
            lambda s: {k: v for k, v in s.items() if k != "module.ecg.proj"},
            "expected the ECG encoder of ECG-CoCa; Miss",
        ),
        (lambda s: {**s, "module.text.proj.bias": torch.zeros(2)}, "expected the projection of texts"),
        (lambda s: {**s, "module.text.transformer.pooler.dense.bias": torch.zeros(2)}, "expected a BERT of width 16"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as error:
        ecg_chat.load(written(tmp_path, change(state())), size=SMALL)
    assert "\n" not in str(error.value)


def test_a_state_without_its_checkpoint_is_refused(tmp_path):
    torch.save(state(), tmp_path / "x.pt")
    with pytest.raises(ValueError, match="expected the weights under state_dict"):
        ecg_chat.load(tmp_path / "x.pt", size=SMALL)
