"""The page `cost`: committed measurements, a column a device, and beside them the reader's own; nothing is measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from merit import runs
from merit.report import cost_lines, tables
from merit.report.cost_lines import Measured, Rows
from merit.report.figures import Drawing, distinct, nothing
from merit.report.prose import Html, listing

KEYS = ("value", "ratio", "ratio_low", "ratio_high")
GPU = "GPU"
"""Head of the column that stays empty until a GPU was at hand."""
MARKS = ("o", "s", "^", "D", "v", "P")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
NOTE = (
    "Updates are timed on noise of the recordings' shape: what they show changes no time. Nothing here is about hearts."
)
"""Where the page's numbers come from."""


class Column(NamedTuple):
    """One device's measurement; an empty one where there is none."""

    head: str
    found: Measured
    path: Path | None


def load(committed: Path | None = None, own: Path | None = None) -> list[Column]:
    """Committed measurements (`book/reference/bench-*.json`), an empty column where none is of a GPU, and last the
    reader's own (`artifacts/bench.json`), if there is one that this version wrote.
    """
    committed, own = committed or runs.home() / "book" / "reference", own or own_file()
    columns = []
    for path in sorted(committed.glob("bench-*.json")):
        found = _read(path)
        if found is None:
            raise ValueError(f"{path}: expected format {cost_lines.FORMAT}; measure again with `make bench`")
        columns.append(Column(_head(found["about"]), found, path))
    if not any(one.found["about"]["kind"] == "cuda" for one in columns):
        columns.append(Column(GPU, {}, None))
    mine = _read(own)
    if mine is not None:
        columns.append(Column(f"yours: {_head(mine['about'])}", mine, own))
    return _distinct(columns)


def own_file() -> Path:
    """Where `make bench` leaves the reader's own measurement."""
    return runs.home() / "artifacts" / "bench.json"


def _read(path: Path) -> Measured | None:
    """A measurement, or None where there is none of this format."""
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if found.get("about", {}).get("format") == cost_lines.FORMAT else None


def _head(about: Mapping[str, Any]) -> str:
    """`CPU, 2 cores`, or the GPU's name."""
    return about["device"] if about["kind"] == "cuda" else f"CPU, {_cores(about)}"


def _cores(about: Mapping[str, Any]) -> str:
    return f"{about['cores']} core{'s' * (about['cores'] != 1)}"


def _distinct(columns: Sequence[Column]) -> list[Column]:
    """The same, with a number after a head that was there before."""
    apart: list[Column] = []
    for one in columns:
        before = sum(other.head.partition(" #")[0] == one.head for other in apart)
        apart.append(one._replace(head=f"{one.head} #{before + 1}") if before else one)
    return apart


def side_by_side(columns: Sequence[Column], rows: Callable[[Measured], Rows], name: str, **more: Rows) -> Html:
    """A table with a column a device, and after them `more`: head -> label -> text."""
    texts = {one.head: rows(one.found) for one in columns} | more
    labels = dict.fromkeys(label for one in columns for label in texts[one.head])
    if not labels:
        return Html("<p>Nothing of it has been measured; <code>make bench</code> does.</p>")
    return tables.mapping({label: {head: own.get(label) for head, own in texts.items()} for label in labels}, name)


def feeds(columns: Sequence[Column]) -> Html:
    """Speed on each feed beside resident recordings: with the network, and without one."""
    return _by_network(columns, cost_lines.feeds, "feeds")


def feeds_alone(columns: Sequence[Column]) -> Html:
    """The same without a network."""
    return _by_network(columns, cost_lines.feeds_alone, "feeds-alone")


def parts(columns: Sequence[Column]) -> Html:
    """Milliseconds of an update by part."""
    return _by_network(columns, cost_lines.parts, "parts")


def use(columns: Sequence[Column]) -> Html:
    """Rates, utilisation and memory."""
    return _by_network(columns, cost_lines.use, "use")


def _by_network(columns: Sequence[Column], rows: Callable[[Measured, str], Rows], name: str) -> Html:
    """A table a network that was taken apart on any device, with its size and batch over it."""
    names = dict.fromkeys(name for one in columns for name in cost_lines.networks(one.found))
    if not names:
        return side_by_side(columns, lambda found: {}, name)
    shown = Html("")
    for network in names:
        title = cost_lines.NETWORKS[network].capitalize()
        table = side_by_side(columns, lambda found, network=network: rows(found, network), f"{name}-{network}")
        head = Html('<p class="merit-caption"><b>{}.</b> {}</p>').format(title, _sizes(columns, network))
        shown += head + table
    return shown


def _sizes(columns: Sequence[Column], network: str) -> str:
    """`Batch 32, 4,000 recordings.` of each device that differs."""
    every = [one.found["updates"]["networks"].get(network) for one in columns if "updates" in one.found]
    texts = [f"batch {one['batch']}, {one['records']:,} recordings" for one in every if one]
    return f"{'; '.join(dict.fromkeys(texts))}.".capitalize()


