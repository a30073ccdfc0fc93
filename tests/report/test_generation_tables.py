"""Table 3: rows, controls, sentences that read the numbers, and examples made of texts that nobody vouches for."""

from __future__ import annotations

import re

import pytest

from merit.report import generation_examples as examples
from merit.report import generation_tables as shown
from merit.report.prose import Html
from merit.report.style import look

METRICS = (
    "bleu_published", "bleu", "meteor", "rouge_published", "rouge_l", "bertscore_published", "bertscore", "repetition",
    "precision", "recall", "f1", "macro_f1", "exact", "denied", "contradictory",
)  # fmt: skip
SHIFTS = {"model": 0.0, "shuffled": -0.2, "nearest": 0.05}
WITHOUT_INTERVAL = ("macro_f1", "exact", "denied", "contradictory")
QUESTION = "What does <ecg> show, and is $x^2$ < 3?"
REFERENCE = "The rhythm is atrial fibrillation. No pacing. Left ventricular hypertrophy"
TEXT = "Sinus rhythm; no atrial fibrillation, possible pacing. <script>hi()</script> $x^2$ Left ventricular hypertrophy"
NAMES = {"AFIB": "atrial fibrillation", "SR": "sinus rhythm", "LVH": "left <ventricular> hypertrophy", "PACE": "pacing"}


def at(text: str, phrase: str, code: str, state: str) -> list:
    """A mention of a phrase in a text."""
    start = text.index(phrase)
    return [code, state, start, start + len(phrase)]


def interval(value: float | None, spread: float | None = 0.02) -> dict:
    ends = (None, None) if None in (value, spread) else (value - spread, value + spread)
    return {"value": value, "low": ends[0], "high": ends[1]}


def condition(level: float | None) -> dict:
    """Scores at one level; two statements, the rarer first."""
    scores = {name: interval(level, None if name in WITHOUT_INTERVAL else 0.02) for name in METRICS}
    rates = {"precision": 0.5, "recall": None, "f1": 0.25}
    per = {"PACE": {"n": 2, "said": 4, "hit": 1, **rates}, "LVH": {"n": 1234, "said": 2, "hit": 1, **rates}}
    return {"scores": scores, "per_statement": per}


def text_of(record: str, text: str = TEXT) -> dict:
    """A test pair and what was written; its reference asserts atrial fibrillation and hypertrophy."""
    mentions = [
        at(TEXT, "Sinus rhythm", "SR", "present"), at(TEXT, "atrial fibrillation", "AFIB", "absent"),
        at(TEXT, "pacing", "PACE", "uncertain"), at(TEXT, "Left ventricular hypertrophy", "LVH", "present"),
    ]  # fmt: skip
    reference = [
        at(REFERENCE, "atrial fibrillation", "AFIB", "present"), at(REFERENCE, "pacing", "PACE", "absent"),
        at(REFERENCE, "Left ventricular hypertrophy", "LVH", "present"),
    ]  # fmt: skip
    return {
        "record": record, "question": QUESTION, "reference": REFERENCE, "reference_mentions": reference, "text": text,
        "mentions": mentions if text == TEXT else [],
    }  # fmt: skip


def result(encoder: str, level: float = 0.4, n_texts: int = 8) -> dict:
    """A result whose scores lie at one level, 20 points above shuffled ECGs and 5 below the nearest one's answer."""
    drawn = [level + d for d in (-0.02, -0.01, 0, 0.01, 0.02)]
    scores = ("bleu", "meteor", "rouge_published", "rouge_l", "f1")
    gaps = {"shuffled": interval(0.2), "nearest": interval(-0.05), "most_common": interval(0.01)}
    values = {
        "encoder": encoder, "source": "composed", "cohort": "ptb-xl", "n_train": 1600, "n_test": n_texts,
        "n_test_patients": 195, "missing": {"train": 7, "test": 0}, "shared_patients": 0, "n_seen": 0, "truncated": 3,
        "updates": 800, "trained_parameters": 123456, "bert": "the profile's text encoder",
        "language_model": {"name": "a <tiny> Llama in $HOME/a$", "parameters": 345678},
        "conditions": {name: condition(level + d) for name, d in SHIFTS.items()},
        "differences": {key: dict.fromkeys(scores, gap) for key, gap in gaps.items()},
        "resamples": dict.fromkeys(("f1", "meteor", "rouge_published", "bleu"), drawn), "names": NAMES,
        "texts": [text_of(str(100 + place)) for place in range(n_texts)],
    }  # fmt: skip
    return {"stage": "generation", "id": "0" * 16, "values": values}


