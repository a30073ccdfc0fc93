"""The page on rules: signs, spreads, reasons, escaping, and sentences that follow from the numbers."""

from __future__ import annotations

import re

import pytest

from merit.report import rule_tables
from merit.report.prose import Html


def row(encoder: str, rule: str, metric: str, folds: list[float], task: str = "subclass", **more) -> dict:
    """A result with these differences by fold."""
    worth = sum(folds) / len(folds)
    values = {
        "task": task, "encoder": encoder, "rule": rule, "metric": metric, "published": 0.5 + worth, "proper": 0.5,
        "worth": worth, "spread": 0.01, "by_fold": folds, "n_folds": len(folds), "n_records": 1000, "n_patients": 900,
    }  # fmt: skip
    return {"stage": "rules", "id": "0" * 16, "values": values | more}


@pytest.fixture
def results() -> list[dict]:
    alike = [0.09, 0.11] * 5
    return [
        row("merit", "threshold", "f1", alike),
        row("random", "threshold", "f1", [d - 0.04 for d in alike]),
        row("merit", "epoch", "auroc", [0.0] * 10),
        row("random", "epoch", "auroc", [0.0004] * 10),
        row("merit", "by_recording", "auroc", alike, n_several=9, n_several_records=20, n_leaking=17),
        row("merit", "all", "f1", alike, combined=["threshold", "sign_oracle", "epoch"]),
        row("random", "all", "f1", [d - 0.07 for d in alike], combined=["threshold", "sign_oracle", "epoch"]),
        {"values": {"task": "csn", "encoder": "merit", "rule": "all", "reason": "csn: no <b> recordings"}},
        {"values": {"task": "csn", "encoder": "random", "rule": "all", "reason": "csn: no <b> recordings"}},
    ]


def cells(html: Html) -> dict[str, list[str]]:
    """Row label -> texts of its cells."""
    found = {}
    for line in re.findall(r"<tr>(.*?)</tr>", html.text, flags=re.DOTALL):
        label = re.search(r'<th[^>]*class="row_heading[^>]*>(.*?)</th>', line, flags=re.DOTALL)
        if label:
            found[label.group(1)] = re.findall(r"<td[^>]*>(.*?)</td>", line, flags=re.DOTALL)
    return found


def test_a_rules_table_holds_both_ways_and_the_difference_with_sign(results):
    shown = cells(rule_tables.rule_table(results, "threshold"))
    assert shown == {"PTB-XL subclass, F1": ["60.0", "50.0", "+10.0\n±1.0", "56.0", "50.0", "+6.0\n±1.0"]}
    assert cells(rule_tables.rule_table(results, "epoch"))["PTB-XL subclass, AUROC"][2] == "0.0\n±1.0"
    assert "Not measured" in rule_tables.rule_table(results, "labels").text


def test_a_negative_worth_has_a_minus_and_no_spread_none():
    one = row("merit", "sign_oracle", "accuracy", [-0.005], spread=None)
    assert cells(rule_tables.rule_table([one], "sign_oracle"))["PTB-XL subclass, accuracy"][2] == "−0.5"


def test_reasons_come_once_with_everyone_they_concern(results):
    text = rule_tables.unmeasured(results)
    assert text == "- CSN: not scored for MERIT and random, no <b> recordings."
    assert rule_tables.unmeasured(results[:3]) == "Every rule was measured."
    risky = row("<script>", "threshold", "f1", [0.1])
    assert "<script>" not in rule_tables.rule_table([risky], "threshold").text


def test_the_claim_is_set_beside_the_worth_of_all_rules(results):
    text = rule_tables.against_the_claim(results, synthetic=True)
    assert "MERIT +10.0 ± 1.0 and random +3.0 ± 1.0 points" in text
    assert "more than 5 points over its best peer; the rules are worth more than that for MERIT." in text
    assert "synthetic" in text
    assert "synthetic" not in rule_tables.against_the_claim(results, synthetic=False)
    assert rule_tables.against_the_claim([], synthetic=True).startswith("No task")


def test_largest_and_sum_follow_from_the_numbers(results):
    assert "F1: threshold, +10.0 ± 1.0 points (PTB-XL subclass, MERIT)" in rule_tables.largest(results)
    assert rule_tables.sum_of_rules(results, "subclass").endswith("MERIT +10.0 and +10.0; random +6.0 and +3.0.")
    assert rule_tables.sum_of_rules(results, "form") == "PTB-XL form: not scored."


def test_the_sign_enters_the_sum_of_accuracy_and_not_of_f1():
    combined = ["threshold", "sign_oracle"]
    found = [
        row("merit", rule, metric, [0.01], combined=combined)
        for metric in ("f1", "accuracy")
        for rule in ("threshold", "sign_oracle", "all")
    ]
    assert "MERIT +1.0 and +1.0" in rule_tables.sum_of_rules(found, "subclass", "f1")
    assert "MERIT +2.0 and +1.0" in rule_tables.sum_of_rules(found, "subclass", "accuracy")


