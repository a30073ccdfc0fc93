"""What `make bench` measured: the command prints it and the page `cost` sets devices side by side; nothing is measured.

A measurement becomes sections, each label -> text; a part that was not measured has no section. Labels hold no number
that differs between machines.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from merit import runs
from merit.report import show
from merit.report.prose import Html, fixed, listing

FORMAT = 1
"""Of the files; raised when a key changes its name or meaning."""
GPU = "GPU"
"""Head of the column that stays empty until a GPU was at hand."""
NOTE = (
    "Updates are timed on noise of the recordings' shape: what they show changes no time. Nothing here is about hearts."
)
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
"""Label of a figure -> what it should be."""

Measured = Mapping[str, Any]


class Column(NamedTuple):
    """One device's measurement; an empty one where there is none."""

    head: str
    found: Measured
    path: Path | None


def sections(found: Measured, price_per_hour: float | None = None) -> dict[str, dict[str, str]]:
    """Section -> label -> text of one measurement; price_per_hour in its currency, None: the price it was asked for.

    Of each network (demo, paper): `feeds`, `alone` (batches that no network waits for), `parts`, `use`. Of a growing
    setting: `growth`. Then `objectives`, `published` by network, `projection`, `full`, `stages`.
    """
    rows: dict[str, dict[str, str]] = {}
    updates = found.get("updates", {})
    for name, network in updates.get("networks", {}).items():
        rows[f"feeds {name}"] = {FEEDS.get(feed, feed): paced(one) for feed, one in network["paths"].items()}
        rows[f"feeds {name}"] |= {FEEDS[way]: f"left out: {why}" for way, why in network.get("skipped", {}).items()}
        rows[f"alone {name}"] = {FEEDS.get(feed, feed): paced(one) for feed, one in network["feeds_alone"].items()}
        whole, product = sum(network["parts_s"].values()), network["product"]
        rows[f"parts {name}"] = {
            PARTS[part]: f"{milliseconds(seconds)} ({100 * seconds / whole:.1f} %)"
            for part, seconds in network["parts_s"].items()
        } | {"undisturbed update": milliseconds(network["update_s"])}
        rows[f"use {name}"] = {
            "recordings a second": f"{network['paths']['resident']['samples_per_s']:,.1f}",
            "a recording's forward": giga(network["forward_flops"], "FLOP"),
            "a square matrix product": f"{giga(product['flops_per_s'], 'FLOP/s')} at {product['size']:,} rows",
            "model FLOPs utilisation": percent(network["utilisation"]),
            "peak memory": f"{network['peak_mb']:,.0f} MB",
        }
    for name in GROWN:
        rows[f"growth {name}"] = {f"{one['value']:,}": paced(one) for one in updates.get("growth", {}).get(name, [])}
    grown = updates.get("growth", {}).get("objective", [])
    rows["objectives"] = {OBJECTIVES[one["value"]]: paced(one) for one in grown}
    for one in updates.get("published", []):
        rows[f"published {one['value']}"] = {
            "speed beside the first": ratio(one),
            "recordings a second": f"{one['samples_per_s']:,.1f} at batch {one['batch']}",
            "parameters": f"{one['parameters'] / 1e6:.2f} million",
            "a recording's forward": giga(one["forward_flops"], "FLOP"),
            "model FLOPs utilisation": percent(one["utilisation"]),
            **({} if one["peak_mb"] is None else {"peak memory": f"{one['peak_mb']:,.0f} MB"}),
        }
    if one := updates.get("projection"):
        price = one["price_per_hour"] if price_per_hour is None else price_per_hour
        rows["projection"] = {
            "measured, recordings a second": f"{one['samples_per_s']:,.1f} at batch {one['measured_batch']}",
            f"{one['epochs']:g} epochs of {one['recordings']:,} recordings": hours(one["hours"]),
            f"at {price:.2f} {one['currency']} an hour": f"{price * one['hours']:,.0f} {one['currency']}",
            "its arithmetic at the rate of a matrix product": hours(one["arithmetic_h"]),
        }
        for goal in one["goals"]:
            factor, share = goal["samples_per_s"] / one["samples_per_s"], one["arithmetic_h"] / goal["hours"]
            speed = "reached" if factor <= 1 else f"{factor:,.{1 if factor < 100 else 0}f} times as fast"
            rate = f"utilisation {percent(share)}" if share <= 1 else "beyond a matrix product's rate"
            label = f"for {goal['hours']} h, {goal['samples_per_s']:,.0f} recordings a second"
            rows["projection"][label] = f"{speed}; {rate}"
    if one := found.get("full"):  # the paper's network on as many recordings, all in the device's memory
        names = {"eager": "eager", **{way: FEEDS[way].removeprefix("resident, ") for way in STEPS}}
        best, needed = max(one["paths"].values(), key=lambda path: path["samples_per_s"]), one["needed_gb"]
        rows["full"] = {
            "recordings, batch": f"{one['records']:,}, {one['batch']}",
            "memory: recordings, network and batch, free": f"{needed['recordings']:.1f}, {needed['update']:.1f} and "
            f"{one['free_gb']:.1f} GB",
            **{names[way]: paced(path) for way, path in one["paths"].items()},
            **{names[way]: f"left out: {reason}" for way, reason in one["skipped"].items()},
            "model FLOPs utilisation, eager and fastest": f"{percent(one['utilisation'])} and "
            f"{percent(one['utilisation'] * best['ratio'])}",
            "timed after warm-up": f"{one['rounds']} rounds, {one['seconds']:.0f} s in all",
            "200 epochs at the fastest": hours(200 * one["paper_recordings"] / best["samples_per_s"] / 3600),
        }
    rows["stages"] = {}
    if ingest := found.get("ingest"):
        small, large = ingest["peak_mb_500"], ingest["peak_mb_2000"]
        rows["stages"] |= {
            "ingest beside wfdb alone, processor time": f"{ingest['ratio']:.2f} times",
            "ingest, one worker": f"{ingest['recordings_per_s']:.0f} recordings a second",
            "memory of ingest, 500 and 2,000 recordings": f"{small:.0f} and {large:.0f} MB",
        }
        if rate := ingest.get("mimic_per_s"):
            rows["stages"] |= {
                "ingest of MIMIC-IV-ECG from 500 Hz, one worker": f"{rate:.0f} recordings a second",
                f"all its {MIMIC_RECORDINGS:,} at that rate": hours(MIMIC_RECORDINGS / rate / 3600),
            }
    if probe := found.get("linear_probe"):
        rows["stages"] |= {
            "the same folds one after another": f"{probe['ratio']:.1f} times as long",
            "probing PTB-XL's five tasks, both variants": f"{probe['probe_s']:.0f} s",
        }
    if kept := found.get("kept"):
        rows["stages"] |= {
            "what is kept at PTB-XL's size: memory": f"{kept['peak_mb']:,.0f} MB",
            "its reports: recordings, words and statements": f"{kept['records']:,}, "
            f"{kept['words'] + kept['statements']:,}",
            "its reports alone, one fold of ten": f"{kept['report_s']:.0f} s",
            "one embedding beside them, the same fold": f"{kept['embedding_s']:.0f} s",
        }
    return {name: own for name, own in rows.items() if own}


