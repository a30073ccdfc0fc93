"""The paper's claims, each with its place and its rule, and the ways in which claims are read from scores.

A rule gives cells: label -> one number for each pretraining seed (differences are paired by seed). The claim holds
where every cell exceeds `threshold`, and the least of them reaches `reach` where an amount is stated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from merit.report import paper
from merit.report.evidence import PAIRS, Evidence
from merit.report.paper_checks import cell_label, column, columns, lone_survivors, row_label
from merit.report.prose import listing
from merit.report.style import OURS

PROBED = tuple((task, metric) for task in paper.TASKS for metric in paper.METRICS)


class Measured(NamedTuple):
    """What one run says on a claim."""

    cells: dict[str, list[float]]
    """Label -> a number for each pretraining seed."""
    missing: tuple[str, ...] = ()
    """What the claim speaks of and the run does not have."""


class Printed(NamedTuple):
    """What the paper's own surviving numbers say: whether the claim holds in them (None: they are lost), and why."""

    holds: bool | None
    text: str


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
    printed: Callable[[], Printed]
    measure: Callable[[Evidence], Measured]
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


def margins(
    evidence: Evidence, cells: Iterable[tuple[str, str]], others: Sequence[str], *, first: str = "merit", place: int = 1
) -> Measured:
    """How far `first` is above each other encoder that it must beat to be at least `place`-th of each column.

    With place 1, that is all of them; with place 2, all but the best one. An encoder or a column without numbers is
    named as missing.
    """
    found: dict[str, list[float]] = {}
    missing: dict[str, None] = {}
    for task, metric in cells:
        name, there = cell_label(task, metric), {}
        for other in others:
            if differences := paired(evidence, first, other, task, metric):
                there[other] = differences
            elif not evidence.has(other):
                missing[row_label(other)] = None
            else:
                missing[name] = None
        beaten = sorted(there, key=lambda other: sum(there[other]) / len(there[other]))[place - 1 :]
        found |= {f"{name}, over {row_label(other)}": there[other] for other in beaten}
    return Measured(found, tuple(missing))


def paired(evidence: Evidence, first: str, other: str, task: str, metric: str) -> list[float]:
    """first − other for each pretraining seed that both have; an encoder with a single number stands for all seeds."""
    a, b = (evidence.scores.get((name, task, metric), {}) for name in (first, other))
    if len(b) == 1 and other in (*paper.PEERS, "medtvt-r1"):  # its weights are published: there is no other seed
        b = dict.fromkeys(a, next(iter(b.values())))
    return [a[seed] - b[seed] for seed in sorted(a) if seed in b]


def share_ahead(evidence: Evidence, cells: Sequence[tuple[str, str]], first: str, second: str) -> Measured:
    """For each seed, in which share of the columns (0 to 100 %) `first` is above `second`."""
    differences = {cell_label(*cell): paired(evidence, first, second, *cell) for cell in cells}
    there = [one for one in differences.values() if one]
    missing = tuple(name for name, one in differences.items() if not one)
    if not there or len({len(one) for one in there}) > 1:
        return Measured({}, missing)
    ahead = [100 * sum(one[k] > 0 for one in there) / len(there) for k in range(len(there[0]))]
    return Measured({f"columns with {row_label(first)} above {row_label(second)}": ahead}, missing)


def over_peers(
    cells: Sequence[tuple[str, str]], peers: Sequence[str], place: int = 1
) -> Callable[[Evidence], Measured]:
    """MERIT against the published encoders, or in a run at equal budget against those peers' methods that it has.

    Never against our own ablations: they are no earlier method.
    """

    def measure(evidence: Evidence) -> Measured:
        rivals = [name for name in OURS if evidence.has(name)] if evidence.budgeted else peers
        return margins(evidence, cells, rivals, place=place)

    return measure


