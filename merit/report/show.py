"""How frames of scores become what a page shows: one look, one vocabulary, one cell, one table, one figure.

`labelled` gives the names and the order that every table and figure has; `table` is a pivot and a Styler; `figure`
displays a seaborn plot with its frame as CSV. Scores come in as fractions and are printed in percent.
"""

from __future__ import annotations

import io
import re
import tomllib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

from merit import runs, scores
from merit.config import PretrainConfig
from merit.report import paper
from merit.report.prose import Html, Sentence, badge, fixed, listing, literal

# -- one look and one name for everything -----------------------------------------------------------------------------


ENCODERS = pd.read_csv(Path(__file__).with_name("encoders.csv"), index_col="encoder", keep_default_na=False)
"""How each encoder is written and drawn, in the order of all tables: ours, peers' objectives in our harness, published
ones. Okabe and Ito's colours, which most colour-blind readers tell apart; no two have the same colour and marker. ours:
of a peer's objective trained on the same recordings with the same updates, what is its own here, and what is not."""
NAMES: dict[str, str] = ENCODERS["label"].to_dict()

STRENGTHS = {"cma": "0 (CMA)", "ib-0.1": "0.1", "ib": f"{PretrainConfig().bottleneck_strength:g}", "ib-1": "1"}
"""Encoders that differ in the strength of the bottleneck alone -> that strength, β of Eq. 9."""

with Path(__file__).with_name("names.toml").open("rb") as file:
    VOCABULARY: dict[str, dict[str, str]] = tomllib.load(file)
"""Column -> value -> how it is written, in the order in which it stands everywhere."""
TASKS, METRICS, TERM_LABELS = VOCABULARY["task"], VOCABULARY["metric"], VOCABULARY.pop("term")
TRANSFERS = {f"{a}>{b}": f"{TASKS[a]} → {TASKS[b]}" for a in TASKS for b in TASKS if f"{a}>{b}" in paper.TRANSFERS}
VOCABULARY |= {"encoder": {"report": "report alone", **NAMES}, "other": NAMES, "transfer": TRANSFERS}
VOCABULARY["task"] = TASKS | TRANSFERS
NETWORKS = {"vit": "ViT", "tiny_vit": "TinyViT", "resnet18": "ResNet18"}

BLOCKS = (("superclass", "subclass", "form"), ("rhythm", "all"), ("csn", "cpsc2018"))
"""Tasks side by side, as the paper's Tables 6 and 8 have them."""
PAIRS = (("superclass", "subclass"), ("form", "rhythm"), ("all",), ("csn", "cpsc2018"))
"""Tasks side by side where cells hold intervals: three of them are wider than a page."""

MARKS = {
    "overlap": ("†", "Recordings of this data set were in the encoder's pretraining; which of the patients scored here "
    "is not known, so the number is too high by an unknown amount."),
    "n_band_limited": ("‡", "The encoder wants a higher rate than some or all of these files have: it saw upsampled, "
    "band-limited recordings there."),
}  # fmt: skip
"""Fact of a score -> the mark that its number carries, and what that means."""


def theme() -> None:
    """Set the look of every figure; call once per notebook."""
    mpl.style.use(Path(__file__).with_name("book.mplstyle"))
    groups = (
        "axes",
        "figure",
        "font",
        "grid",
        "legend",
        "lines",
        "xtick",
        "ytick",
    )  # what a plot of seaborn takes over
    so.Plot.config.theme.update({key: mpl.rcParams[key] for key in mpl.rcParams if key.split(".")[0] in groups})


def label(value: Any, column: str) -> str:
    """A value of a column as every page writes it."""
    text = VOCABULARY.get(column, {}).get(value)
    return text if text is not None else str(value).replace("_", " ")


def labelled(frame: pd.DataFrame, unit: float = 1, **order: Sequence[Any]) -> pd.DataFrame:
    """The frame with the names that pages print, as ordered categories; numbers times `unit` (100: percent).

    order: column -> its values in the order wanted, where the vocabulary does not say; others stay as they come.
    """
    found = frame.copy()
    for name in found.columns:
        if name in VOCABULARY or name in order:
            # Known values in their order, then the others as they come.
            known = list(order.get(name, VOCABULARY.get(name, {})))
            there = list(dict.fromkeys(found[name]))
            ordered = [value for value in known if value in there] + [value for value in there if value not in known]
            labels = dict.fromkeys(label(value, name) for value in ordered)
            found[name] = pd.Categorical([label(value, name) for value in found[name]], labels, ordered=True)
    for name in ("value", "low", "high", "sd"):
        if name in found:
            found[name] = unit * found[name].astype(float)
    return found


