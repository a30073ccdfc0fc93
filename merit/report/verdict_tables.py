"""The claims page: what is claimed and whether the paper's own numbers bear it out, our values, verdicts, oddities."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from merit import runs
from merit.config import GenerationConfig, PretrainConfig, Profile
from merit.report import cost, paper, paper_checks, show
from merit.report.claims import Claim, paired
from merit.report.evidence import Evidence
from merit.report.prose import Html, badge, listing
from merit.report.style import OURS
from merit.report.verdicts import OUTCOMES, SEEDS_NEEDED, Interval, Reading, Verdict, interval

HOLDS = {True: "holds", False: "does not hold", None: "cannot be checked"}
PAGES = {
    "linear_probe": "table1_linear_probe", "zero_shot": "table2_zero_shot", "shift": "table7_shift",
    "information": "fig3_embedding_mi", "clusters": "fig4_umap", "generation": "table3_generation",
    "kept": "what_is_kept",
}  # fmt: skip
"""Stage -> the page that runs it, whose budget is known."""


def claimed(claims: Iterable[Claim]) -> Html:
    """A row a claim: what it says, where, and what the paper's own surviving numbers say of it."""
    rows = {}
    for claim in claims:
        printed = claim.printed()
        rows[claim.id] = {
            "claim": f"{claim.text} ({claim.place})",
            "in its own numbers": f"{HOLDS[printed.holds]}: {printed.text.removeprefix('lost: ')}",
        }
    return show.facts(rows, "claimed")


def verdicts(judged: Iterable[Verdict], absent: Sequence[str] = ()) -> Html:
    """A row a claim: the outcome, our value in each run with its interval over seeds, why, and what would settle it.

    absent: published encoders whose weights are not at hand, by our names.
    """
    rows = {
        one.claim.id: {
            "claim": one.claim.title,
            "outcome": one.verdict + _of_what(one),
            "our value": "\n".join(reading_text(one.claim, reading) for reading in one.readings) or "–",
            "why": one.why,
            "settled by": settling(one.claim, absent),
        }
        for one in judged
    }
    return show.facts(rows, "verdicts")


def _of_what(judged: Verdict) -> str:
    """On which recordings and how many seeds an outcome below a verdict rests."""
    if not judged.readings or not judged.readings[0].why.count("no verdict"):
        return ""
    decisive = judged.readings[0]
    seeds = min(one.n for one in decisive.cells.values())
    kind = "synthetic" if decisive.evidence.synthetic else "real recordings"
    return f" ({kind}, {'one run' if seeds == 1 else f'{seeds} seeds'})"


def reading_text(claim: Claim, reading: Reading) -> str:
    """One run's value: of the cell on which the claim hangs, and in how many cells the mean over seeds is above."""
    least = reading.least
    if least is None:
        return f"{reading.evidence.label()}: –"
    label, value = least
    seeds = _seeds(value.n)
    above = sum(round(one.mean, claim.digits) > claim.threshold for one in reading.cells.values())
    bar = f"above {claim.threshold:g} {claim.unit}" if claim.threshold else "above zero"
    n = len(reading.cells)
    many = f"point value {bar} in {above} of {n} comparisons ({claim.each}); least " if n > 1 else ""
    return f"{reading.evidence.label()}, {seeds}: {many}{number_text(value, claim.unit)} ({label}): {reading.outcome}"


def _seeds(n: int) -> str:
    return f"{n} seed{'s' * (n > 1)}"


