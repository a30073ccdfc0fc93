"""The published encoders as a page shows them: what they read, how large, how sure that they are the originals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from merit.report.prose import Html, listing
from merit.report.style import COHORT_LABELS
from merit.report.tables import render

STANDARD = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
MIMIC = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
ORDERS = {STANDARD: "12, standard order", MIMIC: "12, MIMIC-IV-ECG's order (aVF before aVL)", EIGHT: "I, II, V1–V6"}

Values = Mapping[str, Any]


def inputs(values: Values) -> Html:
    """A row an encoder: what it is fed, and what of it is probed."""
    rows = {
        one["label"]: {
            "rate, Hz": f"{one['fs_hz']:g}",
            "length, s": f"{one['duration_s']:g}",
            "leads": ORDERS.get(tuple(one["leads"]), ", ".join(one["leads"])),
            "scaling": one["scaling"],
            "filter": one["filtering"],
            "probed": one["feature"],
        }
        for one in values["rows"]
    }
    return _words(rows, "peers-input")


def sizes(values: Values) -> Html:
    """A row an encoder: parameters and cost of its ECG side, and the agreement with the authors' own network."""
    rows = {
        one["label"]: {
            "parameters, million": f"{one['parameters'] / 1e6:.2f}",
            "GFLOP a recording": f"{one['flops'] / 1e9:.2f}",
            "largest difference from the original": _exponent(max(one["agreement"].values())),
            "compared": ", ".join(one["agreement"]),
            "original": _original(one["original"]),
        }
        for one in values["rows"]
    }
    return _words(rows, "peers-size")


def terms(values: Values, at_hand: Sequence[str]) -> Html:
    """A row an encoder: where the weights are published and under which terms, what it was pretrained on of the data
    sets here, and whether its weights are at hand.
    """
    rows = {
        one["label"]: {
            "at hand": "yes" if one["name"] in at_hand else "no",
            "folder": f"weights/{one['name']}",
            "published": one["published"],
            "terms": one["terms"],
            "for texts": one["text"] or "no space shared with texts",
            "pretrained on": ", ".join(COHORT_LABELS[name] for name in one["pretrained_on"]) or "none of these",
        }
        for one in values["rows"]
    }
    return _words(rows, "peers-terms")


def remarks(values: Values) -> str:
    """What of each original is reproduced, or differs, as a list."""
    return "\n".join(f"- **{one['label']}**: {one['remark']}." for one in values["rows"] if one["remark"])


def reading(values: Values) -> str:
    """How many agree, and how far the farthest is from its original."""
    worst = {one["label"]: max(one["agreement"].values()) for one in values["rows"]}
    beyond = [label for label, value in worst.items() if value > values["tolerance"]]
    label = max(worst, key=worst.get)
    within = f"within {_exponent(values['tolerance'])} of the largest output"
    return (
        f"{len(worst) - len(beyond)} of {len(worst)} adapters agree with the original {within}; the farthest is "
        f"{label}, at {_exponent(worst[label])}." + f" **Not within it: {listing(beyond)}.**" * bool(beyond)
    )


def _words(rows: Mapping[str, Mapping[str, str]], name: str) -> Html:
    return render(pd.DataFrame.from_dict(rows, orient="index").astype(object), name, words=True)


def _original(about: Mapping[str, str]) -> str:
    """Repository and commit of the code that was run."""
    repository = about["repository"].removeprefix("https://").removeprefix("github.com/")
    return f"{repository} at {about['commit'][:7]}"


def _exponent(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}".replace("e-0", "e-")
