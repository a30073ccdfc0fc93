"""What the pages on retention share: committed files, the figure's points, and verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from merit import scores
from merit.report import retention as shown

DECODERS = ("linear", "nonlinear")


def number(value: float, width: float = 0.02) -> dict[str, float]:
    return {"value": round(value, 4), "low": round(value - width, 4), "high": round(value + width, 4)}


def result(encoder: str, beyond: float, in_report: float, seed: int = 0, **about: Any) -> list[dict[str, Any]]:
    """The scores of one encoder on real recordings."""
    front = {"study": "retention", "encoder": encoder, "encoder_seed": seed, "cohort": "ptb-xl", "source": "measured"}
    front |= {"n_records": 400, "n_patients": 380, "n_seen": 0, "n_features": 1500, "n_failed": 3, "n_scaled": 250}
    rows = [{"kind": "factor", "target": "qrs", "decoder": "report", "metric": "r2", **number(0.4), "n": 390}]
    for decoder in DECODERS:
        factor = {"kind": "factor", "target": "qrs", "decoder": decoder, "n": 390}
        rows += [
            {**factor, "metric": metric, **number(value)}
            for metric, value in (("r2", 0.5), ("r2_both", 0.6), ("r2_partial", beyond))
        ]
        own = {"kind": "summary", "target": "mean", "decoder": decoder, "n": 400}
        rows += [{**own, "metric": "r2_partial", **number(beyond)}]
        rows += [{**own, "metric": "auroc_stated", **number(in_report)}]
    for decoder, value in (("report", 0.9), ("linear", 0.8), ("nonlinear", None)):
        finding = {"kind": "finding", "target": "block", "decoder": decoder}
        rows += [{**finding, "metric": "auroc", **(number(value) if value else {}), "n": 12}]
        rows += [{**finding, "metric": "auroc_silent", "n": 0}]
    rows += [{"kind": "statement", "target": "SR", "decoder": "linear", "metric": "auroc", "value": 0.8}]
    text = {"kind": "summary", "target": "mean", "decoder": "linear", "metric": "r2_partial_text", "n": 400}
    rows += [{**text, **number(beyond + 0.05)}]
    return [{**front, **row, **about} for row in rows]


def bound(factor: str, r2: float | None, fs_hz: float = 100.0, own_qrs: bool = True, **changes: Any) -> dict[str, Any]:
    counts = {"n": 80, "n_manual": 85, "n_without": 15, "n_invented": 2}
    how = {"fs_hz": fs_hz, "method": "prominence", "own_qrs": own_qrs, "factor": factor, "unit": "ms"}
    numbers = {"bias": number(-3.0, 1), "sd": number(12.0, 1), "r2": number(r2, 0.1)} if r2 else {}
    return (
        how
        | counts
        | {name: dict.fromkeys(("value", "low", "high")) for name in ("bias", "sd", "r2")}
        | numbers
        | changes
    )


CEILING = [
    bound("pr", 0.6),
    bound("qrs", 0.7),
    bound("axis", 0.9, unit="°"),
    bound("pr", 0.7, 500.0),
    bound("qrs", 0.72, 500.0),
    bound("qrs", 0.1, own_qrs=False),
]
LEVELS = {"merit": (0.3, 0.8), "cma": (0.2, 0.8), "mse": (0.4, 0.7), "random": (0.1, 0.6)}
ROWS = [
    *(result(name, *levels) for name, levels in LEVELS.items()),
    [{"encoder_seed": 0, "encoder": "ib", "reason": "no <b>"}],
]
THESIS = {
    "Reconstruction keeps more": [("mse", "cma", "r2_partial")],
    "Beside alignment too": [("merit", "cma", "r2_partial")],
    "Without losing the report": [("merit", "cma", "auroc_stated"), ("merit", "mse", "auroc_stated")],
}


def committed(folder: Path, results: list[list[dict[str, Any]]], stage: str = "kept", **changes: Any) -> list:
    """What a committed file of these encoders holds, their differences beside them; written and read."""

    def summary(rows: list[dict[str, Any]], decoder: str, metric: str) -> float:
        wanted = ("summary", decoder, metric)
        return next(r["value"] for r in rows if (r["kind"], r["decoder"], r["metric"]) == wanted)

    there = [rows for rows in results if "reason" not in rows[0]]
    paired = [
        {"study": "retention", "kind": "difference", "encoder_seed": a[0]["encoder_seed"], "decoder": decoder}
        | {"encoder": a[0]["encoder"], "other": b[0]["encoder"], "metric": metric}
        | number(summary(a, decoder, metric) - summary(b, decoder, metric))
        for k, a in enumerate(there) for b in there[k + 1 :] if a[0]["encoder_seed"] == b[0]["encoder_seed"]
        for decoder in DECODERS for metric in ("r2_partial", "auroc_stated")
    ]  # fmt: skip
    about = {"study": stage, "group": "objectives", "profile": "demo", "synthetic": False, "seeds": 1, "device": "cpu"}
    about |= {"cores": 2, "finished": "2026-01-02", "commit": "abc", "suffix": None, "costs": []}
    rows = [*(row for rows in results for row in rows), *paired, *scores.records(reliability(CEILING))]
    scores.write(folder / f"{stage}-demo-real.json", {**about, **changes}, scores.frame(rows))
    return shown.committed(stage, "smoke", False, folder=folder)


def test_a_committed_file_has_its_differences_in_both_directions(tmp_path):
    ((about, found),) = committed(tmp_path, ROWS)
    assert (about["study"], about["suffix"], about["seeds"]) == ("kept", None, 1)
    qrs = scores.scored(found, target="qrs", encoder="merit").set_index(["decoder", "metric"])
    assert len(qrs) == 7
    assert qrs.loc[("linear", "r2_partial"), ["value", "low", "high", "n"]].tolist() == pytest.approx(
        [0.3, 0.28, 0.32, 390]
    )
    assert qrs.loc[("report", "r2"), "value"] == 0.4
    silent = found[(found["metric"] == "auroc_silent") & (found["encoder"] == "merit")]
    assert silent[["value", "n"]].isna().to_numpy().tolist() == [[True, False]] * 3
    assert list(scores.scored(found, study="reliability", factor="pr", metric="bias")["value"]) == [-3.0, -3.0]
    pairs = found[found["kind"] == "difference"].set_index(["encoder", "other", "decoder", "metric"])
    ahead, behind = (pairs.loc[(*sides, "linear", "r2_partial")] for sides in (("merit", "cma"), ("cma", "merit")))
    assert ahead[["value", "low", "high"]].tolist() == pytest.approx([0.1, 0.08, 0.12])
    assert behind[["value", "low", "high"]].tolist() == pytest.approx([-0.1, -0.12, -0.08])
    assert committed(tmp_path, ROWS, synthetic=True) == []


def test_means_over_seeds_and_the_interval_of_a_single_one(tmp_path):
    rows = [result("merit", 0.3, 0.8), result("merit", 0.4, 0.8, seed=1), result("cma", 0.2, 0.7)]
    ((_, found),) = committed(tmp_path, rows, seeds=2)
    means = shown.over_seeds(found).set_index(["encoder", "measure"])
    assert means.loc[("merit", "r2_partial linear"), ["value", "sd"]].tolist() == pytest.approx(
        [0.35, np.std([0.3, 0.4], ddof=1)]
    )
    assert np.isnan(means.loc[("merit", "r2_partial linear"), "low"])
    assert means.loc[("cma", "r2_partial linear"), ["low", "high"]].tolist() == pytest.approx([0.18, 0.22])
    points = shown.points(means.reset_index()).set_index(["encoder", "decoder"])
    merit, cma = (points.loc[(name, "linear decoder")] for name in ("MERIT", "CMA"))
    assert merit["beyond_low"] == pytest.approx(35 - 100 * np.std([0.3, 0.4], ddof=1))
    assert (merit["in_report_value"], cma["beyond_high"]) == pytest.approx((80, 22))


def test_the_figure_has_its_points_as_numbers(tmp_path):
    ((_, found),) = committed(tmp_path, ROWS)
    drawing = shown.thesis(shown.points(shown.summary(found)))
    data = drawing.table
    assert len(drawing.axes) == 2
    assert [round(value) for value in data["beyond_value"]] == [30, 30, 20, 20, 40, 40, 10, 10]
    assert drawing._repr_png_().startswith(b"\x89PNG")
    assert not shown.thesis(shown.points(shown.summary(shown.complete(scores.frame([]))))).axes


def test_what_was_measured_and_what_was_not_is_said(tmp_path):
    ((_, found),) = committed(tmp_path, ROWS)
    text = shown.measured_on(found)
    assert "400 recordings of 380 patients of PTB-XL, 0 of whom" in text
    assert "1,500 words, pairs of words and codes of a report; 1 codes are" in text
    assert "Not every recording has every factor: QRS duration in 390 recordings." in text
    assert "failed in 3; those count for no factor" in text
    assert "In 250 the leads are not on one scale" in text
    assert "\n- IB: not measured, no <b>." in text
    assert (
        shown.measured_on(shown.complete(scores.frame([{"encoder": "ib", "reason": "x"}]))) == "- IB: not measured, x."
    )


def verdict(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> str:
    ((_, found),) = committed(folder, rows, **changes)
    return shown.verdict(found[found["kind"] == "difference"], THESIS)


def test_a_verdict_needs_both_decoders_and_every_seed(tmp_path):
    text = verdict(tmp_path, ROWS)
    assert text.count("**seen**") == 3  # in the report, MERIT need only not lose to CMA
    assert (
        "- Reconstruction keeps more: **seen**. MSE − CMA beyond the report, linear decoder: +20.0 [+18.0, +22.0]; MSE"
        in text
    )
    turned = [result("merit", 0.1, 0.6), result("cma", 0.5, 0.7), result("mse", 0.2, 0.8)]
    assert verdict(tmp_path, turned).count("**the opposite is seen**") == 3
    mixed = [result("merit", 0.3, 0.6), result("cma", 0.2, 0.8), result("mse", 0.4, 0.5)]
    assert "**seen in part, contradicted in part**" in verdict(tmp_path, mixed)
    once = [*ROWS[1:], result("merit", 0.3, 0.8)]
    for row in once[-1]:
        if (row["kind"], row["decoder"], row["metric"]) == ("summary", "nonlinear", "r2_partial"):
            row |= number(0.21)
    assert verdict(tmp_path, once).count("**not shown**") == 1
    second = [result(name, 0.2 if name == "merit" else beyond, told, 1) for name, (beyond, told) in LEVELS.items()]
    text = verdict(tmp_path, ROWS + second, seeds=2)
    assert "MERIT − CMA beyond the report, linear decoder: +10.0 [+8.0, +12.0] and 0.0 [−2.0, +2.0]" in text
    assert text.count("**not shown**") == 1
    assert verdict(tmp_path, ROWS[1:2]).count("**not measured**") == 3


def reliability(bounds: list[dict[str, Any]]) -> pd.DataFrame:
    return scores.frame(
        {"study": "reliability", **{k: v for k, v in one.items() if not isinstance(v, dict)}, "metric": m, **one[m]}
        for one in bounds for m in ("bias", "sd", "r2")
    )  # fmt: skip


def test_reliability_is_a_table_and_a_sentence():
    table = str(shown.reliability_table(reliability([*CEILING, bound("qt", None, n=3)]), "r"))
    assert "60 [50, 70]\n−3.0 ± 12.0 ms\nn = 80" in table
    assert "–\nn = 3" in table
    assert "100 Hz,\nlibrary" in table
    text = shown.reliability_reading(reliability(CEILING))
    assert "axis in degrees 90, QRS duration 70 and PR interval 60." in text
    assert "The rate costs at most 10 points, in PR interval." in text
    assert "own marks: 10 percent, against 70" in text
    assert (
        "Of 15 recordings without a marked P wave before QRS, PR was measured in 2; of 85 with one, it was not in 5."
        in text
    )
    assert "little use" not in text
    for empty in (reliability([]), scores.frame([{"study": "reliability", "reason": "no LUDB"}])):
        assert shown.reliability_table(empty, "r") == ""
        assert shown.reliability_reading(empty).startswith("No ceiling: LUDB")


@pytest.mark.parametrize("fewer", [CEILING[:3], CEILING[:1], [bound("qt", 0.2)]])
def test_reliability_says_only_what_its_rows_hold(fewer):
    text = shown.reliability_reading(reliability(fewer))
    assert "The rate costs" not in text
    assert "own marks" not in text
    assert ("**QT interval**" in text) == (fewer[0]["factor"] == "qt")
