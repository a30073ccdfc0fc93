"""Tables and figures from frames: what a cell says, what is bold, what stands where."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
import seaborn.objects as so
from bs4 import BeautifulSoup

from merit import scores
from merit.report import show, style


def frame() -> object:
    values = {("random", "csn"): 0.5, ("merit", "form"): 0.7123, ("merit", "csn"): 0.8, ("cma", "form"): 0.7123}
    rows = [
        {
            "encoder": e,
            "task": t,
            "metric": "auroc",
            "value": v,
            "low": v - 0.1,
            "high": v + 0.05,
            "overlap": e == "cma",
        }
        for (e, t), v in values.items()
    ]
    return scores.frame([*rows, {"encoder": "cma", "task": "csn", "reason": "csn: too few"}])


def cells(html: str) -> list[list[str]]:
    return [
        [c.get_text() for c in row.find_all(["th", "td"])] for row in BeautifulSoup(html, "html.parser").find_all("tr")
    ]


def test_rows_and_columns_stand_in_one_order_with_one_name() -> None:
    html = show.table(scores.scored(frame()), "task", "t").text
    rows = cells(html)
    assert [head.strip() for head in rows[0]][1:] == ["PTB-XL form", "CSN"]
    assert [row[0] for row in rows[1:]] == ["MERIT", "CMA", "random"]
    assert rows[1][1] == "71.2\n[61.2, 76.2]"
    assert rows[2][1:] == ["71.2†\n[61.2, 76.2]", "–"]
    assert (
        "Recordings of this data set were in the encoder's pretraining" in BeautifulSoup(html, "html.parser").get_text()
    )


def test_the_best_is_bold_and_ties_share_it() -> None:
    html = BeautifulSoup(show.table(scores.scored(frame()), "task", "t").text, "html.parser")
    style = html.find("style").get_text()
    bold = style.split("{")[0] if "bold" in style.split("}")[0] else style.split("}")[1].split("{")[0]
    assert bold.count("#") == 3  # MERIT and CMA on form, MERIT on CSN


def test_the_papers_rows_stand_apart_as_printed() -> None:
    own = scores.frame([{"encoder": "merit", "transfer": "superclass>csn", "metric": "auroc", "value": 0.5}])
    rows = cells(show.table(own, "transfer", "t", published=show.paper_rows(7, "transfer")).text)
    assert rows[0][1].strip() == "PTB-XL superclass → CSN"
    assert ["paper: ECG-FM", "80.82"] in rows


def test_tasks_stand_in_blocks_with_the_papers_rows_under_the_oracle() -> None:
    rows = [
        {"encoder": "merit", "task": task, "metric": metric, "value": 0.9}
        for task in ("superclass", "csn", "mine")
        for metric in ("auroc", "f1", "f1_oracle")
    ]
    own = scores.frame(rows)
    html = BeautifulSoup(show.by_task(own, "t", published=show.paper_rows(4), caption="said once").text, "html.parser")
    assert [table["id"] for table in html.find_all("table")] == [
        f"T_merit-t-{block}" for block in ("superclass-subclass-form", "csn-cpsc2018", "mine")
    ]
    assert html.get_text().count("said once") == 1
    assert cells(str(html))[3] == ["paper: MERIT", "93.26", "–", "75.97"]
    minus = show.against_paper(own, 4)
    of_f1 = minus[(minus["task"] == "superclass") & (minus["metric"] == "f1_oracle")]["value"].item()
    assert of_f1 == pytest.approx(0.9 - 0.7597)
    assert show.by_task(own.head(0), "t").text == "<p>No task was scored.</p>"
    pairs = BeautifulSoup(show.by_task(scores.scored(frame(), task="form"), "t", blocks=show.PAIRS).text, "html.parser")
    assert [table["id"] for table in pairs.find_all("table")] == ["T_merit-t-form-rhythm"]


def test_nothing_to_draw_or_to_tabulate_is_no_error() -> None:
    nothing = scores.scored(frame(), encoder="nobody")
    assert show.table(nothing, "task", "t").text == "<p>Nothing was scored.</p>"
    assert show.figure(so.Plot(nothing), nothing).texts[0].get_text() == "nothing was scored"


def test_two_scores_for_one_cell_are_refused() -> None:
    twice = scores.frame([{"encoder": "merit", "task": "form", "value": 0.5}] * 2)
    with pytest.raises(ValueError, match="expected one score per encoder, task"):
        show.table(twice, "task", "t")


def test_cells_say_interval_spread_or_neither() -> None:
    assert show.cell({"value": 0.5, "low": None, "high": None, "sd": 0.012}) == "50.0\n±1.2"
    assert show.cell({"value": -0.0001}, sign=True) == "0.0"
    assert show.cell({"value": float("nan")}) is None
    assert show.difference({"value": 0.01, "low": -0.01, "high": 0.03, "p": 0.0123, "p_holm": 0.2}) == (
        "+1.0\n[−1.0, +3.0]\np 0.012, Holm 0.20"
    )
    assert show.p_value(0.0001) == "< 0.001"


def test_what_has_no_score_is_one_line_a_reason() -> None:
    said = show.missing(frame(), absent=[SimpleNamespace(label="MERL"), SimpleNamespace(label="ESI")]).text
    assert said.split("\n")[0] == "- CSN, CMA: not scored, too few"
    assert said.split("\n")[1].endswith("MERL, ESI")
    assert show.missing(scores.scored(frame())).text == "Every row and column was scored."


def test_a_figure_carries_its_frame_as_csv() -> None:
    shown = show.labelled(scores.scored(frame()).drop(columns="overlap"), 100)
    plot = so.Plot(shown, x="value", y="encoder", color="encoder", marker="encoder").add(so.Dot())
    show.theme()
    drawn = show.figure(plot.scale(**show.scale(shown)), shown)
    csv = drawn._repr_mimebundle_()["text/csv"].splitlines()
    assert csv[0] == "encoder,task,metric,value,low,high"
    assert "MERIT,PTB-XL form,auroc,71.23,61.23,76.23" in csv[2].replace("AUROC", "auroc")
    assert drawn._repr_png_()[:4] == b"\x89PNG"
    (axis,) = show.figure(plot, shown, line=50).axes
    assert [line.get_xdata() for line in axis.lines if len(set(line.get_xdata())) == 1] == [[50, 50]]
    assert show.figure(plot, shown[:0])._repr_png_()[:4] == b"\x89PNG"  # which says that nothing was scored


def test_committed_scores_come_with_their_source(tmp_path) -> None:
    about = {"profile": "demo", "synthetic": True, "seeds": 2, "device": "cpu", "cores": 2, "finished": "2026-01-01",
             "commit": "abc", "suffix": None}  # fmt: skip
    rows = [
        {"encoder": e, "encoder_seed": s, "task": "form", "metric": "auroc", "value": v + 0.01 * s}
        for e, v in (("merit", 0.8), ("cma", 0.7)) for s in (0, 1)
    ]  # fmt: skip
    scores.write(tmp_path / "probing-demo.json", about, scores.frame(rows))
    ws = SimpleNamespace(profile=SimpleNamespace(name="demo"), synthetic=True)
    text = BeautifulSoup(show.over_seeds("probing", ws, "task", folder=tmp_path).text, "html.parser").get_text()
    assert "profile demo, 2 pretraining seeds" in text
    assert "80.5\n±0.7" in text
    assert "make reference" in show.over_seeds("shift", ws, "task", folder=tmp_path).text
    names = {"cma": "without it", "merit": "with it"}
    some = cells(show.some_over_seeds("probing", ws, "task", names, "t", folder=tmp_path, metric="auroc").text)
    assert [row[0] for row in some[-2:]] == ["without it", "with it"]
    ws.synthetic = False
    assert "make reference" in show.over_seeds("probing", ws, "task", folder=tmp_path).text


def test_looks_differ_in_colour_marker_and_line():
    for values in zip(*(style.LOOKS[name] for name in style.LOOKS)):
        assert len(set(map(str, values))) == len(style.LOOKS)
    every = [*style.LOOKS.values(), *style.PEER_LOOKS.values()]
    assert len({(one.colour, one.marker) for one in every}) == len({one.label for one in every}) == len(every)


def test_nothing_to_draw_is_said():
    assert show.nothing("no task was scored").texts[0].get_text() == "no task was scored"


def test_text_is_escaped_and_bytes_do_not_change():
    risky = "<script>x</script>"
    frame = pd.DataFrame([[risky, None]], index=[risky], columns=[risky, "b"])
    once, again = (show.render(frame, risky, apart=[risky]).text for _ in range(2))
    assert "<script>" not in once
    assert once.count("&lt;script&gt;") == 3
    assert once.count("–") == 1
    assert once == again
    assert "<b>" not in show.facts({"<b>": {"<b>": "<b>"}}, "t").text
