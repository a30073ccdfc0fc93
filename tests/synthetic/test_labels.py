"""Who has what and what the report says: vocabularies are covered, floors hold, reports are read back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from merit.config import HospitalConfig
from merit.data import taxonomy
from merit.data.recording import clean
from merit.synthetic import labels
from merit.synthetic.findings import EFFECTS
from merit.synthetic.hospitals import left_out, left_out_in_words, site_labels
from merit.synthetic.labels import (
    LASTING,
    MAX_STATEMENTS,
    code_of,
    named_findings,
    phrases,
    plan_site,
    sample_findings,
    statements,
    write_report,
)

DEMO = HospitalConfig()
SMOKE = HospitalConfig(recordings={"mimic-iv-ecg": 160, "ptb-xl": 120, "cpsc2018": 60, "csn": 60})
CSN = "RVH LVH SR 2AVB 2AVB1 1AVB AVB LBBB RBBB STDD MI STTC STE TWO STTU QTIE TWC AFIB VPB APB"
TABLE_5 = {
    "cpsc2018": {"NORM", "1AVB", "CRBBB", "CLBBB", "STE", "STD", "AFIB", "VPC", "PAC"},
    "csn": set(CSN.split()),
}


@pytest.fixture(scope="module")
def demo() -> dict[str, list]:
    return {site: plan_site(site, DEMO) for site in DEMO.recordings}


def positives(task: str, orders: list) -> dict[str, int]:
    site = taxonomy.TASK_COHORT[task]
    matrix = taxonomy.label_matrix(task, [labels.published(site, o.findings) for o in orders])
    return dict(zip(taxonomy.classes(task), matrix.sum(0).tolist()))


@pytest.mark.parametrize("task", [task for task in taxonomy.TASKS if task != "csn_as_released"])
def test_every_scored_class_has_its_floor_in_the_demo(demo, task):
    counts = positives(task, demo[taxonomy.TASK_COHORT[task]])
    assert min(counts.values()) >= DEMO.min_positives, counts


def test_vocabularies_are_covered_and_what_is_left_out_is_listed():
    table = labels.vocabulary()
    assert left_out()["ptb-xl"] == []
    assert left_out()["csn"]
    assert not set(left_out()["csn"]) & set(taxonomy.classes("csn"))
    assert all(name in left_out_in_words() for name in left_out()["csn"])
    assert set(taxonomy.classes("cpsc2018")) | TABLE_5["cpsc2018"] <= set(table["cpsc2018"])
    assert TABLE_5["csn"] <= set(table["csn"])
    assert set(table["ptb-xl"]) - {""} <= set(taxonomy.statements()["code"])
    assert set(table["cpsc2018"]) - {""} <= set(taxonomy.cpsc2018_classes()["label"])
    assert set(table["csn"]) - {""} <= set(taxonomy.csn_conditions()["label"])
    assert set().union(*table["likes"]) <= set(table.index)
    assert set(table.index) == set(EFFECTS) == set(phrases()), "each finding acts and has words"
    order = replace(plan_site("cpsc2018", SMOKE)[0], findings=frozenset({"AFIB", "CRBBB", "STD_", "PVC"}))
    assert site_labels(order) == ["AFIB", "CRBBB", "VPC"], "three at most, as REFERENCE.csv has columns for"


def test_findings_do_not_contradict(demo):
    table = labels.vocabulary()
    for orders in demo.values():
        for order in orders:
            taken = Counter(slot for code in order.findings for slot in table["slots"][code])
            assert max(taken.values()) == 1, order.findings
            if "NORM" in order.findings:
                assert len(order.findings) == 2
                assert order.findings & set(labels.NORMAL_RHYTHMS)


def test_imbalance_is_like_the_real_one(demo):
    counts = positives("all", demo["ptb-xl"])
    assert counts["SR"] > 0.6 * 2000
    assert counts["NORM"] > 0.25 * 2000
    rare = [code for code, n in counts.items() if n <= 40]
    assert len(rare) > 30


def test_folds_hold_whole_patients_and_every_class(demo):
    orders = demo["ptb-xl"]
    folds: dict[int, set[int]] = {}
    for order in orders:
        folds.setdefault(order.patient, set()).add(order.fold)
    assert all(len(f) == 1 for f in folds.values())
    assert len(folds) < len(orders)
    sizes = Counter(o.fold for o in orders)
    assert set(sizes) == set(range(1, 11))
    assert max(sizes.values()) - min(sizes.values()) <= 20
    matrix = taxonomy.label_matrix("all", [labels.published("ptb-xl", o.findings) for o in orders])
    fold = np.array([o.fold for o in orders])
    assert min(matrix[fold == k].sum(0).min() for k in range(1, 11)) >= 2


def test_smoke_sizes_keep_common_classes():
    for site, task in (("ptb-xl", "superclass"), ("cpsc2018", "cpsc2018")):
        assert min(positives(task, plan_site(site, SMOKE)).values()) >= 4
    counts = positives("csn", plan_site("csn", SMOKE))
    assert counts["SR"] >= 10
    assert sum(n > 0 for n in counts.values()) >= 30


def test_several_recordings_of_a_patient_keep_lasting_findings(demo):
    for site in ("mimic-iv-ecg", "ptb-xl"):
        first = {o.index: o for o in demo[site]}
        for order in demo[site]:
            owner = first[order.patient]
            assert order.findings & LASTING == owner.findings & LASTING
            assert (order.age, order.female) == (owner.age, owner.female)


# -- reports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("omission", [0.0, 0.1, 0.2, 0.3])
def test_omission_is_the_share_asked_for(omission):
    rng = np.random.default_rng(0)
    found = sample_findings("mimic-iv-ecg", 600, 0, np.random.default_rng(1))
    named = [named_findings(f, omission, rng) for f in found]
    assert all(n and set(n) <= f for n, f in zip(named, found)), "something is named always"
    assert abs(1 - sum(map(len, named)) / sum(map(len, found)) - omission) < (0.04 if omission else 1e-12)


def test_wordings_vary_belong_to_one_finding_and_carry_no_measurement():
    rng = np.random.default_rng(2)
    truth = {"axis_deg": 40.0, "heart_rate_bpm": 72.0}
    reports = [tuple(write_report(["SR", "IMI"], truth, rng)) for _ in range(600)]
    assert len(set(reports)) > 10
    assert 0 < sum(not r for r in reports) < 40, "some are missing"
    assert max(len(r) for r in reports) <= MAX_STATEMENTS
    wordings = [phrase for options in phrases().values() for phrase in options]
    assert len(code_of()) == len(wordings)
    for phrase in wordings:
        assert "," not in phrase[-1]
        assert not any(unit in phrase.split() for unit in ("ms", "mV", "bpm", "degrees"))


FAST = "Atrial fibrillation with rapid ventricular response"


@pytest.mark.parametrize(
    ("report", "stated"),
    [
        ("Sinus rhythm\nRSR' pattern in V1, incomplete RBBB\nLBBB\nAbnormal", ("SR", "IRBBB", "CLBBB", "abnormal")),
        (FAST, ("AFIB", FAST.lower())),
        ("", ()),
    ],
)
def test_statements_are_taken_whole(report, stated):
    assert statements(clean(report)) == stated


def test_whatever_is_named_is_read_back():
    rng = np.random.default_rng(0)
    codes = sorted(phrases())
    for _ in range(200):
        named = [str(code) for code in rng.choice(codes, 4, replace=False)]
        written = write_report(named, {"axis_deg": 60.0, "heart_rate_bpm": 80.0}, rng)
        if len(written) > 2:
            assert set(named) <= set(statements(clean("\n".join(written))))
