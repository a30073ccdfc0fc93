"""The paper's claims, each with its place and its rule; what runs say of them, and the verdict.

A rule gives cells: label -> one number for each pretraining seed (differences are paired by seed). The claim holds
where every cell exceeds `threshold`, and the least of them reaches `reach` where an amount is stated.

A *verdict* needs real recordings, the paper's profile, five pretraining seeds (or rotations of a cross-fitted
pretraining) and every row that the claim speaks of. Then it is *supported* where the whole 95 % interval over seeds
lies above the claim's threshold, in every cell (each must hold, so none is corrected for their number), and reaches the
stated amount; else *not supported*, and the reason says whether an interval lies wholly below (at a level corrected for
the number of cells) or merely includes it. One comparison that is contradicted decides a claim about all of them, so
missing rows do not keep it from being *not supported*.

Any other run is *consistent* or *inconsistent* with the claim by its point values, means over whatever seeds it has.
Intervals over seeds hold patients and published encoders fixed: they say what another pretraining would change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from scipy.special import stdtrit

from merit import runs
from merit import scores as scores_of
from merit.report import paper
from merit.report.prose import listing
from merit.report.show import ENCODERS, label

# -- what runs say: a number for each encoder, task, metric and pretraining seed --------------------------------------

EQUAL_BUDGET = "equal-budget"
"""The group in which peers' methods are trained on the same recordings with the same updates."""
METHODS_OF_PEERS = tuple(ENCODERS.index[ENCODERS["ours"] != ""])
PTB_XL_TOO = "pretrained on PTB-XL, not on MIMIC-IV-ECG"
"""Seen from the probes: PTB-XL then has one split in place of ten folds."""
NOT_PUBLISHED = "peers' methods in our implementation, not the published encoders"
"""Of a run at equal budget."""
PAIRS = "pairs"
"""The task's place for what is measured on pairs of ECG and report."""
THRESHOLD_RULES = {"oracle": "_oracle", "honest": ""}
"""How F1 and accuracy got their threshold -> what the metric's name ends with in a result."""
CLASSIFIED = ("auroc", "f1", "f1_oracle", "accuracy", "accuracy_oracle")
JUDGED: dict[str, tuple[str, float, dict[str, Any]]] = {
    "linear_probe": ("task", 100, {"variant": "as_published", "scored": "by fold", "metric": CLASSIFIED}),
    "kept": ("decoder", 100, {"kind": "summary", "metric": "r2_partial"}),
    "shift": ("transfer", 100, {"variant": "as_published", "scored": "target", "class": "macro"}),
    "zero_shot": (
        "task",
        100,
        {"prompts": "enriched", "scope": "unseen", "ensemble": True, "class": "macro", "metric": CLASSIFIED},
    ),
    "information": ("task", 1, {"scope": "validation"}),
    "clusters": ("task", 100, {"class": ["macro", "PACE"]}),
    "generation": ("study", 100, {"condition": "model"}),
}
"""Study -> column that a claim calls a task, unit (100: scores become percent, so that differences are points), and the
scores that claims are judged on."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one run says at one stage."""

    stage: str
    profile: str
    synthetic: bool
    run: str = ""
    """Name of the run that committed reference results come from; "" for the reader's own."""
    made: Mapping[str, Any] = field(default_factory=dict)
    """Of reference results: commit, device and day."""
    scores: Mapping[tuple[str, str, str], Mapping[int, float]]
    """Encoder, task, metric -> pretraining seed -> value."""
    caveats: tuple[str, ...] = ()
    """What else keeps it from the paper's protocol."""
    reasons: tuple[str, ...] = ()
    """Why rows have no numbers, each once."""
    group: str | None = None
    """The group of encoders that committed reference results are of; None: the paper's own."""

    def label(self) -> str:
        """`this run: demo, synthetic`."""
        kind = "synthetic" if self.synthetic else "real recordings"
        where = f"reference{', equal budget' * (self.group == EQUAL_BUDGET)}" if self.run else "this run"
        return f"{where}: {self.profile}, {kind}"


