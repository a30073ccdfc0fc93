"""D-BETA's adapter: its published format, what its group norm takes out, and its product."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from merit.encoders import d_beta


@pytest.fixture(scope="module")
def published(small_peer) -> dict[str, torch.Tensor]:
    """The published state at the small size, the parts of pretraining there."""
    return {
        **small_peer("d-beta").state(),
        **{name + "weight" * name.endswith("."): torch.zeros(2) for name in d_beta.NOT_RUN},
    }


@pytest.fixture
def encoder(published, tmp_path) -> d_beta.DBetaEncoder:
    torch.save({"model": published, "num_updates": 3}, tmp_path / "sample.pt")
    return d_beta.load(tmp_path / "sample.pt", size=d_beta.SMALL)


def test_the_signal_is_left_as_it_is_and_its_group_norm_takes_gain_and_offset_out_of_all_leads_but_not_of_one(
    encoder, recordings
):
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
def test_other_files_are_refused_in_one_line(published, tmp_path, refused, change, message):
    torch.save(change(published), tmp_path / "x.pt")
    refused(message, d_beta.load, tmp_path / "x.pt", size=d_beta.SMALL)


def _renamed(state: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    return {new if key == old else key: value for key, value in state.items()}
