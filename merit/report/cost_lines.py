"""What `make bench` measured, as rows of text: the command prints them and the page `cost` sets them side by side.

Each function takes one measurement, as `merit.bench` makes it, and gives label -> text; a part that was not measured
has no rows. Labels hold no number that differs between machines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from merit.report.numerals import fixed

FORMAT = 1
"""Of the files; raised when a key changes its name or meaning."""

Measured = Mapping[str, Any]
Rows = dict[str, str]

FEEDS = {
    "resident": "resident in the device's memory",
    "streamed": "streamed from disk, read ahead",
    "loader_0": "torch's DataLoader, in the same process",
    "loader_2": "torch's DataLoader, two workers",
    "compiled": "resident, compiled (torch.compile)",
    "graphs": "resident, compiled, CUDA graphs",
    "flex": "resident, compiled, FlexAttention",
    "flex_graphs": "resident, compiled, FlexAttention, CUDA graphs",
}
STEPS = ("compiled", "graphs", "flex", "flex_graphs")
"""Those of them that differ in how an update is computed, not in how it is fed."""
FULL = {"eager": "eager", **{name: FEEDS[name].removeprefix("resident, ") for name in STEPS}}
"""At full size all are resident."""
PARTS = {
    "data": "data",
    "forward": "forward, with the losses",
    "backward": "backward",
    "optimiser": "clipping and optimiser",
}
NETWORKS = {"demo": "the demo's network", "paper": "the paper's network"}
GROWN = {"records": "recordings", "batch": "batch", "width": "width of the encoder"}
PUBLISHED = {"vit": "ViT-Tiny on patches of one lead", "tiny_vit": "TinyViT-5M, hierarchical"}
OBJECTIVES = {"merit": "MERIT", "cma": "CMA", "ib": "IB", "mse": "MSE"}
MIMIC_RECORDINGS = 800_035
"""Of MIMIC-IV-ECG 1.0, as page `data_sets` has it."""
WANTED = {
    "ingest beside wfdb alone, processor time": "at most 1.3",
    "memory of ingest, 500 and 2,000 recordings": "equal",
    "probing PTB-XL's five tasks, both variants": "under 120 s",
    "what is kept at PTB-XL's size: memory": "at most 4,000 MB",
}
"""Label of a stage's figure -> what it should be."""


def lines(stage: str, found: Measured) -> str:
    """All figures of a stage (updates, ingest, linear_probe, kept) for the terminal, ratios first."""
    if stage == "full":
        return _block("the paper's network at full size: speed beside the eager update", full(found))
    if stage != "updates":
        return _block("", stages({stage: found[stage]}))
    blocks = []
    for name in networks(found):
        one = found["updates"]["networks"][name]
        title = f"{NETWORKS[name]}, batch {one['batch']}, {one['records']:,} recordings"
        blocks.append(_block(f"{title}: speed beside resident recordings", feeds(found, name)))
        blocks.append(_block("the feeds alone, without a network", feeds_alone(found, name)))
        blocks.append(_block("seconds of an update by part", {**parts(found, name), **use(found, name)}))
    blocks.append(_block("speed beside MERIT's, by objective", objectives(found)))
    blocks += [_block(f"speed beside the smallest, by {label}", growth(found, name)) for name, label in GROWN.items()]
    blocks += [_block(PUBLISHED[name], rows) for name, rows in published(found).items()]
    blocks.append(_block("the paper's run", projection(found)))
    return "\n".join(blocks)


def _block(title: str, rows: Rows) -> str:
    body = [f"  {label:<52} {text}" for label, text in rows.items()]
    return "\n".join([title, *body] if title else [line.strip() for line in body])


def networks(found: Measured) -> list[str]:
    """Profiles whose networks were taken apart."""
    return list(found.get("updates", {}).get("networks", {}))


def feeds(found: Measured, network: str) -> Rows:
    """Speed of updates on each feed, as a multiple of that on resident recordings; why a way was left out."""
    one = _network(found, network)
    return {**_beside(one.get("paths", {})), **_skipped(one)}


def feeds_alone(found: Measured, network: str) -> Rows:
    """The same for batches that no network waits for."""
    return _beside(_network(found, network).get("feeds_alone", {}))