def without(encoder: str | None, reason: str) -> dict:
    return {"values": {"encoder": encoder, "reason": reason}}


COMMONEST = {
    "values": {
        "encoder": None,
        "answer": "Nothing <b>new</b> for $5$.",
        "n_test": 8,
        "conditions": {"most_common": condition(0.3)},
    }
}
NOTHING = [without("merit", "no recordings <i>there</i>"), without("cma", "no recordings <i>there</i>")]


def rows_of(html: Html) -> dict[str, list[str]]:
    """Row label -> texts of its cells."""
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", html.text, flags=re.DOTALL):
        labels = re.findall(r'<th[^>]*class="row_heading[^>]*>(.*?)</th>', row, flags=re.DOTALL)
        if labels:
            found[labels[0]] = re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL)
    return found


def style_of(html: Html, css: str) -> str:
    """The cells that a rule of the table's style names."""
    return " ".join(re.findall(rf"([^}}]*)\{{\s*{re.escape(css)}", html.text))


def test_encoders_stand_as_given_and_baselines_apart_without_marks():
    table = shown.table([result("merit", 0.41), result("random", 0.38)], COMMONEST)
    rows = rows_of(table)
    assert list(rows) == ["MERIT", "random", "most common answer", "nearest training ECG (MERIT)"]
    assert rows["MERIT"] == ["41.0"] * 8
    assert rows["nearest training ECG (MERIT)"] == ["46.0"] * 8
    assert table.text.count("merit-apart") >= 16
    assert "row0_col0" in style_of(table, "font-weight: bold")
    assert "row1_col0" in style_of(table, "background-color")
    assert "row3_col0" not in style_of(table, "font-weight: bold")


def test_a_row_that_could_not_be_made_has_dashes_and_a_footnote():
    reason = "medtvt-r1: no weights in weights/medtvt-r1; published at <a> under $1$"
    table = shown.table([result("merit"), without("medtvt-r1", reason), without("ib", "no <a>")], COMMONEST)
    rows = rows_of(table)
    assert rows[f"{look('medtvt-r1').label} ¹"] == ["–"] * 8
    assert "¹ Not generated: no weights in weights/medtvt-r1; published at &lt;a&gt; under $1$." in table.text
    assert "² Not generated: no &lt;a&gt;." in table.text
    assert "<a>" not in table.text
    assert re.search(r'<p class="merit-note mathjax_ignore[^>]*>¹', table.text)


def test_a_missing_score_is_a_dash_and_says_why():
    one = result("merit")
    one["values"]["bert"] = None
    for key in ("bertscore", "bertscore_published"):
        one["values"]["conditions"]["model"]["scores"][key] = interval(None)
    table = shown.table([one], COMMONEST)
    assert rows_of(table)["MERIT"].count("–") == 2
    assert "Model behind BERTScore: none is here." in table.text
    assert "Model behind BERTScore: the profile&#39;s text encoder." in shown.table([result("merit")], COMMONEST).text
    assert "–" in rows_of(shown.scores([one], COMMONEST))["MERIT, own ECG"]


