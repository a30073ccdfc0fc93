"""Committed numbers on real recordings, and the ceiling: on a file that the test writes."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from merit.report import kept_ceiling, kept_figures, kept_real


def number(value: float, width: float = 0.02) -> dict:
    return {"value": value, "low": value - width, "high": value + width}


def row(encoder: str, beyond: float, in_report: float, seed: int = 0) -> dict:
    factor = {"n": 390, "report": number(0.4)}
    factor |= {d: {"raw": number(0.5), "both": number(0.6), "partial": number(beyond)} for d in kept_figures.DECODERS}
    return {
        "encoder_seed": seed, "id": "0", "encoder": encoder, "cohort": "ptb-xl", "source": "measured", "n_records": 400,
        "n_patients": 380, "n_seen": 0, "n_features": 1500, "n_failed": 3, "n_scaled": 250,
        "factors": {"qrs": factor}, "findings": {}, "statements": {"SR": 0.8}, "beyond_text": number(beyond + 0.05),
        "summary": {d: {"beyond": number(beyond), "in_report": number(in_report)} for d in kept_figures.DECODERS},
    }  # fmt: skip


def bound(factor: str, r2: float, fs_hz: float = 100.0, own_qrs: bool = True, **changes) -> dict:
    base = {
        "fs_hz": fs_hz, "method": "prominence", "own_qrs": own_qrs, "factor": factor, "unit": "ms", "n": 80,
        "n_manual": 85, "n_without": 15, "n_invented": 2, "bias": number(-3.0, 1), "sd": number(12.0, 1),
        "r2": number(r2, 0.1),
    }  # fmt: skip
    return base | changes


CEILING = [
    bound("pr", 0.6), bound("qrs", 0.7), bound("axis", 0.9, unit="°"),
    bound("pr", 0.7, 500.0), bound("qrs", 0.72, 500.0), bound("qrs", 0.1, own_qrs=False),
]  # fmt: skip
ROWS = [row("merit", 0.3, 0.8), row("cma", 0.2, 0.8), row("mse", 0.4, 0.7), row("random", 0.1, 0.6),
        {"encoder_seed": 0, "encoder": "ib", "reason": "no <b>checkpoint</b>"}]  # fmt: skip


def paired(rows: list[dict]) -> list[dict]:
    """Differences of every two encoders of a seed, two points wide to either side."""
    there = [one for one in rows if "reason" not in one]
    return [
        {"encoder_seed": a["encoder_seed"], "first": a["encoder"], "second": b["encoder"], "decoder": decoder,
         "measure": name, **number(a["summary"][decoder][name]["value"] - b["summary"][decoder][name]["value"])}
        for k, a in enumerate(there) for b in there[k + 1 :] if a["encoder_seed"] == b["encoder_seed"]
        for decoder in kept_figures.DECODERS for name in ("beyond", "in_report")
    ]  # fmt: skip


def write(folder: Path, rows: list[dict], **changes) -> list:
    file = {
        "stage": "kept", "profile": "demo", "synthetic": False, "seeds": 1, "device": "cpu", "cores": 2,
        "finished": "2026-01-02", "commit": "abc<b>", "versions": {}, "over_seeds": [], "differences": [],
        "ceiling": CEILING, "results": rows, "paired": paired(rows), **changes,
    }  # fmt: skip
    (folder / "kept-demo-real.json").write_text(json.dumps(file))
    return kept_real.load("smoke", folder)


def test_nothing_committed_is_said_in_one_line_and_shows_nothing_else(tmp_path):
    files = kept_real.load("demo", tmp_path)
    assert "No numbers on real recordings" in repr(kept_real.label(files))
    assert "\n" not in repr(kept_real.label(files))
    for part in (kept_real.thesis, kept_real.summary, kept_real.ceiling):
        assert part(files)._repr_html_() == ""
    assert repr(kept_real.measured_on(files)) == repr(kept_real.reading(files)) == ""


def test_synthetic_numbers_are_not_taken_for_real_ones(tmp_path):
    assert write(tmp_path, ROWS, synthetic=True) == []


def test_figure_table_and_provenance_are_those_of_the_file(tmp_path):
    files = write(tmp_path, ROWS)
    left, right = kept_real.thesis(files).axes
    for axis in (left, right):
        marks = [(round(float(box[0].get_xdata()[0])), round(float(box[0].get_ydata()[0]))) for box in axis.containers]
        assert marks == [(80, 30), (80, 20), (70, 40), (60, 10)]
    assert "40.0\n[38.0, 42.0]" in kept_real.summary(files)._repr_html_()
    label = kept_real.label(files)._repr_html_()
    assert "real recordings" in label
    assert "abc&lt;b&gt;" in label
    text = repr(kept_real.measured_on(files))
    assert "400 recordings of 380 patients of PTB-XL" in text
    assert "1,500 words, pairs of words and codes of a report; 1 codes are" in text
    assert "failed in 3; those count for no factor" in text
    assert "In 250 the leads are not on one scale" in text
    assert "IB: not measured" in text


def test_the_verdict_needs_a_paired_difference_with_both_decoders_and_in_every_seed(tmp_path):
    text = kept_real.verdict(write(tmp_path, ROWS)[0])
    assert text.count("**seen**") == 4
    assert "linear decoder: MSE − CMA +20.0 [+18.0, +22.0]; non-linear decoder" in text
    turned = [row("merit", 0.1, 0.6), row("cma", 0.5, 0.7), row("mse", 0.2, 0.8), row("random", 0.3, 0.6)]
    assert kept_real.verdict(write(tmp_path, turned)[0]).count("**the opposite is seen**") == 4
    once = copy.deepcopy(ROWS)
    once[0]["summary"]["nonlinear"]["beyond"] = number(0.21)
    assert kept_real.verdict(write(tmp_path, once)[0]).count("**not shown**") == 1
    second = [row("merit", 0.2, 0.8, 1), row("cma", 0.2, 0.8, 1), row("mse", 0.4, 0.7, 1), row("random", 0.1, 0.6, 1)]
    text = kept_real.verdict(write(tmp_path, ROWS + second, seeds=2)[0])
    assert text.count("**not shown**") == 1
    assert "MERIT − CMA +10.0 [+8.0, +12.0] and 0.0 [−2.0, +2.0]" in text
    assert kept_real.verdict(write(tmp_path, ROWS[1:2])[0]).count("**not measured**") == 4


def test_the_ceiling_is_a_table_and_a_sentence(tmp_path):
    files = write(tmp_path, ROWS)
    table = kept_real.ceiling(files)._repr_html_()
    assert "60 [50, 70]\n−3.0 ± 12.0 ms\nn = 80" in table
    assert "100 Hz,\nlibrary's QRS" in table.replace("&#x27;", "'").replace("&#39;", "'")
    text = kept_ceiling.reading(CEILING)
    assert "axis in degrees 90, QRS duration 70 and PR interval 60." in text
    assert "The rate costs at most 10 points, in PR interval." in text
    assert "own marks: 10 percent, against 70" in text
    assert (
        "Of 15 recordings without a marked P wave before QRS, PR was measured in 2; of 85 with one, it was not in 5."
        in text
    )
    assert "little use" not in text


@pytest.mark.parametrize("fewer", [CEILING[:3], CEILING[:1], [bound("qt", 0.2)]])
def test_the_ceiling_says_only_what_its_rows_hold(fewer):
    text = kept_ceiling.reading(fewer)
    assert "The rate costs" not in text
    assert "own marks" not in text
    assert ("**QT interval**" in text) == (fewer[0]["factor"] == "qt")


def test_factors_that_could_not_be_compared_are_dashes():
    nothing = {"value": None, "low": None, "high": None}
    empty = bound("qt", 0.5) | {"n": 3, "r2": nothing, "bias": nothing, "sd": nothing}
    assert "–\nn = 3" in kept_ceiling.table([empty, bound("pr", 0.6)])._repr_html_()
    assert "QT" not in kept_ceiling.reading([empty, bound("pr", 0.6)])
    assert kept_ceiling.reading([]) == kept_ceiling.NO_CEILING
    assert kept_ceiling.table([])._repr_html_() == ""
