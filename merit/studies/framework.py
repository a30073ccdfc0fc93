"""Networks in numbers: what flows where, how wide, how many weights and FLOPs (Figures 1 and 2), and what methods cost.

A network is built on torch's meta device, which knows shapes and no numbers. A FLOP is half of a multiply-add. Counted
are matrix products alone (linear maps, and both products of attention, with whatever columns are really multiplied);
softmax, norms, activations and additions are not. On the meta device attention is taken apart into its products, so the
count does not depend on which fused kernel a machine has. Shapes: L leads, T samples, N patches of a lead, K visible
ones, D width.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pandas as pd

from merit import runs
from merit.config import (
    OBJECTIVE_NAMES,
    PROFILE_NAMES,
    GenerationConfig,
    ModelConfig,
    PretrainConfig,
    method,
    profile,
    replace,
)
from merit.studies.core import study
from merit.studies.workspace import NoCohort

if TYPE_CHECKING:
    from torch import Tensor, nn

    from merit.studies.workspace import Workspace

WATCHED = ("encoder.blocks.0", "encoder", "decoder.narrow", "decoder.blocks.0", "decoder", "ecg_head", "text_head")
"""Modules whose input and output shapes the figure shows."""
MASK_SEED = 0  # seed of the mask that the figure draws
BRANCHES = ("terms", "decoder", "heads")  # what tells objectives' networks apart
PUBLISHED_TEXT_ENCODERS = {"ncbi/MedCPT-Query-Encoder": 109_482_240}
"""Hub name -> parameters: a BERT-base with 30,522 pieces and a pooler (its `config.json`)."""


def _inputs(ws: Workspace) -> dict[str, str]:
    try:
        text = ws.text_identity
    except runs.Unavailable:
        text = ""
    configs = {name: profile(name).model for name in PROFILE_NAMES}
    configs[ws.profile.name] = ws.profile.model
    return {"text": text, "models": runs.digest([ws.profile.name, configs, ws.profile.pretrain])}


@study(over={}, needs=_inputs)
def framework(ws: Workspace) -> dict[str, pd.DataFrame]:
    """Parameters and FLOPs of one recording's forward, one row per profile, part of the network and number.

    Part "networks": the `facts` of each profile; the one at hand has the text width that its text encoder really has,
    the others what they state. Part "objectives": what each trains, terms with their weights, whether its network has
    a decoder and projection heads, parameters, and FLOPs of an update's forward. Part "text": the text encoder.
    """
    pretrain, own = ws.profile.pretrain, replace(ws.profile.model, text_width=ws.text_width)
    configs = {name: profile(name).model for name in PROFILE_NAMES} | {ws.profile.name: own}
    of_profiles = {name: facts(config) for name, config in configs.items()}
    rows = []
    for name, of in of_profiles.items():
        front = {"profile": name, "here": name == ws.profile.name}
        rows += [{**front, "part": part, "metric": "parameters", "value": n} for part, n in of["parameters"].items()]
        for use, parts in of["flops"].items():
            for part, counts in parts.items():
                for metric, n in (("flops", counts["all"]), ("biases", counts["biases"])):
                    rows.append({**front, "use": use, "part": part, "metric": metric, "value": n})
    networks = [{"profile": name, "here": name == ws.profile.name, **of} for name, of in of_profiles.items()]
    trained = []
    for objective in OBJECTIVE_NAMES:
        of = of_network(own, replace(pretrain, objective=objective))
        row = {"encoder": objective, **{name: of[name] for name in BRANCHES}}
        trained.append({**row, "parameters": of["trained_parameters"], "flops": of["update_flops"]})
    text = {**text_encoder(ws), "trained_layers": pretrain.text_layers}
    return {
        "scores": pd.DataFrame(rows),
        "networks": pd.DataFrame(networks),
        "objectives": pd.DataFrame(trained),
        "text": pd.DataFrame([text]),
    }


def facts(config: ModelConfig) -> dict[str, Any]:
    """Settings, shapes, parameters and FLOPs a sample of the whole network (objective merit), all JSON-ready.

    flops: use (pretraining or embedding) -> part -> what (all, biases); `biases` is the share of `all` that goes into
    the learned attention biases, which queries and keys carry as extra columns. mask: one mask as pretraining draws it,
    [L][N], 1 = hidden.
    """
    import torch

    from merit.model.merit import Merit
    from merit.model.vit import hidden_from

    with torch.device("meta"):
        model, plain = (
            Merit(replace(config, encoder=replace(config.encoder, bias_start=start)), masks=config.hides).eval()
            for start in (config.encoder.bias_start, None)
        )
    signal, text, visible, decoded = _example(config)
    masked = {"visible": visible.to("meta"), "decoded": decoded.to("meta")}
    calls = {"pretraining": lambda m: m(signal, text, **masked), "embedding": lambda m: m.embed(signal)}
    counted, shapes = {}, {}
    for use, call in calls.items():
        whole, shapes[use] = traced(model, partial(call, model), WATCHED)
        rest, _ = traced(plain, partial(call, plain))
        counted[use] = {part: {"all": whole[part], "biases": whole[part] - rest[part]} for part in whole}
    return {
        "settings": {**asdict(config.encoder), "n_patches": config.encoder.n_patches, "decoder": asdict(config.decoder)}
        | {"mask_ratio": config.mask_ratio, "scaling": config.scaling, "temperature": config.temperature},
        "signal": list(signal.shape[1:]),
        "patches": list(model.encoder.patches(signal).shape[1:]),
        "visible": list(visible.shape[1:]),
        "mask": hidden_from(visible, config.encoder.n_patches)[0].int().tolist(),
        "shapes": shapes["pretraining"],
        "embedding": shapes["embedding"],
        "parameters": parameters(model),
        "flops": counted,
    }


def parameters(model: nn.Module) -> dict[str, int]:
    """Part (a direct child of the network) -> number of its parameters; "own": those of the network itself, if any."""
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    own = sum(p.numel() for p in model.parameters(recurse=False))
    return {**parts, "own": own} if own else parts


def traced(
    model: nn.Module, call: Callable[[], Any], watched: Collection[str] = ()
) -> tuple[dict[str, int], dict[str, dict[str, list[int]]]]:
    """Part (a direct child) -> FLOPs of the matrix products that `call`, which runs the model, runs in it; and name of
    a watched module -> the shapes of its first input and of its output, without the batch.

    What does not run, or is not there, is left out; products outside the parts are not counted.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    flops: dict[str, int] = {}
    shapes: dict[str, dict[str, list[int]]] = {}
    hooks, parts = [], [name for name, _ in model.named_children()]
    with FlopCounterMode(display=False) as counter, torch.no_grad():

        def before(name: str, *_: Any) -> None:
            if name in parts:
                flops[name] = flops.get(name, 0) - counter.get_total_flops()

        def after(name: str, _: nn.Module, given: Any, out: Any) -> None:
            if name in parts:
                flops[name] += counter.get_total_flops()
            if name in watched:
                shapes[name] = {"in": list(given[0].shape[1:]), "out": list(out.shape[1:])}

        for name, module in model.named_modules():
            if name in parts or name in watched:
                hooks.append(module.register_forward_pre_hook(partial(before, name)))
                hooks.append(module.register_forward_hook(partial(after, name)))
        try:
            call()
        finally:
            for hook in hooks:
                hook.remove()
    return flops, shapes