def _skipped(one: Mapping[str, Any]) -> Rows:
    return {FEEDS[name]: f"left out: {reason}" for name, reason in one.get("skipped", {}).items()}


def full(found: Measured) -> Rows:
    """The paper's network on as many recordings as the paper's, all in the device's memory."""
    one = found.get("full")
    if not one:
        return {}
    needed = one["needed_gb"]
    best = max(one["paths"].values(), key=lambda path: path["samples_per_s"])
    return {
        "recordings, batch": f"{one['records']:,}, {one['batch']}",
        "memory: recordings, network and batch, free": f"{needed['recordings']:.1f}, {needed['update']:.1f} and "
        f"{one['free_gb']:.1f} GB",
        **{FULL[name]: paced(path) for name, path in one["paths"].items()},
        **{FULL[name]: f"left out: {reason}" for name, reason in one["skipped"].items()},
        "model FLOPs utilisation, eager and fastest": f"{percent(one['utilisation'])} and "
        f"{percent(one['utilisation'] * best['ratio'])}",
        "timed after warm-up": f"{one['rounds']} rounds, {one['seconds']:.0f} s in all",
        "200 epochs at the fastest": hours(200 * one["paper_recordings"] / best["samples_per_s"] / 3600),
    }


def _beside(paths: Mapping[str, Mapping[str, float]]) -> Rows:
    return {FEEDS.get(name, name): paced(one) for name, one in paths.items()}


def paced(one: Mapping[str, float]) -> str:
    """The ratio, and recordings a second."""
    return f"{ratio(one)}; {one['samples_per_s']:,.0f}/s"


def ratio(one: Mapping[str, float]) -> str:
    """Median over the rounds with the least and the most; those of the reference are 1 by definition."""
    if one["ratio_low"] == one["ratio_high"]:
        return fixed(one["ratio"], 2)
    return f"{fixed(one['ratio'], 2)} ({fixed(one['ratio_low'], 2)} to {fixed(one['ratio_high'], 2)})"


def parts(found: Measured, network: str) -> Rows:
    """Milliseconds of each part of an update, with its share of their sum, and of an undisturbed one."""
    one = _network(found, network)
    if not one:
        return {}
    whole = sum(one["parts_s"].values())
    rows = {
        PARTS[name]: f"{milliseconds(seconds)} ({100 * seconds / whole:.1f} %)"
        for name, seconds in one["parts_s"].items()
    }
    return {**rows, "undisturbed update": milliseconds(one["update_s"])}


def milliseconds(seconds: float) -> str:
    """With two digits at least."""
    value = 1000 * seconds
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def use(found: Measured, network: str) -> Rows:
    """What the device is used for: rates, utilisation, memory."""
    one = _network(found, network)
    if not one:
        return {}
    product = one["product"]
    return {
        "recordings a second": f"{one['paths']['resident']['samples_per_s']:,.1f}",
        "a recording's forward": giga(one["forward_flops"], "FLOP"),
        "a square matrix product": f"{giga(product['flops_per_s'], 'FLOP/s')} at {product['size']:,} rows",
        "model FLOPs utilisation": percent(one["utilisation"]),
        "peak memory": f"{one['peak_mb']:,.0f} MB",
    }


def growth(found: Measured, name: str) -> Rows:
    """records, batch or width: value -> recordings a second beside the first value's."""
    rows = found.get("updates", {}).get("growth", {}).get(name, [])
    return {f"{one['value']:,}": paced(one) for one in rows}


def objectives(found: Measured) -> Rows:
    """Objective -> speed beside MERIT's, and recordings a second."""
    rows = found.get("updates", {}).get("growth", {}).get("objective", [])
    return {OBJECTIVES[one["value"]]: paced(one) for one in rows}


