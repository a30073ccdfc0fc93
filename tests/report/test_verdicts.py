"""A claim is judged by its rule: what counts as evidence, what keeps it from a verdict, which interval says what."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from merit import scores
from merit.report import evidence, paper, verdicts
from merit.report.claims import CLAIMS, Claim, Measured, Printed, averaged, margins, over_peers, paired, share_ahead
from merit.report.evidence import NOT_PUBLISHED, PAIRS, PTB_XL_TOO, Evidence

BY_ID = {claim.id: claim for claim in CLAIMS}
PEERS = ("merl", "esi", "d-beta", "ecg-chat")


def make(scores, stage="linear_probe", profile="paper", synthetic=False, caveats=()):
    """Evidence from encoder, task, metric -> numbers, one a seed."""
    return Evidence(
        stage=stage, profile=profile, synthetic=synthetic, caveats=caveats,
        scores={key: dict(enumerate(values)) for key, values in scores.items()},
    )  # fmt: skip


def one_claim(**changes):
    """MERIT above CMA in AUROC on all statements."""
    settings = {
        "id": "x", "title": "x", "text": "x", "place": "x", "stage": "linear_probe",
        "printed": lambda: Printed(None, ""), "measure": lambda run: margins(run, [("all", "auroc")], ("cma",)),
    }  # fmt: skip
    return Claim(**{**settings, **changes})


def pair(merit, cma, **about):
    return make({("merit", "all", "auroc"): merit, ("cma", "all", "auroc"): cma}, **about)


def test_interval_is_students():
    values = [1.0, 2.5, 0.5, 3.0, 2.0]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    found = verdicts.interval(values)
    assert found == pytest.approx((np.mean(values), low, high, 5))
    strict = verdicts.interval(values, 0.99)
    assert strict.low < found.low < found.high < strict.high
    assert verdicts.interval([2.0]) == (2.0, None, None, 1)
    assert verdicts.interval([2.0] * 5) == (2.0, 2.0, 2.0, 5)
    with pytest.raises(ValueError, match="got none"):
        verdicts.interval([])


@pytest.mark.parametrize(
    ("differences", "threshold", "verdict", "why"),
    [
        ([3.1, 3.2, 3.3, 3.2, 3.1], 3.0, "supported", "the interval lies above 3 points"),
        ([3.1, 3.2, 3.3, 3.2, 3.1], 3.5, "not supported", "contradicted: the interval lies below 3.5 points"),
        ([2.0, 4.5, 3.6, 2.4, 4.4], 3.0, "not supported", "not shown: the interval does not lie above 3 points"),
        ([2.0, 3.5, 2.6, 2.4, 3.4], 3.0, "not supported", "not shown: the interval does not lie above 3 points"),
        ([-1.0, 1.0, -1.0, 1.0, 0.5], 0.0, "not supported", "not shown: the interval does not lie above zero"),
    ],
)
def test_verdict_of_five_real_seeds(differences, threshold, verdict, why):
    run = pair([50 + d for d in differences], [50.0] * 5)
    judged = verdicts.judge(one_claim(threshold=threshold), [run])
    assert (judged.verdict, judged.why) == (verdict, why)


def test_what_is_printed_as_the_threshold_is_not_above_or_below_it():
    near = [0.0, 0.004, 0.008, 0.004, 0.004]  # 0.004 [0.0004, 0.0076], printed as +0.00 [0.00, 0.01]
    assert verdicts.interval(near).low > 0
    for sign in (1, -1):
        judged = verdicts.judge(one_claim(), [pair([50 + sign * d for d in near], [50.0] * 5)])
        assert (judged.verdict, judged.why) == ("not supported", "not shown: the interval does not lie above zero")
    assert verdicts.judge(one_claim(), [pair([50.004], [50.0])]).verdict == "inconsistent"
    share = one_claim(measure=lambda run: Measured({"columns": [50.4]}), threshold=50.0, unit="%")
    assert verdicts.judge(share, [make({})]).verdict == "inconsistent"


def test_contradiction_is_corrected_for_the_number_of_comparisons_and_support_is_not():
    values = [-1.0, -2.0, -0.4, -0.3, -2.2]
    assert verdicts.interval(values).high < 0 < verdicts.interval(values, 0.975).high
    alone, fine = {"merit": values}, {"other": [1.0, 1.1, 1.2, 1.0, 1.1]}
    for cells, why in (
        (alone, "contradicted: the interval lies below zero"),
        (alone | fine, "not shown: the interval does not lie above zero in 1 of 2 comparisons"),
    ):
        claim = one_claim(measure=lambda run, cells=cells: Measured(cells))
        assert verdicts.judge(claim, [make({})]).why == why


def test_a_stated_amount_has_to_be_reached_by_the_interval():
    for gain, verdict in ((2.6, "supported"), (1.0, "not supported"), (-1.0, "not supported"), (9.0, "supported")):
        run = pair([50 + gain + d for d in (-0.1, 0.1, 0.0, -0.1, 0.1)], [50.0] * 5)
        judged = verdicts.judge(one_claim(reach=2.66), [run])
        assert judged.verdict == verdict
    assert judged.readings[0].least[1].mean == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"synthetic": True}, "synthetic recordings"),
        ({"profile": "demo"}, "demo profile"),
        ({"caveats": (PTB_XL_TOO,)}, PTB_XL_TOO),
        ({"synthetic": True, "profile": "smoke"}, "synthetic recordings; smoke profile"),
    ],
)
def test_what_is_not_the_papers_experiment_gives_a_value_and_no_verdict(about, reason):
    judged = verdicts.judge(one_claim(), [pair([60.0] * 5, [50.0] * 5, **about)])
    assert (judged.verdict, judged.why) == ("consistent", f"above zero; no verdict: {reason}")
    against = verdicts.judge(one_claim(), [pair([40.0] * 5, [50.0] * 5, **about)])
    assert (against.verdict, against.why) == ("inconsistent", f"not above zero; no verdict: {reason}")
    assert judged.readings[0].least == ("PTB-XL all AUROC, over CMA", (10.0, 10.0, 10.0, 5))


def test_one_run_is_consistent_or_not_by_its_point_values():
    for gain, outcome in ((0.1, "consistent"), (-0.1, "inconsistent"), (0.0, "inconsistent")):
        judged = verdicts.judge(one_claim(reach=2.66), [pair([50.0 + gain], [50.0])])
        assert (judged.verdict, judged.why.partition("; ")[2]) == (outcome, "no verdict: 1 of 5 seeds or rotations")
    short = verdicts.judge(one_claim(reach=2.66), [pair([50.1, 50.2, 50.1, 50.2], [50.0] * 4)])
    assert short.verdict == "inconsistent"
    assert short.why == (
        "above zero, but the interval ends below 2.66 points; no verdict: 4 of 5 seeds or rotations"
    )  # fmt: skip


def test_a_missing_row_keeps_a_claim_from_being_supported_but_not_from_being_contradicted():
    both = one_claim(measure=lambda run: margins(run, [("all", "auroc"), ("form", "auroc")], ("cma", "ib")))
    judged = verdicts.judge(both, [pair([60.0] * 5, [50.0] * 5)])
    assert (judged.verdict, judged.why) == ("consistent", "above zero; no verdict: without IB and PTB-XL form AUROC")
    judged = verdicts.judge(both, [pair([40.0] * 5, [50.0] * 5)])
    assert (judged.verdict, judged.why) == ("not supported", "contradicted: the interval lies below zero")
    unclear = verdicts.judge(both, [pair([49.0, 51.0, 49.0, 51.0, 49.0], [50.0] * 5)])
    assert unclear.verdict == "inconsistent"
    columns = [("all", "f1"), ("form", "f1"), ("csn", "f1")]
    share = one_claim(measure=lambda run: share_ahead(run, columns, "cma", "ib"), threshold=50.0, every=False)
    half = {("cma", "all", "f1"): [1.0] * 5, ("ib", "all", "f1"): [2.0] * 5}
    assert verdicts.judge(share, [make(half)]).verdict == "inconsistent"


def test_real_recordings_decide_and_then_the_run_with_the_fewest_obstacles():
    poor, good = pair([60.0] * 5, [50.0] * 5, synthetic=True), pair([40.0] * 5, [50.0] * 5)
    judged = verdicts.judge(one_claim(), [poor, good, make({}, stage="shift")])
    assert judged.verdict == "not supported"
    assert [one.evidence for one in judged.readings] == [good, poor]
    single = pair([40.0], [50.0], profile="demo", caveats=(PTB_XL_TOO,))
    assert verdicts.judge(one_claim(), [poor, single]).readings[0].evidence is single


def test_nothing_measured():
    assert verdicts.judge(one_claim(), []).why == "nothing was measured here"
    empty = Evidence(stage="linear_probe", profile="demo", synthetic=True, scores={}, reasons=("no csn", "no mimic"))
    assert verdicts.judge(one_claim(), [empty]).why == "nothing was measured here: no csn; no mimic"
    weights = dataclasses.replace(empty, stage="generation", reasons=("medtvt-r1: no weights in weights/medtvt-r1",))
    assert verdicts.judge(BY_ID["q"], [weights]).why == "nothing was measured here: without MedTVT-R1"
    lacks = verdicts.judge(one_claim(), [make({("cma", "all", "auroc"): [1.0]})])
    assert lacks.why == "nothing was measured here: without PTB-XL all AUROC"
    mute = one_claim(measure=lambda run: Measured({}))
    assert verdicts.judge(mute, [make({})]).why == "nothing was measured here"


def test_seeds_are_paired_and_one_number_of_a_peer_serves_all():
    run = Evidence(
        stage="linear_probe", profile="paper", synthetic=False,
        scores={
            ("merit", "all", "f1"): {0: 10.0, 1: 20.0, 2: 40.0},
            ("cma", "all", "f1"): {2: 1.0, 0: 2.0},
            ("merl", "all", "f1"): {0: 5.0},
            ("random", "all", "f1"): {0: 5.0},
        },
    )  # fmt: skip
    assert paired(run, "merit", "cma", "all", "f1") == [8.0, 39.0]
    assert paired(run, "merit", "merl", "all", "f1") == [5.0, 15.0, 35.0]
    assert paired(run, "merit", "random", "all", "f1") == [5.0]


def test_second_place_leaves_out_the_best_other_of_each_column():
    scores = {("merit", "all", "f1"): [5.0, 5.0], ("cma", "all", "f1"): [9.0, 9.0], ("ib", "all", "f1"): [4.0, 3.0]}
    found = margins(make(scores), [("all", "f1")], ("cma", "ib"), place=2)
    assert found == ({"PTB-XL all F1, over IB": [1.0, 2.0]}, ())
    assert len(margins(make(scores), [("all", "f1")], ("cma", "ib")).cells) == 2


def test_share_of_columns_by_seed():
    columns = [("all", "f1"), ("form", "f1"), ("csn", "f1")]
    scores = {("cma", task, metric): [5.0, 5.0] for task, metric in columns[:2]}
    scores |= {("ib", "all", "f1"): [4.0, 5.0], ("ib", "form", "f1"): [6.0, 1.0]}
    found = share_ahead(make(scores), columns, "cma", "ib")
    assert found == ({"columns with CMA above IB": [50.0, 50.0]}, ("CSN F1",))
    assert share_ahead(make({}), columns, "cma", "ib").cells == {}


def test_claims_about_earlier_methods_are_never_read_from_our_own_ablations():
    scores = {("merit", "subclass", "auroc"): [80.0] * 5, ("cma", "subclass", "auroc"): [70.0] * 5}
    alone = verdicts.judge(BY_ID["c"], [make(scores, "zero_shot")])
    assert (alone.verdict, alone.readings) == ("not measured", ())
    assert alone.why == "nothing was measured here: without MERL, ESI, D-BETA and ECG-Chat"
    peers = {(name, "subclass", "auroc"): [77.0] for name in PEERS}
    assert verdicts.judge(BY_ID["c"], [make(scores | peers, "zero_shot")]).verdict == "supported"
    del peers["esi", "subclass", "auroc"]
    lacking = verdicts.judge(BY_ID["c"], [make(scores | peers, "zero_shot")])
    assert (lacking.verdict, lacking.why) == ("consistent", "above zero in 3 of 3 comparisons; no verdict: without ESI")


def test_at_equal_budget_peers_methods_stand_in_and_give_no_verdict():
    scores = {
        ("merit", "all", "f1"): [80.0] * 5,
        ("cma", "all", "f1"): [10.0] * 5,
        ("merl-ours", "all", "f1"): [90.0] * 5,
    }
    run = dataclasses.replace(make(scores, caveats=(NOT_PUBLISHED,)), group="equal-budget")
    judged = verdicts.judge(BY_ID["a"], [run])
    assert judged.readings[0].values == {"PTB-XL all F1, over MERL, ours": [-10.0] * 5}
    assert (judged.verdict, judged.why) == ("inconsistent", f"not above zero; no verdict: {NOT_PUBLISHED}")
    assert verdicts.judge(BY_ID["f"], [run]).verdict == "not measured"
    assert dataclasses.replace(run, run="demo").label() == "reference, equal budget: paper, real recordings"


@pytest.mark.parametrize("claim", ["a", "b"])
def test_a_faithful_copy_whose_true_gain_is_a_tenth_above_the_amount_is_usually_supported(claim):
    task, amount = {"a": ("all", 3.0), "b": ("subclass", 5.0)}[claim]
    rng, n_supported = np.random.default_rng(0), 0
    for _ in range(50):
        scores = {("merit", task, "f1"): list(50 + amount + 0.1 + 0.5 * rng.standard_normal(5))}
        scores |= {(name, task, "f1"): [50.0 if name == "merl" else 40.0] for name in paper.PEERS}
        n_supported += verdicts.judge(BY_ID[claim], [make(scores)]).verdict == "supported"
    assert n_supported >= 45


def test_a_mean_over_columns_is_paired_by_seed_and_needs_every_column():
    columns = [("all", "f1"), ("form", "f1")]
    scores = {("merit", "all", "f1"): [5.0, 7.0], ("merit", "form", "f1"): [1.0, 1.0]}
    scores |= {("merl", "all", "f1"): [4.0], ("merl", "form", "f1"): [3.0], ("esi", "all", "f1"): [0.0]}
    found = averaged(columns, over_peers(columns, ("merl", "esi")))(make(scores))
    assert found == ({"mean of 2 columns, over MERL": [-0.5, 0.5]}, ("PTB-XL form F1", "ESI"))


def test_bottleneck_strength_and_surrounding_read_the_geometry():
    outside = {"ib-0.1": 0.5, "ib": 0.4, "ib-1": 0.1}
    scores = {(name, PAIRS, "ecg_outside_text"): [value] * 5 for name, value in outside.items()}
    run = make(scores, "information")
    assert verdicts.judge(BY_ID["n"], [run]).verdict == "supported"
    assert [one[0] for one in run_cells("n", run)] == pytest.approx([10.0, 30.0])
    cloud = {"ecg_spread": 0.8, "text_spread": 0.5, "text_in_ecg": 0.3}
    run = make({("merit", PAIRS, name): [value] * 5 for name, value in cloud.items()}, "information")
    judged = verdicts.judge(BY_ID["l"], [run])
    assert (judged.verdict, judged.why) == (
        "not supported", "contradicted: the interval lies below zero in 1 of 2 comparisons"
    )  # fmt: skip


def test_clusters_are_judged_in_the_picture_and_in_the_embedding_apart(tmp_path):
    def rows(encoder, purity, pacing):
        about = {"encoder": encoder, "encoder_seed": 0}
        umap = [
            {"space": "umap", "class": "macro", "value": purity},
            {"space": "umap", "class": "PACE", "value": pacing},
        ]
        space = [{"space": "encoder", "class": name, "value": 0.2} for name in ("macro", "PACE")]
        sinus = {"space": "umap", "class": "SR", "value": 0.1}
        return [{**about, **row, "metric": m} for m in ("purity", "silhouette") for row in (*umap, *space, sinus)]

    found = [*rows("merit", 0.6, 0.5), *rows("cma", 0.5, 0.7), *rows("ib", 0.5, None)]
    reference(tmp_path, "clusters-demo.json", found)
    (run,) = evidence.references(tmp_path)
    cells, missing = BY_ID["o"].measure(run)
    assert cells["purity, MERIT minus CMA"] == pytest.approx([10.0])
    assert cells["purity PACE, MERIT minus CMA"] == pytest.approx([-20.0])
    assert len(cells) == 6
    assert "silhouette PACE, MERIT minus IB" in missing
    assert set(map(tuple, BY_ID["r"].measure(run).cells.values())) == {(0.0,)}


def run_cells(claim, run):
    return list(BY_ID[claim].measure(run).cells.values())


def test_every_claim_has_its_own_id_a_place_and_an_answer_from_the_paper():
    assert len(BY_ID) == len(CLAIMS)
    for claim in CLAIMS:
        printed = claim.printed()
        assert claim.place
        assert printed.text
        assert verdicts.judge(claim, []).verdict == "not measured"


def test_what_the_papers_own_numbers_say():
    found = {claim.id: claim.printed() for claim in CLAIMS}
    assert {name for name, one in found.items() if one.holds} == {"c", "d", "h", "j", "t", "u", "v"}
    assert {name for name, one in found.items() if one.holds is False} == {"i"}
    assert found["c"].text.startswith(
        "Table 2: MERIT 77.58 − ESI 74.92 = 2.66; but in Table 9 the ablation IB has 77.85"
    )
    assert found["h"].text == "Table 9: IB above CMA in 14 of 21 columns, 6 of 7 of AUROC"
    assert "PTB-XL all AUROC 2, PTB-XL all F1 1 and PTB-XL all accuracy 3" in found["u"].text
    assert "MERIT 79.42, ECG-FM 72.37, ST-MEM 76.67, MERL 76.53 and ESI 61.05; but D-BETA 79.74" in found["v"].text
    assert "above MERIT in PTB-XL superclass AUROC and PTB-XL subclass AUROC" in found["t"].text


def test_what_survived_bounds_the_lost_cells_and_fills_none():
    found = {claim.id: claim.printed() for claim in CLAIMS}
    assert all(found[name].holds is None for name in "abefs")
    assert "one number in 15 of 15 columns of Table 1" in found["a"].text
    assert "at or below 42.63, so the gain is not negative; the claim asks that each be below 39.63" in found["a"].text
    assert "at or below 54.89" in found["b"].text
    assert "below 49.89" in found["b"].text
    assert "best in 11 of 15 and ST-MEM in PTB-XL form AUROC, PTB-XL form F1, PTB-XL form acc" in found["e"].text
    assert (
        "one number in 21 of 21 columns of Table 4), MERIT is at or above every ablation in 21 of 21" in found["f"].text
    )


# -- each claim can reach both verdicts, from files as the workspace writes them ---------------------------------------

BEST_FIRST = {"g": ("cma", "ib"), "h": ("ib", "cma"), "n": ("ib-0.1", "ib", "ib-1"), "p": ("mse", "merit", "cma")}
"""Claim -> encoders in the order that it claims; for all others MERIT is first."""
OTHERS = ("cma", "ib", "mse", *paper.PEERS, "medtvt-r1")


METRICS = ("auroc", "f1", "f1_oracle", "accuracy", "accuracy_oracle")


def stage_rows(stage, encoder, seed, level):
    """Scores of a study in which every number of the encoder is `level`, with the spread of its seed."""
    row = {"encoder": encoder, "encoder_seed": seed, "value": level + 0.001 * seed * (1 + level), "class": "macro"}
    if stage == "linear_probe":
        row |= {"variant": "as_published", "scored": "by fold", "protocol": "ten folds"}
        return [{**row, "task": task, "metric": metric} for task in paper.TASKS for metric in METRICS]
    if stage == "zero_shot":
        row |= {"prompts": "enriched", "scope": "unseen", "ensemble": True}
        return [{**row, "task": task, "metric": metric} for task in paper.TASKS for metric in METRICS]
    if stage == "shift":
        row |= {"variant": "as_published", "scored": "target", "metric": "auroc"}
        return [{**row, "transfer": transfer} for transfer in paper.TRANSFERS]
    if stage == "information":
        names = ("info_nce", "ksg", "gaussian", "ecg_outside_text", "ecg_spread", "text_in_ecg")
        found = [{**row, "scope": "validation", "no_vote": None, "metric": name} for name in names]
        return [*found, {**found[0], "metric": "text_spread", "value": 0.5}]
    if stage == "clusters":
        kinds = [(s, c, m) for s in ("encoder", "umap") for c in ("macro", "PACE") for m in ("purity", "silhouette")]
        return [{**row, "space": space, "class": name, "metric": metric} for space, name, metric in kinds]
    if stage == "generation":
        names = ("bleu_published", "meteor", "rouge_published", "bertscore_published")
        return [{**row, "study": "generation", "condition": "model", "metric": name} for name in names]
    return [{**row, "kind": "summary", "metric": "r2_partial", "decoder": name} for name in ("linear", "nonlinear")]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
@pytest.mark.parametrize("holds", [True, False])
def test_every_claim_can_be_supported_and_not_supported(tmp_path, claim, holds):
    order = BEST_FIRST.get(claim.id, ("merit", *OTHERS))
    levels = {name: 0.9 - 0.06 * rank for rank, name in enumerate(order if holds else reversed(order))}
    if not holds:  # MERIT's own geometry has no rival in claim l
        levels = {name: level - 0.45 * (name == "merit") for name, level in levels.items()}
    rows = [
        row for name, level in levels.items() for seed in range(5) if not seed or name not in paper.PEERS
        for row in stage_rows(claim.stage, name, seed, level)
    ]  # fmt: skip
    suffix = "-published" if claim.peers else ""
    reference(tmp_path, f"{claim.stage}-paper-real{suffix}.json", rows)
    judged = verdicts.judge(claim, evidence.references(tmp_path))
    assert judged.verdict == ("supported" if holds else "not supported"), judged.why


def reference(tmp_path, name, rows, **changes):
    folder = tmp_path / "book" / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    suffix = next((group for group in ("equal-budget", "published") if group in name), None)
    about = {"study": name.split("-")[0], "profile": "paper", "synthetic": False, "suffix": suffix, **changes}
    scores.write(folder / name, about, scores.frame(rows))


def test_reference_files_are_read_by_study_with_the_literatures_or_the_honest_threshold(tmp_path):
    levels = {"auroc": 0.9, "f1": 0.5, "f1_oracle": 0.6, "accuracy": 0.7, "accuracy_oracle": None}
    probed = [row for row in stage_rows("linear_probe", "merit", 0, 0.9) if row["task"] == "all"]
    probed = [{**row, "encoder_seed": seed, "value": levels[row["metric"]]} for row in probed for seed in (0, 1)]
    more = [{**probed[0], "variant": "standardised", "value": 0.1}, {"encoder": "cma", "reason": "none"}]
    reference(tmp_path, "linear_probe-demo.json", [*probed, *more], synthetic=True, profile="demo")
    shot = [{**row, "task": "form"} for row in stage_rows("zero_shot", "ib", 0, 0.7)[:5]]
    other = [{**row, "prompts": "names", "value": 0.1} for row in shot]
    few = {**shot[0], "metric": "f1_oracle", "value": 0.2}
    reference(tmp_path, "zero_shot-real.json", [shot[0], few, *other])
    shift = next(row for row in stage_rows("shift", "ib", 2, 0.25) if row["transfer"] == "csn>superclass")
    reference(tmp_path, "shift-real.json", [{**shift, "value": 0.25}, {**shift, "scored": "home"}])
    pair = {**stage_rows("information", "ib", 0, 1.5)[2], "value": 1.5}
    reference(tmp_path, "information-real.json", [pair, {**pair, "scope": "unseen", "metric": "gap"}])

    found = {one.stage: one for one in evidence.references(tmp_path)}
    assert [one.synthetic for one in evidence.references(tmp_path)] == [False, False, False, True]
    assert found["linear_probe"].scores == {
        ("merit", "all", "auroc"): {0: 90.0, 1: 90.0},
        ("merit", "all", "f1"): {0: 60.0, 1: 60.0},
    }
    assert found["linear_probe"].label() == "reference: demo, synthetic"
    assert found["zero_shot"].scores == {("ib", "form", "auroc"): {0: 70.0}, ("ib", "form", "f1"): {0: 20.0}}
    assert found["shift"].scores == {("ib", "csn>superclass", "auroc"): {2: 25.0}}
    assert found["information"].scores == {("ib", PAIRS, "gaussian"): {0: 1.5}}
    honest = {one.stage: one for one in evidence.references(tmp_path, "honest")}["linear_probe"]
    assert honest.scores["merit", "all", "f1"] == {0: 50.0, 1: 50.0}
    assert {one["what"] for one in evidence.inputs(evidence.references(tmp_path))} == {
        "reference linear_probe demo", "reference zero_shot real", "reference shift real", "reference information real"
    }  # fmt: skip


def test_an_estimator_without_a_vote_counts_in_no_claim(tmp_path):
    rows = stage_rows("information", "merit", 0, 0.5)
    mute = [{**row, "encoder": "cma", "no_vote": "older directions"} for row in rows[:3]]
    reference(tmp_path, "information-demo.json", [*rows, *mute, {**rows[3], "encoder": "cma"}])
    (run,) = evidence.references(tmp_path)
    assert {metric for encoder, _, metric in run.scores if encoder == "merit"} > {"info_nce", "ksg", "gaussian"}
    assert {metric for encoder, _, metric in run.scores if encoder == "cma"} == {"ecg_outside_text"}


def test_pretraining_on_ptb_xl_is_a_caveat_of_the_whole_run(tmp_path):
    probed = stage_rows("linear_probe", "merit", 0, 0.9)[:1]
    reference(tmp_path, "linear_probe-a.json", [{**probed[0], "protocol": "official split (train 1-8, …)"}])
    for run in "ab":
        reference(tmp_path, f"shift-{run}.json", stage_rows("shift", "merit", 0, 0.5))
    found = {(one.stage, one.run): one.caveats for one in evidence.references(tmp_path)}
    assert found == {("linear_probe", "a"): (PTB_XL_TOO,), ("shift", "a"): (PTB_XL_TOO,), ("shift", "b"): ()}


def test_no_reference_and_files_of_another_form(tmp_path):
    assert evidence.references(tmp_path) == []
    with pytest.raises(ValueError, match="expected one of oracle, honest; got 'best'"):
        evidence.own("shift", scores.frame([]), profile="demo", synthetic=True, rule="best")
    (tmp_path / "book" / "reference").mkdir(parents=True)
    (tmp_path / "book" / "reference" / "shift-x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"shift-x\.json: expected scores with about.*make reference"):
        evidence.references(tmp_path)


def test_own_results_carry_their_seed_and_protocol():
    rows = [{**row, "encoder_seed": 3} for row in stage_rows("linear_probe", "merit", 0, 0.8)]
    found = scores.frame([*rows, {"encoder": "cma", "task": "form", "reason": "none"}])
    found = evidence.own("linear_probe", found, profile="demo", synthetic=True)
    assert math.isclose(found.scores["merit", "form", "f1"][3], 80.0)
    assert (found.caveats, found.label()) == ((), "this run: demo, synthetic")
    assert {key[0] for key in found.scores} == {"merit"}
    assert found.reasons == ("none",)
    assert set(paper.TASKS) >= {key[1] for key in found.scores}
