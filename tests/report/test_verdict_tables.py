"""The claims page says what was judged, escapes what it is given, and needs no result to be shown."""

from __future__ import annotations

import pytest

from merit.report import verdict_tables, verdicts
from merit.report.claim_list import CLAIMS
from merit.report.claim_rules import Claim, Measured, Printed
from merit.report.evidence import Evidence
from merit.report.verdicts import Interval

RUN = Evidence(stage="shift", profile="demo", synthetic=True, scores={}, run="demo")


def claim(cells, **changes):
    settings = {
        "id": "z", "title": "<b>claim</b>", "text": "<i>said</i>", "place": "Section 9", "stage": "shift",
        "printed": lambda: Printed(False, "Table 9: & not"), "measure": lambda run: Measured(cells),
    }  # fmt: skip
    return Claim(**{**settings, **changes})


def test_every_claim_of_the_paper_is_a_row_without_any_result():
    judged = verdicts.judge_all(CLAIMS, [])
    claimed, judgements = verdict_tables.claimed(CLAIMS)._repr_html_(), verdict_tables.verdicts(judged)._repr_html_()
    assert claimed.count("<tr>") == judgements.count("<tr>") == len(CLAIMS) + 1
    assert "holds: Table 2: MERIT 77.58" in claimed
    assert "does not hold: Table 9" in claimed
    assert "cannot be checked: all of Table 3" in claimed
    assert judgements.count("nothing was measured here") + judgements.count("there is no chapter") == len(CLAIMS)


def test_a_verdict_shows_the_least_cell_with_its_interval_and_escapes():
    one = claim({"first": [4.0, 6.0], "<second>": [-1.0, -1.0]})
    (judged,) = verdicts.judge_all([one], [RUN])
    text = verdict_tables.verdicts([judged])._repr_html_()
    assert "&lt;b&gt;claim" in text
    assert "<b>claim" not in text
    shown = (
        "reference: demo, synthetic, 2 seeds: point value above zero in 1 of 2 comparisons (a column and a rival that "
        "must be beaten); least −1.00 [−1.00, −1.00] points (&lt;second&gt;)"
    )
    assert shown in text
    assert "synthetic recordings; demo profile; 2 of 5 seeds" in text
    assert "does not hold: Table 9: &amp; not" in verdict_tables.claimed([one])._repr_html_()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (Interval(1.234, None, None, 1), "points", "+1.23 points"),
        (Interval(-0.5, -1.0, 0.25, 5), "nats", "−0.50 [−1.00, 0.25] nats"),
        (Interval(10.0, -5.0, 25.0, 5), "%", "10 [0, 25] %"),
        (Interval(90.0, 70.0, 110.0, 5), "%", "90 [70, 100] %"),
    ],
)
def test_numbers(value, unit, text):
    assert verdict_tables.number_text(value, unit) == text


def test_a_single_cell_and_a_share():
    (judged,) = verdicts.judge_all([claim({"columns": [75.0]}, threshold=50.0, unit="%")], [RUN])
    shown = verdict_tables.reading_text(judged.claim, judged.readings[0])
    assert shown == "reference: demo, synthetic, 1 seed: 75 % (columns)"


def test_what_is_compared_is_said_by_the_claim():
    one = claim({"a": [75.0], "b": [45.0]}, threshold=50.0, each="an estimator and a rival")
    (judged,) = verdicts.judge_all([one], [RUN])
    shown = verdict_tables.reading_text(judged.claim, judged.readings[0])
    assert "point value above 50 points in 1 of 2 comparisons (an estimator and a rival); least +45.00" in shown


def test_summary_counts_verdicts_and_the_papers_own_numbers():
    text = verdict_tables.summary(verdicts.judge_all([claim({}), *CLAIMS[2:4]], []))
    assert text.startswith("Of 3 claims: 0 supported, 0 not supported and 3 not testable.")
    assert "2 hold, 1 does not, and 0 cannot be checked" in text


def test_survival_and_oddities_are_tables():
    assert verdict_tables.survival()._repr_html_().count("<tr>") == 9
    assert "96.46" in verdict_tables.oddities()._repr_html_()
