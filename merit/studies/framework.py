"""Facts of Figures 1 and 2, read off the network itself: what flows where, how wide, how many weights, how many FLOPs.

The network is built for a profile on torch's meta device, which knows shapes and no numbers. Shapes: L leads,
T samples, N patches of a lead, K visible ones, D width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from merit import runs
from merit.config import OBJECTIVE_NAMES, PROFILE_NAMES, GenerationConfig, ModelConfig, PretrainConfig, profile, replace
from merit.studies.core import study

if TYPE_CHECKING:
    from torch import Tensor

    from merit.model.merit import Merit
    from merit.studies.workspace import Workspace

WATCHED = ("encoder.blocks.0", "encoder", "decoder.narrow", "decoder.blocks.0", "decoder", "ecg_head", "text_head")
"""Modules whose input and output shapes the figure shows."""
MASK_SEED = 0
"""Seed of the mask that the figure draws."""
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
    the others what they state. Part "objectives": what each trains (`branches`). Part "text": the text encoder.
    """
    pretrain, own = ws.profile.pretrain, replace(ws.profile.model, text_width=ws.text_width)
    configs = {name: profile(name).model for name in PROFILE_NAMES} | {ws.profile.name: own}
    found = {name: facts(config) for name, config in configs.items()}
    rows = []
    for name, of in found.items():
        front = {"profile": name, "here": name == ws.profile.name}
        rows += [{**front, "part": part, "metric": "parameters", "value": n} for part, n in of["parameters"].items()]
        for use, parts in of["flops"].items():
            for part, counts in parts.items():
                for metric, n in (("flops", counts["all"]), ("biases", counts["biases"])):
                    rows.append({**front, "use": use, "part": part, "metric": metric, "value": n})
    networks = [{"profile": name, "here": name == ws.profile.name, **of} for name, of in found.items()]
    networks[list(found).index(ws.profile.name)]["mask"] = mask(own)
    trained = [{"encoder": o, **branches(own, replace(pretrain, objective=o))} for o in OBJECTIVE_NAMES]
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
    the learned attention biases, which queries and keys carry as extra columns.
    """
    from merit.evaluate import flops
    from merit.model.merit import Merit

    without = replace(config, encoder=replace(config.encoder, bias_start=None))
    model, plain = _on_meta(Merit, config), _on_meta(Merit, without)
    signal, text, visible = _example(config)
    calls = {"pretraining": lambda m: m(signal, text, visible), "embedding": lambda m: m.embed(signal)}
    counted = {}
    for use, call in calls.items():
        whole, rest = (flops.flops(m, lambda m=m, call=call: call(m)) for m in (model, plain))
        counted[use] = {part: {"all": whole[part], "biases": whole[part] - rest[part]} for part in whole}
    return {
        "settings": {**asdict(config.encoder), "n_patches": config.encoder.n_patches, "decoder": asdict(config.decoder)}
        | {"mask_ratio": config.mask_ratio, "scaling": config.scaling, "temperature": config.temperature},
        "signal": list(signal.shape[1:]),
        "patches": list(model.encoder.patches(signal).shape[1:]),
        "visible": list(visible.shape[1:]),
        "shapes": flops.shapes(model, lambda: calls["pretraining"](model), WATCHED),
        "embedding": flops.shapes(model, lambda: calls["embedding"](model), ("encoder.blocks.0", "encoder")),
        "parameters": flops.parameters(model),
        "flops": counted,
    }


def branches(config: ModelConfig, pretrain: PretrainConfig) -> dict[str, Any]:
    """What the objective trains: terms with their weights, whether its network has a decoder and projection heads,
    parameters, and FLOPs of one forward of pretraining.
    """
    from merit.evaluate import flops
    from merit.pretrain import train

    model = _on_meta(train.build, config, pretrain)
    signal, text, visible = _example(config)
    return {
        "terms": train.weights(pretrain.objective, asdict(pretrain)),
        "decoder": model.decoder is not None,
        "heads": model.ecg_head is not None,
        "parameters": sum(flops.parameters(model).values()),
        "flops": sum(flops.flops(model, lambda: model(signal, text, visible)).values()),
    }


def mask(config: ModelConfig) -> list[list[int]]:
    """One mask as pretraining draws it, [L][N], 1 = hidden."""
    import torch

    from merit.model.vit import hidden_from, random_visible

    encoder = config.encoder
    shape = (1, encoder.n_leads, encoder.n_patches)
    visible = random_visible(shape, config.mask_ratio, torch.Generator().manual_seed(MASK_SEED))
    return hidden_from(visible, encoder.n_patches)[0].int().tolist()


def text_encoder(ws: Workspace) -> dict[str, Any]:
    """Source, number of parameters or None, and how that is known; nothing is downloaded for it."""
    source = ws.profile.text.source
    try:
        folder = Path(ws.text_encoder()) if source == "trained" else Path(source)
    except runs.Unavailable:
        return {"source": source, "parameters": None, "known": "nothing to train it on"}
    if folder.is_dir():
        files = sorted(folder.glob("*.safetensors"))
        name = source if source == "trained" else folder.name
        known = "counted in its weights" if files else "its weights are in no safetensors file"
        return {"source": name, "parameters": sum(map(weights_in, files)) or None, "known": known}
    count = PUBLISHED_TEXT_ENCODERS.get(source)
    return {"source": source, "parameters": count, "known": "published" if count else "not known before its download"}


def weights_in(file: Path) -> int:
    """Numbers in a safetensors file, from its header alone."""
    from math import prod

    from safetensors import safe_open

    with safe_open(file, framework="numpy") as tensors:
        return sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """The published Llama and its adapters: sizes alone, for the figure."""

    name: str = "Llama-3.2-1B-Instruct"
    """Hub: meta-llama/Llama-3.2-1B-Instruct; the sizes are those of its `config.json`."""
    width: int = 2048
    layers: int = 16
    heads: int = 32
    key_value_heads: int = 8
    mlp_width: int = 8192
    vocabulary: int = 128_256
    """Pieces; input and output share one table."""
    lora_rank: int = GenerationConfig().lora_rank
    """MedTVT-R1, `llama.py`, which the paper's stage 1 follows (App. A.2.2)."""
    max_tokens: int = GenerationConfig().max_tokens
    """Length of a training sequence (App. A.2.2)."""

    def projections(self) -> dict[str, tuple[int, int]]:
        """Name -> (inputs, outputs) of the seven matrices of a layer that carry LoRA."""
        narrow = self.width // self.heads * self.key_value_heads
        return {
            "query": (self.width, self.width),
            "key": (self.width, narrow),
            "value": (self.width, narrow),
            "output": (self.width, self.width),
            "gate": (self.width, self.mlp_width),
            "up": (self.width, self.mlp_width),
            "down": (self.mlp_width, self.width),
        }

    def lora_parameters(self) -> dict[str, int]:
        """Projection -> r (inputs + outputs), for one layer: W + BA with A [r, inputs] and B [outputs, r] (Hu et al.,
        2022).
        """
        return {name: self.lora_rank * (a + b) for name, (a, b) in self.projections().items()}

    def bias_parameters(self) -> int:
        """The biases that are added to five of the seven matrices, all layers together; keys and values get none."""
        outputs = (n for name, (_, n) in self.projections().items() if name not in ("key", "value"))
        return self.layers * sum(outputs)

    def norm_parameters(self) -> int:
        """Scales of two norms a layer and of the last one."""
        return self.width * (2 * self.layers + 1)

    def parameters(self) -> int:
        """All of the frozen model: the shared table of pieces, the layers' matrices, the norms; it has no
        biases of its own."""
        matrices = self.layers * sum(a * b for a, b in self.projections().values())
        return self.vocabulary * self.width + matrices + self.norm_parameters()