# -- tables -----------------------------------------------------------------------------------------------------------

SHADE = "background-color: rgba(128,128,128,.28)"


def render(
    frame: pd.DataFrame,
    name: str,
    *,
    marks: pd.DataFrame | None = None,
    apart: Iterable[Any] = (),
    words: bool = False,
    group: int = 0,
) -> Html:
    """A frame of texts as an HTML table that scrolls by itself when the page is narrow.

    name: unique on the page, makes the ids fixed. marks: CSS of each cell. apart: row labels set apart and muted.
    words: the cells hold words and not numbers. group: that many columns belong together (5, or 0 for none).
    """
    styler = frame.style.format(escape="html", na_rep="–").format_index(escape="html", axis=0)
    styler = styler.format_index(escape="html", axis=1)
    styler.set_uuid(re.sub(r"[^\w-]", "-", f"merit-{name}"))
    styler.cell_ids = False
    kind = " merit-words" if words else f" merit-group-{group}" if group else ""
    styler.set_table_attributes(f'class="merit-table{kind}"')
    if marks is not None:
        styler.apply(lambda _: marks.reindex_like(frame).fillna(""), axis=None)
    apart = list(apart)
    if apart:
        classes = pd.DataFrame("", index=frame.index, columns=frame.columns)
        classes.loc[apart] = "merit-apart"
        styler.set_td_classes(classes)
    return Html('<div class="merit-scroll">{}</div>').format(Html(styler.to_html()))


def facts(rows: Mapping[str, Mapping[str, Any]] | pd.DataFrame, name: str) -> Html:
    """A table of words: row label -> column -> text; what is missing is a dash."""
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame.from_dict(rows, orient="index")
    texts = frame.map(lambda value: "–" if pd.isna(value) else str(value))
    return render(texts.rename_axis(index=None, columns=None), name, words=True)


def cell(row: Mapping[str, Any], unit: float = 100, digits: int = 1, sign: bool = False) -> str | None:
    """`71.2†` and below it `[69.0, 73.1]`, or `±0.4` where there is a spread alone; None without a value."""
    if pd.isna(row.get("value")):
        return None
    marks = "".join(mark for name, (mark, _) in MARKS.items() if name in row and not pd.isna(row[name]) and row[name])
    text = fixed(unit * row["value"], digits, sign) + marks
    if not pd.isna(row.get("low")):
        return f"{text}\n[{fixed(unit * row['low'], digits, sign)}, {fixed(unit * row['high'], digits, sign)}]"
    return text if pd.isna(row.get("sd")) else f"{text}\n±{fixed(unit * row['sd'], digits)}"


def inline(row: Mapping[str, Any], digits: int = 2, unit: float = 1, sign: bool = False) -> str:
    """A cell on one line, to stand in a sentence; a dash without a value."""
    return (cell(row, unit, digits, sign) or "–").replace("\n", " ")


def difference(row: Mapping[str, Any], unit: float = 100, digits: int = 1) -> str | None:
    """A signed cell and, where it was tested, `p 0.012, Holm 0.35` or `p < 0.001, …`."""
    text = cell(row, unit, digits, sign=True)
    if text is None or pd.isna(row["p"]):
        return text
    tested = ("< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}" for p in (row["p"], row["p_holm"]))
    return f"{text}\np {', Holm '.join(tested)}"


