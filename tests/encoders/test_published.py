"""Published encoders: their parts against loops, the authors' networks, files in every form, what is fed, texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from merit import runs
from merit.config import TextConfig
from merit.data.recording import LEADS
from merit.encoders import ecg_only, golden, published, wav2vec2
from merit.encoders.base import Encoder, TextAligned
from merit.encoders.published import BertSize, TextTower, attend
from merit.encoders.registry import PUBLISHED
from merit.encoders.report_aligned import EcgChatText, MerlText
from merit.model.text import make_tokenizer

State = dict[str, torch.Tensor]
TOWERS = ("pretrained_text_encoder.", "unimodal_layers.")
"""Two names of ESI's text tower."""
WORDS = wav2vec2.DBeta.tied
NAMES = tuple(PUBLISHED)
WITH_TEXT = tuple(name for name in NAMES if PUBLISHED[name].shares_space)


class Facts(NamedTuple):
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
    "ecg-fm": Facts(90_373_248, (768,), 16, (312, 16)),
    "st-mem": Facts(85_150_614, (768,), 16, (30, 16), mean=False),
    "st-mem-s": Facts(21_341_718, (384,), 8, (30, 8), mean=False),
    "merl": Facts(3_848_832, (512,), 24, (26, 24), shared=16),
    "merl-vit": Facts(5_473_152, (192,), 24, (8, 24), shared=16),
    "esi": Facts(85_558_528, (1024,), 24, (156, 24), shared=16),
    "d-beta": Facts(63_203_712, (768,), 24, (312, 24), mean=False, shared=26),
    "melp": Facts(62_618_496, (256,), 8, (312, 16), mean=False, shared=8),
    "qoq": Facts(85_374_720, (768,), 16, (50, 16)),
    "ecg-chat": Facts(85_989_888, (512,), 24, (8, 32), mean=False, shared=24),
    "medtvt-r1": Facts(7_865_984, (768, 32), 768, (32, 768)),
}


def recordings(n_samples: int = 5000) -> np.ndarray:
    """float32 [2, 12, n_samples] mV: the same for the same length."""
    return np.random.default_rng(0).normal(0, 0.3, (2, 12, n_samples)).astype(np.float32)


@pytest.fixture(scope="module", params=NAMES)
def peer(request, small_peer):
    return small_peer(request.param)


@pytest.fixture(scope="module", params=WITH_TEXT)
def peer_with_text(request, small_peer):
    return small_peer(request.param)


@pytest.fixture(scope="module")
def encoders(small_peer, tmp_path_factory) -> dict[str, Any]:
    """Each at its small size, from a file that holds what is read and nothing else."""
    return {name: small_peer(name).load(small_peer(name).write(tmp_path_factory.mktemp(name))) for name in NAMES}


def key_digest(shapes: State) -> str:
    """How many entries a state has and a digest of their names and shapes, as golden files hold it."""
    lines = sorted(f"{key} {list(value.shape)}" for key, value in shapes.items())
    return f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"


def refused(message: str, call: Callable, *given: Any) -> None:
    """A call raises ValueError with this message, in one line."""
    with pytest.raises(ValueError, match=message) as error:
        call(*given)
    assert "\n" not in str(error.value)


# -- what they are built of --------------------------------------------------------------------------------------------


def test_attention_against_loops_and_pytorch_and_positions_at_zero_and_one():
    torch.manual_seed(0)
    angles = torch.tensor([[0.0, 0.0], [1.0, 0.01]])
    torch.testing.assert_close(published.sin_cos(2, 4), torch.cat((angles.sin(), angles.cos()), 1))
    qkv = torch.randn(1, 3, 3 * 4)
    allowed = torch.tensor([[1, 1, 0], [0, 1, 0], [1, 1, 1]], dtype=torch.bool)
    expected = torch.zeros(1, 3, 4)
    q, k, v = qkv[0].split(4, -1)
    for head in (slice(0, 2), slice(2, 4)):
        for i in range(3):
            reads = [j for j in range(3) if allowed[i, j]]
            weight = torch.stack([(q[i, head] @ k[j, head]) / 2**0.5 for j in reads]).softmax(0)
            expected[0, i, head] = sum(w * v[j, head] for w, j in zip(weight, reads))
    torch.testing.assert_close(attend(*qkv.chunk(3, dim=2), 2, allowed), expected)
    for width in (8, 6):
        ours = published.Attention(8, 2, kdim=width, vdim=width, batch_first=True)
        nn.init.normal_(ours.in_proj_bias)
        x, context = torch.randn(2, 3, 8), torch.randn(2, 5, width)
        expected, _ = nn.MultiheadAttention.forward(ours, x, context, context)
        torch.testing.assert_close(ours(x, context), expected)


