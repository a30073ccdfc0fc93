"""Robustness as a page shows it, from made-up results."""

from __future__ import annotations

import numpy as np
import pytest

from merit.pipeline.strengths import STRENGTHS, pairs
from merit.report import robustness_claims as claims
from merit.report import robustness_figures as shown


def result(encoder: str, kind: str, level: float | str | None, auroc: float, base: float, spread: float = 0.01) -> dict:
    """A result whose resamples lie about its level, each clean one shifted by the same draw."""
    draws = np.random.default_rng(0).normal(0, spread, 50)
    values = {
        "encoder": encoder, "task": "superclass", "kind": kind, "level": level,
        "variant": kind if level is None else f"{kind} {level}",
        "auroc": {"value": auroc, "low": auroc - 0.02, "high": auroc + 0.02},
        "resamples": [None, *(auroc + draws * (1 + abs(auroc - base))).tolist()],
    }  # fmt: skip
    if kind == "clean":
        values |= {
            "n_records": 200, "n_patients": 150, "n_train": 1600, "classes": {"NORM": 90, "<i>": 30}, "unscored": [],
            "scaling": "zscore", "source_fs_hz": {"100": 200},
        }  # fmt: skip
    else:
        change = auroc - base
        values |= {
            "change": {"value": change, "low": change - 0.01, "high": change + 0.01},
            "moved": {"value": 0.3, "low": 0.2, "high": 0.4},
            "n_changed": 200, "n_refused": 0, "seen_mv": 0.1234,
        }  # fmt: skip
    return {"stage": "corruption", "id": "0" * 16, "values": values}


def made(losses: dict[str, tuple[float, dict[tuple[str, float | str], float]]]) -> list[dict]:
    """Encoder -> (clean level, (kind, level) -> loss) as results."""
    out = []
    for encoder, (base, lost) in losses.items():
        out.append(result(encoder, "clean", None, base, base))
        out += [result(encoder, kind, level, base - loss, base) for (kind, level), loss in lost.items()]
    return out


@pytest.fixture
def results() -> list[dict]:
    return made({
        "merit": (0.9, {("lost", 1): 0.02, ("lost", 4): 0.1, ("gain", 0.25): 0.0, ("hum_60", 1): 0.01}),
        "random": (0.7, {("lost", 1): 0.01, ("lost", 4): 0.07, ("gain", 0.25): 0.0, ("hum_60", 1): 0.01}),
    })  # fmt: skip


def test_overall_is_the_mean_of_kinds_and_the_share_is_of_what_lies_above_chance(results):
    rows = claims.overall(results)
    merit = (0.06 + 0 + 0.01) / 3
    assert rows["merit"]["change"]["value"] == pytest.approx(-merit)
    assert rows["merit"]["left"]["value"] == pytest.approx(0.9 - merit)
    assert rows["merit"]["share"]["value"] == pytest.approx(merit / 0.4)
    assert rows["random"]["share"]["value"] == pytest.approx(0.05 / 3 / 0.2)
    assert rows["merit"]["change"]["low"] < -merit < rows["merit"]["change"]["high"]


def test_what_cannot_be_told_from_chance_has_no_share_to_lose():
    rows = claims.overall(made({"merit": (0.505, {("lost", 1): 0.2}), "random": (0.7, {("lost", 1): 0.01})}))
    assert rows["merit"]["share"] == {"value": None, "low": None, "high": None}
    assert rows["random"]["share"]["value"] == pytest.approx(0.05)
    assert "–" in shown.summary(rows).text
    nobody = made({"merit": (0.505, {("lost", 1): 0.2})})
    assert "No clean level can be told from chance" in claims.least(nobody)


def test_who_loses_least_and_whether_it_has_less_to_lose(results):
    assert "random is hurt least: −1.7" in claims.least(results)
    assert "MERIT −2.3" in claims.least(results)
    assert "from chance" not in claims.least(results)
    text = claims.less_to_lose(results)
    assert "loses fewer points than MERIT" in text
    assert "It has less to lose: of what lies above chance it loses no smaller share, 8 % [" in text
    assert (
        "By kind, beyond sampling error (corrected for the number of kinds, Holm), it loses fewer points under" in text
    )
    assert "points, beyond sampling error." in claims.least(results)
    assert "Of 4 strengths, under the same corruption above random: MERIT at 4." in text
    other = made({"merit": (0.9, {("lost", 1): 0.2}), "random": (0.7, {("lost", 1): 0.01})})
    assert "loses a smaller share, 5 % [" in claims.less_to_lose(other)
    worse = made({"merit": (0.9, {("lost", 1): 0.0}), "random": (0.7, {("lost", 1): 0.1})})
    assert "loses more points than MERIT" in claims.less_to_lose(worse)


def test_what_is_built_in(results):
    text = claims.invariant(results)
    assert "MERIT and random divide each recording by its own scale" in text
    assert "changes AUROC by 0.00 points at most" in text
    for one in results:
        one["values"] |= {"scaling": "mv"} if one["values"]["kind"] == "clean" else {}
    assert "was not tried" in claims.invariant(results)
    assert "of 1 mV at 60 Hz (707 µV rms) 123.4 µV rms" in claims.through_the_filter(results)
    assert claims.through_the_filter(results[:2]) == "Mains hum was not tried."


