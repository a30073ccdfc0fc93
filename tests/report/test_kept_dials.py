"""What is kept over seeds and along the dials, from files that a test writes."""

from __future__ import annotations

import json

import pytest

from merit.report import kept_committed as committed
from merit.report import kept_dial_claims as claims
from merit.report import kept_dial_figures as figures
from merit.report import kept_dial_tables as tables

METRICS = tuple(committed.HEADS)


def rows(means: dict[str, float], **where) -> list[dict]:
    """A row an encoder and measure; in the report lies half above beyond it."""
    return [
        {"encoder": name, "metric": metric, "mean": mean + 0.5 * metric.startswith("in"), "sd": 0.01, "n": 3, **where}
        for name, mean in means.items()
        for metric in METRICS
    ]


@pytest.fixture
def folder(tmp_path):
    """Committed files of every stage that the page reads."""

    def write(stage, over_seeds, synthetic=True, group=None):
        name = f"{stage}-demo{'' if synthetic else '-real'}{f'-{group}' if group else ''}.json"
        file = {
            "stage": stage, "profile": "demo", "synthetic": synthetic, "seeds": 3, "device": "cpu", "cores": 2,
            "finished": "2026-01-02", "commit": "abc", "differences": [], "group": group or "objectives",
            "over_seeds": over_seeds, "results": [],
        }  # fmt: skip
        (tmp_path / name).write_text(json.dumps(file))

    levels = {"merit": 0.24, "cma": 0.17, "ib": 0.15, "ib-0.1": 0.16, "ib-1": 0.12, "mse": 0.26, "random": 0.1}
    write("kept", rows(levels, cohort="ptb-xl"))
    write("kept", rows({"merit": 0.24, "simclr": 0.2}, cohort="ptb-xl"), group="equal-budget")
    turned = [row for share in (1.0, 0.0, 0.3) for row in rows({"merit": 0.24, "cma": 0.2 - share / 10}, share=share)]
    write("left_out", turned + rows({"mse": 0.26, "random": 0.1}, share=0.3))
    hearts = [(name, short) for name, short in tables.HEARTS.items()]
    carried = [row for name, _ in hearts for row in rows({"merit": 0.2 - 0.05 * name.startswith("syn")}, hearts=name)]
    write("carried_over", carried + rows({"random": 0.1}, hearts="real hearts"), synthetic=False)
    return tmp_path


def heights(axis) -> dict[str, list[float]]:
    """Label -> heights of its marks."""
    return {box.get_label(): [round(float(y), 6) for y in box[0].get_ydata()] for box in axis.containers}


def test_thesis_has_a_panel_a_group_and_a_mark_an_encoder(folder):
    own, peers = figures.thesis("demo", True, folder).axes
    assert heights(own)["MERIT"] == [24.0]
    assert len(own.containers) == 7
    assert set(heights(peers)) == {"MERIT", "SimCLR, ours"}
    assert "3 pretraining seeds" in own.get_title()


def test_strengths_go_from_none_to_the_strongest(folder):
    inside, beyond = figures.strengths("demo", True, folder).axes
    assert heights(beyond)["IB at this strength"] == [17.0, 16.0, 15.0, 12.0]
    assert next(text.get_text() for text in beyond.get_xticklabels()) == "0 (CMA)"
    assert heights(inside)["IB at this strength"] == [67.0, 66.0, 65.0, 62.0]


def test_left_out_is_drawn_in_the_order_of_its_shares_with_this_run_beside(folder):
    number = {"value": 0.31, "low": 0.3, "high": 0.32, "draws": []}
    result = {"values": {"encoder": "cma", "summary": {"linear": {"in_report": number, "beyond": number}}}}
    _, beyond = figures.left_out("demo", [result], 0.3, folder).axes
    assert heights(beyond)["CMA"] == [20.0, 17.0, 10.0]
    (live,) = [line for line in beyond.get_lines() if line.get_label() == "CMA, this run"]
    assert (list(live.get_xdata()), list(live.get_ydata())) == ([30.0], [31.0])
    _, other = figures.left_out("smoke", [result], 0.3, folder).axes
    assert not [line for line in other.get_lines() if line.get_label() == "CMA, this run"]


def test_the_gap_that_grows_is_called_one_and_one_that_does_not_is_not(folder):
    text = claims.left_out("demo", folder)
    assert "CMA keeps 20.0 ±1.0 % at 0 % and 10.0 ±1.0 % at 100 % left out" in text
    assert "MERIT − CMA grows from the first to the last share: +4.0 at 0 %, +7.0 at 30 % and +14.0 at 100 %" in text
    path = folder / "left_out-demo.json"
    file = json.loads(path.read_text())
    for row in file["over_seeds"]:
        row["share"] = 1 - row["share"]
    path.write_text(json.dumps(file))
    assert "does not grow" in claims.left_out("demo", folder)


def test_tables_have_spreads_and_a_row_a_kind_of_hearts(folder):
    text = tables.table("demo", True, folder).text
    assert text.count("abc") == 2
    assert "24.0" in text
    assert "±1.0" in text
    carried = tables.carried_over("demo", folder).text
    assert "pretrained on real hearts" in carried
    assert "pretrained on synthetic hearts" in carried
    assert carried.count("random") == 1
    assert "MERIT +5.0 and −5.0" in claims.carried_over("demo", folder)


def test_without_committed_files_each_says_so(tmp_path):
    for text in (tables.table("demo", True, tmp_path), tables.carried_over("demo", tmp_path)):
        assert "is committed" in text.text
    assert claims.left_out("demo", tmp_path) == claims.carried_over("demo", tmp_path) == ""
    for drawing in (figures.thesis, figures.strengths):
        assert not drawing("demo", True, tmp_path).axes
    assert not figures.left_out("demo", [], 0.3, tmp_path).axes


def test_a_single_seed_shows_the_interval_of_its_patients(folder):
    path = folder / "carried_over-demo-real.json"
    file = json.loads(path.read_text())
    number = {"value": 0.2, "low": 0.1875, "high": 0.25}
    for row in file["over_seeds"]:
        row["sd"] = None
    file["results"] = [
        {"encoder": name, "hearts": hearts, "beyond_text": number,
         "summary": {d: {"in_report": number, "beyond": number} for d in ("linear", "nonlinear")}}
        for name in ("merit", "random") for hearts in tables.HEARTS
    ]  # fmt: skip
    path.write_text(json.dumps(file))
    assert "[18.8, 25.0]" in tables.carried_over("demo", folder).text
    row = committed.row_of(file, "merit", "beyond_linear", hearts="real hearts")
    assert [length for (length,) in committed.bar(file, row)] == pytest.approx([1.25, 5.0])


def test_who_keeps_more_than_merit_is_named_by_how_much_seeds_differ(folder):
    text = claims.above_merit("demo", True, folder)
    assert text == "None of these encoders keeps more than MERIT both beyond the report and in it."
    path = folder / "kept-demo-equal-budget.json"
    file = json.loads(path.read_text())
    file["over_seeds"] += rows({"merl-ours": 0.28, "cma": 0.255}, cohort="ptb-xl")
    for row in file["over_seeds"]:
        row["mean"] += 0.08 * (row["encoder"] == "simclr" and row["metric"] == "beyond_linear")
    path.write_text(json.dumps(file))
    text = claims.above_merit("demo", True, folder)
    assert "beyond the report and in it: **MERL, ours**" in text
    assert "not in it: SimCLR, ours." in text
    assert "CMA" not in text
    assert "the network may weigh more than the objective" in text
