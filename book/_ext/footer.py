"""Under every executed page: with what it was run, when, on what, and the command that runs it again."""

from __future__ import annotations

import html
import json
import shlex
from pathlib import Path


def footer(record: dict) -> str:
    """The footer of a page as HTML; every value is escaped, whatever a parameter holds."""
    given = {name: value for name, value in record["given"].items() if value is not None}
    settings = {"profile": "PROFILE", "data": "DATA", "device": "DEVICE"}
    command = ["make notebook", f"NB={record['notebook']}"]
    command += [f"{settings[name]}={shlex.quote(str(given[name]))}" for name in settings if name in given]
    rest = " ".join(f"-p {name} {shlex.quote(str(value))}" for name, value in given.items() if name not in settings)
    command += [f"P={shlex.quote(rest)}"] if rest else []
    parameters = ", ".join(f"{name}={value!r}" for name, value in record["parameters"].items())
    facts = [
        ("Run", f"{record['finished']}, {record['seconds']:.0f} s, on {record.get('device', 'unknown device')}"),
        ("Code", f"commit {record['commit']}, notebook {record['source']}, Python {record['python']}"),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in facts)
    rows += f"<dt>Parameters</dt><dd><code>{html.escape(parameters)}</code></dd>"
    rows += f"<dt>Again</dt><dd><code>{html.escape(' '.join(command))}</code></dd>"
    return f'<dl class="merit-footer">{rows}</dl>'


def add_footer(app, pagename, templatename, context, doctree) -> None:
    """Append the footer to the body of a page that comes from an executed notebook."""
    if doctree is None:
        return
    source = Path(app.env.doc2path(pagename))
    if source.suffix != ".ipynb":
        return
    record = json.loads(source.read_text())["metadata"].get("merit")
    if record:
        context["body"] += footer(record)


def setup(app) -> dict:
    """Sphinx calls this."""
    app.connect("html-page-context", add_footer)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
