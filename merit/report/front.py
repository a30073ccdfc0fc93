"""The book in one box: what the paper claims, what is found, how sure that is, and how to run it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from merit.report.claim_rules import Claim
from merit.report.prose import Html, badge, listing
from merit.report.verdicts import OUTCOMES, SEEDS_NEEDED, Reading, Verdict, interval

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