def test_poolings_by_their_definitions():
    size = BertSize(vocabulary=100, width=16, depth=1, heads=2, positions=12)
    kinds = [MerlText, EcgChatText, type("First", (TextTower,), {"max_tokens": 12})]
    ids, attention = torch.randint(1, 100, (2, 5)), torch.tensor([[1] * 5, [1, 1, 1, 0, 0]])
    weights = golden.weights(MerlText.build(size).state_dict())
    bare = {key: value for key, value in weights.items() if not key.startswith("pooler.")}
    towers = [kind("merl", Path("here"), weights if kind.pooler else bare, size, nn.Identity()) for kind in kinds]
    merl, chat, first = (tower.vectors(ids, attention) for tower in towers)
    with torch.no_grad():
        states = towers[2].filled(None, bare)(input_ids=ids, attention_mask=attention).last_hidden_state
    pooled = torch.tanh(states[:, 0] @ weights["pooler.dense.weight"].T + weights["pooler.dense.bias"]).numpy()
    np.testing.assert_allclose(merl, published.unit(pooled), atol=1e-6)
    np.testing.assert_allclose(chat[1], published.unit(states[1:, :3].mean(1).numpy())[0], atol=1e-6)
    np.testing.assert_allclose(first, states[:, 0].numpy(), atol=1e-6)


# -- is it the authors' network? ---------------------------------------------------------------------------------------

PRETRAINING = {
    "mask_emb": (768,), "quantizer.vars": (1, 640, 128), "quantizer.weight_proj.weight": (640, 256),
    "quantizer.weight_proj.bias": (640,), "project_q.weight": (256, 256), "project_q.bias": (256,),
    "final_proj.weight": (256, 768), "final_proj.bias": (256,),
}  # fmt: skip
"""What ECG-FM's published state holds in addition."""


def merl_left_out(name: str, width: int, shared: int) -> State:
    """What MERL's published file holds in addition; width: of the ECG encoder's feature."""
    with torch.device("meta"):
        found = {f"linear{i}.weight": torch.zeros(shared, shared if name == "merl" else width) for i in (1, 2)}
        classifier = {"weight": torch.zeros(10, width), "bias": torch.zeros(10)} if name == "merl" else {}
    return {**found, **{f"ecg_encoder.linear.{key}": value for key, value in classifier.items()}}


def test_it_is_the_authors_network_and_fulfils_the_protocols(peer, encoders, tmp_path):
    found = golden.agreement(peer.adapter)
    assert max(found.values()) <= golden.TOLERANCE, found
    with torch.device("meta"):
        network, x = peer.adapter.ecg_network(), torch.empty(2, *PUBLISHED[peer.name].input_shape[1:])
    assert sum(p.numel() for p in network.parameters()) == FACTS[peer.name].parameters
    assert network(x).shape == (2, *FACTS[peer.name].out)
    encoder = encoders[peer.name]
    assert (encoder.name, len(encoder.identity)) == (peer.name, 16)
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, TextAligned) == peer.has_text
    assert PUBLISHED[peer.name].fs_hz == encoder.input_spec.fs_hz
    state, ecg_side = peer.state(), next(iter(peer.adapter.parts(peer.small)))
    key = next(key for key, value in state.items() if key.startswith(ecg_side) and value.is_floating_point())
    assert peer.load(peer.write(tmp_path, state)).identity == encoder.identity
    assert peer.load(peer.write(tmp_path, {**state, key: state[key] + 1})).identity != encoder.identity