def settling(claim: Claim, absent: Sequence[str] = (), root: Path | None = None) -> str:
    """The command that would give a verdict, its hours by the budgets of one GPU, and what has to be brought.

    absent: published encoders without weights. Hours: `SEEDS_NEEDED` pretrainings of each encoder that it speaks of,
    and as often the stage's page, whose budget is for more encoders than these, so it is an upper bound.
    """
    with ((root or runs.home()) / "book" / "budget.csv").open(newline="", encoding="utf-8") as file:
        seconds = {row["step"]: float(row["seconds"]) for row in csv.DictReader(file) if row["profile"] == "paper"}
    hours = (len(claim.trained) * seconds["pretraining"] / N_PRETRAINED + seconds[PAGES[claim.stage]]) / 3600
    group = "published" if claim.peers else "objectives"
    named = "" if claim.peers else f" --encoders {','.join(claim.trained)}"
    command = (
        f"merit reference --profile paper --data FOLDER --seeds {SEEDS_NEEDED} --group {group} "
        f"--stages {claim.stage}{named}"
    )
    needs = ["MIMIC-IV-ECG", *(["MedTVT-QA", "Llama-3.2-1B-Instruct"] * (claim.stage == "generation"))]
    if weights := [paper_checks.row_label(name) for name in claim.peers if name in absent]:
        needs.append(f"the weights of {listing(weights)}")
    return f"{command}\nbudget: {SEEDS_NEEDED * hours:,.0f} h on one GPU; not without {listing(needs)}"


N_PRETRAINED = 4
"""Objectives whose pretraining the page `pretraining` has a budget for."""


def measured_rate() -> Html:
    """Hours of one pretraining at the paper's size at the committed rates, beside the budget of a GPU."""
    columns = [(one.head, one.found["updates"]["projection"]["hours"]) for one in cost.load() if one.found]
    found = listing(f"{cost.hours(hours)} on {head}" for head, hours in columns)
    text = Html('<p>At the <a href="cost.html">measured rates</a> one pretraining of MERIT takes {}.</p>')
    return text.format(found) if columns else Html("")


def number_text(value: Interval, unit: str) -> str:
    """`+1.24 [0.31, 2.17] points`; shares carry no sign."""
    share = unit == "%"
    text = f"{value.mean:.0f}" if share else f"{value.mean:+.2f}"
    if value.low is not None:
        ends = (max(0, value.low), min(100, value.high)) if share else (value.low, value.high)
        text += " [{:.{d}f}, {:.{d}f}]".format(*ends, d=0 if share else 2)
    return f"{text} {unit}".replace("-", "−")


def summary(judged: Sequence[Verdict]) -> str:
    """How many claims have which outcome, and how many the paper's own numbers settle."""
    counts = Counter(one.verdict for one in judged)
    ours = listing(f"{counts[name]} {name}" for name in OUTCOMES)
    holds = Counter(one.claim.printed().holds for one in judged)
    return (
        f"Of {len(judged)} claims: {ours}. In the paper's own surviving numbers {holds[True]} hold, {holds[False]} "
        f"do{'es' * (holds[False] == 1)} not, and {holds[None]} cannot be checked, since their numbers are lost "
        "or were never given."
    )


def at_equal_budget(evidence: Iterable[Evidence]) -> str:
    """Which peer's method leads MERIT in AUROC at equal budget: stage by stage, on how many columns, by how much."""
    parts = []
    for run in evidence:
        tasks = {task for encoder, task, metric in run.scores if (encoder, metric) == ("merit", "auroc")}
        for rival in OURS if run.budgeted and tasks else ():
            gaps = [paired(run, rival, "merit", task, "auroc") for task in sorted(tasks)]
            means = [sum(gap) / len(gap) for gap in gaps if gap]
            if ahead := [mean for mean in means if mean > 0]:
                parts.append(
                    f"{paper_checks.row_label(rival)} leads MERIT in AUROC of {show.label(run.stage, 'study')} in "
                    f"{len(ahead)} of {len(means)} columns, by {min(ahead):.1f} to {max(ahead):.1f} points "
                    f"({run.label()}, {_seeds(max(map(len, gaps)))})"
                )
    if not parts:
        return "No peer's method leads MERIT at equal budget in the results at hand, or none was trained."
    return f"At equal budget {'; '.join(parts)}."


