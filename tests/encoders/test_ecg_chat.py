"""ECG-Chat's adapter: the file that the authors' training writes, the order of leads, and texts."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from merit.encoders import ecg_chat, golden
from merit.encoders.ecg_chat import SMALL

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


def test_the_feature_lies_in_the_space_of_texts(encoder, recordings):
    np.testing.assert_array_equal(encoder.embed_shared(recordings(), 500), encoder.embed(recordings(), 500))


def test_the_signal_stays_in_millivolts_in_its_order(encoder, recordings):
    signal = recordings(300)
    np.testing.assert_array_equal(encoder.prepared(signal, 500), np.pad(signal, ((0, 0), (0, 0), (0, 100))))


def test_one_gpus_file_is_the_same_encoder(encoder, tmp_path):
    alone = {key.removeprefix("module."): value for key, value in state().items()}
    assert ecg_chat.load(written(tmp_path, alone), size=SMALL).identity == encoder.identity


def test_spaces_between_words_do_nothing(encoder, small_peer):
    small_peer("ecg-chat").write_text(encoder.text.path.parent / "text")
    one, other = encoder.embed_text(["sinus rhythm", "  Sinus   rhythm "])
    np.testing.assert_allclose(other, one, atol=1e-6)


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
def test_other_files_are_refused_in_one_line(tmp_path, refused, change, message):
    refused(message, ecg_chat.load, written(tmp_path, change(state())), size=SMALL)


def test_a_state_without_its_checkpoint_is_refused(tmp_path):
    torch.save(state(), tmp_path / "x.pt")
    with pytest.raises(ValueError, match="expected the weights under state_dict"):
        ecg_chat.load(tmp_path / "x.pt", size=SMALL)
