"""A claim is judged by its rule: what counts as evidence, what keeps it from a verdict, which interval says what."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats

from merit import scores
from merit.report import claims, paper
from merit.report.claims import CLAIMS, NOT_PUBLISHED, PAIRS, PTB_XL_TOO, Claim, Evidence, Measured, judge, over

BY_ID = {claim.id: claim for claim in CLAIMS}
PEERS = ("merl", "esi", "d-beta", "ecg-chat")


def make(scores, stage="linear_probe", profile="paper", synthetic=False, **about):
    """Evidence from encoder, task, metric -> numbers, one a seed."""
    scores = {key: dict(enumerate(values)) for key, values in scores.items()}
    return Evidence(stage=stage, profile=profile, synthetic=synthetic, scores=scores, **about)


def one_claim(**changes):
    """MERIT above CMA in AUROC on all statements."""
    settings = {"id": "x", "title": "x", "text": "x", "place": "x", "stage": "linear_probe"}
    return Claim(**{**settings, "measure": over([("all", "auroc")], ("cma",)), **changes})


def pair(merit, cma, **about):
    return make({("merit", "all", "auroc"): merit, ("cma", "all", "auroc"): cma}, **about)


def test_interval_is_students():
    values = [1.0, 2.5, 0.5, 3.0, 2.0]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    found = claims.interval(values)
    assert found == pytest.approx((np.mean(values), low, high, 5))
    strict = claims.interval(values, 0.99)
    assert strict.low < found.low < found.high < strict.high
    assert claims.interval([2.0]) == (2.0, None, None, 1)
    assert claims.interval([2.0] * 5) == (2.0, 2.0, 2.0, 5)
    with pytest.raises(ValueError, match="got none"):
        claims.interval([])


def cells(**values):
    """A claim that is read from these cells alone."""
    return {"measure": lambda run: Measured({name.replace("_", " "): own for name, own in values.items()})}


def gains(*differences, **about):
    """A run in which MERIT is so far above CMA, a number for each seed."""
    return pair([50 + d for d in differences], [50.0] * len(differences), **about)


CORRECTED = [-1.0, -2.0, -0.4, -0.3, -2.2]  # its interval lies below zero at 95 %, and includes it at 97.5 %
NEAR = [0.0, 0.004, 0.008, 0.004, 0.004]  # 0.004 [0.0004, 0.0076], printed as +0.00 [0.00, 0.01]
AMOUNT = [-0.1, 0.1, 0.0, -0.1, 0.1]  # around a gain
BOTH = {"measure": over([("all", "auroc"), ("form", "auroc")], ("cma", "ib"))}
HALF = {"measure": claims.share_ahead([("all", "auroc"), ("form", "auroc")], "cma", "merit"), "every": False}
UP, DOWN, MIXED, HIGH = [10.0] * 5, [-10.0] * 5, [-1.0, 1.0, -1.0, 1.0, -1.0], [3.1, 3.2, 3.3, 3.2, 3.1]
LACKING = "without IB and PTB-XL form AUROC"
REACH = {"reach": 2.66}
VERDICTS = [
    # Five real seeds: the interval decides; what is printed as the threshold is neither above nor below it.
    ({"threshold": 3.0}, gains(*HIGH), "supported: the interval lies above 3 points"),
    ({"threshold": 3.5}, gains(*HIGH), "contradicted: the interval lies below 3.5 points"),
    ({"threshold": 3.0}, gains(2.0, 4.5, 3.6, 2.4, 4.4), "not shown: the interval does not lie above 3 points"),
    ({}, gains(*NEAR), "not shown: the interval does not lie above zero"),
    ({}, gains(*(-gain for gain in NEAR)), "not shown: the interval does not lie above zero"),
    ({}, gains(0.004), "inconsistent: not above zero; no verdict: 1 of 5 seeds or rotations"),
    (cells(a=[50.4]) | {"threshold": 50.0, "unit": "%"}, make({}),
     "inconsistent: not above 50 %; no verdict: 1 of 5 seeds or rotations"),
    # A contradiction is corrected for the number of comparisons.
    (cells(a=CORRECTED), make({}), "contradicted: the interval lies below zero"),
    (cells(a=CORRECTED, b=UP), make({}), "not shown: the interval does not lie above zero in 1 of 2 comparisons"),
    # A stated amount has to be reached by the interval, not exceeded.
    (REACH, gains(*(2.6 + d for d in AMOUNT)), "supported: the interval lies above zero"),
    (REACH, gains(*(1.0 + d for d in AMOUNT)), "above zero, but the interval ends below 2.66 points"),
    (REACH, gains(*(-1.0 + d for d in AMOUNT)), "contradicted: the interval lies below zero"),
    (REACH, gains(0.1), "consistent: above zero; no verdict: 1 of 5 seeds or rotations"),
    (REACH, gains(0.1, 0.2, 0.1, 0.2), "inconsistent: above zero, but the interval ends below 2.66 points; no verdict: "
     "4 of 5 seeds or rotations"),
    # What is not the paper's experiment gives a value and no verdict.
    ({}, gains(*DOWN, profile="demo"), "inconsistent: not above zero; no verdict: demo profile"),
    ({}, gains(*UP, caveats=(PTB_XL_TOO,)), f"consistent: above zero; no verdict: {PTB_XL_TOO}"),
    ({}, gains(*UP, synthetic=True, profile="smoke"),
     "consistent: above zero; no verdict: synthetic recordings; smoke profile"),
    # A missing row keeps a claim from being supported, but not from being contradicted; a share of all from both.
    (BOTH, gains(*UP), f"consistent: above zero; no verdict: {LACKING}"),
    (BOTH, gains(*DOWN), "contradicted: the interval lies below zero"),
    (BOTH, gains(*MIXED), f"inconsistent: not above zero; no verdict: {LACKING}"),
    (HALF | {"threshold": 50.0}, gains(*UP),
     "inconsistent: not above 50 points; no verdict: without PTB-XL form AUROC"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "run", "said"), VERDICTS)
def test_verdict(changes, run, said):
    judged = judge(one_claim(**changes), [run])
    assert said == (judged.why if judged.verdict == "not supported" else f"{judged.verdict}: {judged.why}")


def test_real_recordings_decide_and_then_the_run_with_the_fewest_obstacles():
    poor, good = pair([60.0] * 5, [50.0] * 5, synthetic=True), pair([40.0] * 5, [50.0] * 5)
    judged = judge(one_claim(), [poor, good, make({}, stage="shift")])
    assert judged.verdict == "not supported"
    assert [reading.evidence for reading in judged.readings] == [good, poor]
    single = pair([40.0], [50.0], profile="demo", caveats=(PTB_XL_TOO,))
    assert judge(one_claim(), [poor, single]).readings[0].evidence is single


def test_nothing_measured_says_why():
    empty = make({}, profile="demo", synthetic=True, reasons=("no csn", "no mimic"))
    weights = dataclasses.replace(empty, stage="generation", reasons=("medtvt-r1: no weights in weights/medtvt-r1",))
    mute = one_claim(measure=lambda run: Measured({}))
    for claim, runs, reason in (
        (one_claim(), [], ""),
        (one_claim(), [empty], ": no csn; no mimic"),
        (BY_ID["q"], [weights], ": without MedTVT-R1"),
        (one_claim(), [make({("cma", "all", "auroc"): [1.0]})], ": without PTB-XL all AUROC"),
        (mute, [make({})], ""),
    ):
        assert judge(claim, runs) == (claim, "not measured", f"nothing was measured here{reason}", ())


# -- how cells are read from scores -----------------------------------------------------------------------------------


def test_seeds_are_paired_and_one_number_of_a_peer_serves_all():
    scores = {"merit": {0: 10.0, 1: 20.0, 2: 40.0}, "cma": {2: 1.0, 0: 2.0}, "merl": {0: 5.0}, "random": {0: 5.0}}
    scores = {(name, "all", "f1"): values for name, values in scores.items()}
    run = Evidence(stage="linear_probe", profile="paper", synthetic=False, scores=scores)
    assert claims.paired(run, "merit", "cma", "all", "f1") == [8.0, 39.0]
    assert claims.paired(run, "merit", "merl", "all", "f1") == [5.0, 15.0, 35.0]
    assert claims.paired(run, "merit", "random", "all", "f1") == [5.0]


def test_second_place_shares_and_means_over_columns():
    all_f1, form = ("all", "f1"), ("form", "f1")
    scores = {("merit", *all_f1): [5.0, 5.0], ("cma", *all_f1): [9.0, 9.0], ("ib", *all_f1): [4.0, 3.0]}
    # the best other of each column is left out
    assert over([all_f1], ("cma", "ib"), place=2)(make(scores)) == ({"PTB-XL all F1, over IB": [1.0, 2.0]}, ())
    assert len(over([all_f1], ("cma", "ib"))(make(scores)).cells) == 2
    # a share by seed
    scores = {("cma", *all_f1): [5.0, 5.0], ("cma", *form): [5.0, 5.0]}
    scores |= {("ib", *all_f1): [4.0, 5.0], ("ib", *form): [6.0, 1.0]}
    share = claims.share_ahead([all_f1, form, ("csn", "f1")], "cma", "ib")
    assert share(make(scores)) == ({"columns with CMA above IB": [50.0, 50.0]}, ("CSN F1",))
    assert share(make({})).cells == {}
    # a mean, paired by seed, of every column
    scores = {("merit", *all_f1): [5.0, 7.0], ("merit", *form): [1.0, 1.0], ("esi", *all_f1): [0.0]}
    scores |= {("merl", *all_f1): [4.0], ("merl", *form): [3.0]}
    found = claims.mean_over([all_f1, form], ("merl", "esi"))(make(scores))
    assert found == ({"mean of 2 columns, over MERL": [-0.5, 0.5]}, ("PTB-XL form F1", "ESI"))


def test_claims_about_earlier_methods_are_never_read_from_our_own_ablations():
    scores = {("merit", "subclass", "auroc"): [80.0] * 5, ("cma", "subclass", "auroc"): [70.0] * 5}
    alone = judge(BY_ID["c"], [make(scores, "zero_shot")])
    assert (alone.verdict, alone.readings) == ("not measured", ())
    assert alone.why == "nothing was measured here: without MERL, ESI, D-BETA and ECG-Chat"
    peers = {(name, "subclass", "auroc"): [77.0] for name in PEERS}
    assert judge(BY_ID["c"], [make(scores | peers, "zero_shot")]).verdict == "supported"
    del peers["esi", "subclass", "auroc"]
    lacking = judge(BY_ID["c"], [make(scores | peers, "zero_shot")])
    assert (lacking.verdict, lacking.why) == ("consistent", "above zero in 3 of 3 comparisons; no verdict: without ESI")


def test_at_equal_budget_peers_methods_stand_in_and_give_no_verdict():
    scores = {(name, "all", "f1"): [v] * 5 for name, v in (("merit", 80.0), ("cma", 10.0), ("merl-ours", 90.0))}
    run = make(scores, caveats=(NOT_PUBLISHED,), group="equal-budget", run="demo")
    judged = judge(BY_ID["a"], [run])
    assert judged.readings[0].values == {"PTB-XL all F1, over MERL, ours": [-10.0] * 5}
    assert (judged.verdict, judged.why) == ("inconsistent", f"not above zero; no verdict: {NOT_PUBLISHED}")
    assert judge(BY_ID["f"], [run]).verdict == "not measured"
    assert run.label() == "reference, equal budget: paper, real recordings"


# -- what the paper's own numbers say ---------------------------------------------------------------------------------


PRINTED = {
    "c": "Table 2: MERIT 77.58 − ESI 74.92 = 2.66; but in Table 9 the ablation IB has 77.85",
    "h": "Table 9: IB above CMA in 14 of 21 columns, 6 of 7 of AUROC",
    "u": "PTB-XL all AUROC 2, PTB-XL all F1 1 and PTB-XL all accuracy 3",
    "v": "MERIT 79.42, ECG-FM 72.37, ST-MEM 76.67, MERL 76.53 and ESI 61.05; but D-BETA 79.74",
    "a": "at or below 42.63, so the gain is not negative; the claim asks that each be below 39.63",
    "e": "best in 11 of 15 and ST-MEM in PTB-XL form AUROC, PTB-XL form F1, PTB-XL form acc",
    "f": "one number in 21 of 21 columns of Table 4), MERIT is at or above every ablation in 21 of 21",
}


def test_every_claim_has_its_own_id_a_place_and_an_answer_from_the_papers_own_numbers():
    found = claims.printed()
    assert sorted(found) == sorted(BY_ID)
    assert len(BY_ID) == len(CLAIMS)
    assert all(claim.place and found[claim.id].text for claim in CLAIMS)
    assert {name for name, own in found.items() if own.holds} == {"c", "d", "h", "j", "t", "u", "v"}
    assert {name for name, own in found.items() if own.holds is False} == {"i"}
    for claim, text in PRINTED.items():
        assert text in found[claim].text


# -- each claim can reach both verdicts, from files as the workspace writes them ---------------------------------------

BEST_FIRST = {"g": ("cma", "ib"), "h": ("ib", "cma"), "n": ("ib-0.1", "ib", "ib-1"), "p": ("mse", "merit", "cma")}
"""Claim -> encoders in the order that it claims; for all others MERIT is first."""
OTHERS = ("cma", "ib", "mse", *paper.PEERS, "medtvt-r1")


KINDS = {
    "linear_probe": {"variant": "as_published", "scored": "by fold", "protocol": "ten folds"},
    "zero_shot": {"prompts": "enriched", "scope": "unseen", "ensemble": True},
    "shift": {"variant": "as_published", "scored": "target", "metric": "auroc"},
    "information": {"scope": "validation", "no_vote": None},
    "clusters": {},
    "generation": {"study": "generation", "condition": "model"},
    "kept": {"kind": "summary", "metric": "r2_partial"},
}
NAMES = ("info_nce", "ksg", "gaussian", "ecg_outside_text", "ecg_spread", "text_in_ecg")
CLASSIFIED = [{"task": task, "metric": metric} for task in paper.TASKS for metric in claims.CLASSIFIED]
CLUSTERED = itertools.product(("encoder", "umap"), ("macro", "PACE"), ("purity", "silhouette"))
ROWS = {
    "linear_probe": CLASSIFIED,
    "zero_shot": CLASSIFIED,
    "shift": [{"transfer": transfer} for transfer in paper.TRANSFERS],
    "information": [*({"metric": name} for name in NAMES), {"metric": "text_spread", "value": 0.5}],
    "clusters": [dict(zip(("space", "class", "metric"), row)) for row in CLUSTERED],
    "generation": [{"metric": name} for name in claims.WRITTEN],
    "kept": [{"decoder": name} for name in ("linear", "nonlinear")],
}


def stage_rows(stage, encoder, seed, level):
    """Scores of a study in which every number of the encoder is `level`, with the spread of its seed."""
    row = {"encoder": encoder, "encoder_seed": seed, "value": level + 0.001 * seed * (1 + level), "class": "macro"}
    return [{**row, **KINDS[stage], **own} for own in ROWS[stage]]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
@pytest.mark.parametrize("holds", [True, False])
def test_every_claim_can_be_supported_and_not_supported(tmp_path, claim, holds):
    order = BEST_FIRST.get(claim.id, ("merit", *OTHERS))
    levels = {name: 0.9 - 0.06 * rank for rank, name in enumerate(order if holds else reversed(order))}
    if not holds:  # MERIT's own geometry has no rival in claim l
        levels = {name: level - 0.45 * (name == "merit") for name, level in levels.items()}
    rows = []
    for name, level in levels.items():
        for seed in range(1 if name in paper.PEERS else 5):
            rows += stage_rows(claim.stage, name, seed, level)
    suffix = "-published" if claim.peers else ""
    reference(tmp_path, f"{claim.stage}-paper-real{suffix}.json", rows)
    judged = judge(claim, claims.references(tmp_path))
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
    mute = {**pair, "encoder": "cma", "no_vote": "older directions"}  # an estimator without a vote counts in no claim
    reference(tmp_path, "information-real.json", [pair, mute, {**pair, "scope": "unseen", "metric": "gap"}])
    clusters = {"encoder": "ib", "encoder_seed": 0, "metric": "purity", "value": 0.5}
    spaces = [("umap", "macro"), ("umap", "PACE"), ("umap", "SR"), ("encoder", "PACE")]
    clusters = [{**clusters, "space": space, "class": name} for space, name in spaces]
    reference(tmp_path, "clusters-real.json", clusters)

    found = claims.references(tmp_path)
    real = [(stage, "real", False) for stage in ("shift", "zero_shot", "information", "clusters")]
    assert [(run.stage, run.run, run.synthetic) for run in found] == [*real, ("linear_probe", "demo", True)]
    spaces = ("umap purity", "umap purity PACE", "encoder purity PACE")
    assert {run.stage: run.scores for run in found} == {
        "linear_probe": {("merit", "all", name): {0: value, 1: value} for name, value in (("auroc", 90), ("f1", 60))},
        "zero_shot": {("ib", "form", "auroc"): {0: 70.0}, ("ib", "form", "f1"): {0: 20.0}},
        "shift": {("ib", "csn>superclass", "auroc"): {2: 25.0}},
        "information": {("ib", PAIRS, "gaussian"): {0: 1.5}},
        "clusters": {("ib", "rhythm", name): {0: 50.0} for name in spaces},
    }
    assert found[-1].label() == "reference: demo, synthetic"
    assert claims.references(tmp_path, "honest")[-1].scores["merit", "all", "f1"] == {0: 50.0, 1: 50.0}


def test_pretraining_on_ptb_xl_is_a_caveat_of_the_whole_run(tmp_path):
    probed = stage_rows("linear_probe", "merit", 0, 0.9)[:1]
    reference(tmp_path, "linear_probe-a.json", [{**probed[0], "protocol": "official split (train 1-8, …)"}])
    for run in ("a", "b", "b-equal-budget"):
        reference(tmp_path, f"shift-{run}.json", stage_rows("shift", "merit", 0, 0.5))
    found = {f"{run.stage} {run.run}": run.caveats for run in claims.references(tmp_path)}
    assert found.pop("linear_probe a") == found.pop("shift a") == (PTB_XL_TOO,)
    assert found == {"shift b": (), "shift b-equal-budget": (NOT_PUBLISHED,)}


def test_no_reference_and_files_of_another_form(tmp_path):
    assert claims.references(tmp_path) == []
    with pytest.raises(ValueError, match="expected one of oracle, honest; got 'best'"):
        claims.evidence("shift", scores.frame([]), "best", profile="demo", synthetic=True)
    reference(tmp_path, "shift-x.json", [])
    (tmp_path / "book" / "reference" / "shift-x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"shift-x\.json: expected scores with about.*make reference"):
        claims.references(tmp_path)


def test_own_results_carry_their_seed_and_protocol():
    rows = [{**row, "encoder_seed": 3} for row in stage_rows("linear_probe", "merit", 0, 0.8)]
    found = scores.frame([*rows, {"encoder": "cma", "task": "form", "reason": "none"}])
    found = claims.evidence("linear_probe", found, profile="demo", synthetic=True)
    assert found.scores["merit", "form", "f1"][3] == pytest.approx(80.0)
    assert (found.caveats, found.label(), found.reasons) == ((), "this run: demo, synthetic", ("none",))
    assert {key[0] for key in found.scores} == {"merit"}


def test_the_command_that_settles_a_claim_is_one_that_the_reference_takes():
    from merit.studies.reference import GROUPS

    for claim in CLAIMS:
        group = GROUPS["published" if claim.peers else "objectives"]
        assert claim.stage in group.studies
        assert {*claim.trained, *claim.peers} <= set(group.encoders)
