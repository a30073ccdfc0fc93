"""Text of data is shown as the characters that it is: in HTML, in Markdown and in figures, on every way to a page."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import seaborn.objects as so
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from markupsafe import Markup

from merit import runs, scores
from merit.report import drawings, prose, show

TEXTS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac$",
    "$x^$ \\undefined{",
    "_underscores_ __twice__",
    "**bold and *more",
    "[link](javascript:alert(1)) ![i](x) <http://x>",
    "[x]: javascript:alert(1)",
    "{{jinja}} {% raw %}",
    "```{eval-rst}\n.. raw:: html\n```",
    "a report with </td><script>alert(1)</script>",
    "# no heading\n\n1. no list\n12) no list\n> no quote\n===\n---\n    no code",
    "&lt; &amp; \\ ~~no~~ | a | b |",
    "<!-- no comment",
]
ALL = " ".join(TEXTS)


def live(page: str) -> list[str]:
    """Elements and attributes that only a text of the data can have made."""
    tags = BeautifulSoup(page, "html.parser").find_all(True)
    return [str(tag) for tag in tags if tag.name in ("script", "img", "a", "h1", "ol") or "onerror" in tag.attrs]


# -- sentences --------------------------------------------------------------------------------------------------------


def rendered(said: prose.Sentence) -> BeautifulSoup:
    return BeautifulSoup(MarkdownIt("commonmark").render(said._repr_markdown_()), "html.parser")


@pytest.mark.parametrize("text", TEXTS)
def test_a_sentence_is_what_it_says_and_may_mark_lists_bold_and_code(text):
    page = rendered(prose.Sentence(f"- {text}\n\nof **{text}** and {text}"))
    assert {tag.name for tag in page.find_all(True)} <= {"p", "ul", "li", "strong", "code"}
    if not any(mark in text for mark in ("`", "**", "\n")):
        words = [" ".join(part.split()) for part in (page.get_text(), f"{text} of {text} and {text}")]
        assert words[0] == words[1]
    page = rendered(prose.Sentence("Say: **two_words**, `make x=1_2`.\n\n- **one**\n- two"))
    assert "<strong>two_words</strong>, <code>make x=1_2</code>" in str(page)
    assert len(page.find_all("li")) == 2


@pytest.mark.parametrize("text", [text for text in TEXTS if "\n" not in text] + ["`code`", "**bold**"])
def test_a_literal_inside_a_sentence_marks_nothing(text):
    said = prose.Sentence(f"Drawn is {prose.literal(text)}, **here**.")
    page = rendered(said)
    assert [tag.name for tag in page.find_all(True)] == ["p", "strong"]
    assert page.get_text().strip() == f"Drawn is {text}, here."
    assert repr(said) == f"Drawn is {text}, **here**."


def test_a_minus_is_a_minus_a_zero_has_no_sign_and_words_are_listed():
    for value, digits, sign, text in [
        (-0.004, 2, False, "0.00"), (-0.004, 2, True, "0.00"), (0.0, 1, True, "0.0"), (-0.006, 2, False, "−0.01"),
        (1.25, 2, True, "+1.25"), (10.0, 0, False, "10"), (-0.4, 0, False, "0"), (100.0, 1, True, "+100.0"),
    ]:  # fmt: skip
        assert prose.fixed(value, digits, sign) == text
    words = ([], ["a"], ["a", "b"], ["a", "b", "c"])
    assert list(map(prose.listing, words)) == ["", "a", "a and b", "a, b and c"]


# -- HTML -------------------------------------------------------------------------------------------------------------


def test_html_is_made_of_literals_and_escapes_what_comes_into_it():
    for html in (prose.Html("<p>{}</p>").format(ALL), prose.Html("<p>") + ALL, prose.Html("<br>").join([ALL, ALL])):
        assert isinstance(html, prose.Html)
        assert live(html._repr_html_()) == []
        assert ALL in BeautifulSoup(html, "html.parser").get_text()
    assert isinstance(prose.Html("<p>") + Markup("<b>x</b>"), prose.Html)


def test_no_other_way_leads_to_html():
    """`Html` is called on text that stands in the source, and what pandas escaped; nobody else makes HTML."""
    sources = {path: path.read_text(encoding="utf-8") for path in sorted((runs.PACKAGE_ROOT / "report").glob("*.py"))}
    for path in sorted((Path(__file__).parents[2] / "book").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources[path] = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("Html", "Markup"):
                literal = len(node.args) == 1 and isinstance(node.args[0], ast.Constant)
                assert literal or ast.unparse(node) == "Html(styler.to_html())", f"{path}:{node.lineno}"
            if isinstance(node, ast.JoinedStr):
                written = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
                assert not re.search(r"</?[a-z]+[ >]|&[a-z]+;", written), f"{path}:{node.lineno}"
    for path in sorted(runs.PACKAGE_ROOT.rglob("*.py")):
        made = {"_repr_html_", "_repr_markdown_", "text/html", "text/markdown"}
        found = {word for word in made if word in path.read_text(encoding="utf-8")}
        assert not found or path.name == "prose.py", (path, found)


def test_provenance_hands_over_plain_json_and_escapes_its_text():
    rows = [
        {"what": "store ptb-xl", "id": "a", "seconds": float("nan"), "device": None},
        {"what": "linear_probe merit form", "id": "b", "seconds": np.float64(1.5), "seed": 0, "device": "cpu"},
        {"what": "linear_probe cma form", "id": Path("c"), "seconds": 1.5, "seed": 2, "device": "cpu"},
    ]
    bundle = prose.Provenance(rows, "From <b>.", True)._repr_mimebundle_()
    details = bundle[prose.PROVENANCE_MIME]
    json.dumps(details, allow_nan=False)
    assert (details["device"], details["inputs"][0]["seconds"], details["inputs"][2]["id"]) == ("cpu", None, "c")
    assert "Inputs: store (1) and linear probe (2). Pretraining seeds: 0 and 2." in bundle["text/html"]
    assert "<b>" not in bundle["text/html"]
    assert ["admonition warning" in prose.banner("x", synthetic) for synthetic in (True, False)] == [True, False]


# -- tables and figures -----------------------------------------------------------------------------------------------


def test_tables_show_what_they_are_given():
    frame = pd.DataFrame([TEXTS], index=[ALL], columns=TEXTS)
    row = {"encoder": ALL, "metric": "auroc"}
    rows = scores.frame([{**row, "task": ALL, "value": 0.5}, {**row, "task": "form", "reason": ALL}])
    mentions = [["A", "present", 3, 9], ["B", "present", 1, 40]]
    written = {"question": ALL, "reference": ALL, "text": ALL, "mentions": mentions, "reference_mentions": mentions[:1]}
    missing = show.missing(rows, absent=[SimpleNamespace(label=ALL)])
    for page in (
        show.render(frame, f'"><script>{ALL}', apart=[ALL]),
        prose.example({ALL: written}, {"A": ALL, "B": ALL}) + prose.legend(ALL),
        prose.banner(ALL, False) + prose.banner(ALL, True),
        prose.Provenance([{"what": ALL}], ALL, True)._repr_mimebundle_()["text/html"],
        show.table(scores.scored(rows), "task", ALL, caption=ALL),
        show.facts({ALL: {ALL: ALL}}, "facts"),
        str(rendered(missing)),
    ):
        assert live(page) == []
        assert "alert(1)" in BeautifulSoup(page, "html.parser").get_text()


def test_figures_draw_every_text_as_it_stands():
    drawn = show.Drawing(figsize=(9, 6), layout="constrained")
    axes = drawn.add_subplot(title=TEXTS[2], xlabel=TEXTS[3], ylabel=TEXTS[2])
    axes.barh(TEXTS[:11], range(1, 12), label=TEXTS[2])
    axes.legend(title=TEXTS[2])
    axes.set_xscale("log")
    sheet = drawings.Diagram(4)
    sheet.box(drawings.Box(0.1, 0.1, 2, 1), TEXTS[2], [TEXTS[3]])
    ecg = drawings.draw_ecg(np.zeros((12, 1000)), 100, ALL)
    frame = show.labelled(pd.DataFrame({"encoder": TEXTS, "task": TEXTS[2], "value": range(len(TEXTS))}))
    plot = so.Plot(frame, x="value", y="encoder", color="encoder").facet("task").add(so.Dot())
    for figure in (drawn, sheet, ecg, show.figure(plot, frame)):
        assert figure._repr_png_().startswith(b"\x89PNG")
    powers = [text for text in axes.get_xticklabels(which="both") if text.get_text()]
    assert powers
    assert all(text.get_parse_math() for text in powers)


# -- marks in generated texts -----------------------------------------------------------------------------------------

REFERENCE = "The rhythm is atrial fibrillation. No pacing. Left ventricular hypertrophy"
TEXT = "Sinus rhythm; no atrial fibrillation, possible pacing. <script>hi()</script> $x^2$ Left ventricular hypertrophy"
NAMES = {"AFIB": "atrial fibrillation", "SR": "sinus rhythm", "LVH": "left <ventricular> hypertrophy", "PACE": "pacing"}
PHRASES = {"AFIB": "atrial fibrillation", "SR": "Sinus rhythm", "LVH": "Left ventricular", "PACE": "pacing"}


def mentions(text: str, **states: str) -> list[list]:
    """Mentions of these statements in a text, by the phrase of each."""
    starts = {code: text.index(PHRASES[code]) for code in states}
    return [[code, state, starts[code], starts[code] + len(PHRASES[code])] for code, state in states.items()]


def test_findings_are_marked_in_texts_and_what_is_missed_in_the_reference() -> None:
    row = {"question": "What does <ecg> show, and is $x^2$ < 3?", "reference": REFERENCE, "text": TEXT}
    row["reference_mentions"] = mentions(REFERENCE, AFIB="present", PACE="absent", LVH="present")
    row["mentions"] = mentions(TEXT, SR="present", AFIB="absent", PACE="uncertain", LVH="present")
    html = prose.example({"MERIT": row, "<script>": {**row, "text": "", "mentions": []}}, NAMES)
    for text, kind, title, sign, after in (
        ("Sinus rhythm", "wrong", "sinus rhythm: said, and not there", "×", "; no"),
        ("atrial fibrillation", "denied", "atrial fibrillation: denied, although there", "−", ", possible"),
        ("pacing", "uncertain", "pacing: held possible, there or not", "?", ". "),
        ("atrial fibrillation", "missed", "atrial fibrillation: there, and not said", "○", ". No pacing."),
        (
            "Left ventricular",
            "right",
            "left &lt;ventricular&gt; hypertrophy: said, and there",
            "+",
            " hypertrophy</dd>",
        ),
    ):
        mark = f'<span class="merit-mark merit-mark-{kind}" title="{title}"><u>{text}</u><sup>{sign}</sup></span>'
        assert mark + after in html
    assert "<script>" not in html
    assert "&lt;script&gt;hi()&lt;/script&gt; $x^2$ " in html
    assert "<dt>&lt;script&gt;</dt><dd><i>nothing</i></dd>" in html
    assert "$" not in re.sub(r'<dl class="[^"]*mathjax_ignore[^"]*">.*?</dl>', "", html, flags=re.DOTALL)
    assert "there, and not said by MERIT</u><sup>○</sup>" in prose.legend("MERIT")


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], "a &lt; b"),
        ([(2, 99)], "a [&lt; b]"),
        ([(2, 5), (0, 3)], "[a &lt;][ b]"),
        ([(0, 5), (2, 3)], "[a &lt; b]"),
        ([(-3, 1), (3, 3), (9, 12), (5, 2)], "[a] &lt; b"),
    ],
)
def test_spans_may_overlap_touch_the_end_or_lie_beyond_it(spans, expected) -> None:
    html = str(prose.marked("a < b", [(start, end, "right", "x") for start, end in spans]))
    assert re.sub(r"<span[^>]*><u>(.*?)</u><sup>\+</sup></span>", r"[\1]", html) == expected