def test_the_worst_strength_and_what_stayed_as_it_was(results):
    assert "MERIT suffers most with 4 of 8 leads lost: −10.0 [−11.0, −9.0] points, to 80.0." in claims.worst(results)
    assert claims.unaffected(results) == "Every strength changed every recording."
    results[1]["values"]["n_changed"] = 3
    assert "1 of 8 leads lost: 3 of 200 changed" in claims.unaffected(results)
    assert "Better corrupted" not in claims.worst(results)
    results[1]["values"]["change"] = {"value": 0.02, "low": 0.01, "high": 0.03}
    assert "whole interval: MERIT with 1 of 8 leads lost, +2.0 [+1.0, +3.0] points. Of 8 changes" in claims.worst(
        results
    )


def test_tables_escape_and_hold_every_strength(results):
    text = shown.numbers(results).text
    for row in ("1 of 8 leads lost", "4 of 8 leads lost", "gain × 0.25", "60 Hz hum, 1 mV"):
        assert row in text
    assert "−10.0\n[−11.0, −9.0]" in text
    assert "0.123" in text
    about = shown.about(results).text
    assert "&lt;i&gt; (30)" in about
    assert "200 at 100 Hz" in about
    assert "clean AUROC" in shown.summary(claims.overall(results)).text
    moved = shown.moved(results).text
    assert "4 of 8 leads lost" in moved
    assert "1 of 8 leads lost" not in moved


def test_panels_run_from_clean_to_strong_and_gain_has_clean_between(results):
    more = [*results, *made({"merit": (0.9, {("gain", 4): 0.0}), "random": (0.7, {("gain", 4): 0.0})})]
    figure = shown.curves(more, shown.SIGNAL)
    titles = {axis.get_title(): axis for axis in figure.axes if axis.get_visible()}
    assert list(titles) == ["leads lost", "gain"]
    labels = {name: [tick.get_text() for tick in axis.get_xticklabels()] for name, axis in titles.items()}
    assert labels == {"leads lost": ["0", "1", "4"], "gain": ["0.25", "1", "4"]}
    merit = next(one for one in titles["leads lost"].containers if one.get_label() == "MERIT")
    assert np.asarray(merit.lines[0].get_ydata(), float) == pytest.approx([90, 88, 80])
    first = figure.table.iloc[0].to_dict()
    assert first["series"] == "MERIT"
    assert (first["level"], first["clean"]) == (1, pytest.approx(90))
    assert (first["auroc"], first["change"]) == (pytest.approx(88), pytest.approx(-2))
    assert figure._repr_png_()[:4] == b"\x89PNG"


def test_pictures_draw_clean_behind_each_kind():
    traces = {"clean": {"level": None, "uv": [0, 100, 0]}, "lost": {"level": 4, "uv": [0, 0, 0]}}
    figure = shown.pictures({"traces": traces, "fs_hz": 100})
    (axis,) = [one for one in figure.axes if one.get_visible()]
    assert axis.get_title() == "4 of 8 leads lost"
    assert figure.table["clean, uV"].tolist() == [0, 100, 0]
    assert list(figure.table) == ["seconds", "clean, uV", "4 of 8 leads lost, uV"]
    assert [max(line.get_ydata()) for line in axis.get_lines()] == pytest.approx([0.1, 0])


def test_an_encoder_that_others_pretrained_on_this_data_set_says_so(results):
    assert shown.missing(results) == "Every encoder was scored."
    for one in results:
        one["values"]["overlap"] = one["values"]["encoder"] == "merit"
    assert shown.missing(results) == "- MERIT: pretrained on this data set too, by those who published it."


def test_without_numbers_everything_says_so():
    none = [
        {"values": {"encoder": e, "task": "csn", "kind": "clean", "level": None, "reason": "csn: <none>"}} for e in "ab"
    ]
    assert shown.missing(none) == "- a and b: not scored, csn: <none>"
    assert claims.overall(none) == {}
    assert claims.least(none) == claims.worst(none) == claims.NONE
    for sentence in (claims.less_to_lose, claims.invariant, claims.through_the_filter, claims.unaffected):
        assert sentence(none)
    for table in (shown.about, shown.numbers, shown.moved):
        assert table(none).text == ""
    assert shown.summary({}).text == ""
    assert shown.curves(none, shown.SIGNAL)._repr_png_()
    assert shown.pictures({"reason": "none"})._repr_png_()


def test_every_corruption_has_words_and_a_place():
    assert set(shown.KINDS) == set(STRENGTHS)
    assert set(shown.SIGNAL) | set(shown.ADDED) == set(STRENGTHS)
    texts = [shown.written(kind, level) for kind, level in pairs(STRENGTHS)]
    assert len(set(texts)) == len(texts)
    assert "both arms exchanged" in texts
    assert not any("-" in text for text in texts)  # no code of a level is left