@pytest.mark.parametrize("name", [name for name in NAMES if name != "medtvt-r1"])  # of which no key is known
def test_it_reads_the_published_keys_and_shapes(small_peer, name):
    adapter, about = small_peer(name).adapter, golden.read(name)["about"]
    state = adapter.shapes()
    if name == "ecg-fm":
        state |= {key: torch.empty(shape, device="meta") for key, shape in PRETRAINING.items()}
    if name.startswith("merl"):
        state |= merl_left_out(name, FACTS[name].out[0], adapter.published.shared)
        own = {k.removeprefix("ecg_encoder."): v for k, v in state.items() if k.startswith("ecg_encoder.")}
        assert key_digest(own) == about["published_encoder_keys"]
    assert key_digest(state) == about["published_keys"]
    if name.startswith("st-mem"):
        assert sorted(prefix.rstrip(".") for prefix in adapter.beside) == about["beside_encoder"].split()
    if name == "qoq":
        keys = "\n".join(sorted(ecg_only.TOWER + key for key in state))
        assert f"{len(state)} {hashlib.sha256(keys.encode()).hexdigest()[:16]}" == about["qoq_keys"]
        assert sorted(prefix.rstrip(".") for prefix in adapter.beside) == about["qoq_beside"].split()


@pytest.mark.slow
def test_the_published_size_loads_and_embeds(peer, tmp_path):
    encoder = peer.adapter.load(peer.write(tmp_path, peer.adapter.seeded_state()))
    z = encoder.embed(golden.signal(1, 12, 5000), 500)
    assert z.shape == (1, FACTS[peer.name].out[0])
    assert np.isfinite(z).all()


# -- files -------------------------------------------------------------------------------------------------------------


def zeros(prefixes: tuple[str, ...]) -> State:
    """An entry under each prefix."""
    return {prefix + "weight" * prefix.endswith("."): torch.zeros(2) for prefix in prefixes}


def renamed(state: State, old: str, new: str) -> State:
    return {key.replace(old, new): value.clone() for key, value in state.items()}


def under(prefix: str, state: State) -> State:
    return {prefix + key: value.clone() for key, value in state.items()}


def st_mem_full(state: State) -> State:
    """The encoder under its prefix, the patch embedding again, and parts of a decoder."""
    twice = {key: value for key, value in state.items() if key.startswith("to_patch_embedding.")}
    return {**zeros(ecg_only.StMem.beside[1:]), **under("encoder.", state), **twice}


def older_names(state: State) -> State:
    state = renamed(state, "parametrizations.weight.original0", "weight_g")
    return renamed(state, "parametrizations.weight.original1", "weight_v")