def evidence(stage: str, found: pd.DataFrame, rule: str = "oracle", **about: Any) -> Evidence:
    """What a frame of a study's scores says: those that claims are judged on.

    rule: which threshold F1 and accuracy have, `oracle` or `honest`. about: profile, synthetic and further fields.
    """
    if rule not in THRESHOLD_RULES:
        raise ValueError(f"rule: expected one of {', '.join(THRESHOLD_RULES)}; got {rule!r}")
    task, unit, where = JUDGED[stage]
    if stage == "information":  # the pairs that the paper draws are one task; an estimator without a vote is left out
        found = found[found["no_vote"].isna()] if "no_vote" in found else found
        found = found.assign(task=PAIRS)
    if stage == "clusters":  # metrics such as `umap purity`, of all rhythms, and `umap purity PACE`, of pacing alone
        found = found.assign(task="rhythm")
        if "space" in found:
            pace = found["class"].map({"PACE": " PACE"}).fillna("")
            found = found.assign(metric=found["space"] + " " + found["metric"] + pace)
    # Of F1 and accuracy, those with the threshold that was asked for, under one name.
    cells: dict[tuple[str, str, str], dict[int, float]] = {}
    for row in scores_of.scored(found, **where).to_dict("records"):
        metric = str(row["metric"])
        if metric.removesuffix("_oracle") in ("f1", "accuracy"):
            if metric.endswith("_oracle") != bool(THRESHOLD_RULES[rule]):
                continue
            metric = metric.removesuffix("_oracle")
        cells.setdefault((row["encoder"], row[task], metric), {})[row["encoder_seed"]] = unit * row["value"]
    # What keeps it from the paper's protocol, and why rows have no numbers.
    split = "protocol" in found and found["protocol"].astype(str).str.startswith("official split").any()
    empty = found[found["value"].isna()]
    empty = empty[empty["class"].fillna("macro") == "macro"] if "class" in empty else empty
    reasons = tuple(dict.fromkeys(empty["reason"].dropna()))
    return Evidence(stage=stage, scores=cells, caveats=(PTB_XL_TOO,) * bool(split), reasons=reasons, **about)


def references(root: Path | None = None, rule: str = "oracle") -> list[Evidence]:
    """All committed results (`book/reference/<stage>-<run>.json`) that a claim can be read from, real recordings first;
    [] where there are none. Raises ValueError for a file of another form.
    """
    folder, found = (root or runs.home()) / "book" / "reference", []
    for path in [path for study in JUDGED for path in sorted(folder.glob(f"{study}-*.json"))]:
        about, frame = scores_of.read(path)
        told = {"profile": str(about["profile"]), "synthetic": bool(about["synthetic"]), "group": about.get("suffix")}
        told |= {"made": {name: about.get(name) for name in ("commit", "device", "finished")}}
        run = path.stem.removeprefix(f"{about['study']}-")
        found.append(evidence(about["study"], frame, rule, run=run, **told))
    split = {run.run for run in found if PTB_XL_TOO in run.caveats}  # a caveat of the whole run
    for k, run in enumerate(found):
        caveats = (PTB_XL_TOO,) * (run.run in split) + (NOT_PUBLISHED,) * (run.group == EQUAL_BUDGET)
        found[k] = replace(run, caveats=caveats)
    return sorted(found, key=lambda run: run.synthetic)


# -- how claims are read from scores ----------------------------------------------------------------------------------

METRIC_LABELS = {
    "auroc": "AUROC", "f1": "F1", "accuracy": "accuracy", "bleu_published": "BLEU", "meteor": "METEOR",
    "rouge_published": "ROUGE", "bertscore_published": "BERTScore",
}  # fmt: skip


class Measured(NamedTuple):
    """What one run says on a claim."""

    cells: dict[str, list[float]]
    """Label -> a number for each pretraining seed."""
    missing: tuple[str, ...] = ()
    """What the claim speaks of and the run does not have."""


Columns = Sequence[tuple[str, str]]
"""Task and metric of each."""
Measure = Callable[[Evidence], Measured]


def row_label(row: str) -> str:
    """An encoder or a method, as sentences write it."""
    return paper.ROW_LABELS.get(row) or label(row, "encoder")


def cell_label(task: str, metric: str) -> str:
    """`PTB-XL form accuracy`; a transfer as `CSN to CPSC2018`."""
    name = " to ".join(label(part, "task") for part in task.split(">"))
    return name if ">" in task else f"{name} {METRIC_LABELS.get(metric, metric)}"


def paired(evidence: Evidence, first: str, other: str, task: str, metric: str) -> list[float]:
    """first − other for each pretraining seed that both have; a published encoder's single number stands for all."""
    a, b = (evidence.scores.get((name, task, metric), {}) for name in (first, other))
    if len(b) == 1 and other in (*paper.PEERS, "medtvt-r1"):  # its weights are published: there is no other seed
        b = dict.fromkeys(a, next(iter(b.values())))
    return [a[seed] - b[seed] for seed in sorted(a) if seed in b]


