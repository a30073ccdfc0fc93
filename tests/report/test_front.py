"""The box of the first page: its numbers are those of the verdicts."""

from __future__ import annotations

from merit.report import verdict_tables
from merit.report.claims import Claim, Measured, Printed
from merit.report.evidence import Evidence
from merit.report.verdicts import NOT_MEASURED, Reading, Verdict


def judged(values: dict[str, list[float]], *, synthetic: bool = True) -> list[Verdict]:
    """A claim with a stated amount, and the one on ablations with these values."""
    amount = Claim(
        id="a", title="F1 <all>", text="t", place="p", stage="s", reach=3.0, more=True,
        printed=lambda: Printed(True, ""), measure=lambda run: Measured({}),
    )  # fmt: skip
    ablations = Claim(
        id=verdict_tables.ABLATIONS, title="f", text="t", place="p", stage="s", printed=lambda: Printed(None, ""),
        measure=lambda run: Measured({}),
    )  # fmt: skip
    evidence = Evidence(stage="s", profile="demo", synthetic=synthetic, scores={})
    reading = Reading(evidence, values, ())
    return [Verdict(amount, NOT_MEASURED, "why", ()), Verdict(ablations, NOT_MEASURED, "why", (reading,))]


def test_differences_are_averaged_over_tasks_with_an_interval_over_seeds():
    values = {
        "form AUROC, over CMA": [1.0, 2.0], "all AUROC, over CMA": [-3.0, -2.0], "all F1, over CMA": [9.0, 9.0],
        "all AUROC, over MSE": [4.0, 4.0],
    }  # fmt: skip
    text = verdict_tables.front(judged(values)).text
    assert "CMA −0.5 [−6.9, 5.9], above in 1 of 2 tasks and MSE +4.0 [4.0, 4.0], above in 1 of 1 tasks" in text
    assert "this run: demo, synthetic, 2 pretraining seeds, 95 % intervals" in text


def test_one_seed_has_no_interval_and_nothing_measured_no_line():
    assert "MSE +4.0, above in 1 of 1 tasks (" in verdict_tables.front(judged({"all AUROC, over MSE": [4.0]})).text
    assert "minus others" not in verdict_tables.front(judged({})).text


def test_counts_amounts_and_what_is_no_evidence():
    text = verdict_tables.front(judged({"all AUROC, over MSE": [4.0]})).text
    assert "Claims: 0 supported, 0 not supported, 0 consistent, 0 inconsistent and 2 not measured" in text
    assert "bear out 1 of these, contradict 0, and leave 1 open" in text
    assert "by more than 3 points (F1 &lt;all&gt;)" in text
    assert "no evidence about real hearts" in text
    real = verdict_tables.front(judged({"all AUROC, over MSE": [4.0]}, synthetic=False)).text
    assert "no evidence about real hearts" not in real
    assert "merit-real" in real