SAFETENSORS = "safetensors"
FORMS: dict[str, dict[str, Callable[[State], Any]]] = {
    "ecg-fm": {
        "fairseq": lambda s: {"cfg": {"model": {"_name": "x"}}, "model": {**s, **zeros(wav2vec2.PRETRAINING)}},
        "older names": lambda s: {"model": older_names(s)},
    },
    "st-mem": {"full": lambda s: {"epoch": 799, "model": st_mem_full(s), "optimizer": None, "config": {"seed": 0}}},
    "merl": {
        "whole": lambda s: {**s, **{key: torch.zeros(2) for key in merl_left_out("merl", 24, 16)}},
        "encoder alone": lambda s: {k.removeprefix("ecg_encoder."): v for k, v in s.items() if k.startswith("ecg_e")},
        "older transformers": lambda s: {**s, "lm_model.embeddings.position_ids": torch.arange(32)[None]},
    },
    "merl-vit": {"whole": lambda s: {**s, **{key: torch.zeros(2) for key in merl_left_out("merl-vit", 24, 16)}}},
    "esi": {
        "both towers": lambda s: {**s, **renamed(s, *TOWERS), **zeros(PUBLISHED["esi"].adapter_class().left_out)},
        f"first tower, {SAFETENSORS}": dict,
        f"second tower, {SAFETENSORS}": lambda s: renamed(s, *TOWERS),
    },
    "d-beta": {
        "pretraining": lambda s: {"model": {**s, **zeros(wav2vec2.DBeta.left_out)}, "num_updates": 3},
        f"one table, {SAFETENSORS}": lambda s: {k: v for k, v in s.items() if k != WORDS[0]},
    },
    "melp": {
        "Lightning": lambda s: {"hyper_parameters": {"n": 1}, "state_dict": {**s, **zeros(wav2vec2.Melp.left_out)}},
        f"ECG side alone, {SAFETENSORS}": lambda s: {k: v for k, v in s.items() if k.startswith("ecg_encoder.")},
    },
    "qoq": {
        "ECG-JEPA": lambda s: {"encoder": s, "epoch": 99},
        f"QoQ-Med, {SAFETENSORS}": lambda s: {**under(ecg_only.TOWER, s), **zeros(ecg_only.Qoq.beside)},
    },
    "ecg-chat": {
        "several GPUs": lambda s: {
            "optimizer": {"state": {}, "param_groups": []},
            "state_dict": under("module.", {**s, **zeros(("text_decoder.", "logit_scale"))}),
        }
    },
    "medtvt-r1": {
        "listed twice": lambda s: {"ecg_model": {**s, **renamed(s, ".convs.", ".convpath.0.")}},
        "several GPUs": lambda s: {"ecg_model": under("module.", renamed(s, ".convs.", ".convpath.0."))},
    },
}
"""Encoder -> the forms that its files have, from what is read of them."""


@pytest.mark.parametrize(("name", "form"), [(name, form) for name, forms in FORMS.items() for form in forms])
def test_every_form_of_its_file_is_the_same_encoder(small_peer, encoders, tmp_path, name, form):
    peer = small_peer(name)
    content, path = FORMS[name][form](peer.state()), tmp_path / ("x.safetensors" if SAFETENSORS in form else "x.pth")
    (save_file if SAFETENSORS in form else torch.save)(content, path)
    loaded = peer.load(path)
    assert loaded.identity == encoders[name].identity
    np.testing.assert_array_equal(loaded.embed(recordings(), 500), encoders[name].embed(recordings(), 500))
    if "alone" in form:
        with pytest.raises(runs.Unavailable, match=rf"{name}: {path.name} holds the ECG side alone; texts take"):
            loaded.embed_text(["sinus rhythm"])
        if name == "merl":
            with pytest.raises(runs.Unavailable, match="holds the ECG side alone"):
                loaded.embed_shared(recordings(), 500)
        else:
            expected = encoders[name].embed_shared(recordings(), 500)
            np.testing.assert_array_equal(loaded.embed_shared(recordings(), 500), expected)


def test_weights_of_half_precision_compute_in_float32_and_the_number_of_melps_queries_is_the_files(
    small_peer, encoders, tmp_path
):
    state = {ecg_only.TOWER + key: value.bfloat16() for key, value in small_peer("qoq").state().items()}
    save_file(state, tmp_path / "x.safetensors")
    loaded, exact = small_peer("qoq").load(tmp_path / "x.safetensors"), encoders["qoq"].embed(recordings(), 500)
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}
    np.testing.assert_allclose(loaded.embed(recordings(), 500), exact, atol=0.05 * np.abs(exact).max())
    melp, more = small_peer("melp"), {"ecg_encoder.attn_pool_contrast.query": torch.randn(5, 8)}
    assert melp.load(melp.write(tmp_path, {**melp.state(), **more})).embed(recordings(), 500).shape == (2, 8)