def over(columns: Columns, rivals: Sequence[str], place: int = 1) -> Measure:
    """How far MERIT is above each rival that it must beat to be at least `place`-th of each column.

    With place 1, that is all of them; with place 2, all but the best one. A rival or a column without numbers is named
    as missing. In a run at equal budget its peers' methods stand for the published encoders; never our own ablations,
    which are no earlier method.
    """

    def measure(evidence: Evidence) -> Measured:
        has = {encoder for encoder, _, _ in evidence.scores}
        others = [name for name in METHODS_OF_PEERS if name in has] if evidence.group == EQUAL_BUDGET else rivals
        cells: dict[str, list[float]] = {}
        missing: dict[str, None] = {}
        for task, metric in columns:
            name, there = cell_label(task, metric), {}
            for other in others:
                if differences := paired(evidence, "merit", other, task, metric):
                    there[other] = differences
                else:
                    missing[name if other in has else row_label(other)] = None
            # Those that it must beat: all, or all but the best, which comes first.
            beaten = sorted(there, key=lambda other: sum(there[other]) / len(there[other]))[place - 1 :]
            cells |= {f"{name}, over {row_label(other)}": there[other] for other in beaten}
        return Measured(cells, tuple(missing))

    return measure


def mean_over(columns: Columns, rivals: Sequence[str]) -> Measure:
    """The mean of `over` over all columns for each rival; one that lacks a column is missing."""

    def measure(evidence: Evidence) -> Measured:
        found, by_rival = over(columns, rivals)(evidence), {}
        for name, values in found.cells.items():
            by_rival.setdefault(name.rpartition(", over ")[2], []).append(values)
        whole = {name: of for name, of in by_rival.items() if len(of) == len(columns)}
        means = {
            f"mean of {len(columns)} columns, over {name}": [sum(of_seed) / len(columns) for of_seed in zip(*of)]
            for name, of in whole.items()
        }
        lacking = [name for name in by_rival if name not in whole]
        return Measured(means, tuple(dict.fromkeys([*found.missing, *lacking])))

    return measure


def share_ahead(columns: Columns, first: str, second: str) -> Measure:
    """For each seed, in which share of the columns (0 to 100 %) `first` is above `second`."""

    def measure(evidence: Evidence) -> Measured:
        gaps = {cell_label(*column): paired(evidence, first, second, *column) for column in columns}
        there = [values for values in gaps.values() if values]
        missing = tuple(name for name, values in gaps.items() if not values)
        if not there or len(set(map(len, there))) > 1:
            return Measured({}, missing)
        ahead = [100 * sum(gap > 0 for gap in of_seed) / len(there) for of_seed in zip(*there)]
        return Measured({f"columns with {row_label(first)} above {row_label(second)}": ahead}, missing)

    return measure


def minus(metrics: Mapping[tuple[str, str], str], pairs: Sequence[tuple[str, str]], scale: float = 1.0) -> Measure:
    """First encoder minus second for each pair, by each metric ((task, metric) -> label)."""

    def measure(evidence: Evidence) -> Measured:
        found = {
            f"{name}, {row_label(first)} minus {row_label(second)}": paired(evidence, first, second, *column)
            for column, name in metrics.items()
            for first, second in pairs
        }
        missing = tuple(name for name, values in found.items() if not values)
        return Measured({name: [scale * v for v in values] for name, values in found.items() if values}, missing)

    return measure


PROBED = tuple((task, metric) for task in paper.TASKS for metric in paper.METRICS)
FINE = tuple((task, metric) for task in ("subclass", "all", "csn") for metric in paper.METRICS)
"""Columns of the tasks that Section 4.2.1 calls fine-grained."""
ZERO_SHOT_BEST = (("superclass", "auroc"), *(("subclass", metric) for metric in paper.METRICS))
ZERO_SHOT_ALL = (("all", "auroc"), ("all", "f1"))
"""The two metrics in which the contributions speak of zero-shot."""
FIRST_IN, SECOND_IN = ("cpsc2018>csn", "csn>superclass"), ("superclass>csn", "csn>cpsc2018")
"""Directions of Table 7 in which the text says that MERIT is best, and second best."""
TRANSFERRED = tuple((task, "auroc") for task in paper.TRANSFERS)
WITH_TEXT = paper.TABLES[2].rows[:-1]
"""The published encoders of Table 2."""
UNIMODAL, ALIGNED = ("ecg-fm", "st-mem"), ("merl", "esi")
"""What Section 4.2.3 holds MERIT against; D-BETA is hybrid by Section 2.2, though 4.2.1 groups it with alignment."""
OVER_ALIGNED = (("merit", "cma"), ("merit", "ib"))
ESTIMATORS = {"info_nce": "InfoNCE", "ksg": "KSG", "gaussian": "Gaussian"}
OWN_REGION = {(PAIRS, "ecg_outside_text"): "outside the text's span"}
"""Share of the ECG's variance that is its own."""
DECODED = {(decoder, "r2_partial"): decoder for decoder in ("linear", "nonlinear")}
"""What an embedding adds to the report about a recording's factors, by each decoder."""
WRITTEN = ("bleu_published", "meteor", "rouge_published", "bertscore_published")
"""The scores of Table 3, as MedTVT-R1's evaluation computes them."""
CLUSTERED = {
    space: {
        ("rhythm", f"{space} {name}{what}"): f"{name}{what}"
        for name in ("purity", "silhouette")
        for what in ("", " PACE")
    }
    for space in ("umap", "encoder")
}
"""Purity and silhouette of rhythms, and of pacing alone: in the picture that the paper shows, and in the embedding,
since UMAP can pull apart what lies together."""


