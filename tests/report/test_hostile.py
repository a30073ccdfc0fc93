"""Text of data is shown as the characters that it is: in HTML, in Markdown and in figures, on every way to a page."""

from __future__ import annotations

import ast
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import seaborn.objects as so
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from markupsafe import Markup

from merit import runs, scores
from merit.report import (
    diagram,
    ecg_paper,
    prose,
    show,
    style,
    texts,
)

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


@pytest.mark.parametrize("text", TEXTS)
def test_a_sentence_is_what_it_says(text):
    shown = MarkdownIt("commonmark").render(prose.Sentence(f"- {text}\n\nof **{text}** and {text}")._repr_markdown_())
    page = BeautifulSoup(shown, "html.parser")
    assert {tag.name for tag in page.find_all(True)} <= {"p", "ul", "li", "strong", "code"}
    if not any(mark in text for mark in ("`", "**", "\n")):
        words = [" ".join(part.split()) for part in (page.get_text(), f"{text} of {text} and {text}")]
        assert words[0] == words[1]


@pytest.mark.parametrize("text", [text for text in TEXTS if "\n" not in text] + ["`code`", "**bold**"])
def test_a_literal_inside_a_sentence_marks_nothing(text):
    said = prose.Sentence(f"Drawn is {prose.literal(text)}, **here**.")
    page = BeautifulSoup(MarkdownIt("commonmark").render(said._repr_markdown_()), "html.parser")
    assert [tag.name for tag in page.find_all(True)] == ["p", "strong"]
    assert page.get_text().strip() == f"Drawn is {text}, here."
    assert repr(said) == f"Drawn is {text}, **here**."


def test_a_sentence_may_mark_lists_bold_and_code():
    text = "Say: **two_words**, `make x=1_2`.\n\n- **one**\n- two"
    shown = MarkdownIt("commonmark").render(prose.Sentence(text)._repr_markdown_())
    assert "<strong>two_words</strong>, <code>make x=1_2</code>" in shown
    assert shown.count("<li>") == 2


def test_html_is_made_of_literals_and_escapes_what_comes_into_it():
    for name in ("format", "+", "join"):
        html = prose.Html("<p>{}</p>").format(ALL) if name == "format" else prose.Html("<p>") + ALL
        html = prose.Html("<br>").join([ALL, html]) if name == "join" else html
        assert isinstance(html, prose.Html)
        assert live(html._repr_html_()) == []
        assert ALL in BeautifulSoup(str(html), "html.parser").get_text()


def test_no_other_way_leads_to_html():
    """`Html` is called on text that stands in the source, and what pandas escaped; nobody else makes HTML."""
    for path in sorted((runs.PACKAGE_ROOT / "report").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
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


@pytest.fixture
def renamed(monkeypatch):
    """Labels of encoders, tasks and data sets that are such text."""
    monkeypatch.setattr(style, "look", lambda name: style.Look(f"{name} {ALL}", "#000000", "P", "-"))
    monkeypatch.setattr(style, "task_label", lambda name: f"{name} {ALL}")


def generated() -> dict:
    """A row of Table 3 whose texts and question are such text."""
    mentions = [["A", "present", 3, 9], ["B", "present", 1, 40]]
    row = {"question": ALL, "reference": ALL, "text": ALL}
    return row | {"mentions": mentions, "reference_mentions": mentions[:1]}


def test_tables_show_what_they_are_given(renamed):
    frame = pd.DataFrame([TEXTS], index=[ALL], columns=TEXTS)
    shown = [
        show.render(frame, f'"><script>{ALL}', apart=[ALL]),
        texts.example({ALL: generated()}, {"A": ALL, "B": ALL}) + texts.legend(ALL),
        prose.banner(ALL, False) + prose.banner(ALL, True),
        prose.Html(prose.Provenance([{"what": ALL}], ALL, True)._repr_mimebundle_()["text/html"]),
    ]
    for k, html in enumerate(shown):
        assert live(html._repr_html_()) == [], k
        assert "alert(1)" in BeautifulSoup(html._repr_html_(), "html.parser").get_text(), k


def test_frames_of_scores_are_shown_as_text():
    frame = scores.frame([
        {"encoder": ALL, "task": ALL, "metric": "auroc", "value": 0.5},
        {"encoder": ALL, "task": "form", "metric": "auroc", "reason": ALL},
    ])  # fmt: skip
    assert live(show.table(scores.scored(frame), "task", ALL, caption=ALL)._repr_html_()) == []
    assert live(show.facts({ALL: {ALL: ALL}}, "facts")._repr_html_()) == []
    shown = show.missing(frame, absent=[SimpleNamespace(label=ALL)])._repr_markdown_()
    assert live(MarkdownIt("commonmark").render(shown)) == []


def test_figures_draw_every_text_as_it_stands(renamed):
    drawn = show.Drawing(figsize=(9, 6), layout="constrained")
    axes = drawn.add_subplot(title=TEXTS[2], xlabel=TEXTS[3], ylabel=TEXTS[2])
    axes.barh(TEXTS[:11], range(1, 12), label=TEXTS[2])
    axes.text(1, 1, TEXTS[3])
    axes.legend(title=TEXTS[2])
    axes.set_xscale("log")
    sheet = diagram.Diagram(4, 2)
    sheet.box(diagram.Box(0.1, 0.1, 2, 1), TEXTS[2], [TEXTS[3]])
    assert TEXTS[3] not in sheet.overflowing()
    ecg = ecg_paper.draw_ecg(np.zeros((12, 1000)), 100, title=ALL)
    frame = show.labelled(pd.DataFrame({"encoder": TEXTS, "task": TEXTS[2], "value": range(len(TEXTS))}))
    plot = so.Plot(frame, x="value", y="encoder", color="encoder").facet("task").add(so.Dot())
    for one in (drawn, sheet.figure, ecg, show.figure(plot, frame)):
        assert one._repr_png_().startswith(b"\x89PNG")
    powers = [text for text in axes.get_xticklabels(which="both") if text.get_text()]
    assert powers
    assert all(text.get_parse_math() for text in powers)


def test_plain_markup_is_not_ours():
    assert isinstance(prose.Html("<p>") + Markup("<b>x</b>"), prose.Html)
