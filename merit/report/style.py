"""How things look everywhere in the book: one colour, marker and line per encoder, and figures that print in grey."""

from __future__ import annotations

from typing import Any, NamedTuple

from merit.config import PretrainConfig


class Look(NamedTuple):
    """How one encoder is written and drawn."""

    label: str
    colour: str
    marker: str
    line: Any


LOOKS = {
    "merit": Look("MERIT", "#0072B2", "o", "-"),
    "cma": Look("CMA", "#D55E00", "s", "--"),
    "cma-whole": Look("CMA, whole recordings", "#E8A87C", ">", (0, (5, 1))),
    "ib": Look("IB", "#CC79A7", "D", "-."),
    "ib-0.1": Look("IB, β = 0.1", "#E3B5CF", "v", (0, (5, 2, 1, 2))),
    "ib-1": Look("IB, β = 1", "#8A3F6C", "<", (0, (5, 2, 1, 2, 1, 2))),
    "mse": Look("MSE", "#009E73", "^", ":"),
    "random": Look("random", "#7A7A7A", "x", (0, (1, 3))),
}
"""Okabe and Ito's colours, which most colour-blind readers tell apart; markers and lines differ too."""

PEER_LOOKS = {
    "st-mem-ours": Look("ST-MEM, ours", "#5B8C5A", "^", (0, (6, 2))),
    "merl-ours": Look("MERL, ours", "#B8860B", "s", (0, (6, 2))),
    "simclr": Look("SimCLR, ours", "#4B4B9B", "p", (0, (6, 2))),
    "clocs": Look("CLOCS, ours", "#8B5A2B", "h", (0, (6, 2))),
    "ecg-fm": Look("ECG-FM", "#56B4E9", "P", (0, (3, 1, 1, 1))),
    "st-mem": Look("ST-MEM", "#56B4E9", "^", (0, (3, 1, 1, 1))),
    "st-mem-s": Look("ST-MEM, ViT-S", "#56B4E9", "v", (0, (3, 1, 1, 1))),
    "merl": Look("MERL", "#E69F00", "s", (0, (3, 1, 1, 1))),
    "merl-vit": Look("MERL, ViT-Tiny", "#E69F00", "D", (0, (3, 1, 1, 1))),
    "esi": Look("ESI", "#E69F00", "<", (0, (3, 1, 1, 1))),
    "d-beta": Look("D-BETA", "#E69F00", ">", (0, (3, 1, 1, 1))),
    "melp": Look("MELP", "#E69F00", "*", (0, (3, 1, 1, 1))),
    "qoq": Look("QoQ (JEPA)", "#56B4E9", "d", (0, (3, 1, 1, 1))),
    "ecg-chat": Look("ECG-Chat", "#E69F00", "X", (0, (3, 1, 1, 1))),
    "medtvt-r1": Look("MedTVT-R1", "#56B4E9", "H", (0, (3, 1, 1, 1))),
}
"""Published encoders, and published objectives in our harness: colour and marker together tell them apart."""

TASK_LABELS = {
    "superclass": "PTB-XL superclass",
    "subclass": "PTB-XL subclass",
    "form": "PTB-XL form",
    "rhythm": "PTB-XL rhythm",
    "all": "PTB-XL all",
    "cpsc2018": "CPSC2018",
    "csn": "CSN",
    "csn_as_released": "CSN, labels as released",
    "generation": "text",
}

STUDY_LABELS = {
    "linear_probe": "linear probing",
    "zero_shot": "zero-shot classification",
    "shift": "distribution shift",
    "generation": "text generation",
    "kept": "what is kept",
}

EQUAL_BUDGET = "equal-budget"
"""The group in which peers' methods are trained on the same recordings with the same updates."""

OURS = {
    "st-mem-ours": "masked reconstruction, a decoder that sees one lead at a time, each patch normalised by itself, no "
    "attention biases; our patches, optimiser and number of updates, and no band-pass filter",
    "merl-ours": "its ResNet18, narrower in small profiles, alignment with our frozen text encoder, and alignment of "
    "two dropout views; average pooling before the projection in place of attention pooling, our text and scaling",
    "simclr": "two altered views of a recording (a crop stretched to full length, gain, noise, leads left out), each "
    "to be found among all views of the batch; our encoder, since the original is for images",
    "clocs": "the two halves of a recording, and of a patient's recordings, to be found among the halves of the batch; "
    "our encoder and a projection head, all leads together where the original takes single ones",
}
"""Peer's method -> what is its own here, and what is not."""

STRENGTHS = {"cma": "0 (CMA)", "ib-0.1": "0.1", "ib": f"{PretrainConfig().bottleneck_strength:g}", "ib-1": "1"}
"""Encoders that differ in the strength of the bottleneck alone -> that strength, β of Eq. 9."""

COHORT_LABELS = {"mimic-iv-ecg": "MIMIC-IV-ECG", "ptb-xl": "PTB-XL", "cpsc2018": "CPSC2018", "csn": "CSN"}

TERM_LABELS = {
    "info_nce": "alignment: InfoNCE, nats",
    "masked_mse": "reconstruction: masked error",
    "bottleneck": "bottleneck: 1 − cosine",
    "dropout_views": "alignment of dropout views, nats",
    "nt_xent": "two views: NT-Xent, nats",
    "segments": "segments of a patient, nats",
}
"""Term of a loss -> title of its panel; the masked error is a share of the target's variance."""


def look(encoder: str) -> Look:
    """The look of an encoder; one that somebody registered gets black and its own name."""
    return {**LOOKS, **PEER_LOOKS}.get(encoder, Look(encoder, "#000000", "P", "-"))


def task_label(task: str) -> str:
    """The task as tables write it."""
    return TASK_LABELS.get(task, task)