def transfers(evidence: Evidence) -> Measured:
    """First in two directions, second in two others."""
    first = over([(task, "auroc") for task in FIRST_IN], paper.PEERS)(evidence)
    second = over([(task, "auroc") for task in SECOND_IN], paper.PEERS, place=2)(evidence)
    return Measured(first.cells | second.cells, tuple(dict.fromkeys(first.missing + second.missing)))


def informed(evidence: Evidence) -> Measured:
    """MERIT's mutual information minus that of CMA and IB, nats, by each estimator that has a vote on all rows."""
    seeds = {
        (e, name): set(evidence.scores.get((e, PAIRS, name), {})) for e in ("merit", "cma", "ib") for name in ESTIMATORS
    }
    voting = {
        (PAIRS, name): text
        for name, text in ESTIMATORS.items()
        if all(seeds[e, name] == seeds[e, "gaussian"] for e in ("merit", "cma", "ib"))
    }
    return minus(voting, OVER_ALIGNED)(evidence)


def surrounded(evidence: Evidence) -> Measured:
    """By how much MERIT's ECG cloud is wider than its text cloud, and the texts within it exceed half of them; points.

    Spread: total variance of points of length 1, so at most 100.
    """
    wide, narrow, inside = (
        evidence.scores.get(("merit", PAIRS, name), {}) for name in ("ecg_spread", "text_spread", "text_in_ecg")
    )
    cells = {
        "spread of ECG minus that of text": [
            100 * (wide[seed] - narrow[seed]) for seed in sorted(wide) if seed in narrow
        ],
        "texts within the ECG's region, minus 50 %": [100 * inside[seed] - 50 for seed in sorted(inside)],
    }
    return Measured({k: v for k, v in cells.items() if v}, tuple(k for k, v in cells.items() if not v))


# -- the claims -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of the paper."""

    id: str
    title: str
    text: str
    """In our own words."""
    place: str
    stage: str
    """The stage whose results it is read from."""
    measure: Measure
    trained: tuple[str, ...] = ("merit",)
    """Encoders of ours that have to be pretrained for it."""
    peers: tuple[str, ...] = ()
    """Published encoders that it speaks of: it is read from runs that hold them, or their methods at equal budget."""
    threshold: float = 0.0
    reach: float | None = None
    """An amount that the paper states: the interval has to reach it, not to exceed it."""
    more: bool = False
    """Whether the paper says "more than" that amount."""
    unit: str = "points"
    each: str = "a column and a rival that must be beaten"
    """What one comparison is, where the claim is read from several."""
    every: bool = True
    """Whether one comparison that fails makes the claim fail, whatever else is missing; not so for a share of all."""

    @property
    def digits(self) -> int:
        """Decimals of its numbers as they are printed, and judged: no verdict contradicts what stands beside it."""
        return 0 if self.unit == "%" else 2