def averaged(
    cells: Sequence[tuple[str, str]], measure: Callable[[Evidence], Measured]
) -> Callable[[Evidence], Measured]:
    """The mean over all cells for each rival of a measure by columns; a rival that lacks one is missing."""

    def mean(evidence: Evidence) -> Measured:
        found, by_rival = measure(evidence), {}
        for label, values in found.cells.items():
            by_rival.setdefault(label.rpartition(", over ")[2], []).append(values)
        whole = {name: columns for name, columns in by_rival.items() if len(columns) == len(cells)}
        means = {
            f"mean of {len(cells)} columns, over {name}": [sum(of_seed) / len(cells) for of_seed in zip(*columns)]
            for name, columns in whole.items()
        }
        lacking = [name for name in by_rival if name not in whole]
        return Measured(means, tuple(dict.fromkeys([*found.missing, *lacking])))

    return mean


def differences(
    evidence: Evidence,
    metrics: Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
    *,
    task: str = PAIRS,
    scale: float = 1.0,
) -> Measured:
    """First encoder minus second for each pair, by each metric (name -> label)."""
    found = {
        f"{label}, {row_label(first)} minus {row_label(second)}": paired(evidence, first, second, task, metric)
        for metric, label in metrics.items()
        for first, second in pairs
    }
    missing = tuple(label for label, values in found.items() if not values)
    return Measured({label: [scale * v for v in values] for label, values in found.items() if values}, missing)


FIRST_IN, SECOND_IN = ("cpsc2018>csn", "csn>superclass"), ("superclass>csn", "csn>cpsc2018")
"""Directions of Table 7 in which the text says that MERIT is best, and second best."""

ESTIMATORS = {"info_nce": "InfoNCE", "ksg": "KSG", "gaussian": "Gaussian"}
OVER_ALIGNED = (("merit", "cma"), ("merit", "ib"))
WRITTEN = ("bleu_published", "meteor", "rouge_published", "bertscore_published")
"""The scores of Table 3, as MedTVT-R1's evaluation computes them."""
PICTURE = "a picture, without a number"

WITH_TEXT = paper.ROWS[2][:-1]
"""The published encoders of Table 2."""
UNIMODAL, ALIGNED = ("ecg-fm", "st-mem"), ("merl", "esi")
"""What Section 4.2.3 holds MERIT against; D-BETA is hybrid by Section 2.2, though 4.2.1 groups it with alignment."""
FINE = tuple((task, metric) for task in ("subclass", "all", "csn") for metric in paper.METRICS)
"""Columns of the tasks that Section 4.2.1 calls fine-grained."""
ZERO_SHOT_BEST = (("superclass", "auroc"), *(("subclass", metric) for metric in paper.METRICS))
ZERO_SHOT_ALL = (("all", "auroc"), ("all", "f1"))
"""The two metrics in which the contributions speak of zero-shot."""


def transfers(evidence: Evidence) -> Measured:
    """First in two directions, second in two others."""
    first = over_peers([(task, "auroc") for task in FIRST_IN], paper.PEERS)(evidence)
    second = over_peers([(task, "auroc") for task in SECOND_IN], paper.PEERS, place=2)(evidence)
    return Measured(first.cells | second.cells, tuple(dict.fromkeys(first.missing + second.missing)))


def informed(evidence: Evidence) -> Measured:
    """MERIT's mutual information minus that of CMA and IB, nats, by each estimator that has a vote on all rows."""
    scores, rivals = evidence.scores, {name for pair in OVER_ALIGNED for name in pair}
    voting = {
        name: label
        for name, label in ESTIMATORS.items()
        if all(set(scores.get((e, PAIRS, name), {})) == set(scores.get((e, PAIRS, "gaussian"), {})) for e in rivals)
    }
    return differences(evidence, voting, OVER_ALIGNED)


def retained(evidence: Evidence, pairs: Sequence[tuple[str, str]]) -> Measured:
    """What an embedding adds to the report about a recording's factors, by each decoder."""
    by = [differences(evidence, {"r2_partial": name}, pairs, task=name) for name in ("linear", "nonlinear")]
    return Measured(by[0].cells | by[1].cells, by[0].missing + by[1].missing)


