"""What the two pages on retention share: committed scores, one figure, and sentences that judge differences.

Frames are those of `studies.retention`: rows of kind factor, finding, statement and summary, and in committed files
differences of two encoders and rows of study "reliability".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn.objects as so

from merit import scores
from merit.report import show
from merit.report.prose import Html, fixed, listing
from merit.report.show import Drawing, label, nothing

COLUMNS = ("kind", "target", "decoder", "n", "low", "high", "draws", "other")
"""What a row with a value has, besides encoder, metric and value."""
IN_REPORT, BEYOND = (
    "in the report: AUROC of its statements, %",
    "beyond the report: partial R² of what it never names, %",
)


# ---------------------------------------------------------------------------------------------------- committed scores


def committed(
    study: str, profile: str, synthetic: bool, group: str | None = None, folder: Path | None = None
) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """`show.committed` of kept, left_out or carried_over, with differences in both directions."""
    parts = []
    for about, found in show.committed(study, profile, synthetic, group, folder):
        found = complete(found)
        ahead = found["kind"] == "difference"
        parts.append((about, pd.concat([found[~ahead], both_ways(found[ahead])], ignore_index=True)))
    return parts


def both_ways(differences: pd.DataFrame) -> pd.DataFrame:
    """Differences of two encoders, followed by the same the other way round."""
    back = differences.rename(columns={"encoder": "other", "other": "encoder", "low": "high", "high": "low"})
    return pd.concat([differences, back.assign(**{name: -back[name] for name in ("value", "low", "high")})])


def complete(found: pd.DataFrame) -> pd.DataFrame:
    """The frame with all of `COLUMNS`, which it lacks where no encoder could be measured."""
    return found.reindex(columns=list(dict.fromkeys([*found.columns, *COLUMNS])))


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of kind summary, with the column `measure` (metric and decoder) by which tables are headed."""
    own = scores.scored(found, kind="summary")
    return own.assign(measure=own["metric"] + " " + own["decoder"])