CLAIMS = (
    Claim(
        id="a", title="probing, F1, all statements",
        text="Linear probing on PTB-XL's 71 statements: F1 more than 3 points above every earlier method.",
        place="abstract; contributions, 3", stage="linear_probe", peers=paper.PEERS, more=True,
        reach=paper.PROBING_GAINS["all"], measure=over([("all", "f1")], paper.PEERS),
    ),
    Claim(
        id="b", title="probing, F1, subclass",
        text="Linear probing on PTB-XL's 23 subclasses: F1 more than 5 points above every earlier method.",
        place="abstract; contributions, 3", stage="linear_probe", peers=paper.PEERS, more=True,
        reach=paper.PROBING_GAINS["subclass"], measure=over([("subclass", "f1")], paper.PEERS),
    ),
    Claim(
        id="c", title="zero-shot, AUROC, subclass",
        text="Zero-shot on PTB-XL's subclasses: 2.66 points of AUROC above the best earlier method.",
        place="abstract; contributions, 3", stage="zero_shot", reach=paper.ZERO_SHOT_GAINS["auroc"], peers=WITH_TEXT,
        measure=over([("subclass", "auroc")], WITH_TEXT),
    ),
    Claim(
        id="d", title="zero-shot, F1, subclass",
        text="Zero-shot on PTB-XL's subclasses: 2.11 points of F1 above the best earlier method.",
        place="abstract; contributions, 3", stage="zero_shot", reach=paper.ZERO_SHOT_GAINS["f1"], peers=WITH_TEXT,
        measure=over([("subclass", "f1")], WITH_TEXT),
    ),
    Claim(
        id="e", title="probing, best or second",
        text="Linear probing: best or second best of all methods in every column.",
        place="Section 4.2.1", stage="linear_probe", peers=paper.PEERS, measure=over(PROBED, paper.PEERS, place=2),
    ),
    Claim(
        id="f", title="probing, above its ablations",
        text="Linear probing: MERIT above MSE, IB and CMA in every column.",
        place="Section 4.3", stage="linear_probe", trained=("merit", *paper.ABLATIONS),
        measure=over(PROBED, paper.ABLATIONS),
    ),
    Claim(
        id="g", title="probing, CMA over IB",
        text="Linear probing: CMA generally above IB, here in more than half of the columns.",
        place="Section 4.3", stage="linear_probe", trained=("cma", "ib"), threshold=50.0, unit="%", every=False,
        measure=share_ahead(PROBED, "cma", "ib"),
    ),
    Claim(
        id="h", title="zero-shot, IB over CMA",
        text="Zero-shot: IB above CMA in most columns.",
        place="Section 4.3", stage="zero_shot", trained=("cma", "ib"), threshold=50.0, unit="%", every=False,
        measure=share_ahead(PROBED, "ib", "cma"),
    ),
    Claim(
        id="i", title="zero-shot, best or second",
        text="Zero-shot: MERIT best or second best of the objectives in every column.",
        place="Section 4.3", stage="zero_shot", trained=("merit", "cma", "ib"),
        measure=over(PROBED, ("cma", "ib"), place=2),
    ),
    Claim(
        id="j", title="distribution shift",
        text="Transfer without adaptation: best from CPSC2018 to CSN and from CSN to PTB-XL, second best from PTB-XL "
        "to CSN and from CSN to CPSC2018.",
        place="Section 4.2.3; contributions, 3", each="a direction and a rival that must be beaten",
        stage="shift", peers=paper.PEERS, measure=transfers,
    ),
    Claim(
        id="k", title="mutual information",
        text="Mutual information between MERIT's ECG and text embeddings: above CMA's and IB's, here by every "
        "estimator that can be trusted on these pairs.",
        place="Section 4.3; Figure 3", each="an estimator and a rival", trained=("merit", "cma", "ib"),
        stage="information", unit="nats", measure=informed,
    ),
    Claim(
        id="l", title="ECG around text",
        text="MERIT's ECG embeddings spread wider than its text embeddings and surround most of them, here "
        "more than half.",
        place="Section 4.3; Figure 3", each="a condition", stage="information", measure=surrounded,
    ),
    Claim(
        id="m", title="ECG's own region",
        text="MERIT keeps more that is the ECG's own than CMA and IB, here variance outside the text's span.",
        place="Section 4.3; Figure 3", each="a rival", stage="information",
        trained=("merit", "cma", "ib"), measure=minus(OWN_REGION, OVER_ALIGNED, scale=100),
    ),
    Claim(
        id="n", title="bottleneck strength",
        text="The stronger the bottleneck, the less is left that is the ECG's own.",
        place="Section 4.3; Figure 3", each="a step of the strength", stage="information",
        trained=("ib-0.1", "ib", "ib-1"), measure=minus(OWN_REGION, (("ib-0.1", "ib"), ("ib", "ib-1")), scale=100),
    ),
    Claim(
        id="o", title="rhythm clusters, picture",
        text="In the picture, the twelve rhythms form more compact and better separated clusters than with CMA and IB, "
        "PACE above all.",
        place="Section 4.3; Figure 4", each="a measure and a rival", trained=("merit", "cma", "ib"),
        stage="clusters", measure=minus(CLUSTERED["umap"], OVER_ALIGNED),
    ),
    Claim(
        id="p", title="what alignment loses",
        text="Alignment alone suppresses structure of the signal that reports leave out; reconstruction keeps it: here "
        "MERIT and MSE add more than CMA to what the report says of a recording's factors.",
        place="contributions, 1", each="a decoder and an encoder", stage="kept", trained=("merit", "cma", "mse"),
        measure=minus(DECODED, (("merit", "cma"), ("mse", "cma"))),
    ),
    Claim(
        id="q", title="text generation",
        text="Generated text: higher BLEU, METEOR, ROUGE and BERTScore than with MedTVT-R1's encoder.",
        place="abstract; contributions, 4; Section 4.2.4", stage="generation", peers=("medtvt-r1",),
        measure=over([("generation", name) for name in WRITTEN], ("medtvt-r1",)),
    ),
    Claim(
        id="r", title="rhythm clusters, embedding",
        text="In the embedding itself, the twelve rhythms form more compact and better separated clusters than with "
        "CMA and IB, PACE above all.",
        place="Section 4.3, of which Figure 4 is the evidence", each="a measure and a rival",
        trained=("merit", "cma", "ib"), stage="clusters", measure=minus(CLUSTERED["encoder"], OVER_ALIGNED),
    ),
    Claim(
        id="s", title="probing, fine-grained",
        text="Linear probing on PTB-XL's subclasses and all statements and on CSN: every earlier method outperformed "
        "by a clear margin, here one that another pretraining seed does not undo.",
        place="Section 4.2.1", stage="linear_probe", peers=paper.PEERS, measure=over(FINE, paper.PEERS),
    ),
    Claim(
        id="t", title="zero-shot, best",
        text="Zero-shot: best AUROC on PTB-XL's superclasses, and best in all three metrics on its subclasses.",
        place="Section 4.2.2", stage="zero_shot", peers=WITH_TEXT, measure=over(ZERO_SHOT_BEST, WITH_TEXT),
    ),
    Claim(
        id="u", title="zero-shot, all statements",
        text="Zero-shot on all of PTB-XL's statements: competitive, here best or second best in AUROC and F1.",
        place="contributions, 3", stage="zero_shot", peers=WITH_TEXT, measure=over(ZERO_SHOT_ALL, WITH_TEXT, place=2),
    ),
    Claim(
        id="v", title="distribution shift, mean",
        text="More transferable than unimodal and alignment-only methods, here in the mean over the six transfers.",
        place="Section 4.2.3", each="a rival", stage="shift", peers=(*UNIMODAL, *ALIGNED),
        measure=mean_over(TRANSFERRED, (*UNIMODAL, *ALIGNED)),
    ),
)  # fmt: skip

