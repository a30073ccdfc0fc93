"""What `make bench` measured: the command prints it and the page `cost` sets devices side by side; nothing is measured.

A measurement becomes sections, each label -> text; a part that was not measured has no section. Labels hold no number
that differs between machines.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from merit import runs
from merit.report.prose import fixed

FORMAT = 1
"""Of the files; raised when a key changes its name or meaning."""
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
MIMIC_RECORDINGS = 800_035
"""Of MIMIC-IV-ECG 1.0, as page `data_sets` has it."""

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
    # Updates of each network: by feed, with nobody waiting, by part, and what the device gives.
    for name, network in updates.get("networks", {}).items():
        rows[f"feeds {name}"] = {FEEDS.get(feed, feed): paced(path) for feed, path in network["paths"].items()}
        rows[f"feeds {name}"] |= {FEEDS[way]: f"left out: {why}" for way, why in network.get("skipped", {}).items()}
        rows[f"alone {name}"] = {FEEDS.get(feed, feed): paced(path) for feed, path in network["feeds_alone"].items()}
        whole, product = sum(network["parts_s"].values()), network["product"]
        rows[f"parts {name}"] = {
            PARTS[part]: f"{1000 * seconds:,.{0 if seconds >= 0.1 else 1}f} ms ({100 * seconds / whole:.1f} %)"
            for part, seconds in network["parts_s"].items()
        }
        update = network["update_s"]
        rows[f"parts {name}"]["undisturbed update"] = f"{1000 * update:,.{0 if update >= 0.1 else 1}f} ms"
        rows[f"use {name}"] = {
            "recordings a second": f"{network['paths']['resident']['samples_per_s']:,.1f}",
            "a recording's forward": giga(network["forward_flops"], "FLOP"),
            "a square matrix product": f"{giga(product['flops_per_s'], 'FLOP/s')} at {product['size']:,} rows",
            "model FLOPs utilisation": percent(network["utilisation"]),
            "peak memory": f"{network['peak_mb']:,.0f} MB",
        }
    # As settings grow; by objective; networks at their published sizes.
    for name in GROWN:
        rows[f"growth {name}"] = {f"{row['value']:,}": paced(row) for row in updates.get("growth", {}).get(name, [])}
    grown = updates.get("growth", {}).get("objective", [])
    rows["objectives"] = {row["value"].upper(): paced(row) for row in grown}
    for row in updates.get("published", []):
        rows[f"published {row['value']}"] = {
            "speed beside the first": ratio(row),
            "recordings a second": f"{row['samples_per_s']:,.1f} at batch {row['batch']}",
            "parameters": f"{row['parameters'] / 1e6:.2f} million",
            "a recording's forward": giga(row["forward_flops"], "FLOP"),
            "model FLOPs utilisation": percent(row["utilisation"]),
            **({} if row["peak_mb"] is None else {"peak memory": f"{row['peak_mb']:,.0f} MB"}),
        }
    # The whole run at the measured rate, and what its goals would ask of the device.
    if row := updates.get("projection"):
        price = row["price_per_hour"] if price_per_hour is None else price_per_hour
        rows["projection"] = {
            "measured, recordings a second": f"{row['samples_per_s']:,.1f} at batch {row['measured_batch']}",
            f"{row['epochs']:g} epochs of {row['recordings']:,} recordings": hours(row["hours"]),
            f"at {price:.2f} {row['currency']} an hour": f"{price * row['hours']:,.0f} {row['currency']}",
            "its arithmetic at the rate of a matrix product": hours(row["arithmetic_h"]),
        }
        for goal in row["goals"]:
            factor, share = goal["samples_per_s"] / row["samples_per_s"], row["arithmetic_h"] / goal["hours"]
            speed = "reached" if factor <= 1 else f"{factor:,.{1 if factor < 100 else 0}f} times as fast"
            rate = f"utilisation {percent(share)}" if share <= 1 else "beyond a matrix product's rate"
            label = f"for {goal['hours']} h, {goal['samples_per_s']:,.0f} recordings a second"
            rows["projection"][label] = f"{speed}; {rate}"
    if row := found.get("full"):  # the paper's network on as many recordings, all in the device's memory
        names = {"eager": "eager", **{way: FEEDS[way].removeprefix("resident, ") for way in STEPS}}
        best, needed = max(row["paths"].values(), key=lambda path: path["samples_per_s"]), row["needed_gb"]
        rows["full"] = {
            "recordings, batch": f"{row['records']:,}, {row['batch']}",
            "memory: recordings, network and batch, free": f"{needed['recordings']:.1f}, {needed['update']:.1f} and "
            f"{row['free_gb']:.1f} GB",
            **{names[way]: paced(path) for way, path in row["paths"].items()},
            **{names[way]: f"left out: {reason}" for way, reason in row["skipped"].items()},
            "model FLOPs utilisation, eager and fastest": f"{percent(row['utilisation'])} and "
            f"{percent(row['utilisation'] * best['ratio'])}",
            "timed after warm-up": f"{row['rounds']} rounds, {row['seconds']:.0f} s in all",
            "200 epochs at the fastest": hours(200 * row["paper_recordings"] / best["samples_per_s"] / 3600),
        }
    # The other stages, each where it was measured.
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
    committed, own = committed or runs.home() / "book" / "reference", own or runs.home() / "artifacts" / "bench.json"
    columns = []
    for path in [*sorted(committed.glob("bench-*.json")), own]:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        if path == own and not any(column.found["about"]["kind"] == "cuda" for column in columns):
            columns.append(Column("GPU", {}, None))
        if found is None or found.get("about", {}).get("format") != FORMAT:
            if path != own:
                raise ValueError(f"{path}: expected format {FORMAT}; measure again with `make bench`")
            continue
        about = found["about"]
        cores = f"CPU, {about['cores']} core{'s' * (about['cores'] != 1)}"
        head = f"{'yours: ' * (path == own)}{about['device'] if about['kind'] == 'cuda' else cores}"
        before = sum(other.head.partition(" #")[0] == head for other in columns)
        columns.append(Column(f"{head} #{before + 1}" if before else head, found, path))
    return columns


# -- numbers as text --------------------------------------------------------------------------------------------------


def paced(row: Mapping[str, float]) -> str:
    """The ratio, and recordings a second."""
    return f"{ratio(row)}; {row['samples_per_s']:,.0f}/s"


def ratio(row: Mapping[str, float]) -> str:
    """Median over the rounds with the least and the most; those of the reference are 1 by definition."""
    if row["ratio_low"] == row["ratio_high"]:
        return fixed(row["ratio"], 2)
    return f"{fixed(row['ratio'], 2)} ({fixed(row['ratio_low'], 2)} to {fixed(row['ratio_high'], 2)})"


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
