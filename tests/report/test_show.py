"""Tables and figures from frames: what a cell says, what is bold, what stands where."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pandas as pd
import pytest
import seaborn.objects as so
from bs4 import BeautifulSoup

from merit import scores
from merit.report import show


def frame() -> pd.DataFrame:
    values = {("random", "csn"): 0.5, ("merit", "form"): 0.7123, ("merit", "csn"): 0.8, ("cma", "form"): 0.7123}
    rows = [{"encoder": e, "task": t, "metric": "auroc", "value": v} for (e, t), v in values.items()]
    rows = [row | {"low": row["value"] - 0.1, "high": row["value"] + 0.05} for row in rows]
    rows = [row | {"overlap": row["encoder"] == "cma"} for row in rows]
    return scores.frame([*rows, {"encoder": "cma", "task": "csn", "reason": "csn: too few"}])


def cells(html: str) -> list[list[str]]:
    rows = BeautifulSoup(html, "html.parser").find_all("tr")
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in rows]


def test_a_table_has_one_order_one_name_and_the_best_in_bold() -> None:
    html = show.table(scores.scored(frame()), "task", "t")
    rows, page = cells(html), BeautifulSoup(html, "html.parser")
    assert [head.strip() for head in rows[0]][1:] == ["PTB-XL form", "CSN"]
    assert [row[0] for row in rows[1:]] == ["MERIT", "CMA", "random"]
    assert rows[1][1] == "71.2\n[61.2, 76.2]"
    assert rows[2][1:] == ["71.2†\n[61.2, 76.2]", "–"]
    assert "Recordings of this data set were in the encoder's pretraining" in page.get_text()
    bold = next(rule for rule in page.find("style").get_text().split("}") if "bold" in rule)
    assert bold.count("#") == 3  # MERIT and CMA on form, which share it, and MERIT on CSN
    assert html == show.table(scores.scored(frame()), "task", "t")  # bytes do not change
    chosen = show.table(scores.scored(frame()), "task", "t", bold=pd.Series([True, False, False, False]))
    assert BeautifulSoup(chosen, "html.parser").find("style").get_text().split("}")[0].count("#") == 1


def test_the_papers_rows_stand_apart_as_printed() -> None:
    own = scores.frame([{"encoder": "merit", "transfer": "superclass>csn", "metric": "auroc", "value": 0.5}])
    html = show.table(own, "transfer", "t", published=show.paper_rows(7, "transfer"))
    assert cells(html)[0][1].strip() == "PTB-XL superclass → CSN"
    assert ["paper: ECG-FM", "80.82"] in cells(html)
    own = scores.frame([{"encoder": "merit", "task": "form", "metric": "auroc", "value": 0.5}])
    assert ["paper: ST-MEM", "89.15*"] in cells(show.by_task(own, "t", published=show.paper_rows(1)))  # inferred


def test_tasks_stand_in_blocks_with_the_papers_rows_under_the_oracle() -> None:
    places = itertools.product(["superclass", "csn", "mine"], ["auroc", "f1", "f1_oracle"])
    own = scores.frame({"encoder": "merit", "task": task, "metric": metric, "value": 0.9} for task, metric in places)
    html = show.by_task(own, "t", published=show.paper_rows(4), caption="said once")
    page = BeautifulSoup(html, "html.parser")
    blocks = ["superclass-subclass-form", "csn-cpsc2018", "mine"]
    assert [table["id"] for table in page.find_all("table")] == [f"T_merit-t-{block}" for block in blocks]
    assert page.get_text().count("said once") == 1
    assert cells(html)[3] == ["paper: MERIT", "93.26", "–", "75.97"]
    minus = show.against_paper(own, 4).set_index(["task", "metric"])["value"]
    assert minus["superclass", "f1_oracle"] == pytest.approx(0.9 - 0.7597)
    assert show.by_task(own.head(0), "t") == "<p>No task was scored.</p>"
    assert 'id="T_merit-t-form-rhythm"' in show.by_task(scores.scored(frame(), task="form"), "t", blocks=show.PAIRS)


def test_cells_say_interval_spread_or_neither_and_what_has_no_score_is_one_line_a_reason() -> None:
    assert show.cell({"value": 0.5, "low": None, "high": None, "sd": 0.012}) == "50.0\n±1.2"
    assert show.cell({"value": -0.0001}, sign=True) == "0.0"
    assert (show.cell({"value": float("nan")}), show.inline({"value": None})) == (None, "–")
    row = {"value": 0.01, "low": -0.01, "high": 0.03, "p": 0.0123, "p_holm": 0.2}
    assert show.difference(row) == "+1.0\n[−1.0, +3.0]\np 0.012, Holm 0.20"
    assert show.difference({**row, "p": 0.0001}).endswith("p < 0.001, Holm 0.20")
    said = show.missing(frame(), absent=[SimpleNamespace(label="MERL"), SimpleNamespace(label="ESI")]).text.split("\n")
    assert said[0] == "- CSN, CMA: not scored, too few"
    assert said[1].endswith("MERL, ESI")
    assert show.missing(scores.scored(frame())).text == "Every row and column was scored."
    assert show.table(scores.scored(frame(), encoder="nobody"), "task", "t") == "<p>Nothing was scored.</p>"
    with pytest.raises(ValueError, match="expected one score per encoder, task"):
        show.table(scores.frame([{"encoder": "merit", "task": "form", "value": 0.5}] * 2), "task", "t")
    looks = show.ENCODERS[["colour", "marker"]]
    assert not looks.duplicated().any(), "no two encoders look alike"
    assert show.ENCODERS["label"].is_unique
    assert looks[:8].apply(lambda column: column.is_unique).all()  # ours and the random one differ in both


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
    assert show.figure(plot, shown[:0]).texts[0].get_text() == "nothing was scored"


def test_one_metric_against_another_has_both_intervals_or_the_spread() -> None:
    rows = [("merit", "x", 0.3, 0.28, 0.32, None), ("merit", "y", 0.8, None, None, 0.1)]
    rows += [("cma", "x", 0.2, 0.1, 0.3, None)]
    found = pd.DataFrame(rows, columns=["encoder", "metric", "value", "low", "high", "sd"]).assign(decoder="linear")
    drawn = show.against(found, "x", "y", {"x": "right", "y": "up"}, "decoder")
    (row,) = drawn.table.to_dict("records")  # the other has one of the two alone
    assert (row["encoder"], row["decoder"]) == ("MERIT", "linear decoder")
    ends = [row[f"{metric}_{end}"] for metric in "xy" for end in ("value", "low", "high")]
    assert ends == pytest.approx([30, 28, 32, 80, 70, 90])
    assert show.against(found[:0], "x", "y", {}, "decoder").texts[0].get_text() == "nothing was scored"


def test_committed_scores_come_with_their_source(tmp_path) -> None:
    about = {"profile": "demo", "synthetic": True, "seeds": 2, "device": "cpu", "cores": 2, "finished": "2026-01-01"}
    rows = [
        {"encoder": e, "encoder_seed": s, "task": "form", "metric": "auroc", "value": v + 0.01 * s}
        for e, v in (("merit", 0.8), ("merl-ours", 0.7)) for s in (0, 1)
    ]  # fmt: skip
    cost = {"network": "vit", "parameters": 1234, "embedding_flops": 5e6, "validation": {"info_nce": 1.5}}
    costs = [{"encoder": "merl-ours", **cost, "updates": 7, "batch": 3}]
    for suffix in (None, "equal-budget"):
        name = f"probing-demo{f'-{suffix}' if suffix else ''}.json"
        more = {"commit": "abc", "suffix": suffix, "costs": costs if suffix else []}
        scores.write(tmp_path / name, about | more, scores.frame(rows))
    ws = SimpleNamespace(profile=SimpleNamespace(name="demo"), synthetic=True)
    text = BeautifulSoup(show.over_seeds("probing", ws, "task", folder=tmp_path), "html.parser").get_text()
    assert "profile demo, 2 pretraining seeds" in text
    assert "80.5\n±0.7" in text
    assert "MERIT minus …" in text
    others = show.committed("probing", "paper", True, folder=tmp_path)  # of another profile, but of the same encoders
    assert [(about["profile"], about["suffix"]) for about, _ in others] == [("demo", None)]
    budget = show.over_seeds("probing", ws, "task", group="equal-budget", folder=tmp_path)
    assert "every pretraining has 7 updates of batch 3" in budget
    assert ["MERL, ours", "ViT", "1,234", "–", "5", "–", "–", "alignment 1.50"] in cells(budget)
    assert "MERL, ours: its ResNet18" in BeautifulSoup(budget, "html.parser").get_text()
    assert "make reference" in show.over_seeds("shift", ws, "task", folder=tmp_path)
    ws.synthetic = False
    assert "make reference" in show.over_seeds("probing", ws, "task", folder=tmp_path)
