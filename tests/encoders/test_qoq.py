"""QoQ-Med's ECG tower: its attention and positions, its leads, and the two files that hold its weights."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from merit.data import recording
from merit.encoders import golden, others
from merit.encoders.attention import attend, sin_cos
from merit.encoders.qoq import LEADS, LEFT_OUT, SMALL, QoqEncoder, load, network

TOWER = "time_series_embedding.encoder."


def small_state() -> dict[str, torch.Tensor]:
    return golden.weights(network("qoq", SMALL).state_dict())


@pytest.fixture(scope="module")
def encoder() -> QoqEncoder:
    built = network("qoq", SMALL)
    built.load_state_dict(small_state())
    return QoqEncoder(built)


@pytest.fixture(scope="module")
def signal_mv(recordings) -> np.ndarray:
    return recordings()


def test_what_the_golden_file_holds_and_the_keys_of_qoq_med():
    assert set(golden.kept("qoq")) == {"about", "feature", "tokens", "positions"}
    with torch.device("meta"):
        state, about = network("qoq").state_dict(), golden.kept("qoq")["about"]
    keys = "\n".join(sorted(TOWER + key for key in state))
    assert f"{len(state)} {hashlib.sha256(keys.encode()).hexdigest()[:16]}" == about["qoq_keys"]
    assert sorted(prefix.rstrip(".") for prefix in LEFT_OUT) == about["qoq_beside"].split()


def test_attention_against_loops():
    drawn = torch.Generator().manual_seed(0)
    qkv = torch.randn(1, 3, 3 * 4, generator=drawn)
    allowed = torch.tensor([[1, 1, 0], [0, 1, 0], [1, 1, 1]], dtype=torch.bool)
    expected = torch.zeros(1, 3, 4)
    q, k, v = qkv[0].split(4, -1)
    for head in (slice(0, 2), slice(2, 4)):
        for i in range(3):
            reads = [j for j in range(3) if allowed[i, j]]
            weight = torch.stack([(q[i, head] @ k[j, head]) / 2**0.5 for j in reads]).softmax(0)
            expected[0, i, head] = sum(w * v[j, head] for w, j in zip(weight, reads))
    torch.testing.assert_close(attend(*qkv.chunk(3, dim=2), 2, allowed), expected)


def test_positions_at_zero_and_one():
    table = sin_cos(2, 4)
    torch.testing.assert_close(table[0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    expected = torch.tensor([1.0, 0.01]).sin().tolist() + torch.tensor([1.0, 0.01]).cos().tolist()
    torch.testing.assert_close(table[1], torch.tensor(expected))


def test_a_token_reads_its_lead_and_its_time():
    allowed = network("qoq", SMALL).allowed.reshape(8, 50, 8, 50)
    expected = np.zeros((8, 50), bool)
    expected[3], expected[:, 7] = True, True
    np.testing.assert_array_equal(allowed[3, 7].numpy(), expected)


def test_ecg_jepas_file_loads(tmp_path, encoder, signal_mv):
    torch.save({"encoder": small_state(), "epoch": 99}, tmp_path / "multiblock_epoch100.pth")
    loaded = load(tmp_path / "multiblock_epoch100.pth", size=SMALL)
    assert loaded.identity == encoder.identity
    np.testing.assert_array_equal(loaded.embed(signal_mv, 500), encoder.embed(signal_mv, 500))


def test_the_towers_own_weights_load_from_the_language_models_file(tmp_path, encoder, signal_mv):
    state = {TOWER + key: value.bfloat16() for key, value in small_state().items()}
    beside = {prefix + "weight": torch.zeros(2) for prefix in LEFT_OUT}
    save_file({**state, **beside}, tmp_path / "model-00004-of-00004.safetensors")
    loaded = load(tmp_path / "model-00004-of-00004.safetensors", size=SMALL)
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}
    exact = encoder.embed(signal_mv, 500)
    np.testing.assert_allclose(loaded.embed(signal_mv, 500), exact, atol=0.05 * np.abs(exact).max())


def test_the_data_sets_that_were_seen_are_those_of_the_file_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("MERIT_WEIGHTS", str(tmp_path))
    assert others.pretrained_on("qoq") == ("csn",)
    (tmp_path / "qoq").mkdir()
    torch.save({"encoder": small_state()}, tmp_path / "qoq" / "multiblock_epoch100.pth")
    assert others.pretrained_on("qoq") == ("csn",)
    (tmp_path / "qoq" / "multiblock_epoch100.pth").unlink()
    save_file(small_state(), tmp_path / "qoq" / "jepa.safetensors")
    assert others.pretrained_on("qoq") == ("csn",)
    (tmp_path / "qoq" / "jepa.safetensors").unlink()
    save_file({TOWER + key: value for key, value in small_state().items()}, tmp_path / "qoq" / "model-4.safetensors")
    assert others.pretrained_on("qoq") == ("csn", "ptb-xl", "cpsc2018")


def test_tokens_average_to_the_embedding_and_keep_time(encoder, signal_mv):
    tokens = encoder.tokens(signal_mv, 250)
    assert tokens.shape == (2, 50, 16)
    np.testing.assert_allclose(tokens.mean(1), encoder.embed(signal_mv, 250), atol=1e-5)
    later = signal_mv.copy()
    later[:, :, 2450:2500] += 5
    moved = np.abs(encoder.tokens(later, 250) - tokens).max((0, 2))
    assert moved.argmax() == 49


def test_eight_leads_are_read_in_order_and_in_millivolts(encoder, signal_mv):
    rows = [recording.LEADS.index(lead) for lead in LEADS]
    np.testing.assert_array_equal(encoder.prepared(signal_mv[:, :, :2500], 250), signal_mv[:, rows, :2500])
    z, other = encoder.embed(signal_mv, 500), signal_mv.copy()
    other[:, 2:6] = 0
    np.testing.assert_array_equal(encoder.embed(other, 500), z)
    assert np.abs(encoder.embed(signal_mv[:, ::-1], 500) - z).max() > 1e-3
    assert np.abs(encoder.embed(2 * signal_mv, 500) - z).max() > 1e-3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {}}, "expected the weights under encoder; got the keys"),
        ({"encoder": {"conv1.weight": torch.zeros(3)}}, "expected ECG-JEPA's encoder of width 16"),
        ({"encoder": torch.zeros(3)}, "expected names and tensors"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, refused, content, message):
    torch.save(content, tmp_path / "x.pth")
    refused(message, load, tmp_path / "x.pth", size=SMALL)


@pytest.mark.parametrize("form", ["ecg-jepa", "qoq-med"])
@pytest.mark.parametrize("change", ["renamed", "missing", "more", "other shape"])
def test_a_changed_key_is_refused(tmp_path, refused, form, change):
    prefix = TOWER if form == "qoq-med" else ""
    state = {prefix + key: value for key, value in small_state().items()}
    value = state.pop(f"{prefix}norm.weight")
    if change in ("renamed", "more"):
        state["norm.gain"] = value.clone()
    if change == "more":
        state[f"{prefix}norm.weight"] = value
    if change == "other shape":
        state[f"{prefix}norm.weight"] = torch.ones(5)
    path = tmp_path / ("x.safetensors" if form == "qoq-med" else "x.pth")
    if form == "qoq-med":
        save_file(state, path)
    else:
        torch.save({"encoder": state}, path)
    refused("expected ECG-JEPA's encoder", load, path, size=SMALL)