def own_region(evidence: Evidence, pairs: Sequence[tuple[str, str]]) -> Measured:
    """Share of the ECG's variance outside the text's span, first minus second, in points."""
    return differences(evidence, {"ecg_outside_text": "outside the text's span"}, pairs, scale=100)


def clustered(space: str) -> Callable[[Evidence], Measured]:
    """MERIT's purity and silhouette of rhythms, and of pacing alone, minus CMA's and IB's; points.

    space: `umap`, the picture that the paper shows, or `encoder`, since UMAP can pull apart what lies together.
    """
    metrics = {f"{space} {name}{what}": f"{name}{what}" for name in ("purity", "silhouette") for what in ("", " PACE")}
    return lambda evidence: differences(evidence, metrics, OVER_ALIGNED, task="rhythm")


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


def lost(what: str) -> Callable[[], Printed]:
    """For claims of which the paper's numbers are not there."""
    return lambda: Printed(None, what)


def _gain(setting: str, metric: str) -> Printed:
    """A zero-shot gain on subclass, recomputed from Table 2, with Table 9's ablation beside it."""
    stated = next(one for one in paper.GAINS if (one.setting, one.metric) == (setting, metric))
    peers, own = column(2, stated.task, metric), column(9, stated.task, metric)
    runner_up = next(row for row in peers.ranking() if row != "merit")
    text = (
        f"Table 2: MERIT {peers.numbers['merit']:.2f} − {row_label(runner_up)} "
        f"{peers.numbers[runner_up]:.2f} = {peers.gain('merit'):.2f}"
    )
    if own.gain("merit") < 0:
        text += f"; but in Table 9 the ablation {row_label(own.ranking()[0])} has {max(own.numbers.values()):.2f}"
    return Printed(peers.gain("merit") == stated.points, text)


def _bounded(task: str, points: float) -> Callable[[], Printed]:
    """What the lost cells of a column can be, if what survived of it is its best."""

    def printed() -> Printed:
        own = paper.number(1, "merit", task, "f1").value
        text = (
            f"lost: no earlier method's cell of Table 1 survives. {_if_best(1)}, every earlier method is at or "
            f"below {own:.2f}, so the gain is not negative; the claim asks that each be below "
            f"{own - points:.2f}, which nothing shows"
        )
        return Printed(None, text)

    return printed


def _if_best(table: int) -> str:
    """The reading of what survived, and what it rests on."""
    alone, n = lone_survivors(table)
    return f"If what survived is the bold best of each column (one number in {alone} of {n} columns of Table {table})"


def _second_best_probing() -> Printed:
    there = [cell for cell in PROBED if any(paper.number(1, row, *cell).value is not None for row in paper.ROWS[1])]
    best = [cell for cell in there if paper.number(1, "merit", *cell).value is not None]
    behind = listing(cell_label(*cell) for cell in there if cell not in best)
    text = (
        f"lost: {_if_best(1)}, MERIT is best in {len(best)} of {len(there)} and ST-MEM in {behind}; there MERIT's "
        "number, from Table 4, is below ST-MEM's, and how many others lie between is lost, as is all of CSN and "
        "CPSC2018"
    )
    return Printed(None, text)


def _all_ablations() -> Printed:
    n = len(PROBED)
    text = f"lost: {_if_best(4)}, MERIT is at or above every ablation in {n} of {n}; by how much is lost with Table 8"
    return Printed(None, text)


def _clear_margin() -> Printed:
    own = [cell for cell in FINE if paper.number(1, "merit", *cell).value is not None]
    text = (
        f"lost: {_if_best(1)}, MERIT is best in the {len(own)} columns of subclass and all; by what margin is lost, "
        "and of CSN everything"
    )
    return Printed(None, text)


