"""ST-MEM's encoders: their preparation, and the two forms of their files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.encoders import golden
from merit.encoders.st_mem import LEFT_OUT, PUBLISHED, SMALL, STARTS, StMemEncoder, load, network


def small_state() -> dict[str, torch.Tensor]:
    return golden.weights(network("st-mem", SMALL["st-mem"]).state_dict())


def full(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A full checkpoint: the encoder under its prefix, the patch embedding again, and parts of a decoder."""
    twice = {key: value for key, value in state.items() if key.startswith("to_patch_embedding.")}
    decoder = {prefix + ("weight" if prefix.endswith(".") else ""): torch.zeros(2) for prefix in LEFT_OUT[1:]}
    return {**{f"encoder.{key}": value for key, value in state.items()}, **twice, **decoder}


def small(path, content) -> StMemEncoder:
    torch.save(content, path)
    return load(path, name="st-mem", size=SMALL["st-mem"])


@pytest.fixture(scope="module")
def encoder() -> StMemEncoder:
    built = network("st-mem", SMALL["st-mem"])
    built.load_state_dict(small_state())
    return StMemEncoder(built)


@pytest.fixture(scope="module")
def signal_mv() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 12, 5000)).cumsum(2).astype(np.float32) / 50


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_what_the_golden_files_hold(name):
    assert set(golden.kept(name)) == {"about", "feature", "tokens", "positions", "crops"}
    beside = golden.kept(name)["about"]["beside_encoder"]
    assert sorted(prefix.rstrip(".") for prefix in LEFT_OUT) == beside.split()


@pytest.mark.parametrize("form", ["encoder", "full"])
def test_both_published_files_load(form, tmp_path, encoder, signal_mv):
    state = small_state()
    content = {
        "epoch": 799,
        "model": full(state) if form == "full" else state,
        "optimizer": None,
        "config": {"seed": 0},
    }
    loaded = small(tmp_path / "st.pth", content)
    assert loaded.identity == encoder.identity
    np.testing.assert_array_equal(loaded.embed(signal_mv, 500), encoder.embed(signal_mv, 500))


def test_an_embedding_is_the_mean_over_three_crops(encoder, signal_mv):
    crops = encoder.crops(signal_mv, 250)
    assert len(crops) == len(STARTS) == 3
    one_by_one = [encoder.run(encoder.network, crop) for crop in crops]
    np.testing.assert_allclose(encoder.embed(signal_mv, 250), np.mean(one_by_one, 0), atol=1e-6)
    np.testing.assert_array_equal(encoder.prepared(signal_mv, 250), crops[1])
    last = encoder.crops(signal_mv[:, :, 250:], 250)[0]
    np.testing.assert_allclose(crops[2], last, atol=1e-6)


def test_a_feature_is_the_normalised_mean_of_what_tokens_are_normalised_from(encoder, signal_mv):
    x = torch.from_numpy(encoder.prepared(signal_mv, 500))
    with torch.inference_mode():
        patches = encoder.network.patches(x)
        assert patches.shape == (2, 12, 30, 16)
        torch.testing.assert_close(encoder.network(x), encoder.network.norm(patches.flatten(1, 2).mean(1)))
        tokens = encoder.network.norm(patches).mean(1).numpy()
    np.testing.assert_allclose(encoder.tokens(signal_mv, 500), tokens, atol=1e-6)


def test_crops_are_filtered_and_scaled(encoder):
    t = np.arange(2500) / 250
    waves = np.sin(2 * np.pi * 0.1 * t) + np.sin(2 * np.pi * 10 * t) + np.sin(2 * np.pi * 90 * t)
    crop = encoder.prepared(np.tile(waves, (1, 12, 1)), 250)[0]
    np.testing.assert_allclose([crop.mean(), crop.std()], [0, 1], atol=1e-5)
    power = np.abs(np.fft.rfft(crop[0])) ** 2
    frequency = np.fft.rfftfreq(2250, 1 / 250)
    assert power[np.abs(frequency - 10) < 1].sum() > 0.9 * power.sum()
    assert power[frequency > 60].sum() < 1e-3 * power.sum()


def test_neither_gain_nor_offset_matters_and_leads_do(encoder, signal_mv):
    z = encoder.embed(signal_mv, 500)
    np.testing.assert_allclose(encoder.embed(3 * signal_mv + 1, 500), z, atol=1e-4)
    assert np.abs(encoder.embed(signal_mv[:, ::-1], 500) - z).max() > 1e-3
    assert (encoder.prepared(np.zeros((1, 12, 2500)), 250) == 0).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state": {}}, r"expected the weights under model; got the keys"),
        ({"model": {"conv1.weight": torch.zeros(3)}}, r"expected ST-MEM's encoder of width 16 \(st-mem\)"),
        ({"model": {"encoder.conv1.weight": torch.zeros(3)}}, r"expected ST-MEM's encoder of width 16"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, refused, content, message):
    refused(message, small, tmp_path / "x.pth", content)


@pytest.mark.parametrize("form", ["encoder", "full"])
@pytest.mark.parametrize("change", ["renamed", "missing", "more", "other shape", "prefix lost"])
def test_a_changed_key_is_refused(tmp_path, refused, form, change):
    state = full(small_state()) if form == "full" else small_state()
    key = "encoder.norm.weight" if form == "full" else "norm.weight"
    value = state.pop(key)
    named = {"renamed": "norm.gain", "more": "head.weight", "prefix lost": "norm.weight"}
    if change in named and not (form == "encoder" and change == "prefix lost"):
        state[named[change]] = value
    if change == "more":
        state[key] = value
    if change == "other shape":
        state[key] = torch.ones(5)
    refused("expected ST-MEM's encoder", small, tmp_path / "x.pth", {"model": state})


def test_the_patch_embedding_that_stands_twice_must_agree(tmp_path):
    state = full(small_state())
    state["to_patch_embedding.2.weight"] = state["to_patch_embedding.2.weight"] + 1
    with pytest.raises(ValueError, match="one layer, and differ"):
        small(tmp_path / "x.pth", {"model": state})
