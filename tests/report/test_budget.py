"""Peers' methods on the same recordings: what the page says of them, and what each costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from merit.methods import PEERS
from merit.report import budget
from merit.report.reference import EQUAL_BUDGET

SETTING = {"variant": "as_published"}


def cost(encoder: str, **changes) -> dict:
    trained = {"trained_parameters": 2_000_000, "update_flops": 7e6, "updates": 1200, "batch": 32, "seconds": 1234.5,
               "validation": {"masked_mse": 1.004, "nt_xent": 2.5}}  # fmt: skip
    return {"encoder": encoder, "network": "vit", "parameters": 1_500_000, "embedding_flops": 9e6, **trained, **changes}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A reference of two encoders with two seeds, and the costs of three."""
    cell = {"task": "form", **SETTING, "metric": "auroc"}
    over = [{**cell, "encoder": name, "mean": level, "sd": 0.01, "n": 2} for name, level in
            {"merit": 0.9, "merl-ours": 0.8}.items()]  # fmt: skip
    random = {name: value for name, value in cost("random").items() if name in ("encoder", "network", "parameters")}
    file = {
        "stage": "linear_probe", "group": EQUAL_BUDGET, "profile": "demo", "synthetic": True, "seeds": 2,
        "device": "cpu", "cores": 2, "finished": "2026-01-02", "commit": "abc", "over_seeds": over, "differences": [],
        "costs": [cost("merit"), cost("merl-ours", network="resnet18"), {**random, "embedding_flops": 9e6}],
        "results": [],
    }  # fmt: skip
    (tmp_path / f"linear_probe-demo-{EQUAL_BUDGET}.json").write_text(json.dumps(file))
    return tmp_path


def test_a_section_says_whose_rows_these_are_and_what_they_are_not(folder):
    html = budget.section("linear_probe", "demo", True, folder, **SETTING).text
    for said in (
        "our implementation",
        "profile demo, on synthetic hospitals, with 2 pretraining seeds",
        "not the published systems",
        "The same data, the same updates, as published: profile demo, 2 pretraining seeds; cpu with 2 cores",
        "90.0\n±1.0",
    ):
        assert said in html
    assert "MERL, ours: its ResNet18" in html
    assert "CLOCS" not in html  # no row of it


def test_costs_stand_beside_each_other(folder):
    html = budget.section("linear_probe", "demo", True, folder, **SETTING).text
    assert "every pretraining has 1,200 updates of batch 32" in html
    for said in ("masked error 1.00\nNT-Xent 2.50", "ResNet18", "1,500,000", "2,000,000", "1,234", ">9<", ">7<"):
        assert said in html
    assert html.count("–") >= 3  # the random encoder is not trained


def test_nothing_there(tmp_path):
    assert "No reference run of linear probing" in budget.section("linear_probe", "demo", True, tmp_path).text


def test_every_method_says_what_is_its_own():
    assert set(budget.OURS) == set(PEERS)
    assert not any(character.isdigit() for text in budget.OURS.values() for character in text.replace("ResNet18", ""))