def over_seeds(found: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """`summary` as means over pretraining seeds: value, sd and n; of a single seed its interval over patients."""
    own = summary(found)
    keys = [*by, "decoder", "measure", "encoder", "metric"]
    ends = own.drop_duplicates(keys)[[*keys, "low", "high"]]
    means = scores.over_seeds(own, keys[:-2]).merge(ends, on=keys)
    means.loc[means["n"] > 1, ["low", "high"]] = np.nan
    return means


# -------------------------------------------------------------------------------------------------------- one figure


def points(found: pd.DataFrame, by: Sequence[str] = ("decoder",)) -> pd.DataFrame:
    """One row per encoder and `by` with both axes of the figure, percent; ends are those of the interval, or ± sd."""
    ends = found.assign(low=found["low"].astype(float), high=found["high"].astype(float))
    if "sd" in ends:
        ends["low"] = ends["low"].fillna(ends["value"] - ends["sd"])
        ends["high"] = ends["high"].fillna(ends["value"] + ends["sd"])
    keys = [*by, "encoder", *(["encoder_seed"] if "encoder_seed" in ends else [])]
    sides = {"auroc_stated": "in_report", "r2_partial": "beyond"}
    x, y = (
        (100 * ends[ends["metric"] == metric].set_index(keys)[["value", "low", "high"]]).add_prefix(f"{name}_")
        for metric, name in sides.items()
    )
    return show.labelled(x.join(y, how="inner").reset_index())


def thesis(found: pd.DataFrame, facet: str = "decoder") -> Drawing:
    """One panel per value of `facet`, one mark per encoder: beyond the report (up) against in the report (right)."""
    if found.empty:
        return nothing("no encoder was measured")
    plot = (
        so.Plot(found, x="in_report_value", y="beyond_value", color="encoder", marker="encoder")
        .facet(facet)
        .add(so.Range(linewidth=1.3), ymin="beyond_low", ymax="beyond_high")
        .add(so.Range(linewidth=1.3), orient="y", xmin="in_report_low", xmax="in_report_high")
        .add(so.Dot(pointsize=7))
        .scale(**show.scale(found))
        .label(x=IN_REPORT.replace(": ", ":\n"), y=BEYOND.replace(": ", ":\n"), color="", marker="")
    )
    return show.figure(plot, found, height=4)


# ---------------------------------------------------------------------------------------------------------- sentences


def factor(name: str) -> str:
    """A factor inside a sentence: without the star of what is not in the mean."""
    return label(name, "factor").rstrip("*")


def measured_on(found: pd.DataFrame) -> str:
    """Recordings, patients, what decoders read of a report, what failed, and which encoders have no numbers and why."""
    reasons = found[found["value"].isna() & found["metric"].isna()].groupby("reason", sort=False)["encoder"]
    without = [f"- {listing(label(one, 'encoder') for one in own)}: not measured, {why}." for why, own in reasons]
    own = scores.scored(found, kind=["factor", "statement"])
    if own.empty:
        return "\n".join(without)
    one = own[own["encoder"] == own["encoder"].iloc[0]].drop_duplicates(["kind", "target"])
    about, n_statements = one.iloc[0], int((one["kind"] == "statement").sum())
    real = about["source"] == "measured"
    text = (
        f"Measured on {about['n_records']:,.0f} recordings of {about['n_patients']:,.0f} patients of "
        f"{label(about['cohort'], 'cohort')}, {about['n_seen']:.0f} of whom an encoder met in pretraining. "
        f"Decoders read {about['n_features']:,.0f} {'words, pairs of words and codes' if real else 'statements'} of a "
        f"report; {n_statements} {'codes ' * real}are frequent enough to be scored themselves."
    )
    some = one[(one["kind"] == "factor") & (one["n"] < about["n_records"])]
    if len(some):
        parts = (f"{factor(row.target)} in {row.n:,.0f} recordings" for row in some.itertuples())
        text += f" Not every recording has every factor: {listing(parts)}."
    if real:
        text += (
            f" Nobody knows the factors of these recordings: they were delineated, which failed in "
            f"{about['n_failed']:,.0f}; those count for no factor. No finding is scored as unstated: in PTB-XL a code "
            "is there because the report says so, there is no other witness, and the report alone knows every finding."
        )
        if about["n_scaled"]:
            text += (
                f" In {about['n_scaled']:,.0f} the leads are not on one scale (II is not I + III): their axis and "
                "proportions are left out."
            )
    return "\n".join([text + "\n" * bool(without), *without])


def in_points(row: Mapping[str, Any]) -> str:
    """`+5.8 [+4.6, +7.1]`, points, of a difference."""
    return show.cell(row, sign=True).replace("\n", " ")


def verdict(pairs: pd.DataFrame, parts: Mapping[str, Sequence[tuple[str, str, str]]]) -> str:
    """One line per part of the thesis: seen, not shown, the opposite is seen; and the differences that decide it.

    pairs: one row per encoder, other, decoder, metric and pretraining seed. parts: what is said -> (encoder, other,
    metric) that must be above 0 with both decoders in every seed. A difference counts beyond sampling error, corrected
    for all of them (Holm); against CMA nothing more is asked in the report than to lose nothing.
    """
    decoders = show.VOCABULARY["decoder"]
    every = [(a, b, metric, decoder) for wanted in parts.values() for decoder in decoders for a, b, metric in wanted]
    keys = zip(pairs["encoder"], pairs["other"], pairs["metric"], pairs["decoder"])
    there = pairs.assign(key=[" ".join(key) for key in keys])
    there = pd.concat([there[there["key"] == " ".join(key)] for key in every], ignore_index=True)
    there["side"] = scores.beyond_zero(there[["value", "low", "high"]])
    lines = []
    for text, wanted in parts.items():
        sides: list[int | None] = []
        shown = []
        for decoder, by in decoders.items():
            for a, b, metric in wanted:
                own = there[there["key"] == f"{a} {b} {metric} {decoder}"]
                tie = (b, metric) == ("cma", "auroc_stated")
                sides += [1 if tie and side == 0 else side for side in own["side"]] or [None]
                if len(own):
                    what = f"{label(a, 'encoder')} − {label(b, 'encoder')} {label(metric, 'retained')}, {by}"
                    shown.append(f"{what}: {listing(map(in_points, own.to_dict('records')))}")
        known = set(sides)
        word = (
            "not measured" if None in known
            else "seen" if known == {1}
            else "the opposite is seen" if known == {-1}
            else "seen in part, contradicted in part" if {1, -1} <= known
            else "not shown"
        )  # fmt: skip
        lines.append(f"- {text}: **{word}**.{' ' + '; '.join(shown) + '.' if shown else ''}")
    return "\n".join(lines)


# ----------------------------------------------------------------------------------- how reliable measured factors are

LEAST_USE = 0.25
"""Largest R² with manual marks under which a factor is called of little use."""


def reliability_table(found: pd.DataFrame, name: str) -> Html:
    """One row per factor, one column per delineator: R² in percent, bias ± spread in the factor's unit, n."""
    wide = _wide(found)
    if wide.empty:
        return Html("")
    how = wide["fs_hz"].map("{:g} Hz".format) + np.where(wide["own_qrs"].astype(bool), "", ",\nlibrary's QRS")

    def text(row: Mapping[str, Any]) -> str:
        if pd.isna(row["value"]):
            return f"–\nn = {row['n']:.0f}"
        digits = 2 if row["unit"] == "log ms" else 1
        spread = f"{fixed(row['bias'], digits, sign=True)} ± {fixed(row['sd'], digits)} {row['unit']}"
        r2 = show.cell({key: row[key] for key in ("value", "low", "high")}, digits=0).replace("\n", " ")
        return f"{r2}\n{spread}\nn = {row['n']:.0f}"

    wide = wide.assign(how=how, factor=wide["factor"].map(factor))
    return show.table(wide, "how", name, rows="factor", text=text, best=None)


def _wide(found: pd.DataFrame) -> pd.DataFrame:
    """One row per delineator and factor: R² as value, low and high, beside it bias and sd; none without LUDB."""
    own = found[found.get("study", "") == "reliability"].dropna(subset="metric") if len(found) else found
    if own.empty:
        return own
    keys = ["fs_hz", "method", "own_qrs", "factor"]
    others = own.pivot(index=keys, columns="metric", values="value")[["bias", "sd"]]
    return own[own["metric"] == "r2"].drop(columns="sd", errors="ignore").join(others, on=keys)


def reliability_reading(found: pd.DataFrame) -> str:
    """What can be measured and what cannot, what the rate costs, and whose QRS is taken: one paragraph."""
    wide = _wide(found)
    if wide.empty:
        return "No ceiling: LUDB, with whose manual marks measured factors are compared, is not beside the other data."

    def percent(value: float) -> str:
        return fixed(100 * value, 0)

    scored = wide[wide["value"].notna()]
    least, most = wide["fs_hz"].min(), wide["fs_hz"].max()
    own = scored[scored["own_qrs"].astype(bool)]
    taken = own[own["fs_hz"] == least].sort_values("value", ascending=False, kind="stable").set_index("factor")
    shown = listing(f"{factor(one)} {percent(value)}" for one, value in taken["value"].items())
    text = (
        f"Share of what is measured at {least:g} Hz that manual marks explain (R², percent): {shown}. Nobody can be "
        "expected to predict more of a measured factor than this share of it that is real."
    )
    if useless := [factor(one) for one in taken.index[taken["value"] < LEAST_USE]]:
        text += f" Under {percent(LEAST_USE)} percent, and so of little use: **{listing(useless)}**."
    cost = (own[own["fs_hz"] == most].set_index("factor")["value"] - taken["value"]).dropna()
    if least < most and len(cost):
        worst = cost.idxmax()
        text += (
            f" The rate costs nothing that shows: at {most:g} Hz no factor agrees better." if cost[worst] < 0.005
            else f" The rate costs at most {percent(cost[worst])} points, in {factor(worst)}."
        )  # fmt: skip
    theirs = scored[~scored["own_qrs"].astype(bool) & (scored["factor"] == "qrs")]["value"].max()
    if "qrs" in taken.index and not np.isnan(theirs):
        ours = taken.loc["qrs", "value"]
        text += (
            " The library's own marks of QRS agree no worse than ours." if ours <= theirs
            else f" QRS duration by the library's own marks: {percent(theirs)} percent, against {percent(ours)} by the "
            "speed of voltage, which is why QRS is marked by our code."
        )  # fmt: skip
    if "pr" in taken.index and taken.loc["pr", "n_without"]:
        pr = taken.loc["pr"]
        text += (
            f" Of {pr['n_without']:.0f} recordings without a marked P wave before QRS, PR was measured in "
            f"{pr['n_invented']:.0f}; of {pr['n_manual']:.0f} with one, it was not in {pr['n_manual'] - pr['n']:.0f}."
        )
    return text
