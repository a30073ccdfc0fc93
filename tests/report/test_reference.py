"""The committed reference: found by profile and kind, labelled, escaped, and said to be missing where it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from merit import runs
from merit.pipeline.reference import EQUAL_BUDGET, run_name
from merit.report import evidence, reference

SETTING = {"variant": "standardised"}


def write(folder: Path, run: str, **changes) -> Path:
    """A reference of three seeds of linear probing."""
    levels = {"merit": 0.9, "cma": 0.8, "ib": 0.7, "ib-0.1": 0.75, "ib-1": 0.6, "random": 0.5}
    cell = {"task": "form", **SETTING, "metric": "auroc"}
    over = [{**cell, "encoder": name, "mean": level, "sd": 0.012, "n": 3} for name, level in levels.items()]
    difference = {
        **cell, "encoder": "merit", "other": "cma", "mean": 0.1, "low": 0.05, "high": 0.15, "p": 0.01, "p_holm": 0.01,
        "n": 3, "n_dropped": 0, "n_comparisons": 1,
    }  # fmt: skip
    file = {
        "stage": "linear_probe", "profile": "demo", "synthetic": True, "seeds": 3, "device": "cpu", "cores": 2,
        "finished": "2026-01-02", "commit": "abc<b>", "versions": {}, "over_seeds": over, "differences": [difference],
        "results": [], **changes,
    }  # fmt: skip
    path = folder / f"linear_probe-{run}.json"
    path.write_text(json.dumps(file))
    return path


def test_own_profile_first_else_the_same_kind_of_recordings(tmp_path):
    write(tmp_path, "demo")
    write(tmp_path, "paper-real", profile="paper", synthetic=False)
    found = {
        (profile, synthetic): [one["profile"] for one in reference.load("linear_probe", profile, synthetic, tmp_path)]
        for profile in ("smoke", "demo", "paper") for synthetic in (True, False)
    }  # fmt: skip
    assert found["demo", True] == found["smoke", True] == found["paper", True] == ["demo"]
    assert found["demo", False] == found["paper", False] == ["paper"]
    assert reference.load("zero_shot", "demo", True, tmp_path) == []


@pytest.mark.parametrize("synthetic", [True, False])
def test_the_pipeline_writes_where_the_report_looks(tmp_path, synthetic):
    workspace = SimpleNamespace(profile=SimpleNamespace(name="demo"), synthetic=synthetic)
    write(tmp_path, "other", profile="other", synthetic=synthetic)
    write(tmp_path, run_name(workspace), synthetic=synthetic)
    (file,) = reference.load("linear_probe", "demo", synthetic, tmp_path)
    assert file["profile"] == "demo"


@pytest.mark.parametrize("synthetic", [True, False])
def test_groups_are_kept_apart(tmp_path, synthetic):
    workspace = SimpleNamespace(profile=SimpleNamespace(name="demo"), synthetic=synthetic)
    name = run_name(workspace, EQUAL_BUDGET)
    assert reference.EQUAL_BUDGET == EQUAL_BUDGET
    write(tmp_path, name, synthetic=synthetic, group=EQUAL_BUDGET)
    for profile in ("demo", "smoke"):
        assert reference.load("linear_probe", profile, synthetic, tmp_path) == []
        (file,) = reference.load("linear_probe", profile, synthetic, tmp_path, EQUAL_BUDGET)
        assert reference.budgeted(file)
    write(tmp_path, run_name(workspace), synthetic=synthetic)
    assert len(reference.load("linear_probe", "smoke", synthetic, tmp_path)) == 1
    assert evidence.references(tmp_path) == []
    book = tmp_path / "book" / "reference"
    book.mkdir(parents=True)
    for run in (name, run_name(workspace)):
        (tmp_path / f"linear_probe-{run}.json").rename(book / f"linear_probe-{run}.json")
    runs = {one.run: one.group for one in evidence.references(tmp_path)}
    assert runs == {run_name(workspace): None, name: EQUAL_BUDGET}


def test_a_section_is_labelled_and_holds_means_and_differences(tmp_path):
    write(tmp_path, "demo")
    html = reference.section("linear_probe", "demo", True, folder=tmp_path, **SETTING).text
    for said in ("synthetic recordings", "profile demo, 3 pretraining seeds; cpu with 2 cores, 2026-01-02", "abc&lt;b"):
        assert said in html
    assert "90.0\n±1.2" in html
    assert "+10.0 [+5.0, +15.0]\np 0.010, Holm 0.010" in html
    assert "Against CMA: 1 of 1 in favour of MERIT, none against." in html
    assert "Reference, standardised: profile" in html
    assert "3 seeds give 2 degrees of freedom" in html
    other = reference.section("linear_probe", "demo", True, folder=tmp_path, variant="as_published").text
    assert "90.0" not in other
    assert "scored nothing" in other


def test_strengths_are_ordered_and_hold_nothing_else(tmp_path):
    write(tmp_path, "demo")
    html = reference.strengths("linear_probe", "demo", True, folder=tmp_path, **SETTING).text
    places = [html.index(f"β = {name}") for name in ("0 (CMA)", "0.1<", "0.5<", "1<")]
    assert places == sorted(places)
    assert "MERIT" not in html
    assert "75.0" in html


def test_alignment_with_and_without_the_mask(tmp_path):
    cell = {"task": "form", **SETTING, "metric": "auroc", "sd": 0.01, "n": 3}
    levels = {"merit": 0.9, "cma": 0.8, "ib": 0.7, "cma-whole": 0.8512}
    path = write(tmp_path, "demo", over_seeds=[{**cell, "encoder": k, "mean": v} for k, v in levels.items()])
    html = reference.masks("linear_probe", "demo", True, folder=tmp_path, **SETTING).text
    places = [html.index(name) for name in ("MERIT", "CMA, masked as MERIT is", "CMA, whole recordings")]
    assert places == sorted(places)
    assert "IB" not in html
    assert "CMA gains +5.1 points, the median of 1 columns (+5.1 to +5.1); MERIT minus CMA without it: +4.9" in html
    path.unlink()
    write(tmp_path, "demo")
    assert (
        "has no row without the mask" in reference.masks("linear_probe", "demo", True, folder=tmp_path, **SETTING).text
    )
    assert "on real recordings" in reference.masks("linear_probe", "demo", False, folder=tmp_path).text


def test_the_spread_over_seeds_in_words(tmp_path):
    write(tmp_path, "demo")
    said = reference.spread("linear_probe", "demo", True, tmp_path, **SETTING)
    assert said.startswith(
        "Standard deviation of AUROC, standardised, over 3 pretraining seeds (profile demo), median over tasks"
    )
    assert "CMA: 1.2; MERIT: 1.2; random: 1.2." in said
    assert "No reference run" in reference.spread("linear_probe", "demo", False, tmp_path)


def test_nothing_there_and_something_else_there(tmp_path):
    nothing = reference.section("linear_probe", "demo", True, folder=tmp_path).text
    assert "No reference run of linear probing" in nothing
    assert nothing.count("<p") == 1
    assert "on real recordings" in reference.strengths("shift", "demo", False, folder=tmp_path).text
    path = write(tmp_path, "demo")
    path.write_text(json.dumps({"results": []}))
    with pytest.raises(ValueError, match=r"linear_probe-demo.json: expected stage, profile"):
        reference.load("linear_probe", "demo", True, tmp_path)
    path.write_text("{")
    with pytest.raises(ValueError, match="expected the JSON of a reference run"):
        reference.load("linear_probe", "demo", True, tmp_path)


def intervals_in(value: Any, where: str = "") -> Iterator[tuple[str, float, float, float]]:
    """(place, value or mean, low, high) of every interval in a JSON value."""
    if isinstance(value, dict):
        three = value.get("value", value.get("mean")), value.get("low"), value.get("high")
        if None not in three:
            yield where, *three
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from intervals_in(one, f"{where}/{key}")


def test_intervals_are_found_wherever_they_stand():
    nested = {"a": [{"value": 1, "low": 2, "high": 3}], "mean": 0, "low": None, "high": 1, "b": {"mean": 1, "low": 0}}
    assert list(intervals_in(nested)) == [("/a/0", 1, 2, 3)]


@pytest.mark.parametrize(
    "path", sorted((runs.home() / "book" / "reference").glob("*.json")), ids=lambda path: path.stem
)
def test_every_committed_interval_holds_its_value(path):
    found = list(intervals_in(json.loads(path.read_text(encoding="utf-8"))))
    outside = [where for where, value, low, high in found if not low <= value <= high]
    assert not outside, f"{len(outside)} of {len(found)} intervals: make the file again (`make reference`)"