def test_the_sign_has_no_f1_anywhere_since_that_is_published_at_the_other_side():
    found = [row("merit", "sign_oracle", metric, [worth]) for metric, worth in (("f1", -0.3), ("accuracy", -0.02))]
    shown = rule_tables.rule_table(found, "sign_oracle")
    assert list(cells(shown)) == ["PTB-XL subclass, accuracy"]
    assert "F1 is published at ≥ and has no row" in shown.text
    assert "no row" not in rule_tables.rule_table(found, "threshold").text
    assert "F1:" not in rule_tables.largest(found)
    assert "accuracy: sign at that threshold, −2.0" in rule_tables.largest(found)
    assert not rule_tables.worth_figure(found).axes
    summed = rule_tables.sum_of_rules([row("merit", "all", "f1", [0.1], combined=["sign_oracle"])], "subclass")
    assert "summed without the sign" in summed


def test_a_table_of_zeros_becomes_a_sentence():
    def sign(worth, spread):
        return row("merit", "sign", "accuracy", [worth], spread=spread)

    text = rule_tables.rule_table([sign(0.0, 0.0), sign(0.0004, None)], "sign").text
    assert "<table" not in text
    assert "rounds to 0.0 points (2 pairs" in text
    assert "<table" in rule_tables.rule_table([sign(0.0, 0.0), sign(0.0006, 0.0)], "sign").text
    assert "<table" in rule_tables.rule_table([sign(0.0, 0.001)], "sign").text


def test_ranking_names_only_orders_that_change(results):
    assert "keep their order in all 1 pairs" in rule_tables.ranking(results)
    first = row("merit", "all", "f1", [0.1], proper=0.4, published=0.5)
    second = row("random", "all", "f1", [0.0], proper=0.45, published=0.45)
    assert "as published MERIT &gt; random" not in rule_tables.ranking([first, second])
    assert "as published MERIT > random, as it should be random > MERIT" in rule_tables.ranking([first, second])
    assert rule_tables.ranking([first]) == "There are not two encoders to rank."


def test_differing_takes_differences_beyond_their_error(results):
    text = rule_tables.differing(results, "merit")
    assert "in 2 of 3 comparisons" in text  # each differs by a constant, which has no error; one is printed as 0.0
    assert "Threshold, PTB-XL subclass, F1: +4.0 points against random" in text
    noisy = [row("merit", "epoch", "f1", [0.05, -0.05] * 5), row("random", "epoch", "f1", [0.04, -0.05] * 5)]
    assert "in 0 of 1 comparisons" in rule_tables.differing(noisy, "merit")
    assert "no folds" in rule_tables.differing(noisy[:1], "merit")


def test_counts_say_who_has_several_recordings_and_what_labels_change(results):
    label = row("merit", "labels", "auroc", [0.1], task="csn", n_changed=7, changed_classes={"VB": [916, 3]})
    text = rule_tables.counts([*results, label])
    assert "9 of 900 patients have several of the 1,000 recordings (together 20)" in text
    assert "17 are tested" in text
    assert "changes 7 of 1,000 recordings (positives: VB 916 to 3)" in text


def test_seen_patients_have_a_table_and_the_random_encoder_is_the_control():
    found = [
        row(who, "seen", "recall@10", [0.1], task="pretraining", n_held_out_patients=20, chance=0.25, worth=worth)
        for who, worth in (("merit", 0.1), ("random", 0.04))
    ]
    assert list(cells(rule_tables.seen_table(found))) == ["own report among the 10 nearest"]
    text = rule_tables.seen_sentence(found)
    assert (
        "MERIT, own report among the 10 nearest: +10.0 ± 1.0 points (20 patients held out; chance gives 25.0 %)."
        in text
    )
    assert "random, own report among the 10 nearest: +4.0 ± 1.0" in text
    assert "it has seen nobody, yet moves by more than twice ±: for this measure ± is too small" in text
    assert "this row can be put down to pretraining" in text
    near = row("random", "seen", "auroc", [0.01], task="pretraining", n_held_out_patients=20, chance=0.5)
    assert "too small" not in rule_tables.seen_sentence([near])
    assert "it has seen nobody, so this comes from who is held out" in rule_tables.seen_sentence([near])
    assert "Not measured" in rule_tables.seen_table([]).text


def test_the_figure_has_a_line_a_rule_and_task_and_works_with_nothing(results):
    figure = rule_tables.worth_figure(results)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == [
        "Threshold: PTB-XL subclass", "Epoch: PTB-XL subclass", "Folds by recording: PTB-XL subclass",
        "All together: PTB-XL subclass",
    ]  # fmt: skip
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert rule_tables.worth_figure([])._repr_png_().startswith(b"\x89PNG")