# -- what the paper's own numbers say ---------------------------------------------------------------------------------


class Printed(NamedTuple):
    """Whether a claim holds in the paper's surviving numbers (None: they are lost, or were never given), and why."""

    holds: bool | None
    text: str


def printed() -> dict[str, Printed]:
    """Each claim by its id in the paper's surviving numbers, recomputed from its tables; nothing lost is filled in."""
    found = dict.fromkeys("klmnor", Printed(None, "a picture, without a number"))
    found["g"] = Printed(None, "no row of CMA or IB in Tables 4 and 8")
    found["p"] = Printed(None, "an argument, without a number")
    found["q"] = Printed(None, "all of Table 3, and the numbers of the sentence")

    # Linear probing: what the lost cells can be, if what survived of each column is its best.
    probing, survivors = paper.grid(1), {table: paper.grid(table).count() for table in (1, 4)}
    if_best = {
        table: f"If what survived is the bold best of each column (one number in {(n == 1).sum()} of {(n > 0).sum()} "
        f"columns of Table {table})"
        for table, n in survivors.items()
    }
    for name, task in (("a", "all"), ("b", "subclass")):
        own = probing.at["merit", (task, "f1")]
        text = (
            f"no earlier method's cell of Table 1 survives. {if_best[1]}, every earlier method is at or below "
            f"{own:.2f}, so the gain is not negative; the claim asks that each be below "
            f"{own - paper.PROBING_GAINS[task]:.2f}, which nothing shows"
        )
        found[name] = Printed(None, text)
    there, best = probing.columns[survivors[1] > 0], probing.columns[probing.loc["merit"].notna()]
    text = (
        f"{if_best[1]}, MERIT is best in {len(best)} of {len(there)} and ST-MEM in "
        f"{listing(cell_label(*column) for column in there if column not in best)}; there MERIT's number, from Table "
        "4, is below ST-MEM's, and how many others lie between is lost, as is all of CSN and CPSC2018"
    )
    found["e"] = Printed(None, text)
    n = len(PROBED)
    text = f"{if_best[4]}, MERIT is at or above every ablation in {n} of {n}; by how much is lost with Table 8"
    found["f"] = Printed(None, text)
    text = (
        f"{if_best[1]}, MERIT is best in the {sum(column in best for column in FINE)} columns of subclass and all; by "
        "what margin is lost, and of CSN everything"
    )
    found["s"] = Printed(None, text)

    # Zero-shot against published encoders, Table 2, and against ablations, Table 9.
    peers, ablations = paper.grid(2), paper.grid(9)
    leads = {table: paper.leads(table) for table in (2, 7, 9)}
    ranks = {table: paper.ranks(table).loc["merit"] for table in (2, 7, 9)}
    for name, metric in (("c", "auroc"), ("d", "f1")):
        column = ("subclass", metric)
        rival, ablation = peers[column].drop("merit").idxmax(), ablations[column].idxmax()
        text = f"Table 2: MERIT {peers.at['merit', column]:.2f} − {row_label(rival)} {peers.at[rival, column]:.2f} = "
        text += f"{leads[2][column]:.2f}"
        if leads[9][column] < 0:
            text += f"; but in Table 9 the ablation {row_label(ablation)} has {ablations.at[ablation, column]:.2f}"
        found[name] = Printed(bool(leads[2][column] == paper.ZERO_SHOT_GAINS[metric]), text)
    gains = listing(f"{cell_label(*column)} {leads[2][column]:+.2f}" for column in ZERO_SHOT_BEST)
    above = listing(cell_label(*column) for column in ZERO_SHOT_BEST if leads[9][column] < 0)
    note = f"; but an ablation of Table 9 is above MERIT in {above}" if above else ""
    holds = all(ranks[2][column] == 1 for column in ZERO_SHOT_BEST)
    found["t"] = Printed(holds, f"Table 2, over the best of the others: {gains}{note}")
    text = listing(f"{cell_label('all', metric)} {ranks[2]['all', metric]}" for metric in paper.METRICS)
    holds = all(ranks[2][column] <= 2 for column in ZERO_SHOT_ALL)
    found["u"] = Printed(holds, f"Table 2, MERIT's rank among {len(peers)}: {text}")
    ahead = ablations.loc["ib"] > ablations.loc["cma"]
    text = f"Table 9: IB above CMA in {ahead.sum()} of {len(ahead)} columns, "
    text += f"{ahead.xs('auroc', level=1).sum()} of {len(paper.TASKS)} of AUROC"
    found["h"] = Printed(bool(2 * ahead.sum() > len(ahead)), text)
    worse = [cell_label(*column) for column, rank in ranks[9].items() if rank > 2]
    text = f"Table 9: MERIT is last of three in {len(worse)} of {len(ranks[9])} columns: {listing(worse)}"
    found["i"] = Printed(not worse, text)

    # Distribution shift, Table 7.
    # Best in two directions and second best in two; and the mean over all six.
    by_task, close = ranks[7].droplevel(1), ("cpsc2018>csn", "auroc")
    text = listing(f"{cell_label(*column)} {rank}" for column, rank in ranks[7].items())
    text = f"Table 7, MERIT's rank among {len(paper.TABLES[7].rows)}: {text}. Its lead in {cell_label(*close)} is "
    holds = bool((by_task[list(FIRST_IN)] == 1).all() and (by_task[list(SECOND_IN)] == 2).all())
    found["j"] = Printed(holds, f"{text}{leads[7][close]:.2f}")
    mean, rivals = paper.grid(7).mean(axis="columns"), [*UNIMODAL, *ALIGNED]
    text = listing(f"{row_label(row)} {mean[row]:.2f}" for row in rivals)
    text = f"Table 7, mean of six: MERIT {mean['merit']:.2f}, {text}; but D-BETA {mean['d-beta']:.2f}"
    found["v"] = Printed(bool((mean["merit"] > mean[rivals]).all()), text)
    return found