def lines(stage: str, found: Measured) -> str:
    """All figures of a stage (updates, ingest, linear_probe, kept, full) for the terminal, ratios first."""
    titles = {"full": "the paper's network at full size: speed beside the eager update"}
    for name, network in found.get("updates", {}).get("networks", {}).items() if stage == "updates" else ():
        size = f"{NETWORKS[name]}, batch {network['batch']}, {network['records']:,} recordings"
        titles |= {f"feeds {name}": f"{size}: speed beside resident recordings"}
        titles |= {f"alone {name}": "the feeds alone, without a network"}
        titles |= {f"parts {name}": "seconds of an update by part", f"use {name}": "what the device gives"}
    titles |= {"objectives": "speed beside MERIT's, by objective", "projection": "the paper's run"}
    titles |= {f"growth {name}": f"speed beside the smallest, by {label}" for name, label in GROWN.items()}
    titles |= {f"published {name}": label for name, label in PUBLISHED.items()}
    shown = sections({stage: found[stage]})
    if stage not in ("updates", "full"):
        return "\n".join(f"{label:<52} {text}" for label, text in shown["stages"].items())
    blocks = [
        [title, *(f"  {a:<52} {b}" for a, b in shown[name].items())] for name, title in titles.items() if name in shown
    ]
    return "\n".join(line for block in blocks for line in block)