def table(
    frame: pd.DataFrame,
    columns: str | Sequence[str],
    name: str,
    *,
    rows: str | Sequence[str] = "encoder",
    text: Callable[[Mapping[str, Any]], str | None] = cell,
    best: str | None = "column",
    bold: pd.Series | None = None,
    published: pd.DataFrame | None = None,
    apart: pd.DataFrame | None = None,
    caption: str | Html = "",
) -> Html:
    """A row per encoder (`rows`), a column per value of `columns`; the best of a column bold, the second best shaded.

    frame: one score per cell. name: unique on the page. text: a row of the frame -> what its cell says. best: rank
    within each "column", each "row", or None. bold: which rows of the frame are bold instead. published: rows of the
    paper's, set apart below and ranked among themselves (`paper_rows`). apart: rows that are only set apart. What a
    cell's marks mean stands below. No row: nothing is shown.
    """
    if frame.empty:
        return Html("<p>Nothing was scored.</p>")
    columns, rows = ([names] if isinstance(names, str) else list(names) for names in (columns, rows))

    def pivot(own: pd.DataFrame, says: list[str | None], best: str | None, bold: Any = False) -> list[pd.DataFrame]:
        """Texts and CSS of a frame, whose labels are text without names and levels of one."""
        shown = labelled(own)
        for key in [*columns, *rows]:
            if not isinstance(shown[key].dtype, pd.CategoricalDtype):
                shown[key] = pd.Categorical(shown[key], dict.fromkeys(shown[key]), ordered=True)
        if shown.duplicated([*rows, *columns]).any():
            raise ValueError(f"table: expected one score per {', '.join([*rows, *columns])}; got several")
        shown = shown.assign(text=says, bold=bold).set_index([*rows, *columns])
        texts, numbers, heavy = (
            shown[what].unstack(columns).sort_index().sort_index(axis=1) for what in ("text", "value", "bold")
        )
        # The best in bold and the second best shaded, of each column or row; equal numbers share their rank.
        css = pd.DataFrame("", index=texts.index, columns=texts.columns)
        if best is not None:
            ranks = numbers.rank(ascending=False, method="dense", axis=0 if best == "column" else 1)
            css = css.mask(ranks == 1, "font-weight: bold").mask(ranks == 2, SHADE)
        css = css.mask(heavy.fillna(False).astype(bool), "font-weight: bold")
        plain = [
            pd.MultiIndex.from_tuples([tuple(map(str, key)) for key in index])
            if index.nlevels > 1
            else pd.Index([str(key) for key in index.get_level_values(0)])
            for index in (texts.index, texts.columns)
        ]
        return [part.set_axis(plain[0]).set_axis(plain[1], axis=1) for part in (texts.astype(object), css)]

    says = [text(row) for row in frame.to_dict("records")]
    parts = [pivot(frame, says, best) if bold is None else pivot(frame, says, None, bold)]
    if published is not None and len(published):  # as printed, with a star where the column was inferred
        stars = np.where(published["status"] == "column inferred", "*", "")
        says = [cell(row, unit=1, digits=2) for row in published.to_dict("records")]
        parts.append(pivot(published, [text and text + star for text, star in zip(says, stars)], best))
    if apart is not None and len(apart):
        parts.append(pivot(apart, [text(row) for row in apart.to_dict("records")], None))
    # Ours above, the others muted below, in the columns that ours have; then what the marks of any cell mean.
    texts = pd.concat([texts for texts, _ in parts])
    texts = texts[[head for head in parts[0][0].columns if head in texts.columns]]
    marks = pd.concat([css for _, css in parts]).reindex(columns=texts.columns)
    below = [label for texts_below, _ in parts[1:] for label in texts_below.index]
    head = Html('<p class="merit-caption">{}</p>').format(caption) if caption else Html("")
    group = 0 if texts.columns.nlevels < 2 else int(texts.columns.get_level_values(0).value_counts().max())
    shown = {mark: what for name, (mark, what) in MARKS.items() if name in frame and frame[name].fillna(0).any()}
    notes = Html("").join(Html('<p class="merit-note">{} {}</p>').format(*note) for note in shown.items())
    texts = texts.where(texts.notna(), None)
    return head + render(texts, name, marks=marks, apart=below, group=group) + notes


def by_task(
    frame: pd.DataFrame,
    name: str,
    *,
    blocks: Sequence[Sequence[str]] = BLOCKS,
    published: pd.DataFrame | None = None,
    caption: str | Html = "",
    **options: Any,
) -> Html:
    """`table` with a column per task and metric, one table per block of tasks that fit side by side; the paper's rows
    where they hold a number. options: as `table` takes them.
    """
    tasks = list(dict.fromkeys(frame["task"]))
    alone = [[task] for task in tasks if not any(task in block for block in blocks)]
    parts = []
    for block in [*blocks, *alone]:
        own, theirs = frame[frame["task"].isin(block)], None
        if published is not None:
            theirs = published[published["task"].isin(own["task"]) & published["value"].notna()]
        if len(own):
            head, tag = "" if parts else caption, f"{name}-{'-'.join(block)}"
            parts.append(table(own, ["task", "metric"], tag, published=theirs, caption=head, **options))
    return Html("").join(parts) if parts else Html("<p>No task was scored.</p>")