def test_nothing_generated_is_said_everywhere_and_reasons_stay():
    table = shown.table(NOTHING, without(None, "no pairs"))
    assert rows_of(table)["MERIT ¹"] == ["–"] * 8
    assert rows_of(table)["most common answer ²"] == ["–"] * 8
    assert table.text.count("no recordings &lt;i&gt;there&lt;/i&gt;") == 1
    missing = without(None, "no pairs")
    html = [
        shown.about(NOTHING), shown.scores(NOTHING, missing), shown.findings(NOTHING, missing),
        examples.examples(NOTHING, missing, 4), examples.statements(NOTHING),
    ]  # fmt: skip
    assert all(shown.NO_TEXT in one.text for one in html)
    assert shown.reading(NOTHING) == shown.NO_TEXT
    assert "nothing to compare" in shown.differences(NOTHING).text
    assert "No difference" in shown.differences_reading(NOTHING)
    assert "Nothing could be" in shown.overlap(NOTHING, missing)
    assert shown.dots(NOTHING, missing)._repr_png_().startswith(b"\x89PNG")


def test_every_condition_stands_with_its_interval():
    scores = rows_of(shown.scores([result("merit")], COMMONEST))
    assert list(scores) == ["MERIT, own ECG", "MERIT, other ECG", "MERIT, copied", "most common answer"]
    assert scores["MERIT, other ECG"] == ["20.0\n[18.0,\N{NO-BREAK SPACE}22.0]"] * 7
    findings = rows_of(shown.findings([result("merit")], COMMONEST))
    assert findings["MERIT, own ECG"][:4] == ["40.0\n[38.0,\N{NO-BREAK SPACE}42.0]"] * 3 + ["40.0"]
    assert findings["most common answer"][2].startswith("30.0\n[28.0,")


def test_the_page_says_what_the_paper_lost_and_what_was_trained():
    text = shown.lost()
    assert "4 rows (MedTVT-R1, QoQ, ECG-Chat and MERIT) and 4 scores" in text
    assert "Of its 16 numbers none survive" in text
    about = shown.about([result("merit")]).text
    for part in ("PTB-XL", "1,600 pairs", "of 195 patients", "ECG: 7 training pairs", "123,456, in 800 updates"):
        assert part in about
    assert "a &lt;tiny&gt; Llama in $HOME/a$" in about
    assert "mathjax_ignore" in about
    assert "Test patients pretrained on: none." in about


def test_patients_seen_in_pretraining_are_named():
    pair = [result("merit"), result("cma")]
    pair[0]["values"]["n_seen"] = 12
    pair[1]["values"]["n_seen"] = None
    about = shown.about(pair).text
    assert "Test patients pretrained on: 12 by MERIT and not known of CMA." in about


@pytest.mark.parametrize(
    ("gap", "verdict"),
    [
        (interval(0.2), "falls by 20.0 [18.0, 22.0] points when ECGs are shuffled between patients, beyond sampling "
         "error: it looks at the ECG."),
        (interval(0.01), "[−1.0, 3.0] points when ECGs are shuffled between patients, within sampling error: "
         "nothing shows that it looks at the ECG."),
        (interval(-0.1), "falls by −10.0 [−12.0, −8.0] points when ECGs are shuffled between patients, beyond "
         "sampling error: it does better with the wrong ECG."),
        (interval(0.2, None), "falls by 20.0 points when ECGs are shuffled between patients."),
        (interval(None), "finding F1 is not defined, with its own ECGs or with others'."),
    ],
)  # fmt: skip
def test_a_sentence_says_whether_the_text_depends_on_the_ecg(gap, verdict):
    one = result("merit")
    one["values"]["differences"]["shuffled"] = {"f1": gap}
    assert verdict in shown.reading([one])


def test_ecgs_that_could_not_be_shuffled_leave_dashes_and_a_reason():
    one = result("merit", n_texts=1)
    one["values"]["not_shuffled"] = "patients: got 1 of 1"
    del one["values"]["conditions"]["shuffled"], one["values"]["differences"]["shuffled"]
    assert "- MERIT: ECGs could not be shuffled between patients (patients: got 1 of 1). Its F1" in shown.reading([one])
    assert rows_of(shown.findings([one], COMMONEST))["MERIT, other ECG"] == ["–"] * 8
    assert shown.dots([one], COMMONEST)._repr_png_().startswith(b"\x89PNG")