def _zero_shot_best() -> Printed:
    table = [column(2, *cell) for cell in ZERO_SHOT_BEST]
    text = listing(f"{one.label} {one.gain('merit'):+.2f}" for one in table)
    above = [column(9, *cell).label for cell in ZERO_SHOT_BEST if column(9, *cell).gain("merit") < 0]
    note = f"; but an ablation of Table 9 is above MERIT in {listing(above)}" if above else ""
    return Printed(all(one.rank("merit") == 1 for one in table), f"Table 2, over the best of the others: {text}{note}")


def _competitive() -> Printed:
    table = {metric: column(2, "all", metric) for metric in paper.METRICS}
    ranks = listing(f"{one.label} {one.rank('merit')}" for one in table.values())
    holds = all(table[metric].rank("merit") <= 2 for _, metric in ZERO_SHOT_ALL)
    return Printed(holds, f"Table 2, MERIT's rank among {len(paper.ROWS[2])}: {ranks}")


def _more_transferable() -> Printed:
    mean = {row: _mean_transfer(row) for row in paper.ROWS[7]}
    others = listing(f"{row_label(row)} {mean[row]:.2f}" for row in (*UNIMODAL, *ALIGNED))
    text = f"Table 7, mean of six: MERIT {mean['merit']:.2f}, {others}; but D-BETA {mean['d-beta']:.2f}"
    return Printed(all(mean["merit"] > mean[row] for row in (*UNIMODAL, *ALIGNED)), text)


def _mean_transfer(row: str) -> float:
    values = [column(7, task, "auroc").numbers[row] for task in paper.TRANSFERS]
    return sum(values) / len(values)


def _ib_ahead() -> Printed:
    table = list(columns(9))
    ahead = [one for one in table if one.numbers["ib"] > one.numbers["cma"]]
    auroc = sum(one.metric == "auroc" for one in ahead)
    n_auroc = sum(one.metric == "auroc" for one in table)
    text = f"Table 9: IB above CMA in {len(ahead)} of {len(table)} columns, {auroc} of {n_auroc} of AUROC"
    return Printed(2 * len(ahead) > len(table), text)


def _second_best_zero_shot() -> Printed:
    table = list(columns(9))
    worse = [one.label for one in table if one.rank("merit") > 2]
    return Printed(
        not worse, f"Table 9: MERIT is last of three in {len(worse)} of {len(table)} columns: {listing(worse)}"
    )


def _transfers() -> Printed:
    ranks = {task: column(7, task, "auroc").rank("merit") for task in paper.TRANSFERS}
    holds = all(ranks[task] == 1 for task in FIRST_IN) and all(ranks[task] == 2 for task in SECOND_IN)
    listed = listing(f"{cell_label(task, 'auroc')} {rank}" for task, rank in ranks.items())
    close = column(7, "cpsc2018>csn", "auroc")
    text = f"Table 7, MERIT's rank among {len(close.numbers)}: {listed}. Its lead in {close.label} is"
    return Printed(holds, f"{text} {close.gain('merit'):.2f}")


