"""The page `bounds` as sentences that read its numbers (`pipeline.bounds`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from merit.intervals import middle
from merit.report.bounds_figures import SCALINGS, WAYS
from merit.report.numerals import fixed
from merit.report.prose import listing

Values = Mapping[str, Any]


def contrastive(values: Values) -> str:
    """What the paper's batch certifies, whether anything passed the ceiling, and what the temperature costs."""
    rows, batch = values["rows"], values["paper_batch"]
    at = {(row["truth"], row["critic"]): row for row in rows if row["batch"] == batch}
    most, least = max(t for t, _ in at), min(t for t, _ in at)
    best, weak = at[most, "best"], at[least, "model"]
    passed = sum(row["largest"] > row["ceiling"] for row in rows)
    lines = [
        f"Most that a batch of {batch} can certify, whatever the encoder: log {batch} = {np.log(batch):.2f} nats "
        f"({np.log2(batch):.0f} bits). Where the truth is {most:g} nats, the best critic that there is certifies "
        f"{_number(best)}. To certify {most:g} nats at all takes a batch of exp({most:g}) ≈ {np.exp(most):,.0f}, and "
        "more to come near.",
        f"No seed passed log B in any of {len(rows)} cases: the ceiling holds for every batch. The truth bounds the "
        "expectation alone; a seed can lie above it by chance."
        if passed == 0
        else f"A seed passed log B in {passed} of {len(rows)} cases: something is wrong.",
        _temperature(weak, at[least, "tuned"], least),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _temperature(model: Values, tuned: Values, truth: float) -> str:
    verdict = (
        "nothing is certified, though the information is there" if model["value"] <= 0 else "less is certified"
        if model["value"] < tuned["value"] else "no less is certified"
    )  # fmt: skip
    return (
        f"The loss is a bound at any temperature, and a loose one at the wrong temperature: at {truth:g} "
        f"nat{'s' * (truth != 1)} and τ = {model['temperature']:g}, the plain cosine gives {_number(model)}, and "
        f"{_number(tuned)} at τ = {tuned['temperature']:g}: at the model's, {verdict}. A trained head can learn to "
        "make up for τ; here none is trained."
    )


def _number(row: Values) -> str:
    """`4.65 nats [4.61, 4.70]`."""
    return f"{fixed(row['value'], 2)} nats [{fixed(row['low'], 2)}, {fixed(row['high'], 2)}]"


def reports(values: Values) -> str:
    """What repeated reports leave of the ceiling, at the run's batch and at the paper's."""
    if "reason" in values:
        return f"Repeated reports: not measured, {values['reason']}."
    by_size = {row["batch"]: row for row in values["rows"]}
    parts = []
    for batch, whose in ((values["batch"], "this run's batch"), (values["paper_batch"], "the paper's batch")):
        if batch in by_size:
            row = by_size[batch]
            parts.append(
                f"{whose} of {batch}: {fixed(row['value'], 2)} [{fixed(row['low'], 2)}, {fixed(row['high'], 2)}] of "
                f"{row['ceiling']:.2f} nats"
            )
    parts = list(dict.fromkeys(parts))
    return (
        f"Reports repeat: of the {values['n_reports']:,} reports that are pretrained on, "
        f"{values['n_distinct']:,} are distinct. A report that stands m times in a batch costs each of its rows at "
        "least log m. What is left of the ceiling on average over batches, with 95 % intervals: "
        f"{'; '.join(parts) or '–'}."
    )


def decoder(values: Values) -> str:
    """What the family of decoders certifies at its best, and at the variance that a weight of one stands for."""
    rows = {(row["factor"], row["kind"]): row for row in values["rows"]}
    best, one = rows[1.0, "best"], rows[1.0, "weight one"]
    wrong = max(abs(row["bound"] + row["gap"] - values["information"]) for row in values["rows"])
    verdict = (
        "less than nothing, although its mean is the best there is: it takes the hidden samples for independent given "
        "the visible ones, and they are not" if best["bound"] < 0 else "less than the truth"
    )  # fmt: skip
    return "\n".join((
        f"- Truth: {values['information']:.2f} nats between the visible and the {values['d']} hidden samples; entropy "
        f"of the hidden ones {values['entropy']:.2f} nats, a number that moves with the unit of the signal.",
        f"- Bound plus gap equals the truth within {max(wrong, 1e-12):.0e} nats in every row, the gap computed from "
        "the divergence's own formula.",
        f"- At its best variance, the decoder of Eq. 5 certifies {fixed(best['bound'], 2)} nats (drawn: "
        f"{_number(best['measured'])}): {verdict}.",
        f"- At the variance that a weight of one stands for, v = d / 2 = {one['variance']:g}, it certifies "
        f"{fixed(one['bound'], 2)} nats: nothing. A smaller error is the better bound at every variance, so alone the "
        "loss orders encoders the same way; what changes is what the number promises, and, in a sum, the weight.",
    ))  # fmt: skip


def processing(values: Values) -> str:
    """How often processing seemed to add information, exactly and as counted; and what one copied sample holds."""
    parts = []
    for kind, label in (("discrete", "discrete"), ("gaussian", "Gaussian")):
        rows = values[kind]
        worse = sum(row["both"] > row["first"] + 1e-12 for row in rows)
        parts.append(f"{worse} of {len(rows)} {label} chains")
    rows = values["discrete"]
    errors = np.array([row["first_counted"] - row["first"] for row in rows])
    low, high = middle(errors)
    turned = sum(row["both_counted"] > row["first_counted"] for row in rows)
    found = values["resolutions"]
    finest = int(np.argmin(found["noises"]))
    return "\n".join((
        f"- I(X; Z) exceeds I(X; Y) in {listing(parts)}.",
        f"- Counted from {values['n_samples']} draws in place of summed exactly, I(X; Y) is off by "
        f"{fixed(errors.mean(), 3, True)} nats on average (middle 95 % of chains {fixed(low, 3, True)} to "
        f"{fixed(high, 3, True)}), and the two sides are the wrong way round in {turned} of {len(rows)} chains. The "
        "theorem is about information, not about estimates of it.",
        f"- A single copied sample of the signal holds {found['copy'][finest]:.1f} nats of it at a noise of "
        f"{found['noises'][finest]:g}, and more at every finer one; all of the visible part holds "
        f"{found['whole'][finest]:.2f} of the hidden part, and no noise however small brings it over "
        f"{found['ceiling']:.2f}. So I(x; z) without noise tells no good encoder from a poor one, and what the masked "
        "loss bounds is another, finite quantity.",
    ))  # fmt: skip


def gradients(values: Values) -> str:
    """How the ratio of gradients goes with the scale, where both are equal, and where common ways of scaling lie."""
    if "reason" in values:
        return f"Not measured: {values['reason']}."
    slopes = {way: _slope([row for row in values["gradients"] if row["way"] == way]) for way in WAYS}
    start = {row["scale"]: row for row in values["gradients"] if row["way"] == "start"}
    scale, row = min(start.items(), key=lambda item: abs(np.log(item[0])))
    ratio = row["ratio"] / scale**2
    equal = 1 / np.sqrt(ratio)
    names = listing(
        f"{SCALINGS[how]} s = {values['spreads'][how]['value']:.2g} "
        f"({values['spreads'][how]['low']:.2g} to {values['spreads'][how]['high']:.2g})"
        for how in ("minmax", "mv")
    )
    low, high = (values["spreads"][how]["value"] ** 2 for how in ("minmax", "zscore"))
    error = min(one["masked_mse"]["value"] for one in values["runs"])
    return "\n".join((
        f"- At the start, the masked error's gradient on the encoder is {ratio:.2g} times InfoNCE's at s = 1 (over "
        f"{values['batches']} batches {row['low'] / scale**2:.2g} to {row['high'] / scale**2:.2g}). Both are equal at "
        f"s = {equal:.2g}, a weight of {equal**2:.2g}.",
        f"- The ratio grows as s to the power {slopes['start']:.2f} at the start, by construction; after "
        f"{values['first']} updates at each scale {slopes['trained']:.2f}; where the target alone is scaled and the "
        f"decoder's output left as it starts, {slopes['target alone']:.2f}: the loss is then s² times as large in its "
        "constant part, and its gradient is not, until the decoder has found the target's unit.",
        f"- Three ways to prepare the same recordings, median and middle 90 % of {values['n_spreads']:,}: {names}, "
        f"z-score s = 1. From min–max to z-score the weight of reconstruction grows {high / low:,.0f}-fold, and the "
        "paper does not say which it uses.",
        f"- Read as a decoder's variance: {values['n_hidden']:,} samples of a recording are hidden, so s = 1 stands "
        f"for a decoder's sd of √(d/2) = {np.sqrt(values['n_hidden'] / 2):.0f} times the signal's. The variance that "
        f"makes the bound tightest is the error itself: at the {error:.2f} that the short runs below come down to, "
        f"s = {np.sqrt(values['n_hidden'] / (2 * error)):.0f}.",
    ))  # fmt: skip


def _slope(rows: list[Values]) -> float:
    """Power of s with which the ratio grows, over the swept scales."""
    logs = np.log([[row["scale"], row["ratio"]] for row in rows])
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def short_runs(values: Values) -> str:
    """What the scale changed in short runs: terms, and probing; and how little so short a run can say."""
    if "reason" in values:
        return f"Not trained: {values['reason']}."
    rows = sorted((row for row in values["runs"] if row["name"] != "random"), key=lambda row: float(row["name"]))
    (random,) = [row for row in values["runs"] if row["name"] == "random"]
    first, last, short = rows[0], rows[-1], values["short"]
    lines = [
        f"{short['seeds']} seeds of {short['updates']} updates with batches of {values['batch']}, on the first "
        f"{values['window_s']:g} s of {values['n_training']:,} recordings: far shorter than any pretraining here. "
        "What follows shows a direction, not where a full run ends.",
        f"From s = {first['name']} to s = {last['name']}: held-out InfoNCE {_moved(first, last, 'info_nce')}, held-out "
        f"masked error {_moved(first, last, 'masked_mse')}. {_traded(first, last)}",
    ]
    if "auroc" not in first:
        return "\n".join(f"- {line}" for line in [*lines, f"Not probed: {values['unprobed']}."])
    best = max(rows, key=lambda row: row["auroc"]["value"])
    spread = max(row["auroc"]["value"] for row in rows) - min(row["auroc"]["value"] for row in rows)
    sds = [row["auroc"]["sd"] for row in (*rows, random) if row["auroc"]["sd"] is not None]
    noise = max(sds, default=float("nan"))
    clear = "more than" if spread > 2 * noise else "no more than"
    lines.append(
        f"Probing ({values['n_probed']:,} recordings): the best mean is {_percent(best)} at s = {best['name']}; the "
        f"random network has {_percent(random)}. The scales lie {100 * spread:.1f} points apart, {clear} twice the "
        f"largest standard deviation over seeds ({100 * noise:.1f}), so "
        + ("the scale moves the probe even here." if spread > 2 * noise else "which scale is best stays open here.")
    )
    under = [row["name"] for row in rows if row["auroc"]["value"] <= random["auroc"]["value"]]
    if under:
        lines.append(f"At s = {listing(under)}, so short a run does not lift the probe over the random network.")
    return "\n".join(f"- {line}" for line in lines)


def _moved(first: Values, last: Values, name: str) -> str:
    word = "rises" if last[name]["value"] > first[name]["value"] else "falls"
    signs = [b > a for a, b in zip(first[name]["each"], last[name]["each"])]
    alike = max(sum(signs), len(signs) - sum(signs))
    return (
        f"{word} from {fixed(first[name]['value'], 2)} to {fixed(last[name]['value'], 2)} (the same way in {alike} of "
        f"{len(signs)} seeds)"
    )


def _traded(first: Values, last: Values) -> str:
    """Whether every seed paid for a lower masked error with a higher InfoNCE."""
    pairs = [list(zip(first[name]["each"], last[name]["each"])) for name in ("info_nce", "masked_mse")]
    if all(b > a for a, b in pairs[0]) and all(b < a for a, b in pairs[1]):
        return "The unit of the target alone trades one term for the other."
    if all(b < a for a, b in pairs[1]):
        return "The unit decides how much reconstruction is learnt; what alignment pays for it stays open here."
    return "What the unit changes stays open here."


def _percent(row: Values) -> str:
    score = row["auroc"]
    return f"{100 * score['value']:.1f} % [{100 * score['low']:.1f}, {100 * score['high']:.1f}]"