def paper_rows(number: int, key: str = "task") -> pd.DataFrame:
    """What survives of a table of the paper: encoder (`paper: MERIT`), its name here (`row`), task or transfer, metric,
    value in percent, status.

    Its F1 and accuracy stand under the oracle: it states no threshold rule, and its predecessors' code uses that.
    """
    found = paper.cells(number).rename(columns={"task": key})
    found.insert(0, "encoder", "paper: " + found["row"].map(paper.ROW_LABELS))
    return found.replace({"metric": {"f1": "f1_oracle", "accuracy": "accuracy_oracle"}})


def against_paper(frame: pd.DataFrame, number: int, key: str = "task") -> pd.DataFrame:
    """Ours minus the paper's where both have a number: encoder, task or transfer, metric, value as a fraction."""
    theirs = paper_rows(number, key).dropna(subset="value").set_index(["row", key, "metric"])["value"]
    ours = frame.set_index(["encoder", key, "metric"])["value"].rename_axis(["row", key, "metric"])
    return (ours - theirs / 100).dropna().reset_index().rename(columns={"row": "encoder"})


def missing(frame: pd.DataFrame, by: str = "task", absent: Iterable[Any] = ()) -> Sentence:
    """What has no score and why, one line per reason; published encoders without weights together in one line."""
    without: dict[str, dict[str, list[str]]] = {}  # reason -> who, nobody named where it is everyone -> where
    own = frame[frame["reason"].notna() & frame["value"].isna()]
    own = own[own["class"].fillna("macro") == "macro"] if "class" in own else own
    everyone = frame.groupby(by)["encoder"].agg(set) if len(frame) else {}
    for (place, reason), rows in own.groupby([by, "reason"], sort=False):
        names = set(rows["encoder"])
        who = "" if names == everyone[place] else listing(label(name, "encoder") for name in sorted(names))
        without.setdefault(str(reason).removeprefix(f"{place}: "), {}).setdefault(who, []).append(label(place, by))
    lines = [
        f"- {listing(dict.fromkeys(places))}{', ' * bool(who)}{who}: not scored, {literal(reason)}"
        for reason, whom in without.items()
        for who, places in whom.items()
    ]
    if names := [encoder.label for encoder in absent]:
        lines.append(
            f"- No row, since their weights are not at hand (page peers says where they are): {', '.join(names)}"
        )
    return Sentence("\n".join(lines) or "Every row and column was scored.")


# -- figures ----------------------------------------------------------------------------------------------------------


class Drawing(Figure):
    """A figure that Jupyter displays as a PNG, with its numbers beside it as CSV, which pages offer as a download."""

    table: pd.DataFrame | None = None
    """The frame that is drawn; a diagram has none."""

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """As any figure's, with every text drawn as the characters that it is: an id may hold `$`. TeX stays where
        numbers need it, on logarithmic axes.
        """
        axes = [axis for panel in self.axes for axis in (panel.xaxis, panel.yaxis)]
        of_powers = [axis for axis in axes if isinstance(axis.get_major_formatter(), LogFormatter)]
        powers = {id(text) for axis in of_powers for text in axis.get_ticklabels(which="both")}
        for text in self.findobj(Text):
            text.set_parse_math(id(text) in powers)
        super().savefig(*args, **kwargs)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        if self.table is None or self.table.empty:
            return {}
        return {"text/csv": self.table.to_csv(index=False, float_format="%.6g", lineterminator="\n")}

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", metadata={"Software": None}, bbox_inches="tight")
        return buffer.getvalue()


def scale(frame: pd.DataFrame, column: str = "encoder") -> dict[str, Any]:
    """Colour and marker of each encoder, for `.scale` of a plot of `labelled` scores."""
    names = [str(name) for name in frame[column].cat.categories]
    looks = ENCODERS.set_index("label").reindex(names).fillna({"colour": "#000000", "marker": "P"})
    return {"color": so.Nominal(looks["colour"].to_dict()), "marker": so.Nominal(looks["marker"].to_dict())}