def settings(profile: Profile) -> Html:
    """A row a setting: what the paper states, or that it is lost or was never given, and ours in this profile."""
    ours = _ours(profile)
    rows = {
        f"{one.stage}: {one.what}": {
            "paper": one.source.partition(", ")[2] if one.value is None else f"{one.value}",
            "ours": ours[one.stage, one.what],
            "place": one.source.partition(", ")[0],
        }
        for one in paper.SETTINGS
    }
    return show.facts(rows, "settings")


def _ours(profile: Profile) -> dict[tuple[str, str], str]:
    signal, pretrain, probe, text = profile.signal, profile.pretrain, profile.probe, profile.generation
    rows = {
        ("recordings", "leads"): profile.model.encoder.n_leads,
        ("recordings", "length, s"): f"{signal.duration_s:g}",
        ("recordings", "rate of the files, Hz"): "as the files have it",
        ("recordings", "rate used, Hz"): signal.fs_hz,
        ("pretraining", "optimiser"): "AdamW",
        ("pretraining", "step size"): f"{pretrain.learning_rate:g}",
        ("pretraining", "weight decay"): f"{pretrain.weight_decay:g}",
        ("pretraining", "epochs"): _length(pretrain),
        ("pretraining", "schedule"): f"cosine, after {100 * pretrain.warmup_share:g} % of linear warm-up",
        ("pretraining", "batch"): pretrain.batch,
        ("pretraining", "bottleneck strength"): f"{pretrain.bottleneck_strength:g}",
        ("pretraining", "mask ratio"): f"{profile.model.mask_ratio:g}",
        ("pretraining", "temperature"): f"{profile.model.temperature:g}",
        ("pretraining", "scale of the target"): profile.model.scaling,
        ("pretraining", "device"): "any; see the page's foot",
        ("linear probing", "optimiser"): "AdamW",
        ("linear probing", "step size"): f"{probe.learning_rate:g}",
        ("linear probing", "batch"): probe.batch_size,
        ("linear probing", "epochs"): probe.epochs,
        ("linear probing", "folds"): probe.folds,
        ("linear probing", "threshold of F1"): "both: the oracle's and the validation fold's",
        ("generation", "optimiser"): "AdamW",
        ("generation", "first step size"): f"{text.learning_rate:g}",
        ("generation", "last step size"): f"{text.min_learning_rate:g}",
        ("generation", "weight decay"): f"{text.weight_decay:g}",
        ("generation", "epochs"): _length(text),
        ("generation", "batch"): text.batch,
        ("generation", "longest sequence, tokens"): text.max_tokens,
        ("generation", "rank of LoRA"): text.lora_rank,
    }
    return {key: str(value) for key, value in rows.items()}


def _length(config: PretrainConfig | GenerationConfig) -> str:
    return f"{config.updates:,} updates" if config.epochs is None else f"{config.epochs:g}"


def survival() -> Html:
    """A row a table: what it shows, and how many of its cells survive in the texts that we have."""
    rows = {
        f"Table {table}": {"shows": paper.TABLES[table].title, "cells": f"{had}", "survive": f"{kept}"}
        for table, (kept, had) in paper.survival().items()
    }
    return show.facts(rows, "survival")


def oddities() -> Html:
    """A row for each thing in the paper's numbers that does not fit another, with its evidence."""
    found = enumerate(paper_checks.oddities().items(), start=1)
    return show.facts({str(k): {"what": what, "evidence": text} for k, (what, text) in found}, "oddities")


# -- the book in one box ----------------------------------------------------------------------------------------------

ABLATIONS = "f"
"""The claim whose comparisons say what each part of the objective is worth."""

AGAIN = {
    "make book": "these pages, without any download",
    "make book DATA=/folder": "the same from the real data sets",
    "make book PROFILE=paper DATA=/folder": "at the paper's scale, on a GPU",
}


def front(judged: Sequence[Verdict]) -> Html:
    """The box on the first page; every number in it is computed from the verdicts."""
    rows = {
        "The paper claims": _claimed([one.claim for one in judged]),
        "Its own numbers": _printed([one.claim for one in judged]),
        "We find": _found(judged),
        "How sure": _sure(judged),
        "Again": Html("<br>").join(Html("<code>{}</code> {}").format(*one) for one in AGAIN.items()),
    }
    shown = Html("").join(Html("<dt>{}</dt><dd>{}</dd>").format(*row) for row in rows.items())
    return Html('<dl class="merit-front">{}</dl>').format(shown)


