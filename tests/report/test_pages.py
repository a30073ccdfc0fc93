"""What two pages compute in their own cells: tables and the first page's box from verdicts, and what is kept."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace

import pandas as pd
import pytest

from merit import scores
from merit.report import claims
from merit.report.claims import CLAIMS, Claim, Evidence, Interval, Measured, Printed

RUN = Evidence(stage="shift", profile="demo", synthetic=True, scores={}, run="demo")


def claim(cells, **changes):
    settings = {"id": "z", "title": "<b>claim</b>", "text": "<i>said</i>", "place": "Section 9", "stage": "shift"}
    return Claim(**{**settings, "measure": lambda run: Measured(cells), **changes})


@pytest.fixture
def shown(run_cells, monkeypatch):
    """What cells of the claims page show, of claims and runs; no study is run."""

    def show(ids: str, own=CLAIMS, runs=None, absent=()) -> str:
        if own is not CLAIMS:
            monkeypatch.setattr(claims, "CLAIMS", own)
            answers = {one.id: Printed([False, True, None][k % 3], "Table 9: & not") for k, one in enumerate(own)}
            monkeypatch.setattr(claims, "printed", lambda: answers)
        if runs is not None:
            monkeypatch.setattr(claims, "references", lambda rule: runs)
        absent = [SimpleNamespace(name=name) for name in absent]
        last = run_cells("claims", f"claimed judged {ids}", here={}, rule="oracle", absent=absent)["shown"]
        return getattr(last, "text", last)

    return show


def test_every_claim_is_a_row_of_each_table(shown):
    claimed, verdicts, survival, settings = (
        shown(name, runs=[]) for name in ("claimed", "verdicts", "survival", "settings")
    )
    assert claimed.count("<tr>") == verdicts.count("<tr>") == len(CLAIMS) + 1
    for text in ("holds: Table 2: MERIT 77.58", "does not hold: Table 9", "cannot be checked: all of Table 3"):
        assert text in claimed
    assert verdicts.count("nothing was measured here") == verdicts.count("merit reference --profile") == len(CLAIMS)
    assert survival.count("<tr>") == 9
    for text in ("lost", "never given", "0.0005", "200", "600", "one NVIDIA H100-80GB"):
        assert text in settings


def test_the_committed_equal_budget_runs_say_that_merl_leads_on_all_seven_probing_tasks(shown):
    assert "MERL, ours leads MERIT in AUROC of linear probing in 7 of 7 columns" in shown("")


def test_a_verdict_shows_the_least_cell_with_its_interval_and_escapes(shown):
    one = claim({"first": [4.0, 6.0], "<second>": [-1.0, -1.0]})
    text = shown("verdicts", [one], [RUN])
    assert "&lt;b&gt;claim" in text
    assert "<b>claim" not in text
    assert (
        "reference: demo, synthetic, 2 seeds: point value above zero in 1 of 2 comparisons (a column and a rival that "
        "must be beaten); least −1.00 [−1.00, −1.00] points (&lt;second&gt;): inconsistent"
    ) in text
    assert "synthetic recordings; demo profile; 2 of 5 seeds" in text
    assert "inconsistent (synthetic, 2 seeds)" in text
    assert "does not hold: Table 9: &amp; not" in shown("claimed", [one], [RUN])
    share = claim({"columns": [75.0]}, threshold=50.0, unit="%")
    assert "reference: demo, synthetic, 1 seed: 75 % (columns): consistent" in shown("verdicts", [share], [RUN])
    summary = shown("", [one, dataclasses.replace(share, id="x"), claim({}, id="y")], [RUN])
    assert summary.startswith("Of 3 claims: 0 supported, 0 not supported, 1 consistent, 1 inconsistent and 1 not")
    assert "1 hold, 1 does not, and 1 cannot be checked" in summary
    assert "No peer's method leads" in summary


def test_numbers_and_what_would_settle_a_claim(run_cells):
    cells = run_cells("claims", "claimed judged verdicts", here={}, rule="oracle", absent=[])
    for value, unit, text in (
        (Interval(1.234, None, None, 1), "points", "+1.23 points"),
        (Interval(-0.5, -1.0, 0.25, 5), "nats", "−0.50 [−1.00, 0.25] nats"),
        (Interval(10.0, -5.0, 25.0, 5), "%", "10 [0, 25] %"),
        (Interval(90.0, 70.0, 110.0, 5), "%", "90 [70, 100] %"),
    ):
        assert cells["amount"](value, unit) == text
    hours = {"pretraining": 4.0, "table7_shift": 1.0}
    assert cells["settled_by"](claim({}, trained=("merit", "cma", "ib")), [], hours) == (
        "merit reference --profile paper --data FOLDER --seeds 5 --group objectives --stages shift "
        "--encoders merit,cma,ib\nbudget: 20 h on one GPU; not without MIMIC-IV-ECG"
    )  # 5 seeds of three pretrainings of an hour, and of the page's hour
    text = cells["settled_by"](claim({}, peers=("merl", "esi")), ["esi", "qoq"], hours)
    assert "--group published --stages shift\nbudget: 10 h on one GPU" in text
    assert text.endswith("not without MIMIC-IV-ECG and the weights of ESI")


@pytest.mark.parametrize("synthetic", [True, False])
def test_the_box_of_the_first_page_has_the_numbers_of_the_verdicts(shown, synthetic):
    values = {"form AUROC, over CMA": [1.0, 2.0], "all AUROC, over CMA": [-3.0, -2.0]}
    values |= {"all F1, over CMA": [9.0, 9.0], "all AUROC, over MSE": [4.0, 4.0]}
    run = Evidence(stage="shift", profile="demo", synthetic=synthetic, scores={})
    amount = claim({}, id="a", title="F1 <all>", reach=3.0, more=True)
    text = shown("verdicts front", [amount, claim(values, id="f")], [run])
    assert "CMA −0.5 [−6.9, 5.9], above in 1 of 2 tasks and MSE +4.0 [4.0, 4.0], above in 1 of 1 tasks" in text
    assert "2 pretraining seeds, 95 % intervals" in text
    assert "0 supported, 0 not supported, 0 consistent, 1 inconsistent and 1 not measured" in text
    assert "bear out 1 of these, contradict 1, and leave 0 open" in text
    assert "by more than 3 points (F1 &lt;all&gt;)" in text
    assert ("no evidence about real hearts" in text) == synthetic
    assert ("merit-real" in text) != synthetic
    single = shown("verdicts front", [claim({"all AUROC, over MSE": [4.0]}, id="f")], [run])
    assert "MSE +4.0, above in 1 of 1 tasks (" in single
    assert "minus others" not in shown("verdicts front", [claim({}, id="f")], [run])


def test_every_oddity_has_its_numbers(run_cells):
    cells = run_cells("claims", "oddities")
    assert len(cells["odd"]) == cells["shown"].count("<tr>") - 1 == 13
    for text in (
        "CPSC2018 AUROC: nothing is shaded, CMA is second", "64.68 is number 4 of 5 in Table 2", "3 of 3 in Table 9",
        "+1.39 AUROC, +1.54 F1 and +0.70 accuracy", "MERIT 61.88, ECG-FM 63.79 and ST-MEM 63.45", "96.46",
        "D-BETA 79.74, MERIT 79.42", "the 375 tested recordings", "2503.13939",
        "21,837 recordings; the version that it cites, 1.0.3, has 21,799, 38 fewer",
    ):  # fmt: skip
        assert any(text in evidence for evidence in cells["odd"].values()), text


PARTLY = "seen in part, contradicted in part"
THESIS = {
    "Reconstruction keeps more": [("mse", "cma", "r2_partial")],
    "Beside alignment too": [("merit", "cma", "r2_partial")],
    "Without losing the report": [("merit", "cma", "auroc_stated"), ("merit", "mse", "auroc_stated")],
}


def pairs(levels: dict[str, tuple[float, float]], seed: int = 0, **changes: float) -> pd.DataFrame:
    """Differences of encoders whose level is (beyond the report, in it), ± 2 points; changes: of a decoder, beyond."""
    rows, metrics = [], ("r2_partial", "auroc_stated")
    for (a, b), decoder, n in itertools.product(itertools.combinations(levels, 2), ("linear", "nonlinear"), (0, 1)):
        gap = changes.get(f"{a}_{b}_{decoder}_{metrics[n]}", levels[a][n] - levels[b][n])
        row = {"encoder": a, "other": b, "decoder": decoder, "metric": metrics[n], "encoder_seed": seed}
        rows.append(row | {"value": gap, "low": gap - 0.02, "high": gap + 0.02})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ({"merit": (0.3, 0.8), "cma": (0.2, 0.8), "mse": (0.4, 0.7)}, ["seen"] * 3),  # in the report: not to lose
        ({"merit": (0.1, 0.6), "cma": (0.5, 0.7), "mse": (0.2, 0.8)}, ["the opposite is seen"] * 3),
        ({"merit": (0.3, 0.6), "cma": (0.2, 0.8), "mse": (0.4, 0.5)}, ["seen", "seen", PARTLY]),
        ({"merit": (0.3, 0.8), "cma": (0.3, 0.8), "mse": (0.3, 0.7)}, ["not shown", "not shown", "seen"]),
        ({"cma": (0.2, 0.8), "mse": (0.4, 0.7)}, ["seen", "not measured", "not measured"]),
    ],
)
def test_a_verdict_on_what_is_kept_needs_both_decoders_and_every_seed(run_cells, levels, words):
    cells = run_cells("what_is_kept", "functions")
    text = cells["verdict"](cells["both_ways"](pairs(levels)), THESIS)
    assert [line.split("**")[1] for line in text.split("\n")] == words
    if words == ["seen"] * 3:
        assert ": **seen**. MSE − CMA beyond the report, linear decoder: +20.0 [+18.0, +22.0]; MSE" in text
        once = pairs(levels, merit_cma_nonlinear_r2_partial=0.01)
        assert cells["verdict"](cells["both_ways"](once), THESIS).count("**not shown**") == 1
        second = pd.concat([pairs(levels), pairs(levels | {"merit": (0.2, 0.8)}, seed=1)])
        text = cells["verdict"](cells["both_ways"](second), THESIS)
        assert "MERIT − CMA beyond the report, linear decoder: +10.0 [+8.0, +12.0] and 0.0 [−2.0, +2.0]" in text
        assert text.count("**not shown**") == 1


def test_how_reliable_measured_factors_are_is_a_table_and_a_sentence(run_cells):
    cells = run_cells("what_is_kept", "functions")
    rows = [("pr", 100, True, 0.6), ("qrs", 100, True, 0.7), ("pr", 500, True, 0.7), ("qrs", 100, False, 0.1)]
    about = {"study": "reliability", "method": "prominence", "unit": "ms", "n": 80, "n_manual": 85, "n_without": 15}
    metrics, found = [("bias", -3.0), ("sd", 12.0), ("r2", None)], []
    for (factor, rate, own, r2), (metric, value) in itertools.product(rows, metrics):
        row = {**about, "n_invented": 2, "factor": factor, "fs_hz": rate, "own_qrs": own, "metric": metric}
        value = r2 if value is None else value
        found.append(row | {"value": value, "low": value - 0.1, "high": value + 0.1})
    found = scores.frame(found)
    assert "60 [50, 70]\n−3.0 ± 12.0 ms\nn = 80" in cells["reliability_table"](found, "r")
    text = cells["reliability_reading"](found)
    for said in ("70 and PR interval 60.", "costs at most 10 points, in PR interval", "10 percent, against 70"):
        assert said in text
    assert cells["reliability_reading"](scores.frame([])).startswith("No ceiling: LUDB")
