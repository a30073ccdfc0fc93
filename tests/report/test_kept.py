"""What is kept as pictures, tables and sentences, on made-up values whose answer is plain."""

from __future__ import annotations

import pytest

from merit import intervals
from merit.report import kept_claims as claims
from merit.report import kept_figures as figures

NOISE = [0.01, -0.01, 0.005, -0.005]


def number(value: float, width: float = 0.02, draws: bool = True) -> dict:
    found = {"value": value, "low": value - width, "high": value + width}
    return found | {"draws": [value + d for d in NOISE]} if draws else found


def result(encoder: str, beyond: float, in_report: float, pr: float = 0.0, silent: float = 0.8) -> dict:
    factor = {"n": 2000, "report": number(0.5)}
    for decoder in figures.DECODERS:
        factor[decoder] = {"raw": number(0.6), "both": number(0.7), "partial": number(beyond)}
    low = (
        factor
        | {"n": 1700}
        | {d: {"raw": number(0.1), "both": number(0.5), "partial": number(pr, 0.01)} for d in figures.DECODERS}
    )
    finding = {
        "n": 40, "n_silent": 12, "report": {"all": number(0.9), "silent": number(0.7)},
        "linear": {"all": number(0.95), "silent": number(silent)}, "nonlinear": {},
    }  # fmt: skip
    values = {
        "encoder": encoder, "cohort": "ptb-xl", "n_records": 2000, "n_patients": 1700, "n_seen": 0, "n_features": 70,
        "factors": {"pr": low, "qrs": factor}, "findings": {"block": finding}, "statements": {"SR": 0.8},
        "summary": {d: {"beyond": number(beyond), "in_report": number(in_report)} for d in figures.DECODERS},
        "beyond_text": number(beyond + 0.1),
    }  # fmt: skip
    return {"values": values}


MISSING = {"values": {"encoder": "ib", "reason": "no <b>truth</b>"}}
RESULTS = [
    result("merit", 0.3, 0.8), result("cma", 0.2, 0.79), result("mse", 0.4, 0.7), result("random", 0.1, 0.6), MISSING,
]  # fmt: skip


def test_pictures_are_drawn_with_and_without_numbers():
    for draw in (figures.thesis, figures.factors):
        assert draw(RESULTS)._repr_png_().startswith(b"\x89PNG")
        assert draw([MISSING])._repr_png_().startswith(b"\x89PNG")
    nothing = result("merit", 0.3, 0.8)
    for decoder in figures.DECODERS:
        nothing["values"]["summary"][decoder]["in_report"] = {"value": None, "low": None, "high": None, "draws": []}
    assert len(figures.thesis([nothing]).axes) == 0


def test_the_thesis_figure_has_a_mark_an_encoder_at_its_numbers():
    left, right = figures.thesis(RESULTS).axes
    for axis in (left, right):
        marks = [(round(float(box[0].get_xdata()[0])), round(float(box[0].get_ydata()[0]))) for box in axis.containers]
        assert marks == [(80, 30), (79, 20), (70, 40), (60, 10)]


def test_tables_hold_the_numbers_and_what_is_missing_is_named():
    table = figures.factor_table(RESULTS)._repr_html_()
    assert "30.0\n[28.0, 32.0]\nraw 60.0" in table
    assert "50.0\n[48.0, 52.0]" in table
    assert "40.0\n[38.0, 42.0]" in figures.summary(RESULTS)._repr_html_()
    assert "95.0\n80.0\n[78.0, 82.0]" in figures.findings_table(RESULTS)._repr_html_()
    assert "–\n–" in figures.findings_table(RESULTS, "nonlinear")._repr_html_()
    text = figures.missing(RESULTS)
    assert "2,000 recordings of 1,700 patients of PTB-XL, 0 of whom" in text
    assert "Not every recording has every factor: PR interval in 1,700 recordings." in text
    assert "- IB: not measured, no <b>truth</b>." in text
    assert figures.summary([MISSING])._repr_html_() == figures.factor_table([MISSING])._repr_html_() == ""


def test_differences_are_paired():
    assert intervals.paired(number(0.3), number(0.2)) == (pytest.approx(0.1),) * 3
    assert intervals.paired(number(0.3), {"value": 0.2, "draws": []}) is None
    assert intervals.paired(number(0.3), {"value": None, "draws": NOISE}) is None
    assert claims.signs_of([(1, 0.5, 1.5), (-1, -1.5, -0.5), (0, -1, 1), None]) == [1, -1, 0, 0]


def test_the_verdict_follows_the_numbers():
    text = claims.verdict(RESULTS)
    assert text.count("**seen**") == 3
    assert "MERIT − CMA beyond the report, linear decoder: +10.0 [+10.0, +10.0]" in text
    turned = [result("merit", 0.1, 0.6), result("cma", 0.2, 0.7), result("mse", 0.15, 0.8)]
    assert claims.verdict(turned).count("**the opposite is seen**") == 3
    lost = [result("merit", 0.3, 0.7), result("cma", 0.2, 0.8), result("mse", 0.4, 0.6)]
    assert "seen in part, contradicted in part" in claims.verdict(lost)
    even = [result("merit", 0.3, 0.7), result("cma", 0.3, 0.7), result("mse", 0.3, 0.7)]
    assert claims.verdict(even).count("**not shown**") == 3
    assert claims.verdict(RESULTS[:1]).count("**not measured**") == 3


def test_the_headline_orders_and_says_what_learning_nothing_gives():
    text = claims.headline(RESULTS)
    assert text.index("MSE 40.0 [38.0, 42.0]") < text.index("MERIT 30.0") < text.index("random 10.0")
    assert text.endswith("Above an encoder that has learnt nothing: MSE, MERIT and CMA.")
    low = claims.headline([result("merit", 0.1, 0.8), result("random", 0.2, 0.6)])
    assert "learnt nothing: none; not above it: MERIT." in low
    assert claims.headline([MISSING]).startswith("Nothing was measured")


def test_factors_are_sorted_by_what_their_paired_draws_say():
    text = claims.by_factor(RESULTS)
    assert "MERIT against CMA: more in QRS duration; less in none; undecided in PR interval." in text
    assert "MERIT against MSE: more in none; less in QRS duration; undecided in PR interval." in text
    assert claims.by_factor([MISSING]) == ""


def test_what_nobody_gives_is_named():
    assert "nobody gives **PR interval**" in claims.limits(RESULTS)
    text = claims.limits([*RESULTS, result("ib", 0.2, 0.8, pr=0.3)])
    assert "nobody" not in text
    assert "decoder: PR interval, at best 30.0 [29.0, 31.0] percent (IB)." in text
    assert "by 0.0 to 0.0 points" in claims.limits(RESULTS)
    assert claims.limits([MISSING]) == ""


def test_each_is_compared_with_the_first_and_silent_findings_are_counted():
    text = claims.compared(RESULTS)
    assert "MERIT minus MSE: beyond the report −10.0 [−10.0, −10.0] linear" in text
    assert text.count("\n") == 2
    assert claims.compared([MISSING]).startswith("- Not both")
    told = claims.silent(
        [result("merit", 0.3, 0.8), result("cma", 0.2, 0.8, silent=0.72), result("mse", 0, 0, silent=0.6)]
    )
    assert "MERIT 1 of 1 (1 with" in told
    assert "CMA 1 of 1 (0 with" in told
    assert "MSE 0 of 1 (0 with" in told
    assert claims.silent([MISSING]) == ""