# -- the verdict on each claim, and below it what a run says that cannot give one -------------------------------------

SUPPORTED, NOT_SUPPORTED = "supported", "not supported"
CONSISTENT, INCONSISTENT = "consistent", "inconsistent"
NOT_MEASURED = "not measured"
OUTCOMES = (SUPPORTED, NOT_SUPPORTED, CONSISTENT, INCONSISTENT, NOT_MEASURED)
"""The first two are verdicts."""
SEEDS_NEEDED = 5
LEVEL = 0.95


class Interval(NamedTuple):
    """Mean over pretraining seeds with Student's interval; low and high None for a single seed."""

    mean: float
    low: float | None
    high: float | None
    n: int


class Reading(NamedTuple):
    """What one run says on a claim, and what keeps it from a verdict."""

    evidence: Evidence
    values: dict[str, list[float]]
    """Cell -> a number for each pretraining seed."""
    obstacles: tuple[str, ...] = ()
    """Why it is not the paper's experiment, or too little of it."""
    missing: tuple[str, ...] = ()
    """Rows and columns that the claim speaks of and the run does not have."""
    outcome: str = NOT_MEASURED
    why: str = ""

    def cells(self, level: float = LEVEL) -> dict[str, Interval]:
        """Cell -> mean over seeds and its interval."""
        return {name: interval(values, level) for name, values in self.values.items()}

    def least(self) -> tuple[str, Interval]:
        """The cell on which the claim hangs: the one with the smallest mean."""
        return min(self.cells().items(), key=lambda item: item[1].mean)