def load(committed: Path | None = None, own: Path | None = None) -> list[Column]:
    """Committed measurements (`book/reference/bench-*.json`), an empty column where none is of a GPU, and last the
    reader's own (`artifacts/bench.json`), if there is one that this version wrote.
    """
    committed, own = committed or runs.home() / "book" / "reference", own or own_file()
    columns = []
    for path in [*sorted(committed.glob("bench-*.json")), own]:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        if path == own and not any(one.found and one.found["about"]["kind"] == "cuda" for one in columns):
            columns.append(Column(GPU, {}, None))
        if found is None or found.get("about", {}).get("format") != FORMAT:
            if path != own:
                raise ValueError(f"{path}: expected format {FORMAT}; measure again with `make bench`")
            continue
        about = found["about"]
        head = f"{'yours: ' * (path == own)}{about['device'] if about['kind'] == 'cuda' else f'CPU, {cores(about)}'}"
        before = sum(other.head.partition(" #")[0] == head for other in columns)
        columns.append(Column(f"{head} #{before + 1}" if before else head, found, path))
    return columns


def own_file() -> Path:
    """Where `make bench` leaves the reader's own measurement."""
    return runs.home() / "artifacts" / "bench.json"


def table(columns: Sequence[Column], section: str, price_per_hour: float | None = None) -> Html:
    """A column per device, for a section; for `feeds`, `alone`, `parts`, `use` and `published` a table per network."""
    every = {one.head: sections(one.found, price_per_hour) for one in columns}
    names = [name for own in every.values() for name in own if name.partition(" ")[0] == section]
    shown = Html("")
    for name in dict.fromkeys(names):
        texts = {head: own.get(name, {}) for head, own in every.items()}
        if section == "stages":
            texts["wanted"] = WANTED
        labels = dict.fromkeys(label for head in every for label in texts[head])
        network = name.partition(" ")[2]
        title = PUBLISHED.get(network) or NETWORKS.get(network, "").capitalize()
        if title:
            sizes = [one.found["updates"]["networks"].get(network) for one in columns if "updates" in one.found]
            said = dict.fromkeys(f"batch {one['batch']}, {one['records']:,} recordings" for one in sizes if one)
            about = f" {'; '.join(said).capitalize()}." if said else ""
            shown += Html('<p class="merit-caption"><b>{}.</b>{}</p>').format(title, about)
        shown += show.facts({label: {head: own.get(label) for head, own in texts.items()} for label in labels}, name)
    return shown or Html("<p>Nothing of it has been measured; <code>make bench</code> does.</p>")


def growth(columns: Sequence[Column]) -> pd.DataFrame:
    """A row per device, setting and its value: speed beside that at the smallest (value, low, high)."""
    rows = [
        {"device": one.head, "setting": label, "size": row["value"], "value": row["ratio"],
         "low": row["ratio_low"], "high": row["ratio_high"]}
        for one in columns for name, label in GROWN.items()
        for row in one.found.get("updates", {}).get("growth", {}).get(name, [])
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["device", "setting", "size", "value", "low", "high"])


