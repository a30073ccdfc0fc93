"""Peers' objectives and backbones on the same recordings, with the same updates and evaluation (`make reference`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from merit.report.prose import Html, listing
from merit.report.style import LOOKS, PEER_LOOKS, look
from merit.report.tables import render

EQUAL_BUDGET = "equal-budget"
"""The group in which peers' methods are trained on the same recordings with the same updates."""
ENCODERS = {**LOOKS, **PEER_LOOKS}
NETWORKS = {"vit": "ViT", "tiny_vit": "TinyViT", "resnet18": "ResNet18"}
"""Kind of an encoder -> what a table calls it."""

TERMS = {
    "info_nce": "InfoNCE",
    "masked_mse": "masked error",
    "bottleneck": "bottleneck",
    "dropout_views": "dropout views",
    "nt_xent": "NT-Xent",
    "segments": "segments",
}
"""Term of a loss -> its short name."""

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


def introduction(file: Mapping[str, Any]) -> Html:
    """What the rows are, and what they are not."""
    kind = "synthetic hospitals" if file["synthetic"] else "real recordings"
    peers = [row["encoder"] for row in file["costs"] if row["encoder"] in OURS]
    seeds = f"{file['seeds']} pretraining seed{'s' * (file['seeds'] != 1)}"
    text = (
        "Rows that end in “ours” are our implementation of a peer's objective and backbone, at the size of profile "
        f"{file['profile']}, on {kind}, with {seeds}: the same recordings, batches, updates, optimiser and evaluation "
        "as MERIT. They compare objectives and backbones. They are not the published systems, which were trained "
        "longer, wider and on other recordings, and say nothing about those systems' published numbers."
    )
    items = Html("").join(Html("<li>{}: {}.</li>").format(look(name).label, OURS[name]) for name in peers)
    return Html("<p>{}</p><ul>{}</ul>").format(text, items)


def costs(file: Mapping[str, Any]) -> Html:
    """A row an encoder: its network, parameters, FLOPs, seconds. Equal updates are not equal cost."""
    rows = {row["encoder"]: row for row in file["costs"]}
    names = [name for name in ENCODERS if name in rows]
    frame = pd.DataFrame([_cells(rows[name]) for name in names], index=[look(name).label for name in names])
    trained = [row for row in rows.values() if "updates" in row]
    counts = {(row["updates"], row["batch"]) for row in trained}
    budget = listing(f"{updates:,} updates of batch {batch}" for updates, batch in sorted(counts))
    head = "What each costs. FLOPs are those of one recording: of its embedding, and of its forward in an update"
    head += f"; every pretraining has {budget}" * bool(budget) + ". Seconds hold whatever else that machine did. "
    head += "The loss is the last validation's; a masked error of one is what the mean alone would have."
    return Html('<p class="merit-caption">{}</p>').format(head) + render(
        frame.astype(object), f"{file['stage']}-{file['profile']}-{EQUAL_BUDGET}-costs"
    )


def _cells(row: Mapping[str, Any]) -> dict[str, str | None]:
    return {
        "network": NETWORKS.get(row["network"], row["network"]),
        "parameters of the encoder": _count(row["parameters"]),
        "trained with it": _count(row.get("trained_parameters")),
        "MFLOPs, embedding": _millions(row["embedding_flops"]),
        "MFLOPs, pretraining": _millions(row.get("update_flops")),
        "seconds of pretraining": None if row.get("seconds") is None else f"{row['seconds']:,.0f}",
        "loss": "\n".join(f"{TERMS.get(k, k)} {v:.2f}" for k, v in row.get("validation", {}).items()) or None,
    }


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _millions(number: float | None) -> str | None:
    return None if number is None else f"{number / 1e6:,.0f}"
