"""What `pipeline.framework` reads off the network, as tables and sentences: sizes, parameters, FLOPs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from merit.report import tables
from merit.report.diagram import counted, short, times
from merit.report.prose import Html
from merit.report.style import look

PARTS = {"encoder": "ECG encoder", "decoder": "decoder", "ecg_head": "ECG projection", "text_head": "text projection"}
TERMS = {"info_nce": "InfoNCE", "masked_mse": "MSE on hidden patches", "bottleneck": "(1 − cosine)"}


def sizes(values: Mapping[str, Any]) -> Html:
    """A row a stage, a column a profile: tokens and widths of the whole network."""
    return tables.mapping(_by_profile(values, _shape_rows), "framework-sizes")


def parameters(values: Mapping[str, Any]) -> Html:
    """A row a part, a column a profile: trained parameters; the whole text encoder's for the profile at hand."""
    rows = _by_profile(values, lambda facts: {PARTS[part]: f"{n:,}" for part, n in facts["parameters"].items()})
    rows["together"] = {
        _head(values, name): f"{sum(facts['parameters'].values()):,}" for name, facts in values["profiles"].items()
    }
    whole = values["text_encoder"]["parameters"]
    rows[f"text encoder, {_fate(values['text_encoder'])}"] = {
        _head(values, values["profile"]): f"{whole:,}" if whole else None
    }
    return tables.mapping(rows, "framework-parameters")


def flops(values: Mapping[str, Any]) -> Html:
    """A row a part and use, a column a profile: FLOPs a recording, and how many of them are for attention biases."""
    return tables.mapping(_by_profile(values, _flop_rows), "framework-flops")


def objectives(values: Mapping[str, Any]) -> Html:
    """A row an objective: its loss, which branches its network has, parameters, FLOPs of a forward of pretraining."""
    rows = {}
    for name, one in values["objectives"].items():
        terms = [f"{weight:g} {TERMS[term]}" if weight != 1 else TERMS[term] for term, weight in one["terms"].items()]
        rows[look(name).label] = {
            "loss": " + ".join(terms),
            "decoder": "yes" if one["decoder"] else "no",
            "projections": "yes" if one["heads"] else "no",
            "parameters": f"{one['parameters']:,}",
            "FLOPs, forward": short(one["flops"]),
        }
    return tables.mapping(rows, "framework-objectives")


def cost(values: Mapping[str, Any]) -> str:
    """Sentences on what a recording costs in the profile at hand, and on what was not counted."""
    facts = values["profiles"][values["profile"]]
    total = {use: sum(part["all"] for part in parts.values()) for use, parts in facts["flops"].items()}
    plain = {use: n - sum(p["biases"] for p in facts["flops"][use].values()) for use, n in total.items()}
    text = values["text_encoder"]
    fate = _fate(text)
    size = (
        f"The text encoder ({fate}) has {short(text['parameters'])} parameters"
        if text["parameters"]
        else f"The size of the text encoder ({fate}) is not known ({text['known']})"
    )
    runs = "its trained layers run in every update, the others" if text["trained_layers"] else "it runs"
    return (
        f"In the {values['profile']} profile, one forward of pretraining takes {short(total['pretraining'])}FLOP a "
        f"recording and one embedding {short(total['embedding'])}FLOP; without the learned attention biases it would "
        f"be {short(plain['pretraining'])}FLOP and {short(plain['embedding'])}FLOP. Embedding hides nothing, so its "
        f"encoder sees {facts['embedding']['encoder.blocks.0']['in'][0]} tokens in place of "
        f"{facts['shapes']['encoder.blocks.0']['in'][0]}. {size}; {runs} once a distinct report, and none "
        "of it is in these counts."
    )


def _fate(text: Mapping[str, Any]) -> str:
    """What pretraining does to the text encoder."""
    trained = text["trained_layers"]
    return f"last {counted(trained, 'layer')} trained" if trained else "frozen"


def _by_profile(
    values: Mapping[str, Any], rows_of: Callable[[Mapping[str, Any]], Mapping[str, str]]
) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for name, facts in values["profiles"].items():
        for quantity, text in rows_of(facts).items():
            rows.setdefault(quantity, {})[_head(values, name)] = text
    return rows


def _head(values: Mapping[str, Any], profile: str) -> str:
    return f"{profile} (here)" if profile == values["profile"] else profile


def _shape_rows(facts: Mapping[str, Any]) -> dict[str, str]:
    settings, shapes = facts["settings"], facts["shapes"]
    (pooled,), (shared,) = shapes["ecg_head"]["in"], shapes["ecg_head"]["out"]
    decoder = settings["decoder"]
    return {
        "leads × samples": times(facts["signal"]),
        "leads × patches × samples": times(facts["patches"]),
        "hidden patches": f"{100 * (1 - facts['visible'][1] / facts['patches'][1]):.0f} %",
        "encoder: width, blocks, heads": f"{settings['width']}, {settings['depth']}, {settings['heads']}",
        "tokens, pretraining": times(shapes["encoder"]["out"][:2]),
        "tokens, embedding": times(facts["embedding"]["encoder"]["out"][:2]),
        "decoder: width, blocks, heads": f"{decoder['width']}, {decoder['depth']}, {decoder['heads']}",
        "tokens, decoder": times(shapes["encoder"]["out"][:1] + [facts["patches"][1] + 2])
        + (", lead by lead" if decoder["lead_wise"] else ""),
        "prediction": times(shapes["decoder"]["out"]),
        "embedding": str(pooled),
        "ECG projection": f"{pooled} → {shared}",
        "text projection": f"{shapes['text_head']['in'][0]} → {shared}",
    }


def _flop_rows(facts: Mapping[str, Any]) -> dict[str, str]:
    rows = {}
    for use, parts in facts["flops"].items():
        for part, count in parts.items():
            rows[f"{use}: {PARTS[part]}"] = short(count["all"])
        if len(parts) > 1:
            rows[f"{use}: together"] = short(sum(count["all"] for count in parts.values()))
        rows[f"{use}: of it, biases"] = short(sum(count["biases"] for count in parts.values()))
    return rows