def test_a_sentence_says_whether_the_text_beats_what_needs_no_writing():
    text = shown.reading([result("merit")])
    assert "minus that of the nearest training ECG's answer −5.0 [−7.0, −3.0], lower;" in text
    assert "minus that of the most common answer +1.0 [−1.0, +3.0], not told apart." in text
    one = result("merit")
    one["values"]["differences"] = {"shuffled": {}, "nearest": {"f1": interval(0.3)}}
    assert "answer +30.0 [+28.0, +32.0], higher." in shown.reading([one])


def test_differences_are_paired_and_bold_without_zero():
    pair = [result("cma", 0.4), result("merit", 0.5), result("random", 0.5)]
    pair[2]["values"]["resamples"]["f1"] = [0.9, None, 0.1, 0.5, 0.5]
    table = shown.differences(pair)
    rows = rows_of(table)
    assert list(rows) == ["CMA", "random"]
    assert rows["CMA"] == ["+10.0\n[+10.0,\N{NO-BREAK SPACE}+10.0]"] * 4
    assert rows["random"][0].startswith("0.0\n[−")
    assert "MERIT minus …" in table.text
    bold = style_of(table, "font-weight: bold")
    assert "row0_col0" in bold
    assert "row1_col0" not in bold
    said = shown.differences_reading(pair)
    assert said == (
        "Differences beyond sampling error, corrected for all of them (Holm): 4 of 8, of which 4 in favour of MERIT."
    )


def test_a_difference_without_resamples_or_values_has_no_interval():
    pair = [result("merit", 0.5), result("random", 0.4)]
    pair[1]["values"]["resamples"] = {"f1": [0.4], "meteor": [None] * 5}
    pair[1]["values"]["conditions"]["model"]["scores"]["bleu"] = interval(None)
    assert rows_of(shown.differences(pair))["random"] == ["+10.0", "+10.0", "+10.0", "–"]
    assert shown.differences_reading(pair) == "No difference has an interval."


def test_overlap_counts_pairs_in_opposite_order_and_what_the_most_common_answer_reaches():
    three = [result("merit", 0.5), result("cma", 0.4), result("random", 0.35)]
    three[0]["values"]["conditions"]["model"]["scores"]["meteor"] = interval(0.25)
    text = shown.overlap(three, COMMONEST)
    assert "By METEOR, highest first: CMA 40.0, random 35.0 and MERIT 25.0." in text
    assert "By finding F1: MERIT 50.0, CMA 40.0 and random 35.0." in text
    assert "opposite order: 2 of 3." in text
    assert "METEOR 30.0 and finding F1 30.0: by METEOR 1 of 3 encoders are no better, by finding F1 0 of 3." in text
    alone = shown.overlap(three[:1], COMMONEST)
    assert "highest first" not in alone
    assert "1 of 1 encoders" in alone


def test_dots_have_a_line_an_encoder_and_a_marker_a_condition():
    pair = [result("merit"), result("random", 0.3)]
    pair[1]["values"]["conditions"]["shuffled"]["scores"]["f1"] = interval(None)
    pair[1]["values"]["conditions"]["model"]["scores"]["f1"] = interval(0.3, None)
    figure = shown.dots(pair, COMMONEST)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["MERIT", "random"]
    points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1 and line.get_linestyle() == "None"]
    assert sorted(float(line.get_xdata()[0]) for line in points) == pytest.approx([20, 30, 35, 40, 45])
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_examples_are_chosen_by_the_rule():
    keys = [(str(n), "q", "r") for n in (9, 10, 11, 8, 7)]
    assert [key[0] for key in examples.chosen(keys, 2)] == ["10", "7"]
    assert len(examples.chosen(keys, 9)) == 5
    assert examples.chosen(keys, 0) == examples.chosen([], 4) == []
    assert len(examples.chosen(keys * 2, 9)) == 5
    html = examples.examples([result("merit"), result("random")], COMMONEST, 4).text
    assert re.findall(r"<b>Recording (\d+)</b>", html) == ["100", "102", "104", "106"]
    assert "4 of 8 test questions by a rule" in html
    assert html.count("<dt>random</dt>") == html.count("<dt>MERIT</dt>") == 4


