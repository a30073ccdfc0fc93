"""Facts of the figures: FLOPs against closed forms, shapes and counts against the network, LoRA against matrices."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig, profile, replace
from merit.model.merit import Merit
from merit.model.vit import random_visible
from merit.studies import framework
from merit.studies.workspace import NoCohort

SMALL = ModelConfig(
    encoder=EncoderConfig(n_leads=12, n_samples=120, patch=10, width=24, depth=2, heads=3),
    decoder=DecoderConfig(width=16, depth=3, heads=2),
    text_width=20,
    shared_width=8,
)
"""12 patches a lead, 3 of them visible."""


def linear(rows: int, inputs: int, outputs: int) -> int:
    """FLOPs of a linear map: 2 a multiply-add."""
    return 2 * rows * inputs * outputs


def blocks(depth: int, n: int, width: int, heads: int, codes: int) -> int:
    """FLOPs of transformer blocks over n tokens; codes: columns that carry the biases, 0 for none."""
    maps = linear(n, width, 3 * width) + linear(n, width, width) + 2 * linear(n, width, 4 * width)
    return depth * (maps + heads * (2 * linear(n, width // heads + codes, n) + linear(n, codes, codes)))


@pytest.mark.parametrize("biases", [4.0, None])
def test_flops_are_the_closed_form(biases):
    config = replace(SMALL, encoder=replace(SMALL.encoder, bias_start=biases))
    codes = 14 + 12 if biases is not None else 0
    found = {use: {k: v["all"] for k, v in parts.items()} for use, parts in framework.facts(config)["flops"].items()}
    visible, every = 12 * 5, 12 * 14
    assert found["pretraining"] == {
        "encoder": linear(12 * 3, 10, 24) + blocks(2, visible, 24, 3, codes),
        "decoder": linear(visible, 24, 16) + blocks(3, every, 16, 2, codes) + linear(12 * 12, 16, 10),
        "ecg_head": linear(1, 24, 8) + linear(1, 8, 8),
        "text_head": linear(1, 20, 8) + linear(1, 8, 8),
    }
    assert found["embedding"] == {"encoder": linear(12 * 12, 10, 24) + blocks(2, every, 24, 3, codes)}
    share = framework.facts(config)["flops"]["pretraining"]["encoder"]["biases"]
    assert share == blocks(2, visible, 24, 3, codes) - blocks(2, visible, 24, 3, 0)


def test_shapes_parameters_and_mask_are_those_of_a_real_forward_and_nothing_random_is_touched():
    found = framework.facts(SMALL)
    assert set(np.sum(found["mask"], axis=1)) == {9}
    model = Merit(SMALL).eval()
    visible = random_visible((1, 12, 12), 0.75, torch.Generator().manual_seed(1))
    out = model(torch.randn(1, 12, 120), torch.randn(1, 20), visible)
    assert found["shapes"]["decoder"]["out"] == list(out.prediction.shape[1:])
    assert found["shapes"]["ecg_head"] == {"in": [24], "out": list(out.ecg.shape[1:])}
    assert found["shapes"]["encoder.blocks.0"]["in"] == [12 * 5, 24]
    assert found["shapes"]["decoder.blocks.0"]["in"] == [12 * 14, 16]
    assert found["embedding"]["encoder"]["out"] == [12, 14, 24]
    assert sum(found["parameters"].values()) == sum(p.numel() for p in model.parameters())
    before = torch.get_rng_state()
    framework.facts(SMALL)
    assert torch.equal(before, torch.get_rng_state())
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    _, shapes = framework.traced(model, lambda: model(torch.zeros(1, 3)), ["0", "not there"])
    assert shapes == {"0": {"in": [3], "out": [2]}}
    assert framework.traced(model, lambda: model[0](torch.zeros(5, 3))) == ({"0": linear(5, 3, 2)}, {})
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model)


def test_objectives_have_the_branches_of_their_terms():
    pretrain = profile("smoke").pretrain
    found = {o: framework.of_network(SMALL, replace(pretrain, objective=o)) for o in ("merit", "cma", "ib", "mse")}
    assert {name: (of["decoder"], of["heads"]) for name, of in found.items()} == {
        "merit": (True, True), "cma": (False, True), "ib": (False, True), "mse": (True, False),
    }  # fmt: skip
    assert found["ib"]["update_flops"] == found["cma"]["update_flops"]
    parts = framework.facts(SMALL)["flops"]["pretraining"]
    assert found["mse"]["update_flops"] == parts["encoder"]["all"] + parts["decoder"]["all"]
    assert found["merit"]["update_flops"] == sum(of["all"] for of in parts.values())
    assert found["ib"]["terms"]["bottleneck"] == pretrain.bottleneck_strength


def stub(**changes):
    """A workspace that computes and keeps nothing."""
    given = {
        "profile": profile("smoke"), "text_width": 32, "text_identity": "t",
        "text_encoder": lambda: (_ for _ in ()).throw(NoCohort("nothing to train on")),
        "result": lambda study, compute, *_: {"values": compute()},
    }  # fmt: skip
    return SimpleNamespace(**{**given, **changes})


def test_the_profile_at_hand_has_its_text_encoders_width():
    networks = framework.framework(stub(text_width=48), part="networks").set_index("profile")
    assert set(networks.index) >= {"smoke", "demo", "paper"}
    assert [networks.loc[name, "shapes"]["text_head"]["in"] for name in ("smoke", "demo")] == [[48], [128]]
    scores = framework.framework(stub(text_width=48))
    own = scores[(scores["profile"] == "smoke") & (scores["metric"] == "parameters")].set_index("part")["value"]
    assert own.to_dict() == networks.loc["smoke", "parameters"]
    chosen = replace(profile("smoke"), pretrain=PretrainConfig(text_layers=2))
    (text,) = framework.framework(stub(profile=chosen), part="text").to_dict("records")
    assert (text["source"], text["known"]) == ("trained", "nothing to train it on")
    assert text["trained_layers"] == 2


def test_text_encoders_and_lora_are_counted(tmp_path):
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, tmp_path / "model.safetensors")
    smoke = profile("smoke")
    for source, n in ((str(tmp_path), 17), ("ncbi/MedCPT-Query-Encoder", 109_482_240), ("somebody/else", None)):
        changed = replace(smoke, text=replace(smoke.text, source=source))
        assert framework.text_encoder(stub(profile=changed))["parameters"] == n
    assert framework.text_encoder(stub(text_encoder=lambda: tmp_path))["parameters"] == 17
    values = framework.generator(stub())
    llama = values["language_model"]  # a pair of matrices of rank 16 for each map
    assert llama["lora_total"] == llama["layers"] * 16 * sum(map(sum, llama["projections"].values())) == 11_272_192
    assert llama["biases"] == 16 * (3 * 2048 + 2 * 8192) == 360_448
    assert llama["parameters"] == 1_235_814_400
    assert values["encoder"]["embedding"]["encoder"]["out"] == [12, 12, 32]


def test_what_a_share_of_the_patches_saves_is_counted_and_every_network_has_its_facts():
    """A forward of the decoder multiplies for as many mask tokens as an update predicts."""
    paper, totals = profile("paper"), {}
    for share in (1, 0.5):
        decoder = replace(paper.model.decoder, attention="cross", decode_share=share)
        cross = replace(paper.model, decoder=decoder)
        totals[share] = sum(part["all"] for part in framework.facts(cross)["flops"]["pretraining"].values())
        of = framework.of_network(cross, replace(paper.pretrain, view_scale=1.0))
        assert of["update_flops"] == pytest.approx(totals[share], rel=0.01)
    assert totals == {1: pytest.approx(4.40e9, rel=0.01), 0.5: pytest.approx(3.24e9, rel=0.01)}
    resnet18 = replace(paper.model, encoder=replace(paper.model.encoder, kind="resnet18"))
    assert "decoder" in framework.facts(resnet18)["flops"]["pretraining"]
