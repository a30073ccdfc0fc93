"""The model card of a checkpoint: what it is, what it has seen, how it is used, and what it is not for."""

from __future__ import annotations

from typing import Any

import pandas as pd

WORDS = {
    "merit": "masked reconstruction of the signal and contrastive alignment with the report, added (Eq. 7)",
    "cma": "contrastive alignment of recording and report alone (Eq. 3)",
    "ib": "contrastive alignment with a bottleneck on the angle (Eq. 9)",
    "mse": "masked reconstruction of the signal alone (Eq. 5), without text",
}
"""Objective of the paper -> in words; the others are peers' methods, trained here."""
DATA = {
    True: "These recordings are **synthetic**: the project writes them itself, in the layouts of the data sets named. "
    "What a network learnt from them says nothing about real hearts.",
    False: "These recordings are of real patients; the terms of the data sets hold.",
    None: "Whether these recordings are real or synthetic stand-ins of that name is not written down in the folder.",
}
HEAD = """---
library_name: merit
pipeline_tag: feature-extraction
tags:
- electrocardiogram
- ecg
- representation-learning
---
"""
USE = """```python
import merit

model = merit.load("this folder")
z = model.embed("record.hea")                      # a WFDB file of any rate and order of leads
z = model.embed(signal_mv, fs_hz=500)              # or arrays [recordings, 12, samples] in millivolts
z = model.embed(eight, fs_hz=250, leads=["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"])
near = model.similar("record.hea", "embeddings.parquet", k=5)
"""
SCORES = """scores = model.zero_shot("record.hea", {"AF": "atrial fibrillation", "SR": "sinus rhythm"})
"""
NOT_MEDICAL = (
    "A research artefact. **Not a medical device**, not for diagnosis, and not for decisions about patients: neither "
    "embeddings nor scores were validated for any of these."
)


def card(settings: dict[str, Any], origin: dict[str, Any], seen: pd.DataFrame | None) -> str:
    """README.md of a folder from its config.json, origin.json and seen.parquet (None: not there)."""
    from merit.objectives import OBJECTIVES  # torch, for whoever only asks whether there is a checkpoint

    run, text = settings["pretrain"], origin.get("text", {}).get("source")
    layers = run.get("text_layers", 0)
    aligned = "info_nce" in OBJECTIVES[run["objective"]]
    scores = SCORES if aligned and text else ""
    words = WORDS.get(run["objective"], "our implementation of a method of others")
    sections = {
        "What it is": f"{_network(settings)}\n\nAn independent reproduction of arXiv 2605.27583, not by its authors.",
        "Objective": f"`{run['objective']}`: {words}. Seed {run['seed']}; "
        f"{settings['total_updates']} updates of batch {run['batch']}, learning rate {run['learning_rate']:g}.",
        "Data": f"{_seen(seen)} {DATA[origin.get('synthetic')]}",
        "Use": f"{USE}{scores}```\n\nRecordings become 100 Hz, 10 s, whole microvolts first, as in pretraining: longer "
        f"ones are cut, shorter ones padded with zeros. {_text(aligned, text, layers)}",
        "What it is not for": f"{NOT_MEDICAL} Resting 12-lead recordings of the data sets above are all that it knows; "
        "other devices, ages, electrode positions and rhythms may be embedded badly without any sign of it.",
    }
    title = f"# MERIT companion: objective {run['objective']}, seed {run['seed']}"
    return "\n\n".join([f"{HEAD}\n{title}", *(f"## {name}\n\n{body}" for name, body in sections.items())]) + "\n"


def _network(settings: dict[str, Any]) -> str:
    encoder = settings["model"]["encoder"]
    if encoder.get("kind") == "tiny_vit":
        sizes = f"A one-dimensional TinyViT, widths {tuple(encoder['tiny_vit']['widths'])}"
    elif encoder.get("kind") == "resnet18":
        sizes = f"A one-dimensional ResNet18, {encoder['resnet_width']} channels in its first stage"
    else:
        sizes = f"A ViT, width {encoder['width']}, {encoder['depth']} blocks, patches of {encoder['patch']} samples"
    seconds = encoder["n_samples"] / encoder["fs_hz"]
    return f"{sizes}, that embeds 12-lead electrocardiograms of {seconds:g} s at {encoder['fs_hz']} Hz."


def _seen(seen: pd.DataFrame | None) -> str:
    if seen is None:
        return "Which recordings it was pretrained on is not known: `seen.parquet` is missing."
    where = ", ".join(f"{n:,} recordings of {c}" for c, n in seen["cohort"].value_counts().items())
    return f"Pretrained on {where}, listed in `seen.parquet`: score none of their patients."


def _text(aligned: bool, source: str | None, layers: int) -> str:
    if not aligned:
        return "There is no space shared with texts, so no zero-shot scores."
    if source is None:
        return "Its text encoder is not in this folder: zero-shot scores need `merit.load(folder, text_encoder=...)`."
    where = "in `text/`" if source == "text" else f"`{source}`"
    what = f"The frozen text encoder is {where}."
    if layers:
        what = (
            f"The text encoder is {where}; its last {layers} layers were trained with the network and lie in "
            "`model.safetensors`, as `text_tower`."
        )
    return (
        f"{what} Zero-shot scores are cosines: they order recordings within a class, are "
        "no probabilities, and are not comparable between classes."
    )