REFUSED: list[tuple[str, Callable[[State], Any], str]] = [
    ("ecg-fm", lambda s: {"state_dict": {}}, r"expected the weights under model; got the keys \['state_dict'\]"),
    ("ecg-fm", lambda s: {"model": {"encoder.mask_emb": 1.0}}, "expected names and tensors"),
    ("ecg-fm", lambda s: {"model": {"layer_norm.weight": torch.zeros(8)}}, "expected ECG-FM, 2 layers of width 16; Mi"),
    ("st-mem", lambda s: {"model": {"conv1.weight": torch.zeros(3)}}, r"ST-MEM's encoder of width 16 \(st-mem\)"),
    ("st-mem", lambda s: {"model": {**st_mem_full(s), "to_patch_embedding.2.weight": s["norm.bias"]}}, "two names"),
    ("merl", lambda s: {"model": torch.zeros(3)}, "expected the ECG encoder of merl;"),
    ("merl", lambda s: {**s, "other.weight": torch.zeros(2)}, "expected the projection of merl;"),
    ("merl", lambda s: {**s, "proj_t.1.weight": torch.zeros(2)}, "expected the projection of texts of merl;"),
    ("merl", lambda s: {**s, "lm_model.other": torch.zeros(2)}, "expected a BERT of width 24"),
    ("merl-vit", lambda s: {**s, "ecg_encoder.linear.bias": torch.zeros(2)}, "expected the ECG encoder of merl-vit;"),
    ("st-mem", lambda s: {"model": {**st_mem_full(s), "norm.bias": s["norm.bias"]}}, "ST-MEM's encoder"),
    ("qoq", lambda s: {"encoder": torch.zeros(3)}, "expected names and tensors; got Tensor"),
    ("esi", lambda s: {"x": torch.zeros(3)}, "expected ESI's ConvNeXt V2; Missing key"),
    ("esi", lambda s: {**s, "more.weight": torch.zeros(2)}, "expected ESI's image heads; Unexpected key"),
    ("esi", lambda s: {k: v for k, v in s.items() if not k.startswith(TOWERS)}, "expected a BERT of width 16"),
    ("esi", lambda s: {**s, "unimodal_layers.pooler.dense.bias": torch.ones(16)}, "one entry under two names"),
    ("d-beta", lambda s: {"model": {**s, WORDS[0]: torch.ones(100, 24)}}, "one entry under two names, and differ"),
    ("d-beta", lambda s: {"model": {**s, "multi_modal_language_proj.bias": torch.ones(2)}}, "D-BETA's text side"),
    ("melp", lambda s: {"state_dict": {**s, "more": torch.zeros(2)}}, "expected names under ecg_encoder., proj_t."),
    ("melp", lambda s: {"state_dict": {}, "hyper_parameters": {"p": Path("x")}}, "the file holds other objects"),
    ("qoq", lambda s: {"encoder": {**under(ecg_only.TOWER, s), "norm.gain": torch.ones(16)}}, "ECG-JEPA's encoder"),
    ("ecg-chat", lambda s: {"state_dict": {**s, "text.proj.bias": torch.zeros(2)}}, "expected the projection of texts"),
    ("medtvt-r1", lambda s: {"ecg_model": {"0.0.weight": torch.zeros(3)}}, "an xresnet1d101 of 768 channels"),
    ("medtvt-r1", lambda s: {"ecg_model": {**s, "4.0.convpath.0.0.0.weight": torch.ones(1)}}, "under two names"),
]
"""Encoder, what lies in place of its file, and what is said."""


@pytest.mark.parametrize(("name", "content", "message"), REFUSED)
def test_other_files_are_refused_in_one_line(small_peer, tmp_path, name, content, message):
    torch.save(content(small_peer(name).state()), tmp_path / "x.pt")
    refused(message, small_peer(name).load, tmp_path / "x.pt")


