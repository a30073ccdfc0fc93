"""A checkpoint folder: what is written during training, what stays after it, its model card, and how a run resumes.

model.safetensors, config.json, history.jsonl, seen.parquet, origin.json, README.md; SHA256SUMS last, which says that
the run is finished; training_state.pt while training.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file, save_file

from merit import runs
from merit.config import DecoderConfig, EncoderConfig, ModelConfig, TextConfig, replace, require_hidden
from merit.model.merit import Merit
from merit.objectives import OBJECTIVES
from merit.pretrain import TEXT_SETTINGS
from merit.pretrain.augmentation import AUGMENTATIONS
from merit.runs import commit, plain, versions, write_json, write_text, written

STATE = "training_state.pt"
ORIGIN = "origin.json"
"""What the run's own settings do not say: its text encoder, and whether its recordings were of real hearts."""
KEPT = ("config.json", "history.jsonl", "model.safetensors", ORIGIN, "seen.parquet")
"""What stays after training, beside a README.md that anybody may change."""


def network(config: ModelConfig, objective: str, *, views: bool = False) -> Merit:
    """The network with the branches that the objective needs, its weights from torch's own random state.

    views: dropout views are added (`view_scale`). ValueError for an objective that reconstructs hidden patches where
    the mask hides none.
    """
    terms = OBJECTIVES[objective].keys()
    require_hidden(config, objective)
    return Merit(
        config,
        reconstructs="masked_mse" in terms,
        aligns="info_nce" in terms,
        contrasts=bool(terms & {"nt_xent", "segments"}),
        drops=views or "dropout_views" in terms,
        masks=objective not in AUGMENTATIONS and config.hides,
    )


def finished(folder: Path) -> bool:
    """Whether the run in this folder came to its end. Damaged for weights without digests that no state explains: they
    are not trained over.
    """
    if not runs.sealed(folder) and (folder / "model.safetensors").exists() and not (folder / STATE).exists():
        raise runs.Damaged(folder, "SHA256SUMS is missing")
    return runs.sealed(folder)


# -- what stays -------------------------------------------------------------------------------------------------------


