from __future__ import annotations

from types import SimpleNamespace

import pandas as pd

from merit.report import ablation_tables, others, tables

ABSENT = [SimpleNamespace(name="x", label="X-ECG", note="no weights in weights/x; published: <b>here</b>", text=True)]


def test_marks_only_for_what_needs_a_word():
    assert others.mark({}) == others.mark({"overlap": False, "n_band_limited": 0}) == ""
    assert others.mark({"overlap": True, "n_band_limited": 0}) == "†"
    assert others.mark({"overlap": True, "n_band_limited": 3}) == "†‡"


def test_footnotes_explain_the_marks_that_are_used_and_escape():
    assert others.footnotes([{}], ()).text == ""
    shown = others.footnotes([{"overlap": True}], ABSENT).text
    assert "† Recordings" in shown
    assert "‡" not in shown
    assert "<li>X-ECG: no weights in weights/x; published: &lt;b&gt;here&lt;/b&gt;</li>" in shown


def probed(encoder: str, **more) -> dict:
    metrics = dict.fromkeys(tables.METRICS, 0.5)
    fold = {"fold": 1, **metrics}
    values = {"encoder": encoder, "task": "superclass", "variant": "as_published", "mean": metrics, "folds": [fold]}
    return {"values": values | {"sd": dict.fromkeys(tables.METRICS, 0.01)} | more}


def test_table_1_has_dashes_once_and_marks_each_number():
    results = [probed("merit"), probed("medtvt-r1", overlap=True), probed("random")]
    results += [{"values": {**one["values"], "task": "csn"}} for one in results]
    shown = tables.linear_probe(results, "as_published", synthetic=True, absent=ABSENT).text
    assert shown.count(">X-ECG<") == 1
    assert shown.count("50.0†") == 2 * len(tables.METRICS)
    assert shown.count("† Recordings") == 1
    plain = tables.linear_probe(results[:1], "as_published", synthetic=True).text
    assert "†" not in plain
    assert "details" not in plain


def test_table_6_has_dashes_and_marks():
    shown = ablation_tables.extended(
        [probed("merit"), probed("st-mem", n_band_limited=2)], "as_published", "auroc", ABSENT
    )  # fmt: skip
    assert shown.text.count("50.0‡") == 1
    assert ">X-ECG<" in shown.text
    assert "‡ The encoder wants a higher rate" in shown.text


def test_dashes_are_rendered():
    frame = others.dashes(pd.Index(["p", "q"]), ABSENT)
    assert tables.render(frame, "dashes").text.count("–") == 2