def _claimed(claims: Sequence[Claim]) -> str:
    """The stated amounts, in the words of the claims."""
    amounts = {one.title: f"{'more than ' * one.more}{one.reach:g}" for one in claims if one.reach}
    stated = listing(f"{amount} points ({title})" for title, amount in amounts.items())
    return (
        "An encoder of ECGs pretrained on reconstruction and alignment together (MERIT) keeps more than one pretrained "
        f"on either alone, and beats every earlier method by {stated}. We read {len(claims)} claims in it."
    )


def _printed(claims: Iterable[Claim]) -> str:
    holds = Counter(one.printed().holds for one in claims)
    return (
        f"bear out {holds[True]} of these, contradict {holds[False]}, and leave {holds[None]} open, whose numbers are "
        "lost in the texts at hand or were never given."
    )


def _found(judged: Sequence[Verdict]) -> Html:
    """Verdicts, and by how much MERIT is above each ablation in linear probing, in each run."""
    counts = Counter(one.verdict for one in judged)
    outcomes = listing(f"{counts[name]} {name}" for name in OUTCOMES)
    readings = next((one.readings for one in judged if one.claim.id == ABLATIONS), ())
    lines = [line for reading in readings if (line := _margins(reading))]
    return Html("<br>").join([f"Claims: {outcomes}.", *lines])


def _margins(reading: Reading) -> str:
    """MERIT minus each ablation in AUROC, averaged over tasks, with its interval over seeds; and on how many tasks."""
    by_rival: dict[str, list[list[float]]] = {}
    for label, values in reading.values.items():
        column, _, rival = label.rpartition(", over ")
        if column.endswith("AUROC"):
            by_rival.setdefault(rival, []).append(values)
    shown = listing(f"{rival} {_margin(tasks)}" for rival, tasks in by_rival.items())
    where = f"{reading.evidence.label()}, {_seeds(reading)}"
    return f"AUROC of linear probes, MERIT minus others, points: {shown} ({where})." if shown else ""


def _margin(tasks: Sequence[Sequence[float]]) -> str:
    """`+2.4 [2.0, 2.8], above in 7 of 7 tasks`. tasks: for each, a difference for each seed."""
    mean = interval([sum(of_seed) / len(tasks) for of_seed in zip(*tasks)])
    ends = "" if mean.low is None else f" [{mean.low:.1f}, {mean.high:.1f}]"
    above = sum(sum(of_task) > 0 for of_task in tasks)
    return f"{mean.mean:+.1f}{ends}".replace("-", "−") + f", above in {above} of {len(tasks)} tasks"


def _seeds(reading: Reading) -> str:
    n = min((one.n for one in reading.cells.values()), default=0)
    return f"{n} pretraining seeds, 95 % intervals" if n > 1 else "one pretraining seed, no interval"


def _sure(judged: Sequence[Verdict]) -> Html:
    """What the numbers rest on, and what a verdict would need."""
    runs: Mapping[str, Reading] = {one.evidence.label(): one for verdict in judged for one in verdict.readings}
    real = any(not one.evidence.synthetic for one in runs.values())
    synthetic = any(one.evidence.synthetic for one in runs.values())
    badges = Html(" ").join(badge(kind) for kind, there in ((True, synthetic), (False, real)) if there)
    evidence = " Synthetic hospitals show that the machinery works; they are no evidence about real hearts." * synthetic
    return Html(
        "{}{} A verdict needs real recordings, the paper's profile, {} pretraining seeds "
        'and every row that the claim speaks of: <a href="claims.html">each claim</a>, '
        '<a href="limits.html">limits</a>, <a href="protocol.html">what the protocol is worth</a>.'
    ).format(badges, evidence, SEEDS_NEEDED)