def finish(
    folder: Path,
    model: Merit,
    settings: dict[str, Any],
    seen: pd.DataFrame,
    seconds: float,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write what stays, with the seconds of training; the digests last: they say that the run is finished.

    about: what `origin.json` holds, as `origin` gives it; None: there is none.
    """
    with written(folder / "seen.parquet") as temporary:
        seen.to_parquet(temporary, index=False)
    write_json(
        folder / "config.json", {**settings, "seconds": round(seconds, 1), "commit": commit(), "versions": versions()}
    )
    if about is not None:
        write_json(folder / ORIGIN, about)
    write_text(folder / "README.md", model_card(plain(settings), dict(about or {}), seen))
    with written(folder / "model.safetensors") as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, temporary)
    runs.seal(folder, [name for name in KEPT if (folder / name).exists()])
    (folder / STATE).unlink(missing_ok=True)


def load_model(folder: Path) -> tuple[Merit, dict[str, Any]]:
    """The network of a finished checkpoint, in evaluation mode on the CPU, and its settings; every key must fit."""
    if not (folder / "model.safetensors").exists() or not (folder / "config.json").exists():
        raise FileNotFoundError(f"{folder}: expected a finished checkpoint (model.safetensors and config.json)")
    if not runs.sealed(folder):
        raise ValueError(
            f"{folder}: expected SHA256SUMS beside model.safetensors, which tells whether all is as it was written; a "
            "checkpoint of an earlier edition has none; where you trust it: `merit.runs.seal(folder)`"
        )
    settings = runs.read_json(runs.check(folder) / "config.json")
    sizes, run = dict(settings["model"]), settings["pretrain"]
    decoder = dict(sizes["decoder"])
    if decoder.pop("lead_wise", False):  # its name before there were other kinds of attention
        decoder["attention"] = "lead"
    sizes["encoder"], sizes["decoder"] = EncoderConfig(**sizes["encoder"]), DecoderConfig(**decoder)
    model = network(ModelConfig(**sizes), run["objective"], views=bool(run.get("view_scale")))
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return model.eval(), settings


def origin(folder: Path, text: str | Path, config: TextConfig, synthetic: bool | None) -> dict[str, Any]:
    """What `origin.json` holds for a checkpoint in `folder`.

    text: the text encoder's folder, noted relative to `folder`, or hub name. synthetic: None where it is not known.
    """
    source = os.path.relpath(text, folder) if isinstance(text, Path) or Path(text).is_dir() else text
    return {"text": {"source": source, **{n: getattr(config, n) for n in TEXT_SETTINGS}}, "synthetic": synthetic}


def read_origin(folder: Path) -> dict[str, Any]:
    """What `origin.json` holds; an empty dict where there is none."""
    path = folder / ORIGIN
    return runs.read_json(path) if path.is_file() else {}


def text_config(folder: Path) -> TextConfig:
    """How the checkpoint's text encoder pools and cuts; the defaults where it is not written down."""
    about = read_origin(folder).get("text", {})
    return replace(TextConfig(), **{name: about[name] for name in TEXT_SETTINGS if name in about})


# -- the model card: what it is, what it has seen, how it is used, and what it is not for -----------------------------

OBJECTIVE_TEXT = {
    "merit": "masked reconstruction of the signal and contrastive alignment with the report, added (Eq. 7)",
    "cma": "contrastive alignment of recording and report alone (Eq. 3)",
    "ib": "contrastive alignment with a bottleneck on the angle (Eq. 9)",
    "mse": "masked reconstruction of the signal alone (Eq. 5), without text",
}
DATA_TEXT = {
    True: "These recordings are **synthetic**: the project writes them itself, in the layouts of the data sets named. "
    "What a network learnt from them says nothing about real hearts.",
    False: "These recordings are of real patients; the terms of the data sets hold.",
    None: "Whether these recordings are real or synthetic stand-ins of that name is not written down in the folder.",
}
CARD = """---
library_name: merit
pipeline_tag: feature-extraction
tags:
- electrocardiogram
- ecg
- representation-learning
---

# MERIT companion: objective {objective}, seed {seed}

## What it is

{network}, that embeds 12-lead electrocardiograms of {seconds:g} s at {fs_hz} Hz.

An independent reproduction of arXiv 2605.27583, not by its authors.

## Objective

`{objective}`: {meaning}. Seed {seed}; {updates} updates of batch {batch}, learning rate {rate:g}.

## Data

{seen} {data}

## Use

```python
import merit

model = merit.load("this folder")
z = model.embed("record.hea")                      # a WFDB file of any rate and order of leads
z = model.embed(signal_mv, fs_hz=500)              # or arrays [recordings, 12, samples] in millivolts
z = model.embed(eight, fs_hz=250, leads=["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"])
near = model.similar("record.hea", "embeddings.parquet", k=5)
{zero_shot}```

Recordings become 100 Hz, 10 s, whole microvolts first, as in pretraining: longer ones are cut, shorter ones padded \
with zeros. {text}

## What it is not for

A research artefact. **Not a medical device**, not for diagnosis, and not for decisions about patients: neither \
embeddings nor scores were validated for any of these. Resting 12-lead recordings of the data sets above are all that \
it knows; other devices, ages, electrode positions and rhythms may be embedded badly without any sign of it.
"""
ZERO_SHOT = """scores = model.zero_shot("record.hea", {"AF": "atrial fibrillation", "SR": "sinus rhythm"})
"""


def model_card(settings: dict[str, Any], origin: dict[str, Any], seen: pd.DataFrame | None) -> str:
    """README.md of a folder from its config.json, origin.json and seen.parquet (None: not there)."""
    run, encoder, source = settings["pretrain"], settings["model"]["encoder"], origin.get("text", {}).get("source")
    aligned, layers = "info_nce" in OBJECTIVES[run["objective"]], run.get("text_layers", 0)
    if encoder.get("kind") == "tiny_vit":
        sizes = f"A one-dimensional TinyViT, widths {tuple(encoder['tiny_vit']['widths'])}"
    elif encoder.get("kind") == "resnet18":
        sizes = f"A one-dimensional ResNet18, {encoder['resnet_width']} channels in its first stage"
    else:
        sizes = f"A ViT, width {encoder['width']}, {encoder['depth']} blocks, patches of {encoder['patch']} samples"
    known = "Which recordings it was pretrained on is not known: `seen.parquet` is missing."
    if seen is not None:
        where = ", ".join(f"{n:,} recordings of {c}" for c, n in seen["cohort"].value_counts().items())
        known = f"Pretrained on {where}, listed in `seen.parquet`: score none of their patients."
    if not aligned:
        text = "There is no space shared with texts, so no zero-shot scores."
    elif source is None:
        text = "Its text encoder is not in this folder: zero-shot scores need `merit.load(folder, text_encoder=...)`."
    else:
        where = "in `text/`" if source == "text" else f"`{source}`"
        text = f"The frozen text encoder is {where}."
        if layers:
            text = (
                f"The text encoder is {where}; its last {layers} layers were trained with the network and lie in "
                "`model.safetensors`, as `text_tower`."
            )
        text += (
            " Zero-shot scores are cosines: they order recordings within a class, are no probabilities, and are not "
            "comparable between classes."
        )
    return CARD.format(
        objective=run["objective"],
        seed=run["seed"],
        network=sizes,
        seconds=encoder["n_samples"] / encoder["fs_hz"],
        fs_hz=encoder["fs_hz"],
        meaning=OBJECTIVE_TEXT.get(run["objective"], "our implementation of a method of others"),
        updates=settings["total_updates"],
        batch=run["batch"],
        rate=run["learning_rate"],
        seen=known,
        data=DATA_TEXT[origin.get("synthetic")],
        zero_shot=ZERO_SHOT if aligned and source else "",
        text=text,
    )