def reading(columns: Sequence[Column]) -> str:
    """A line a device and network: the share of the data in an update, and whether any feed beats the resident one."""
    sentences = []
    for one in columns:
        for name, network in one.found.get("updates", {}).get("networks", {}).items():
            share = percent(network["parts_s"]["data"] / sum(network["parts_s"].values()))
            feeds = {feed: path for feed, path in network["paths"].items() if feed not in ("resident", *STEPS)}
            faster = [FEEDS.get(feed, feed) for feed, path in feeds.items() if path["ratio_low"] > 1]
            text = "no other feed is faster than the resident one in every round"
            if faster:
                text = f"faster than the resident feed in every round: {listing(faster)}"
            sentences.append(f"- {one.head}, {NETWORKS[name]}: data take {share} of an update; {text}.")
    return "\n".join(sentences) or "Nothing has been measured; `make bench` does."


def where(columns: Sequence[Column], own: Path | None = None) -> str:
    """On what each column was measured, why one is empty, and how the reader gets one."""
    sentences = []
    for one in columns:
        if not one.found:
            sentences.append(f"- {GPU}: none was at hand when these were committed, so its column stays empty.")
            continue
        about = one.found["about"]
        source = {True: "synthetic hospitals", False: "real recordings", None: ""}[about["synthetic"]]
        sentences.append(
            f"- {one.head}: {about['device']}, {cores(about)}, {about['memory_gb']:.0f} GB; {about['finished'][:10]}, "
            f"commit {about['commit'] or 'unknown'}, torch {about['versions']['torch']}, Python "
            f"{about['versions']['python']}; {about['seconds']:.0f} s in all"
            f"{f'; ingest and probing on {source}' if source else ''}."
        )
    own = own or own_file()
    if all(one.path != own for one in columns):
        stale = "A measurement is there that another version wrote. " if own.exists() else ""
        sentences.append(
            f"- Yours: {stale}`make bench` measures your machine (ten minutes on 2 cores), and the next `make book` "
            "shows it here."
        )
    return "\n".join(sentences)


def inputs(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The files that the page rests on, for its provenance."""
    return [
        {
            "what": f"measurement {one.head}", "id": runs.file_digest(one.path), "device": one.found["about"]["kind"],
            **{key: one.found["about"][key] for key in ("commit", "seconds", "finished")},
        }
        for one in columns
        if one.path
    ]  # fmt: skip


def language_model(path: Path | None = None) -> str:
    """A sentence on what the paper's language model takes in memory, from the committed measurement."""
    path = path or runs.home() / "book" / "reference" / "llama_1b.json"
    if not path.exists():
        return "Not measured: `python -m merit.evaluate.generation.generator` does."
    found = json.loads(path.read_text(encoding="utf-8"))
    return (
        "One update and one decoded token of a model of Llama-3.2-1B's shape with random weights "
        f"({found['parameters'] / 1e9:.3f} billion parameters, {found['trained'] / 1e6:.1f} million of them trained) "
        f"took at most {found['peak_bytes'] / 1e9:.1f} GB of memory ({found['device']}, {found['dtype']}, batch "
        f"{found['batch']}, {found['tokens']} tokens)."
    )


# -- numbers as text --------------------------------------------------------------------------------------------------


def cores(about: Mapping[str, Any]) -> str:
    """`2 cores`."""
    return f"{about['cores']} core{'s' * (about['cores'] != 1)}"


def paced(one: Mapping[str, float]) -> str:
    """The ratio, and recordings a second."""
    return f"{ratio(one)}; {one['samples_per_s']:,.0f}/s"


def ratio(one: Mapping[str, float]) -> str:
    """Median over the rounds with the least and the most; those of the reference are 1 by definition."""
    if one["ratio_low"] == one["ratio_high"]:
        return fixed(one["ratio"], 2)
    return f"{fixed(one['ratio'], 2)} ({fixed(one['ratio_low'], 2)} to {fixed(one['ratio_high'], 2)})"


def milliseconds(seconds: float) -> str:
    """With two digits at least."""
    value = 1000 * seconds
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


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