def published(found: Measured) -> dict[str, Rows]:
    """Network at its published size -> its figures."""
    rows = {}
    for one in found.get("updates", {}).get("published", []):
        rows[one["value"]] = {
            "speed beside the first": ratio(one),
            "recordings a second": f"{one['samples_per_s']:,.1f} at batch {one['batch']}",
            "parameters": f"{one['parameters'] / 1e6:.2f} million",
            "a recording's forward": giga(one["forward_flops"], "FLOP"),
            "model FLOPs utilisation": percent(one["utilisation"]),
        }
        if one["peak_mb"] is not None:
            rows[one["value"]]["peak memory"] = f"{one['peak_mb']:,.0f} MB"
    return rows


def projection(found: Measured, price_per_hour: float | None = None) -> Rows:
    """The paper's run of one objective at the measured rate, and what its goals need.

    price_per_hour: in the measurement's currency; None: the price it was asked for.
    """
    one = found.get("updates", {}).get("projection")
    if one is None:
        return {}
    price = one["price_per_hour"] if price_per_hour is None else price_per_hour
    rows = {
        "measured, recordings a second": f"{one['samples_per_s']:,.1f} at batch {one['measured_batch']}",
        f"{one['epochs']:g} epochs of {one['recordings']:,} recordings": hours(one["hours"]),
        f"at {price:.2f} {one['currency']} an hour": f"{price * one['hours']:,.0f} {one['currency']}",
        "its arithmetic at the rate of a matrix product": hours(one["arithmetic_h"]),
    }
    for goal in one["goals"]:
        factor, share = goal["samples_per_s"] / one["samples_per_s"], one["arithmetic_h"] / goal["hours"]
        label = f"for {goal['hours']} h, {goal['samples_per_s']:,.0f} recordings a second"
        speed = "reached" if factor <= 1 else f"{factor:,.{1 if factor < 100 else 0}f} times as fast"
        if share <= 1:
            rows[label] = f"{speed}; utilisation {percent(share)}"
        else:
            rows[label] = f"{speed}; beyond a matrix product's rate"
    return rows


def stages(found: Measured) -> Rows:
    """Ingest, linear probing and what is kept."""
    rows: Rows = {}
    if ingest := found.get("ingest"):
        rows["ingest beside wfdb alone, processor time"] = f"{ingest['ratio']:.2f} times"
        rows["ingest, one worker"] = f"{ingest['recordings_per_s']:.0f} recordings a second"
        if per_s := ingest.get("mimic_per_s"):
            rows["ingest of MIMIC-IV-ECG from 500 Hz, one worker"] = f"{per_s:.0f} recordings a second"
            rows[f"all its {MIMIC_RECORDINGS:,} at that rate"] = hours(MIMIC_RECORDINGS / per_s / 3600)
        small, large = ingest["peak_mb_500"], ingest["peak_mb_2000"]
        rows["memory of ingest, 500 and 2,000 recordings"] = f"{small:.0f} and {large:.0f} MB"
    if probe := found.get("linear_probe"):
        rows["the same folds one after another"] = f"{probe['ratio']:.1f} times as long"
        rows["probing PTB-XL's five tasks, both variants"] = f"{probe['probe_s']:.0f} s"
    if kept := found.get("kept"):
        features = kept["words"] + kept["statements"]
        rows["what is kept at PTB-XL's size: memory"] = f"{kept['peak_mb']:,.0f} MB"
        rows["its reports: recordings, words and statements"] = f"{kept['records']:,}, {features:,}"
        rows["its reports alone, one fold of ten"] = f"{kept['report_s']:.0f} s"
        rows["one embedding beside them, the same fold"] = f"{kept['embedding_s']:.0f} s"
    return rows


def giga(value: float, unit: str) -> str:
    """In billions of the unit, or trillions, with three digits."""
    scaled, prefix = (value / 1e12, "T") if value >= 1e12 else (value / 1e9, "G")
    digits = max(0, 2 - math.floor(math.log10(scaled)))
    return f"{scaled:,.{digits}f} {prefix}{unit}"


def percent(share: float) -> str:
    """With two digits."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def hours(value: float) -> str:
    """Hours, beyond four days also as days."""
    return f"{value:,.1f} h" if value < 96 else f"{value:,.0f} h ({value / 24:,.0f} days)"


def _network(found: Measured, name: str) -> Mapping[str, Any]:
    return found.get("updates", {}).get("networks", {}).get(name, {})
