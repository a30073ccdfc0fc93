"""The claims page says what was judged, escapes what it is given, and needs no result to be shown."""

from __future__ import annotations

import pytest

from merit.config import profile
from merit.report import evidence, paper, verdict_tables, verdicts
from merit.report.claims import CLAIMS, Claim, Measured, Printed
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
    assert judgements.count("nothing was measured here") == len(CLAIMS)
    assert judgements.count("merit reference --profile paper") == len(CLAIMS)


def test_a_verdict_shows_the_least_cell_with_its_interval_and_escapes():
    one = claim({"first": [4.0, 6.0], "<second>": [-1.0, -1.0]})
    (judged,) = verdicts.judge_all([one], [RUN])
    text = verdict_tables.verdicts([judged])._repr_html_()
    assert "&lt;b&gt;claim" in text
    assert "<b>claim" not in text
    shown = (
        "reference: demo, synthetic, 2 seeds: point value above zero in 1 of 2 comparisons (a column and a rival that "
        "must be beaten); least −1.00 [−1.00, −1.00] points (&lt;second&gt;): inconsistent"
    )
    assert shown in text
    assert "synthetic recordings; demo profile; 2 of 5 seeds" in text
    assert "inconsistent (synthetic, 2 seeds)" in text
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
    assert shown == "reference: demo, synthetic, 1 seed: 75 % (columns): consistent"


def test_what_is_compared_is_said_by_the_claim():
    one = claim({"a": [75.0], "b": [45.0]}, threshold=50.0, each="an estimator and a rival")
    (judged,) = verdicts.judge_all([one], [RUN])
    shown = verdict_tables.reading_text(judged.claim, judged.readings[0])
    assert "point value above 50 points in 1 of 2 comparisons (an estimator and a rival); least +45.00" in shown


def test_summary_counts_verdicts_and_the_papers_own_numbers():
    text = verdict_tables.summary(verdicts.judge_all([claim({}), *CLAIMS[2:4]], []))
    assert text.startswith(
        "Of 3 claims: 0 supported, 0 not supported, 0 consistent, 0 inconsistent and 3 not measured."
    )  # fmt: skip
    assert "2 hold, 1 does not, and 0 cannot be checked" in text


def test_survival_and_oddities_are_tables():
    assert verdict_tables.survival()._repr_html_().count("<tr>") == 9
    assert "96.46" in verdict_tables.oddities()._repr_html_()


def test_what_would_settle_a_claim_is_a_command_with_hours_and_what_has_to_be_brought(tmp_path):
    (tmp_path / "book").mkdir()
    budget = "step,profile,seconds\npretraining,paper,14400\npretraining,demo,9\ntable7_shift,paper,3600\n"
    (tmp_path / "book" / "budget.csv").write_text(budget)
    ablations = claim({}, trained=("merit", "cma", "ib"))
    assert verdict_tables.settling(ablations, root=tmp_path) == (
        "merit reference --profile paper --data FOLDER --seeds 5 --group objectives --stages shift "
        "--encoders merit,cma,ib\nbudget: 20 h on one GPU; not without MIMIC-IV-ECG"
    )  # 5 seeds of three pretrainings of an hour, and of the page's hour
    peers = claim({}, peers=("merl", "esi"))
    text = verdict_tables.settling(peers, ["esi", "qoq"], root=tmp_path)
    assert "--group published --stages shift\nbudget: 10 h on one GPU" in text
    assert text.endswith("not without MIMIC-IV-ECG and the weights of ESI")


def test_the_command_that_settles_a_claim_is_one_that_the_reference_takes():
    from merit.studies.reference import GROUPS

    for one in CLAIMS:
        group = GROUPS["published" if one.peers else "objectives"]
        assert one.stage in group.studies
        assert {*one.trained, *one.peers} <= set(group.encoders)


def test_a_peers_method_that_leads_at_equal_budget_is_named():
    levels = {"merit": 80.0, "merl-ours": 84.0, "simclr": 70.0}
    scores = {(name, task, "auroc"): {0: level} for name, level in levels.items() for task in ("all", "form")}
    run = Evidence(
        stage="linear_probe", profile="demo", synthetic=True, scores=scores, run="demo", group="equal-budget"
    )
    assert verdict_tables.at_equal_budget([RUN, run]) == (
        "At equal budget MERL, ours leads MERIT in AUROC of linear probing in 2 of 2 columns, by 4.0 to 4.0 points "
        "(reference, equal budget: demo, synthetic, 1 seed)."
    )
    assert verdict_tables.at_equal_budget([RUN]).startswith("No peer's method leads")


def test_the_committed_equal_budget_runs_say_that_merl_leads_on_all_seven_probing_tasks():
    text = verdict_tables.at_equal_budget(evidence.references())
    assert "MERL, ours leads MERIT in AUROC of linear probing in 7 of 7 columns" in text


def test_settings_stand_beside_ours_with_what_is_lost():
    text = verdict_tables.settings(profile("paper"))._repr_html_()
    assert text.count("<tr>") == len(paper.SETTINGS) + 1
    assert "one NVIDIA H100-80GB" in text
    for said in ("lost", "never given", "0.0005", "200", "600"):
        assert said in text


def test_the_measured_rate_links_to_the_page_of_costs():
    shown = verdict_tables.measured_rate()._repr_html_()
    assert '<a href="cost.html">measured rates</a>' in shown
    assert " h (" in shown or " h on " in shown
    assert "](" not in shown