def test_findings_are_marked_in_texts_and_what_is_missed_in_the_reference():
    html = examples.examples([result("merit")], COMMONEST, 1).text
    assert mark("Sinus rhythm", "wrong", "sinus rhythm: said, and not there", "×") in html
    assert mark("atrial fibrillation", "denied", "atrial fibrillation: denied, although there", "−") in html
    assert mark("pacing", "uncertain", "pacing: held possible, there or not", "?") in html
    missed = mark("atrial fibrillation", "missed", "atrial fibrillation: there, and not said", "○")
    assert f"{missed}. No pacing." in html
    name = "left &lt;ventricular&gt; hypertrophy"
    assert html.endswith(f"{mark('Left ventricular hypertrophy', 'right', f'{name}: said, and there', '+')}</dd></dl>")
    assert "there, and not said by MERIT</u><sup>○</sup>" in html


def mark(text: str, kind: str, title: str, sign: str) -> str:
    return f'<span class="merit-mark merit-mark-{kind}" title="{title}"><u>{text}</u><sup>{sign}</sup></span>'


def test_the_papers_example_has_its_scores_and_what_it_states_beside_its_reference():
    values = result("merit")["values"]
    text = values["texts"][0] | {"question": "not <printed>"}
    shown_as = {"bert": None, "source": "A.2 <x>", "contradictions": ["AFIB & PACE at once"], "text": text}
    html = examples.paper_example({"values": {**values, **shown_as}}).text
    said = {code for code, state, *_ in text["mentions"] if state == "present"}
    there = {code for code, state, *_ in text["reference_mentions"] if state == "present"}
    assert f"stated by both ({len(said & there)})" in html
    assert f"added by the response ({len(said - there)})" in html
    assert f"left out by it ({len(there - said)})" in html
    assert "Against itself: AFIB &amp; PACE at once. Source: A.2 &lt;x&gt;." in html
    assert "not &lt;printed&gt;" in html
    assert "METEOR" in html


def test_all_text_is_escaped_and_tex_stays_text():
    html = examples.examples([result("merit"), result("random")], COMMONEST, 2).text
    assert "<script>" not in html
    assert "&lt;script&gt;hi()&lt;/script&gt; $x^2$ " in html
    assert "What does &lt;ecg&gt; show, and is $x^2$ &lt; 3?" in html
    assert "Nothing &lt;b&gt;new&lt;/b&gt; for $5$." in html
    outside = re.sub(r'<dl class="[^"]*mathjax_ignore[^"]*">.*?</dl>', "", html, flags=re.DOTALL)
    assert "$" not in outside
    assert "<ventricular>" not in html


def test_texts_that_are_empty_or_missing_are_said_to_be():
    pair = [result("merit", n_texts=1), result("random", n_texts=1)]
    pair[0]["values"]["texts"] = [text_of("7", "")]
    html = examples.examples(pair, without(None, "none"), 4).text
    assert "<dt>MERIT</dt><dd><i>nothing</i></dd>" in html
    assert "random" not in html
    assert html.count("merit-mark-missed") == 3
    assert "most common answer" not in html


def test_statements_stand_by_how_often_they_are_there():
    rows = rows_of(examples.statements([result("random"), result("merit")]))
    assert list(rows) == ["LVH", "PACE"]
    assert rows["LVH"] == ["left &lt;ventricular&gt; hypertrophy", "1,234", "2", "1", "50.0", "–", "25.0"]


def test_names_of_encoders_are_escaped():
    pair = [result("<script>"), result("random")]
    every = (shown.table(pair, COMMONEST), shown.scores(pair, COMMONEST), shown.findings(pair, COMMONEST),
             shown.differences(pair), shown.about(pair), examples.examples(pair, COMMONEST, 1),
             examples.statements(pair))  # fmt: skip
    assert not any("<script>" in html.text for html in every)