def figure(
    plot: so.Plot, data: pd.DataFrame, width: float = 7.5, height: float = 3.6, line: float | None = None
) -> Drawing:
    """A plot as a page displays it, width and height in inches: a PNG, and its frame as CSV for the download.

    line: where a grey vertical line stands in every panel, such as chance or no difference. No row: that is said.
    """
    if data.empty:
        drawing = Drawing(figsize=(3.4, 0.6))
        drawing.text(0.5, 0.5, "nothing was scored", ha="center", va="center")
        return drawing
    drawing = Drawing(figsize=(width, height))
    with warnings.catch_warnings():  # seaborn 0.13.2 asks pandas for a keyword that pandas 4 will not have
        warnings.filterwarnings("ignore", message="The copy keyword is deprecated")
        plot.on(drawing).layout(engine="constrained").plot()
    for axis in drawing.axes if line is not None else ():
        axis.axvline(line, color="#7A7A7A", linewidth=0.9, zorder=0)
    for legend in drawing.legends:  # seaborn puts it over the last panel's edge
        legend.set_loc("center left")
        legend.set_bbox_to_anchor((1.0, 0.5))
    drawing.table = data.drop(columns=[name for name in scores.LISTS if name in data]).dropna(axis="columns", how="all")
    return drawing


def against(frame: pd.DataFrame, x: str, y: str, titles: Mapping[str, str], facet: str) -> Drawing:
    """One metric up against another to the right, percent: a panel per value of `facet`, a mark per encoder and seed.

    Bars are the intervals, or ± the standard deviation where there is none. titles: metric -> title of its axis.
    """
    if frame.empty:
        return figure(so.Plot(), frame)
    ends = frame.astype({"low": float, "high": float})
    if "sd" in ends:
        ends["low"] = ends["low"].fillna(ends["value"] - ends["sd"])
        ends["high"] = ends["high"].fillna(ends["value"] + ends["sd"])
    keys = [name for name in (facet, "encoder", "encoder_seed") if name in ends]
    right, up = (
        (100 * ends[ends["metric"] == metric].set_index(keys)[["value", "low", "high"]]).add_prefix(f"{metric}_")
        for metric in (x, y)
    )
    points = labelled(right.join(up, how="inner").reset_index())
    plot = (
        so.Plot(points, x=f"{x}_value", y=f"{y}_value", color="encoder", marker="encoder")
        .facet(facet)
        .add(so.Range(linewidth=1.3), ymin=f"{y}_low", ymax=f"{y}_high")
        .add(so.Range(linewidth=1.3), orient="y", xmin=f"{x}_low", xmax=f"{x}_high")
        .add(so.Dot(pointsize=7))
        .scale(**scale(points))
        .label(x=titles[x], y=titles[y], color="", marker="")
    )
    return figure(plot, points, height=4)


# -- committed scores of several pretraining seeds --------------------------------------------------------------------


def committed(
    study: str, profile: str, synthetic: bool, group: str | None = None, folder: Path | None = None
) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """(where from, scores) of this profile and kind of recordings; else of other profiles on the same kind; else [].

    group: of the encoders, such as equal-budget; None: the paper's own.
    """
    folder = folder or runs.home() / "book" / "reference"
    ending = f"-{group}" if group else ""
    own = folder / f"{study}-{profile}{'' if synthetic else '-real'}{ending}.json"
    paths = [own] if own.exists() else sorted(folder.glob(f"{study}-*.json"))
    found = [scores.read(path) for path in paths]
    return [
        (about, frame) for about, frame in found if about["synthetic"] == synthetic and about.get("suffix") == group
    ]


def source(about: Mapping[str, Any]) -> Html:
    """Where committed scores come from: everything that a number of them must be read with."""
    where_from = (
        f"{'The same data, the same updates' if about.get('suffix') == 'equal-budget' else 'Reference'}: profile "
        f"{about['profile']}, {about['seeds']} pretraining seed{'s' * (about['seeds'] != 1)}; "
        f"{about['device']} with {about['cores']} cores, {about['finished']}, commit {about['commit']}."
    )
    return Html('<p class="merit-source">{} {}</p>').format(badge(bool(about["synthetic"])), where_from)


def absent(study: str, synthetic: bool) -> Html:
    """That no scores of a study are committed, in one line."""
    text = Html(
        "<p>No scores of {} over several pretraining seeds on {} recordings are committed; "
        "<code>make reference</code> makes them.</p>"
    )
    return text.format(study.replace("_", " "), "synthetic" if synthetic else "real")


