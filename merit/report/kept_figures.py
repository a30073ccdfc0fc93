"""What is kept, as pictures and tables: beyond the report against in the report, and each factor by itself.

All take results as `pipeline.kept` gives them; those with a reason in place of numbers are named, not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from merit.report import tables
from merit.report.figures import PANEL_WIDTH, Drawing, distinct, nothing
from merit.report.numerals import fixed
from merit.report.prose import Html, listing
from merit.report.style import COHORT_LABELS, look

Result = Mapping[str, Any]
DECODERS = {"linear": "linear decoder", "nonlinear": "non-linear decoder"}
FACTORS = {
    "pr": "PR interval",
    "qrs": "QRS duration",
    "qt": "QT interval",
    "axis": "axis in degrees",
    "variability": "beat-to-beat variability",
    "qrs_leads": "relative QRS by lead",
    "t_leads": "relative T by lead",
    "st_leads": "relative ST by lead",
    "heart_rate": "heart rate*",
}
"""Name of a factor -> how it is written; the star: not in the mean."""


def found(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    """The values of those results that have numbers."""
    return [one["values"] for one in results if "reason" not in one["values"]]


def missing(results: Sequence[Result]) -> str:
    """Which encoders have no numbers, and why; what was measured on otherwise."""
    reasons: dict[str, list[str]] = {}
    for one in (result["values"] for result in results):
        if "reason" in one:
            reasons.setdefault(one["reason"], []).append(look(one["encoder"]).label)
    lines = [f"- {listing(names)}: not measured, {reason}." for reason, names in reasons.items()]
    there = found(results)
    if there:
        one = there[0]
        lines.insert(0, _measured_on(one) + ("\n" if lines else ""))
    return "\n".join(lines)


def _measured_on(one: Mapping[str, Any]) -> str:
    real = one.get("source") == "measured"
    read = "words, pairs of words and codes" if real else "statements"
    return (
        f"Measured on {one['n_records']:,} recordings of {one['n_patients']:,} patients of "
        f"{COHORT_LABELS.get(one['cohort'], one['cohort'])}, {one['n_seen']} of whom an encoder met in pretraining. "
        f"Decoders read {one['n_features']:,} {read} of a report; {len(one['statements'])} "
        f"{'codes' if real else ''}{' ' * real}are frequent enough to be scored themselves.{_partly(one)}"
        f"{_delineated(one) if real else ''}"
    )


def _delineated(one: Mapping[str, Any]) -> str:
    """What factors are where nobody knows them, and what cannot be asked then."""
    return (
        f" Nobody knows the factors of these recordings: they were delineated, which failed in {one['n_failed']:,}; "
        "those count for no factor. No finding is scored as unstated: in PTB-XL a code is there because the report "
        f"says so, there is no other witness, and the report alone knows every finding.{_scaled(one)}"
    )


def _scaled(one: Mapping[str, Any]) -> str:
    """In how many recordings leads cannot be compared."""
    n = one.get("n_scaled", 0)
    if not n:
        return ""
    return f" In {n:,} the leads are not on one scale (II is not I + III): their axis and proportions are left out."


def _partly(one: Mapping[str, Any]) -> str:
    """Which factors some recordings do not have."""
    parts = [
        f"{FACTORS[name]} in {numbers['n']:,} recordings"
        for name, numbers in one["factors"].items()
        if numbers["n"] < one["n_records"]
    ]
    return f" Not every recording has every factor: {listing(parts)}." if parts else ""


def thesis(results: Sequence[Result]) -> Drawing:
    """A panel a decoder, a mark an encoder: kept beyond the report (up) against in the report (right), percent."""
    values = [one for one in found(results) if one["summary"]["linear"]["in_report"]["value"] is not None]
    if not values:
        return nothing("no encoder was measured")
    figure = Drawing(figsize=(1.6 * PANEL_WIDTH, 1.2 * PANEL_WIDTH), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for axis, (decoder, title) in zip(axes, DECODERS.items()):
        for one in values:
            style, numbers = look(one["encoder"]), one["summary"][decoder]
            x, y = numbers["in_report"], numbers["beyond"]
            axis.errorbar(
                100 * x["value"], 100 * y["value"], xerr=_bars(x), yerr=_bars(y), color=style.colour,
                marker=style.marker, markersize=8, elinewidth=1.3, linestyle="none", label=style.label,
            )  # fmt: skip
        axis.set(title=title, xlabel="in the report:\nAUROC of its statements, %")
    axes[0].set_ylabel("beyond the report:\npartial R² of what it never names, %")
    axes[0].margins(0.12)
    figure.legend(*distinct(list(axes)), loc="outside lower center", ncols=5, columnspacing=1.2)
    return figure


def factors(results: Sequence[Result], decoder: str = "linear") -> Drawing:
    """A line a factor, a mark an encoder: partial R² given the report, percent, with 95 % intervals."""
    values = found(results)
    if not values:
        return nothing("no encoder was measured")
    names = [name for name in FACTORS if name in values[0]["factors"]]
    figure = Drawing(figsize=(1.6 * PANEL_WIDTH, 0.55 * len(names) + 1.3), layout="constrained")
    axis = figure.subplots()
    for place, one in enumerate(values):
        _line(axis, one, decoder, names, 0.15 * (place - (len(values) - 1) / 2))
    axis.axvline(0, color="#444444", linewidth=0.8)
    axis.set_yticks(range(len(names)), [FACTORS[name] for name in names])
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(f"partial R² given the report's statements, %, {DECODERS[decoder]}")
    figure.legend(loc="outside lower center", ncols=5)
    return figure


def _line(axis: Axes, one: Mapping[str, Any], decoder: str, names: Sequence[str], shift: float) -> None:
    style = look(one["encoder"])
    for k, name in enumerate(names):
        number = one["factors"][name][decoder]["partial"]
        axis.errorbar(
            100 * number["value"], k + shift, xerr=_bars(number), color=style.colour, marker=style.marker, markersize=5,
            elinewidth=1.1, linestyle="none", label=style.label if k == 0 else None,
        )  # fmt: skip


def _bars(number: Mapping[str, float | None]) -> list[list[float]] | None:
    """Lengths of an error bar, percent; None without an interval."""
    if number["low"] is None:
        return None
    return [[100 * max(number["value"] - number["low"], 0)], [100 * max(number["high"] - number["value"], 0)]]


def cell(number: Mapping[str, Any] | None, digits: int = 1) -> str:
    """`37.5` and on a line of its own `[35.1, 39.8]`, percent; a dash for what was not scored."""
    if number is None or number["value"] is None:
        return "–"
    text = fixed(100 * number["value"], digits)
    if number["low"] is None:
        return text
    return f"{text}\n[{fixed(100 * number['low'], digits)}, {fixed(100 * number['high'], digits)}]"


def summary(results: Sequence[Result], name: str = "kept-summary") -> Html:
    """A row an encoder: in the report and beyond it by both decoders, and beyond the text's embedding.

    name: unique on the page.
    """
    rows = {}
    for one in found(results):
        by = one["summary"]
        rows[look(one["encoder"]).label] = {
            "in the report,\nlinear": cell(by["linear"]["in_report"]),
            "in the report,\nnon-linear": cell(by["nonlinear"]["in_report"]),
            "beyond it,\nlinear": cell(by["linear"]["beyond"]),
            "beyond it,\nnon-linear": cell(by["nonlinear"]["beyond"]),
            "beyond its text embedding,\nlinear": cell(one["beyond_text"]),
        }
    return tables.mapping(rows, name) if rows else Html("")


def factor_table(results: Sequence[Result], decoder: str = "linear") -> Html:
    """A row a factor: what the report alone yields, and for each encoder partial R² with its interval, then raw R²."""
    rows: dict[str, dict[str, str]] = {}
    for one in found(results):
        for name, label in FACTORS.items():
            if name not in one["factors"]:
                continue
            numbers = one["factors"][name]
            row = rows.setdefault(label, {"report alone": cell(numbers["report"])})
            by = numbers[decoder]
            row[look(one["encoder"]).label] = f"{cell(by['partial'])}\nraw {fixed(100 * by['raw']['value'], 1)}"
    return tables.mapping(rows, f"kept-factors-{decoder}") if rows else Html("")


def findings_table(results: Sequence[Result], decoder: str = "linear") -> Html:
    """A row a finding: AUROC over all recordings, and where the report does not state it, report alone and encoders."""
    rows: dict[str, dict[str, str]] = {}
    for one in found(results):
        for name, numbers in one["findings"].items():
            row = rows.setdefault(
                name,
                {"there,\nunstated": f"{numbers['n']:,}\n{numbers['n_silent']:,}",
                 "report alone": _two(numbers["report"])},
            )  # fmt: skip
            row[look(one["encoder"]).label] = _two(numbers[decoder])
    return tables.mapping(rows, f"kept-findings-{decoder}") if rows else Html("")


def _two(numbers: Mapping[str, Any]) -> str:
    """AUROC over all, and under it where the report is silent, with its interval."""
    every = numbers.get("all")
    first = fixed(100 * every["value"], 1) if every and every["value"] is not None else "–"
    return f"{first}\n{cell(numbers.get('silent'))}"