def generator(ws: Workspace, model: LanguageModel | None = None) -> dict[str, Any]:
    """What Figure 2 shows: `encoder`, facts of the network here, and `language_model`, published sizes with LoRA's
    parameters computed from them.
    """
    model = model or LanguageModel()
    networks = framework(ws, part="networks").set_index("profile")
    here = networks.loc[ws.profile.name]
    lora = model.lora_parameters()
    encoder = {name: here[name] for name in ("settings", "signal", "patches", "embedding")}
    return {
        "profile": ws.profile.name,
        "encoder": {**encoder, "parameters": here["parameters"]["encoder"]},
        "language_model": {
            **asdict(model),
            "projections": model.projections(),
            "lora": lora,
            "lora_total": model.layers * sum(lora.values()),
            "biases": model.bias_parameters(),
            "norms": model.norm_parameters(),
            "parameters": model.parameters(),
        },
    }


def _on_meta(build: Any, *arguments: Any) -> Merit:
    """The network that `build` makes, with shapes and without numbers; torch's random state is not touched."""
    import torch

    with torch.device("meta"):
        return build(*arguments).eval()


def _example(config: ModelConfig) -> tuple[Tensor, Tensor, Tensor]:
    """One recording [1, L, T], one text embedding [1, W] and visible patches [1, L, K], all on the meta device."""
    import torch

    from merit.model.vit import random_visible

    encoder = config.encoder
    shape = (1, encoder.n_leads, encoder.n_patches)
    visible = random_visible(shape, config.mask_ratio, torch.Generator().manual_seed(MASK_SEED)).to("meta")
    signal = torch.zeros(1, encoder.n_leads, encoder.n_samples, device="meta")
    return signal, torch.zeros(1, config.text_width, device="meta"), visible