def stages(columns: Sequence[Column]) -> Html:
    """Ingest and linear probing beside what they should be."""
    return side_by_side(columns, cost_lines.stages, "stages", wanted=cost_lines.WANTED)


def full(columns: Sequence[Column]) -> Html:
    """The paper's network at the paper's number of recordings, by way of computing an update."""
    return side_by_side(columns, cost_lines.full, "full")


def objectives(columns: Sequence[Column]) -> Html:
    """Speed of each objective beside MERIT's."""
    return side_by_side(columns, cost_lines.objectives, "objectives")


def published(columns: Sequence[Column]) -> Html:
    """A table a network at its published size."""
    shown = Html("")
    for name, title in cost_lines.PUBLISHED.items():
        if any(name in cost_lines.published(one.found) for one in columns):
            table = side_by_side(
                columns, lambda found, name=name: cost_lines.published(found).get(name, {}), f"published-{name}"
            )
            shown += Html('<p class="merit-caption"><b>{}.</b></p>').format(title) + table
    return shown or side_by_side(columns, lambda found: {}, "published")


def projection(columns: Sequence[Column], price_per_hour: float) -> Html:
    """The paper's run of one objective: hours, money, and what its goals need."""
    return side_by_side(columns, lambda found: cost_lines.projection(found, price_per_hour), "projection")


def growth(columns: Sequence[Column]) -> Drawing:
    """A panel for recordings, batch and width: recordings a second beside the smallest's; bars from least to most."""
    there = [one for one in columns if "updates" in one.found]
    if not there:
        return nothing("nothing has been measured")
    figure = Drawing(figsize=(7.2, 2.6), layout="constrained")
    axes = figure.subplots(1, len(cost_lines.GROWN))
    for axis, (name, label) in zip(axes, cost_lines.GROWN.items()):
        for place, one in enumerate(there):
            rows = one.found["updates"]["growth"][name]
            value, middle, low, high = (np.array([row[key] for row in rows]) for key in KEYS)
            axis.errorbar(
                value, middle, yerr=[middle - low, high - middle], color=COLOURS[place % len(COLOURS)],
                marker=MARKS[place % len(MARKS)], markersize=4, elinewidth=1, label=one.head,
            )  # fmt: skip
        values = sorted({row["value"] for one in there for row in one.found["updates"]["growth"][name]})
        axis.set(xscale="log", xlabel=label)
        axis.set_ylim(bottom=0)
        axis.set_xticks(values, [_short(value) for value in values], fontsize=7)
        axis.minorticks_off()
    axes[0].set_ylabel("speed, smallest = 1")
    handles, labels = distinct(axes)
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _short(value: int) -> str:
    """`16k` for 16,000."""
    return f"{value / 1000:.0f}k" if value >= 1000 else str(value)


def reading(columns: Sequence[Column]) -> str:
    """A line a device and network: the share of the data in an update, and whether any feed beats the resident one."""
    sentences = []
    for one in columns:
        for network in cost_lines.networks(one.found):
            values = one.found["updates"]["networks"][network]
            share = cost_lines.percent(values["parts_s"]["data"] / sum(values["parts_s"].values()))
            others = {
                name: path for name, path in values["paths"].items() if name not in ("resident", *cost_lines.STEPS)
            }
            faster = [cost_lines.FEEDS.get(name, name) for name, path in others.items() if path["ratio_low"] > 1]
            text = "no other feed is faster than the resident one in every round"
            if faster:
                text = f"faster than the resident feed in every round: {listing(faster)}"
            where = f"{_capital(one.head)}, {cost_lines.NETWORKS[network]}"
            sentences.append(f"- {where}: data take {share} of an update; {text}.")
    return "\n".join(sentences) or "Nothing has been measured; `make bench` does."


def where(columns: Sequence[Column], own: Path | None = None) -> str:
    """On what each column was measured, why one is empty, and how the reader gets one."""
    sentences = [f"- {_capital(one.head)}: {_measured(one.found['about'])}" for one in columns if one.found]
    if any(one.head == GPU for one in columns):
        sentences.append(f"- {GPU}: none was at hand when these were committed, so its column stays empty.")
    own = own or own_file()
    if all(one.path != own for one in columns):
        stale = "A measurement is there that another version wrote. " if own.exists() else ""
        sentences.append(
            f"- Yours: {stale}`make bench` measures your machine (ten minutes on 2 cores), and the next `make book` "
            "shows it here."
        )
    return "\n".join(sentences)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _measured(about: Mapping[str, Any]) -> str:
    source = {True: "synthetic hospitals", False: "real recordings", None: ""}[about["synthetic"]]
    stage = f"; ingest and probing on {source}" if source else ""
    versions = f"torch {about['versions']['torch']}, Python {about['versions']['python']}"
    return (
        f"{about['device']}, {_cores(about)}, {about['memory_gb']:.0f} GB; {about['finished'][:10]}, commit "
        f"{about['commit'] or 'unknown'}, {versions}; {about['seconds']:.0f} s in all{stage}."
    )


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
    """A sentence on what the paper's language model takes in memory (`evaluate.generation.generator`, committed)."""
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