class Verdict(NamedTuple):
    """The outcome for a claim (one of `OUTCOMES`), why, and all readings it rests on, the decisive one first."""

    claim: Claim
    verdict: str
    why: str
    readings: tuple[Reading, ...]


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Mean ± Student's t times the standard error, for one value a seed. Raises ValueError for none."""
    n = len(values)
    if not n:
        raise ValueError("interval: expected at least one value, one a seed; got none")
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, None, None, 1)
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * error
    return Interval(mean, mean - half, mean + half, n)


def judge(claim: Claim, evidence: Sequence[Evidence]) -> Verdict:
    """The outcome by the run that can say most: real recordings first, then the fewest obstacles, then the first."""
    at_stage = [run for run in evidence if run.stage == claim.stage and (claim.peers or run.group is None)]
    readings = [reading for reading in (read(claim, run) for run in at_stage) if reading.values]
    readings.sort(key=lambda own: (own.evidence.synthetic, len(own.obstacles) + bool(own.missing)))
    if readings:
        return Verdict(claim, readings[0].outcome, readings[0].why, tuple(readings))
    # Why there is nothing: the reasons of rows; those of published encoders are long, and all say that weights are
    # missing, so that these are named alone.
    why = ["nothing was measured here"]
    reasons = dict.fromkeys(reason for run in at_stage for reason in run.reasons)
    missing = dict.fromkeys(name for run in at_stage for name in claim.measure(run).missing)
    if reasons and not claim.peers:
        why.append("; ".join(reasons))
    elif missing:
        why.append(f"without {listing(missing)}")
    return Verdict(claim, NOT_MEASURED, ": ".join(why), ())


def read(claim: Claim, evidence: Evidence) -> Reading:
    """The cells of a claim in one run, the outcome by them, and every reason against a verdict from it."""
    measured = claim.measure(evidence)
    # What keeps it from a verdict.
    seeds = min(map(len, measured.cells.values()), default=0)
    obstacles = {
        "synthetic recordings": evidence.synthetic,
        f"{evidence.profile} profile": evidence.profile != "paper",
        f"{seeds} of {SEEDS_NEEDED} seeds or rotations": seeds < SEEDS_NEEDED,
    }
    found = (*(reason for reason, applies in obstacles.items() if applies), *evidence.caveats)
    reading = Reading(evidence, measured.cells, found, measured.missing)
    if not measured.cells:
        return reading

    # Numbers are judged as they are printed.
    cells, digits = reading.cells(), claim.digits
    bar = f"{claim.threshold:g} {claim.unit}" if claim.threshold else "zero"
    of = f" in {{}} of {len(cells)} comparisons" if len(cells) > 1 else ""
    without = [f"without {listing(reading.missing)}"] if reading.missing else []
    against = f"no verdict: {'; '.join([*found, *without])}"
    failed = sum(round(cell.mean, digits) <= claim.threshold for cell in cells.values())
    highs = [
        cell.high for cell in cells.values() if cell.high is not None
    ]  # of one seed alone, the amount is not asked
    reaches = claim.reach is None or not highs or round(min(highs), digits) >= claim.reach
    unreached = "" if reaches else f"above {bar}, but the interval ends below {claim.reach:g} {claim.unit}"

    # A verdict. Contradicted: at a level corrected for the number of cells, whatever is missing; else all must be there
    below = short = 0
    if not found:
        strict = reading.cells(1 - (1 - LEVEL) / len(cells))
        below = sum(round(cell.high, digits) < claim.threshold for cell in strict.values())
        short = sum(round(cell.low, digits) <= claim.threshold for cell in cells.values())
    if below and (claim.every or not without):
        outcome, why = NOT_SUPPORTED, f"contradicted: the interval lies below {bar}{of.format(below)}"
    elif not found and not without and short:
        outcome, why = NOT_SUPPORTED, f"not shown: the interval does not lie above {bar}{of.format(short)}"
    elif not found and not without:
        outcome, why = SUPPORTED, f"the interval lies above {bar}{of.format(len(cells))}"
        if unreached:
            outcome, why = NOT_SUPPORTED, unreached

    # No verdict: whether the point values agree with the claim.
    elif failed:
        outcome, why = INCONSISTENT, f"not above {bar}{of.format(failed)}; {against}"
    elif unreached:
        outcome, why = INCONSISTENT, f"{unreached}; {against}"
    else:
        outcome, why = CONSISTENT, f"above {bar}{of.format(len(cells))}; {against}"
    return reading._replace(outcome=outcome, why=why)