def over_seeds(
    study: str, ws: Any, by: str, *, metrics: Sequence[str] = ("auroc",), group: str | None = None,
    folder: Path | None = None, **where: Any,
) -> Html:  # fmt: skip
    """Means over pretraining seeds of committed scores, and MERIT minus the others, paired by seed; in a group at equal
    budget, first what is compared and what it costs.

    ws: a workspace. by: the column of tasks or transfers. where: which scores, such as variant="as_published".
    """
    parts = []
    for about, frame in committed(study, ws.profile.name, ws.synthetic, group, folder):
        tag = f"{study}-{about['profile']}-{group or 'seeds'}"
        if about.get("costs"):  # what the rows are and are not, and what each costs: equal updates are not equal cost
            kind = "synthetic hospitals" if about["synthetic"] else "real recordings"
            text = (
                "Rows that end in “ours” are our implementation of a peer's objective and backbone, at the size of "
                f"profile {about['profile']}, on {kind}, with {about['seeds']} pretraining "
                f"seed{'s' * (about['seeds'] != 1)}: the same recordings, batches, updates, optimiser and evaluation "
                "as MERIT. They compare objectives and backbones. They are not the published systems, which were "
                "trained longer, wider and on other recordings, and say nothing about those systems' published numbers."
            )
            costs = {row["encoder"]: row for row in about["costs"]}
            names = [name for name in NAMES if name in costs]
            budgets = sorted({(row["updates"], row["batch"]) for row in costs.values() if "updates" in row})
            budget = listing(f"{updates:,} updates of batch {batch}" for updates, batch in budgets)
            head = (
                "What each costs. FLOPs are those of one recording: of its embedding, and of its forward in an update; "
                f"every pretraining has {budget or 'no updates'}. Seconds hold whatever else that machine did. The "
                "loss is the last validation's; a masked error of one is what the mean alone would have."
            )
            rows = {}
            for name in names:
                row = costs[name]
                terms = [
                    f"{TERM_LABELS.get(term, term).partition(':')[0]} {value:.2f}"
                    for term, value in row.get("validation", {}).items()
                ]
                rows[NAMES[name]] = {
                    "network": NETWORKS.get(row["network"], row["network"]),
                    "parameters of the encoder": f"{row['parameters']:,}",
                    "trained with it": f"{row['trained_parameters']:,}" if "trained_parameters" in row else None,
                    "MFLOPs, embedding": f"{row['embedding_flops'] / 1e6:,.0f}",
                    "MFLOPs, pretraining": f"{row['update_flops'] / 1e6:,.0f}" if "update_flops" in row else None,
                    "seconds of pretraining": None if row.get("seconds") is None else f"{row['seconds']:,.0f}",
                    "loss": "\n".join(terms) or None,
                }
            ours = ENCODERS["ours"].loc[names]
            items = [Html("<li>{}: {}.</li>").format(NAMES[name], said) for name, said in ours[ours != ""].items()]
            parts.append(Html("<p>{}</p><ul>{}</ul>").format(text, Html("").join(items)))
            parts.append(Html('<p class="merit-caption">{}</p>').format(head) + facts(rows, f"{tag}-costs"))
        parts.append(source(about))
        # A table of means and one of differences for each metric.
        chosen = scores.scored(frame, **where)
        for metric in metrics:
            own, name = chosen[chosen["metric"] == metric], label(metric, "metric")
            means = scores.over_seeds(own, [by])
            pairs = scores.paired(own, [by], over="encoder_seed", family=["metric"])
            head = Html("<b>{}</b>, mean ± standard deviation over pretraining seeds, percent").format(name)
            parts.append(table(means, by, f"{tag}-{metric}", caption=head))
            if len(pairs):
                text = Html("<b>{}: MERIT minus …</b>, paired by seed, points; bold: beyond sampling error")
                look = {"rows": "other", "text": difference, "bold": scores.beyond_zero(pairs) != 0}
                parts.append(table(pairs, by, f"{tag}-{metric}-pairs", caption=text.format(name), **look))
                parts.append(Html('<p class="merit-note">{}</p>').format(count_beyond_zero(pairs)))
    return Html("").join(parts) if parts else absent(study, ws.synthetic)


def count_beyond_zero(pairs: pd.DataFrame) -> str:
    """`MERIT is ahead of CMA in 3 of 6, behind in 0; …, beyond sampling error (Holm over 30 differences).`"""
    sides, lines = scores.beyond_zero(pairs), []
    if not pairs["p"].notna().any():
        return f"{len(pairs)} differences, none with a p value: a single split, or a single seed, has no spread."
    for other, own in labelled(pairs).groupby("other", sort=True, observed=True):
        side = sides[own.index]
        lines.append(f"of {other} in {(side > 0).sum()} of {len(own)}, behind in {(side < 0).sum()}")
    first = label(pairs["encoder"].iloc[0], "encoder")
    of_all = f"beyond sampling error (Holm over {pairs['n_comparisons'].max()} differences)"
    return f"{first} is ahead {'; '.join(lines)}, {of_all}."