def _example(config: ModelConfig) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One recording [1, L, T] and one text embedding [1, W] on the meta device; visible patches [1, L, K], and hidden
    ones that are predicted [1, L, M].
    """
    import torch

    from merit.model.vit import random_patches

    encoder = config.encoder
    shape = (1, encoder.n_leads, encoder.n_patches)
    generator = torch.Generator().manual_seed(MASK_SEED)
    visible, decoded = random_patches(shape, config.mask_ratio, config.decoder.decode_share, generator)
    signal = torch.zeros(1, encoder.n_leads, encoder.n_samples, device="meta")
    return signal, torch.zeros(1, config.text_width, device="meta"), visible, decoded


def text_encoder(ws: Workspace) -> dict[str, Any]:
    """Source, number of parameters or None, and how that is known; nothing is downloaded for it."""
    from safetensors import safe_open

    source = ws.profile.text.source
    try:
        folder = Path(ws.text_encoder()) if source == "trained" else Path(source)
    except runs.Unavailable:
        return {"source": source, "parameters": None, "known": "nothing to train it on"}
    if folder.is_dir():
        files = sorted(folder.glob("*.safetensors"))
        weights = 0
        for file in files:
            with safe_open(file, framework="numpy") as tensors:  # its header alone is read
                weights += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
        known = "counted in its weights" if files else "its weights are in no safetensors file"
        name = source if source == "trained" else folder.name
        return {"source": name, "parameters": weights or None, "known": known}
    count = PUBLISHED_TEXT_ENCODERS.get(source)
    return {"source": source, "parameters": count, "known": "published" if count else "not known before its download"}


# -- the language model of Figure 2 ------------------------------------------------------------------------------------

LANGUAGE_MODEL = {
    "name": "Llama-3.2-1B-Instruct",
    "width": 2048,
    "layers": 16,
    "heads": 32,
    "key_value_heads": 8,
    "mlp_width": 8192,
    "vocabulary": 128_256,  # pieces; input and output share one table
    "lora_rank": GenerationConfig().lora_rank,  # MedTVT-R1, `llama.py`, which the paper's stage 1 follows (App. A.2.2)
    "max_tokens": GenerationConfig().max_tokens,  # length of a training sequence (App. A.2.2)
}
"""The published Llama and its adapters; sizes are those of the `config.json` of meta-llama/Llama-3.2-1B-Instruct."""


def generator(ws: Workspace) -> dict[str, Any]:
    """What Figure 2 shows: `encoder`, facts of the network here, and `language_model`, published sizes with LoRA's
    parameters computed from them.
    """
    here = framework(ws, part="networks").set_index("profile").loc[ws.profile.name]
    width, layers, mlp = (LANGUAGE_MODEL[name] for name in ("width", "layers", "mlp_width"))
    narrow = width // LANGUAGE_MODEL["heads"] * LANGUAGE_MODEL["key_value_heads"]
    projections = {  # inputs and outputs of the seven matrices of a layer that carry LoRA
        "query": (width, width),
        "key": (width, narrow),
        "value": (width, narrow),
        "output": (width, width),
        "gate": (width, mlp),
        "up": (width, mlp),
        "down": (mlp, width),
    }
    # W + BA with A [r, inputs] and B [outputs, r] (Hu et al., 2022). Biases are added to all but keys and values; norms
    # are two a layer, and the last one. The frozen model has no biases of its own.
    lora = {name: LANGUAGE_MODEL["lora_rank"] * (a + b) for name, (a, b) in projections.items()}
    norms = width * (2 * layers + 1)
    matrices = layers * sum(a * b for a, b in projections.values())
    encoder = {name: here[name] for name in ("settings", "signal", "patches", "embedding")}
    return {
        "profile": ws.profile.name,
        "encoder": {**encoder, "parameters": here["parameters"]["encoder"]},
        "language_model": {
            **LANGUAGE_MODEL,
            "projections": projections,
            "lora": lora,
            "lora_total": layers * sum(lora.values()),
            "biases": layers * sum(n for name, (_, n) in projections.items() if name not in ("key", "value")),
            "norms": norms,
            "parameters": LANGUAGE_MODEL["vocabulary"] * width + matrices + norms,
        },
    }


# -- what methods cost that are compared on the same recordings with the same updates ----------------------------------


def costs(ws: Workspace, encoders: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """One row per encoder: network (its kind), parameters of the encoder and of all that is trained with it, FLOPs of a
    recording's embedding and of its forward in an update, updates, batch, and means over seeds: seconds of pretraining
    and the last validation's terms.

    The random encoder has no pretraining; seconds are None where there is nothing to pretrain on.
    """
    rows = []
    for encoder in encoders:
        model, pretrain = (ws.profile.model, None) if encoder == "random" else ws.configs(encoder, 0)
        of = of_network(replace(model, text_width=ws.text_width), pretrain)
        row = {"encoder": encoder, **{name: value for name, value in of.items() if name not in BRANCHES}}
        rows.append(row)
        if pretrain is None:
            continue
        try:
            folders = [ws.checkpoint(encoder, seed) for seed in seeds]
        except NoCohort:
            row["seconds"] = None
            continue
        settings = [json.loads((folder / "config.json").read_text(encoding="utf-8")) for folder in folders]
        last = [(folder / "history.jsonl").read_text(encoding="utf-8").splitlines()[-1] for folder in folders]
        terms = [json.loads(line)["validation"] for line in last]
        row |= {
            "updates": settings[0]["total_updates"],
            "batch": settings[0]["pretrain"]["batch"],
            "objective": method(encoder).objective,
            "seconds": fmean(of_seed["seconds"] for of_seed in settings),
            "validation": {name: fmean(of_seed[name] for of_seed in terms) for name in terms[0]},
        }
    return rows


def of_network(model: ModelConfig, pretrain: PretrainConfig | None) -> dict[str, Any]:
    """Kind, parameters and FLOPs of a method's network, by its own augmentation, and what is trained (`BRANCHES`), the
    terms with their weights; None: nothing is.
    """
    import torch

    from merit.pretrain.augmentation import augmentation
    from merit.pretrain.checkpoint import network
    from merit.pretrain.train import weights

    objective = "mse" if pretrain is None else pretrain.objective
    views = pretrain is not None and pretrain.view_scale > 0
    with torch.device("meta"):
        whole = network(model, objective, views=views).eval()
    signal, text, *_ = _example(model)
    of_parts = parameters(whole)
    row = {
        "network": model.encoder.kind,
        "parameters": of_parts["encoder"],
        "embedding_flops": sum(traced(whole, lambda: whole.embed(signal))[0].values()),
    }
    if pretrain is None:
        return row
    way = augmentation(objective, views=views)
    drawn = way.draw(1, model, pretrain.views, torch.Generator())
    shown = way.apply(signal, {name: row.to("meta") for name, row in drawn.items()}, model.encoder)
    forward, _ = traced(whole, lambda: whole(shown.signal_mv, text, *shown[1:]))
    return {
        **row,
        "terms": weights(objective, asdict(pretrain)),
        "decoder": whole.decoder is not None,
        "heads": whole.ecg_head is not None,
        "trained_parameters": sum(of_parts.values()),
        "update_flops": sum(forward.values()),
    }