CLAIMS = (
    Claim(
        id="a", title="probing, F1, all statements",
        text="Linear probing on PTB-XL's 71 statements: F1 more than 3 points above every earlier method.",
        place="abstract; contributions, 3", stage="linear_probe", reach=3.0, more=True, peers=paper.PEERS,
        measure=over_peers([("all", "f1")], paper.PEERS), printed=_bounded("all", 3.0),
    ),
    Claim(
        id="b", title="probing, F1, subclass",
        text="Linear probing on PTB-XL's 23 subclasses: F1 more than 5 points above every earlier method.",
        place="abstract; contributions, 3", stage="linear_probe", reach=5.0, more=True, peers=paper.PEERS,
        measure=over_peers([("subclass", "f1")], paper.PEERS), printed=_bounded("subclass", 5.0),
    ),
    Claim(
        id="c", title="zero-shot, AUROC, subclass",
        text="Zero-shot on PTB-XL's subclasses: 2.66 points of AUROC above the best earlier method.",
        place="abstract; contributions, 3", stage="zero_shot", reach=2.66, peers=WITH_TEXT,
        measure=over_peers([("subclass", "auroc")], WITH_TEXT), printed=lambda: _gain("zero-shot", "auroc"),
    ),
    Claim(
        id="d", title="zero-shot, F1, subclass",
        text="Zero-shot on PTB-XL's subclasses: 2.11 points of F1 above the best earlier method.",
        place="abstract; contributions, 3", stage="zero_shot", reach=2.11, peers=WITH_TEXT,
        measure=over_peers([("subclass", "f1")], WITH_TEXT), printed=lambda: _gain("zero-shot", "f1"),
    ),
    Claim(
        id="e", title="probing, best or second",
        text="Linear probing: best or second best of all methods in every column.",
        place="Section 4.2.1", stage="linear_probe", peers=paper.PEERS,
        measure=over_peers(PROBED, paper.PEERS, place=2), printed=_second_best_probing,
    ),
    Claim(
        id="f", title="probing, above its ablations",
        text="Linear probing: MERIT above MSE, IB and CMA in every column.",
        place="Section 4.3", stage="linear_probe", trained=("merit", *paper.ABLATIONS),
        measure=lambda evidence: margins(evidence, PROBED, paper.ABLATIONS), printed=_all_ablations,
    ),
    Claim(
        id="g", title="probing, CMA over IB",
        text="Linear probing: CMA generally above IB, here in more than half of the columns.",
        place="Section 4.3", stage="linear_probe", trained=("cma", "ib"), threshold=50.0, unit="%", every=False,
        measure=lambda evidence: share_ahead(evidence, PROBED, "cma", "ib"),
        printed=lost("lost: no row of CMA or IB in Tables 4 and 8"),
    ),
    Claim(
        id="h", title="zero-shot, IB over CMA",
        text="Zero-shot: IB above CMA in most columns.",
        place="Section 4.3", stage="zero_shot", trained=("cma", "ib"), threshold=50.0, unit="%", every=False,
        measure=lambda evidence: share_ahead(evidence, PROBED, "ib", "cma"), printed=_ib_ahead,
    ),
    Claim(
        id="i", title="zero-shot, best or second",
        text="Zero-shot: MERIT best or second best of the objectives in every column.",
        place="Section 4.3", stage="zero_shot", trained=("merit", "cma", "ib"),
        measure=lambda evidence: margins(evidence, PROBED, ("cma", "ib"), place=2), printed=_second_best_zero_shot,
    ),
    Claim(
        id="j", title="distribution shift",
        text="Transfer without adaptation: best from CPSC2018 to CSN and from CSN to PTB-XL, second best from PTB-XL "
        "to CSN and from CSN to CPSC2018.",
        place="Section 4.2.3; contributions, 3", each="a direction and a rival that must be beaten",
        stage="shift", peers=paper.PEERS, measure=transfers, printed=_transfers,
    ),
    Claim(
        id="k", title="mutual information",
        text="Mutual information between MERIT's ECG and text embeddings: above CMA's and IB's, here by every "
        "estimator that can be trusted on these pairs.",
        place="Section 4.3; Figure 3", each="an estimator and a rival", trained=("merit", "cma", "ib"),
        stage="information", unit="nats", measure=informed, printed=lost(PICTURE),
    ),
    Claim(
        id="l", title="ECG around text",
        text="MERIT's ECG embeddings spread wider than its text embeddings and surround most of them, here "
        "more than half.",
        place="Section 4.3; Figure 3", each="a condition",
        stage="information", measure=surrounded, printed=lost(PICTURE),
    ),
    Claim(
        id="m", title="ECG's own region",
        text="MERIT keeps more that is the ECG's own than CMA and IB, here variance outside the text's span.",
        place="Section 4.3; Figure 3", each="a rival", stage="information", printed=lost(PICTURE),
        trained=("merit", "cma", "ib"), measure=lambda evidence: own_region(evidence, OVER_ALIGNED),
    ),
    Claim(
        id="n", title="bottleneck strength",
        text="The stronger the bottleneck, the less is left that is the ECG's own.",
        place="Section 4.3; Figure 3", each="a step of the strength", stage="information", printed=lost(PICTURE),
        trained=("ib-0.1", "ib", "ib-1"),
        measure=lambda evidence: own_region(evidence, (("ib-0.1", "ib"), ("ib", "ib-1"))),
    ),
    Claim(
        id="o", title="rhythm clusters, picture",
        text="In the picture, the twelve rhythms form more compact and better separated clusters than with CMA and IB, "
        "PACE above all.",
        place="Section 4.3; Figure 4", each="a measure and a rival", trained=("merit", "cma", "ib"),
        stage="clusters", measure=clustered("umap"), printed=lost(PICTURE),
    ),
    Claim(
        id="p", title="what alignment loses",
        text="Alignment alone suppresses structure of the signal that reports leave out; reconstruction keeps it: here "
        "MERIT and MSE add more than CMA to what the report says of a recording's factors.",
        place="contributions, 1", each="a decoder and an encoder", stage="kept", trained=("merit", "cma", "mse"),
        measure=lambda evidence: retained(evidence, (("merit", "cma"), ("mse", "cma"))),
        printed=lost("an argument, without a number"),
    ),
    Claim(
        id="q", title="text generation",
        text="Generated text: higher BLEU, METEOR, ROUGE and BERTScore than with MedTVT-R1's encoder.",
        place="abstract; contributions, 4; Section 4.2.4", stage="generation", peers=("medtvt-r1",),
        measure=over_peers([("generation", name) for name in WRITTEN], ("medtvt-r1",)),
        printed=lost("lost: all of Table 3, and the numbers of the sentence"),
    ),
    Claim(
        id="r", title="rhythm clusters, embedding",
        text="In the embedding itself, the twelve rhythms form more compact and better separated clusters than with "
        "CMA and IB, PACE above all.",
        place="Section 4.3, of which Figure 4 is the evidence", each="a measure and a rival",
        trained=("merit", "cma", "ib"), stage="clusters", measure=clustered("encoder"), printed=lost(PICTURE),
    ),
    Claim(
        id="s", title="probing, fine-grained",
        text="Linear probing on PTB-XL's subclasses and all statements and on CSN: every earlier method outperformed "
        "by a clear margin, here one that another pretraining seed does not undo.",
        place="Section 4.2.1", stage="linear_probe", peers=paper.PEERS,
        measure=over_peers(FINE, paper.PEERS), printed=_clear_margin,
    ),
    Claim(
        id="t", title="zero-shot, best",
        text="Zero-shot: best AUROC on PTB-XL's superclasses, and best in all three metrics on its subclasses.",
        place="Section 4.2.2", stage="zero_shot", peers=WITH_TEXT,
        measure=over_peers(ZERO_SHOT_BEST, WITH_TEXT), printed=_zero_shot_best,
    ),
    Claim(
        id="u", title="zero-shot, all statements",
        text="Zero-shot on all of PTB-XL's statements: competitive, here best or second best in AUROC and F1.",
        place="contributions, 3", stage="zero_shot", peers=WITH_TEXT,
        measure=over_peers(ZERO_SHOT_ALL, WITH_TEXT, place=2), printed=_competitive,
    ),
    Claim(
        id="v", title="distribution shift, mean",
        text="More transferable than unimodal and alignment-only methods, here in the mean over the six transfers.",
        place="Section 4.2.3", each="a rival", stage="shift", peers=(*UNIMODAL, *ALIGNED),
        measure=averaged(
            [(task, "auroc") for task in paper.TRANSFERS],
            over_peers([(task, "auroc") for task in paper.TRANSFERS], (*UNIMODAL, *ALIGNED)),
        ),
        printed=_more_transferable,
    ),
)  # fmt: skip
