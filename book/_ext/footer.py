"""Under every executed page: with what it was run, when, on what, the command that runs it again, and the downloads."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from markupsafe import Markup


def footer(record: dict, data: list[str] = (), notebook: str = "") -> str:
    """The footer of a page as HTML; every value is escaped, whatever a parameter holds.

    data: addresses of the figures' tables, in the order of the page. notebook: address of the executed notebook.
    """
    given = {name: value for name, value in record["given"].items() if value is not None}
    variables = {"profile": "PROFILE", "data": "DATA", "device": "DEVICE", "settings": "SET"}
    given["settings"] = settings = record.get("settings", "")
    command = ["make notebook", f"NB={record['notebook']}"]
    command += [f"{variables[name]}={shlex.quote(str(given[name]))}" for name in variables if given.get(name)]
    rest = " ".join(f"-p {name} {shlex.quote(str(value))}" for name, value in given.items() if name not in variables)
    command += [f"P={shlex.quote(rest)}"] if rest else []
    parameters = ", ".join(f"{name}={value!r}" for name, value in record["parameters"].items())
    facts = [
        ("Run", f"{record['finished']}, {record['seconds']:.0f} s, on {record.get('device', 'unknown device')}"),
        ("Code", f"commit {record['commit']}, notebook {record['source']}, Python {record['python']}"),
    ]
    facts += [("Settings", CODE.format(settings))] if settings else []
    facts += [("Parameters", CODE.format(parameters)), ("Again", CODE.format(" ".join(command)))]
    if data:
        numbered = Markup(", ").join(DOWNLOAD.format(address, n) for n, address in enumerate(data, start=1))
        facts += [("Figure data", Markup("CSV, in the order of the page: {}").format(numbered))]
    if notebook:
        facts += [("Notebook", DOWNLOAD.format(notebook, "as it was executed"))]
    rows = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(*fact) for fact in facts)
    return str(Markup('<dl class="merit-footer">{}</dl>').format(rows))


CODE, DOWNLOAD = Markup("<code>{}</code>"), Markup('<a href="{}" download>{}</a>')


def write_data(notebook: dict, folder: Path, name: str) -> list[str]:
    """Write the tables that come with a notebook's figures to `<name>-<n>.csv` in `folder`; returns their names."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    tables = [output["data"]["text/csv"] for output in outputs if "text/csv" in output.get("data", {})]
    for number, table in enumerate(tables, start=1):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}-{number}.csv").write_text("".join(table), encoding="utf-8")
    return [f"{name}-{number}.csv" for number in range(1, len(tables) + 1)]


def add_footer(app, pagename, templatename, context, doctree) -> None:
    """Append the footer to the body of a page that comes from an executed notebook, and write what it offers."""
    if doctree is None:
        return
    source = Path(app.env.doc2path(pagename))
    if source.suffix != ".ipynb":
        return
    notebook = json.loads(source.read_text(encoding="utf-8"))
    record = notebook["metadata"].get("merit")
    if record:
        files = write_data(notebook, Path(app.outdir) / "_downloads", source.stem)
        data = [context["pathto"](f"_downloads/{name}", 1) for name in files]
        context["body"] += footer(record, data, context["pathto"](f"_sources/{context['sourcename']}", 1))


def setup(app) -> dict:
    """Sphinx calls this."""
    app.connect("html-page-context", add_footer)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