@pytest.mark.parametrize("change", ["missing", "renamed", "another shape", "more"])
def test_every_key_counts(peer, tmp_path, change):
    state = peer.state()
    for key in [*state][:: max(1, len(state) // 12)]:
        if key in WORDS:  # one table under two names, of which one may be missing
            continue
        changed = {other: value for other, value in state.items() if other != key}
        if change != "missing":
            name = {"renamed": f"{key}x", "more": f"{key}x"}.get(change, key)
            changed[name] = torch.zeros(3, 3, 3, 3, 3) if change == "another shape" else state[key]
        if change == "more":
            changed[key] = state[key]
        refused("expected", peer.load, peer.write(tmp_path, changed))


# -- what it is fed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_samples", "fs_hz"), [(5000, 500), (1000, 100), (1700, 100), (37, 360)])
def test_it_embeds_at_any_rate_and_length(peer, encoders, n_samples, fs_hz):
    encoder, signal_mv, facts = encoders[peer.name], recordings(n_samples), FACTS[peer.name]
    z, tokens = encoder.embed(signal_mv, fs_hz), encoder.tokens(signal_mv, fs_hz)
    assert z.shape == (2, facts.width)
    assert tokens.shape == (2, *facts.tokens)
    assert z.dtype == tokens.dtype == np.float32
    assert np.isfinite(z).all()
    assert not np.allclose(z[0], z[1])
    assert np.ptp(tokens, axis=1).max() > 1e-3
    if n_samples == 5000:  # what cannot be embedded is refused, but for MedTVT's gaps
        broken = signal_mv.copy()
        broken[0, 0, 5] = np.nan
        refused(r"signal_mv: expected \[batch, 12, samples\]", encoder.embed, signal_mv[0], 500)
        if peer.name == "medtvt-r1":
            assert np.isfinite(encoder.embed(broken, 500)).all()
        else:
            refused("signal_mv: expected finite values", encoder.embed, broken, 500)
    if facts.mean:
        np.testing.assert_allclose(tokens.mean(1), z, atol=1e-5)
    if facts.shared:
        shared = encoder.embed_shared(signal_mv, fs_hz)
        assert shared.shape == (2, facts.shared)
        np.testing.assert_allclose(np.linalg.norm(shared, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_leads_come_in_its_order(encoders, name):
    encoder = encoders[name]
    for row, lead in enumerate(encoder.input_spec.leads):
        signal_mv = np.zeros((1, 12, 5000), np.float32)
        signal_mv[0, LEADS.index(lead), 300:310] = 1
        x = encoder.prepared(signal_mv, 500)[0]
        assert x.shape[0] == len(encoder.input_spec.leads)
        assert np.ptp(x, axis=1).argmax() == row
    z, signal_mv = encoder.embed(recordings(), 500), recordings()
    assert np.abs(encoder.embed(signal_mv[:, ::-1], 500) - z).max() > 1e-3
    signal_mv[:, 2:6] = 0  # III, aVR, aVL, aVF
    assert np.array_equal(encoder.embed(signal_mv, 500), z) == (name == "qoq")


def test_a_recording_is_scaled_as_it_says(encoders):
    signal_mv, flat = recordings(), np.full((1, 12, 5000), 0.7, np.float32)
    for name in ("merl", "merl-vit", "melp"):
        x = encoders[name].prepared(signal_mv, 500)
        np.testing.assert_allclose([x.min(axis=(1, 2)), x.max(axis=(1, 2))], [[0, 0], [1, 1]], atol=1e-6)
        assert not encoders[name].prepared(flat, 500).any()
        assert np.isfinite(encoders[name].embed(flat, 500)).all()
    x = encoders["esi"].prepared(signal_mv, 500)
    assert abs(x.mean()) < 1e-6
    assert x[0].std(ddof=1) == pytest.approx(1, abs=1e-5)
    one_flat = signal_mv.copy()
    one_flat[0, 3] = 0.7
    x = encoders["ecg-fm"].prepared(one_flat, 500)
    assert not x[0, 3].any()
    np.testing.assert_allclose([x.std(2)[1], x.mean(2)[1]], [[1] * 12, [0] * 12], atol=1e-5)
    np.testing.assert_array_equal(encoders["d-beta"].prepared(signal_mv, 500), signal_mv)
    rows = [LEADS.index(lead) for lead in ecg_only.JEPA_LEADS]
    np.testing.assert_array_equal(encoders["qoq"].prepared(signal_mv, 250), signal_mv[:, rows, :2500])
    short = recordings(300)
    padded = np.pad(short, ((0, 0), (0, 0), (0, 100)))
    np.testing.assert_array_equal(encoders["ecg-chat"].prepared(short, 500), padded)
    assert (encoders["st-mem"].prepared(np.zeros((1, 12, 2500)), 250) == 0).all()


def test_st_mems_embedding_is_the_mean_over_three_crops(encoders):
    encoder, signal_mv = encoders["st-mem"], recordings()
    crops = encoder.crops(signal_mv, 250)
    assert len(crops) == len(ecg_only.STARTS) == 3
    each = [encoder.run(encoder.network, crop) for crop in crops]
    np.testing.assert_allclose(encoder.embed(signal_mv, 250), np.mean(each, 0), atol=1e-6)
    np.testing.assert_array_equal(encoder.prepared(signal_mv, 250), crops[1])
    np.testing.assert_allclose(crops[2], encoder.crops(signal_mv[:, :, 250:], 250)[0], atol=1e-6)


# -- texts -------------------------------------------------------------------------------------------------------------


def test_texts_need_their_folder_and_become_unit_rows_of_the_text_alone(peer_with_text, tmp_path, monkeypatch):
    encoder, name = peer_with_text.load(peer_with_text.write(tmp_path)), peer_with_text.name
    texts, width = peer_with_text.texts, FACTS[name].shared
    assert encoder.embed_shared(recordings(), 500).shape == (2, width)
    with pytest.raises(runs.Unavailable, match=f"{name}: no folder weights/{name}/text; it takes"):
        encoder.embed_text(texts)
    (tmp_path / "text").mkdir()
    with pytest.raises(FileNotFoundError, match=r"^[^\n]*expected .*a tokenizer's files[^\n]*$"):
        encoder.embed_text(texts)
    peer_with_text.write_text(tmp_path / "text")
    rows = encoder.embed_text(texts)
    assert (rows.shape, rows.dtype) == ((len(texts), width), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.embed_text(texts[:1]), rows[:1], atol=1e-5)
    np.testing.assert_array_equal(encoder.embed_text([text.upper() for text in texts]), rows)
    np.testing.assert_allclose(encoder.embed_text(["  Sinus   rhythm "]), rows[:1], atol=1e-5)
    assert len(np.unique(rows.round(4), axis=0)) == len(texts)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    many = encoder.embed_text([texts[1] * 40, *[texts[0]] * 70])  # more than a batch, and one that is cut
    np.testing.assert_allclose(many[1:], np.tile(rows[:1], (70, 1)), atol=1e-5)
    monkeypatch.setattr(encoder.text, "max_tokens", 4)
    assert np.abs(encoder.embed_text([texts[1] * 40]) - many[:1]).max() > 1e-3


def test_melp_reads_a_text_as_in_training_and_a_folder_that_does_not_fit_is_refused(small_peer, tmp_path, monkeypatch):
    """[BOS] text [SEP] padding [CLS]: the last, which has read all before it but padding, is the text's vector."""
    peer, read = small_peer("melp"), []
    tower = peer.load(peer.write(tmp_path)).text
    peer.write_text(tmp_path / "text")
    model, tokenizer = tower.model_and_tokenizer
    monkeypatch.setattr(tower, "vectors", lambda *given: read.extend(given[:2]) or np.zeros((1, 8)))
    tower.embed(["Sinus rhythm"])
    ids, attention = (part[0].tolist() for part in read)
    pad, start, end, sep = (tokenizer.get_vocab()[name] for name in ("[PAD]", "[BOS]", "[CLS]", "[SEP]"))
    n = ids.index(sep) + 1
    assert (len(ids), ids[0], ids[-1]) == (128, start, end)
    assert ids[n:-1] == [pad] * (127 - n)
    assert attention == [1] * n + [0] * (127 - n) + [1]
    assert model.config.is_decoder
    make_tokenizer(peer.texts, TextConfig(vocabulary=peer.small.text.vocabulary - 2)).save_pretrained(tmp_path / "text")
    refused("expected a tokenizer of 90 words with", peer.load(peer.write(tmp_path)).embed_text, peer.texts)
