"""Table 5: the paper's text, the merges by loops in all six directions, and tables that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from merit.data import taxonomy
from merit.evaluate.label_alignment import (
    DIRECTIONS,
    align,
    by_snomed,
    company,
    read_table,
    shared_codes,
)

PRINTED = {
    ("superclass", "cpsc2018"): {"HYP": "", "NORM": "NORM", "CD": "1AVB, CRBBB, CLBBB", "MI": "", "STTC": "STE, STD"},
    ("superclass", "csn"): {
        "HYP": "RVH, LVH", "NORM": "SR", "CD": "2AVB, 2AVB1, 1AVB, AVB, LBBB, RBBB, STDD", "MI": "MI",
        "STTC": "STTC, STE, TWO, STTU, QTIE, TWC",
    },
    ("cpsc2018", "csn"): {
        "AFIB": "AFIB", "VPC": "VPB", "NORM": "SR", "1AVB": "1AVB", "CRBBB": "RBBB", "STE": "STE", "PAC": "APB",
        "CLBBB": "LBBB", "STD": "STE, STTC, STTU, STDD",
    },
}  # fmt: skip
"""The paper's three blocks, typed from its text."""


def test_the_table_is_the_papers() -> None:
    table = read_table()
    found: dict[tuple[str, str], dict[str, str]] = {}
    for space, name, other, codes in table.itertuples(index=False):
        found.setdefault((space, other), {})[name] = ", ".join(codes.split())
    assert found == PRINTED
    assert [list(block) for block in found.values()] == [list(block) for block in PRINTED.values()]


def test_each_direction_has_the_classes_of_the_coarser_side() -> None:
    counted = {direction: len(align(*direction).classes) for direction in DIRECTIONS}
    assert list(counted.values()) == [3, 5, 3, 9, 5, 9]
    assert (
        align("csn", "superclass").classes == align("superclass", "csn").classes == tuple(PRINTED["superclass", "csn"])
    )


def codes_for(space: str, other: str, name: str) -> list[str]:
    """By the printed table: what stands for an evaluation class in `space`, when the other side is `other`."""
    if (space, other) in PRINTED:
        return [name]
    return PRINTED[other, space][name].split(", ")


@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
def test_merges_equal_loops_over_records_and_classes(source: str, target: str) -> None:
    generator = np.random.default_rng(3)
    alignment = align(source, target)
    names = [n for n, c in PRINTED.get((source, target), PRINTED.get((target, source))).items() if c]
    assert list(alignment.classes) == names
    known = {space: taxonomy.classes(space) for space in (source, target)}
    hand_made = [set(generator.choice(known[target], size=generator.integers(1, 4), replace=False)) for _ in range(60)]
    labels = np.array([[code in record for code in known[target]] for record in hand_made])
    scores = generator.integers(0, 5, size=(60, len(known[source]))).astype(np.float32)
    usable = np.ones(len(known[source]), dtype=bool)
    merged_labels = alignment.target.any_of(labels)
    merged_scores, reached = alignment.source.highest(scores, usable)
    assert reached.all()
    for n in range(60):
        for k, name in enumerate(names):
            present = False
            for code in codes_for(target, source, name):
                present = present or code in hand_made[n]
            best = -np.inf
            for code in codes_for(source, target, name):
                best = max(best, scores[n, known[source].index(code)])
            assert merged_labels[n, k] == present
            assert merged_scores[n, k] == best
    for side, other in ((alignment.source, target), (alignment.target, source)):
        used = {code for name in names for code in codes_for(side.space, other, name)}
        assert set(side.dropped) == set(known[side.space]) - used


def test_what_a_head_could_not_learn_takes_no_part_in_the_highest() -> None:
    side = align("csn", "superclass").source
    scores = np.arange(2 * len(side.classes), dtype=np.float32).reshape(2, -1)
    usable = np.ones(len(side.classes), dtype=bool)
    usable[side.columns("MI") + side.columns("HYP")[:1]] = False
    merged, reached = side.highest(scores, usable)
    names = list(side.merged)
    assert [name for name, yes in zip(names, reached) if not yes] == ["MI"]
    np.testing.assert_array_equal(merged[:, names.index("HYP")], scores[:, side.columns("HYP")[1]])
    np.testing.assert_array_equal(merged[:, names.index("MI")], 0)


def test_ste_of_csn_feeds_two_classes_and_is_no_elevation() -> None:
    (shared,) = shared_codes(read_table())
    assert (shared["space"], shared["code"], shared["classes"]) == ("cpsc2018", "STE", ["STE", "STD"])
    rows = {row["class"]: row for row in by_snomed(read_table())}
    assert {name for name, row in rows.items() if not row["agree"]} == {"STE", "STD"}
    assert rows["STE"]["same_code"] == ["STTU"]
    assert rows["STD"]["same_code"] == ["STDD"]


def test_company_counts_records_and_not_labels() -> None:
    records = [["SR"], ["SR", "NORM"], ["SR", "SR", "MI"], ["MI"], [], ["SR", "NORM", "MI"]]
    assert company(records, "SR", ("NORM",)) == {"n": 4, "alone": 1, "wanted": 2}
    assert company([], "SR") == {"n": 0, "alone": 0, "wanted": 0}


HEAD = "space,class,counterpart_space,counterpart_codes\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("space,class\nsuperclass,MI\n", "expected the columns space, class, .*; got space, class"),
        (HEAD + "superclas,MI,csn,MI\n", "line 2: space: expected one of superclass, cpsc2018, csn; got 'superclas'"),
        (HEAD + "superclass,MI,csn,MI\nsuperclass,HYP,csn,XYZ\n", "line 3: csn has no class 'XYZ'"),
        (HEAD + "superclass,IM,csn,MI\n", "line 2: superclass has no class 'IM'"),
        (HEAD + "superclass,MI,csn,MI\nsuperclass,MI,csn,AQW\n", "MI of superclass stands there twice"),
        (HEAD + "superclass,MI,csn,MI\ncsn,LVH,superclass,HYP\n", "one block for two spaces; superclass and csn"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as error:
        read_table(path)
    assert "\n" not in str(error.value)
    assert "own.csv" in str(error.value)


def test_spaces_without_a_common_class_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(HEAD + "superclass,MI,csn,\nsuperclass,HYP,csn,\nsuperclass,CD,cpsc2018,1AVB\n")
    table = read_table(path)
    with pytest.raises(ValueError, match="csn and superclass have no class in common, so there is nothing to score"):
        align("csn", "superclass", table)
    with pytest.raises(
        ValueError, match=r"connects \(superclass and csn, superclass and cpsc2018\); got cpsc2018 and csn"
    ):
        align("cpsc2018", "csn", table)
    with pytest.raises(ValueError, match="there is no file"):
        read_table(tmp_path / "none.csv")
