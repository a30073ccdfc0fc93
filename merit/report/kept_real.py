"""What is kept on real recordings, as committed by `make reference`: the thesis figure, the table and the ceiling.

Two encoders are compared as on the page's own results: by their difference, paired by resample of the patients, seed by
seed, and by the one rule for what is more than chance (`intervals.told_apart`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from merit.report import kept_ceiling, kept_figures, reference
from merit.report.figures import Drawing
from merit.report.kept_claims import signed, signs_of
from merit.report.kept_figures import DECODERS
from merit.report.prose import Html, Sentence, listing
from merit.report.style import look

File = Mapping[str, Any]
NONE_YET = (
    "No numbers on real recordings are committed yet; `make reference DATA=folder` makes them, and so does this page "
    "with `data=folder`."
)
PARTS = (
    ("Reconstruction alone keeps more of what reports never name than alignment alone", "mse", "cma", "beyond"),
    ("Reconstruction beside alignment gives some of it back", "merit", "cma", "beyond"),
    ("It holds more of what the report says than reconstruction alone", "merit", "mse", "in_report"),
    ("It keeps more beyond the report than an encoder that has learnt nothing", "merit", "random", "beyond"),
)
"""What the thesis says of two encoders: the first has more of a measure."""


def load(profile: str, folder: Path | None = None) -> list[File]:
    """Committed files on real recordings: of this profile, else of others; [] where there are none."""
    return reference.load("kept", profile, False, folder)


def label(files: Sequence[File]) -> Html | Sentence:
    """Where they come from, and on what they were measured; one line where there are none."""
    return Html("").join(map(reference.label, files)) if files else Sentence(NONE_YET)


def measured_on(files: Sequence[File]) -> Sentence:
    """Recordings, patients, what failed, and which encoders have no numbers and why."""
    return Sentence("\n\n".join(kept_figures.missing(_results(file)) for file in files))


def thesis(files: Sequence[File]) -> Drawing | Html:
    """As `kept_figures.thesis`: a mark an encoder and pretraining seed; nothing where nothing is committed."""
    results = [one for file in files for one in _results(file)]
    return kept_figures.thesis(results) if kept_figures.found(results) else Html("")


def summary(files: Sequence[File]) -> Html:
    """As `kept_figures.summary`, of the first pretraining seed."""
    first = [one for file in files for one in _results(file) if one["values"].get("encoder_seed", 0) == 0]
    return kept_figures.summary(first, "kept-real-summary")


def ceiling(files: Sequence[File]) -> Html:
    """How far the measured factors can be trusted."""
    return Html("").join(kept_ceiling.table(file.get("ceiling", [])) for file in files)


def reading(files: Sequence[File]) -> Sentence:
    """The ceiling in words, then what of the thesis is seen, what is contradicted and what is not shown."""
    return Sentence("\n\n".join(f"{kept_ceiling.reading(f.get('ceiling', []))}\n\n{verdict(f)}" for f in files))


def verdict(file: File) -> str:
    """A line a part of the thesis. Seen: with both decoders, in every seed, the difference is the way it says."""
    every = [
        (part, decoder, one) for part in PARTS for decoder in DECODERS for one in _differences(file, *part[1:], decoder)
    ]
    sides = signs_of([one for _, _, one in every])
    lines = []
    for part in PARTS:
        text, first, second, _ = part
        signs, shown = [side for side, one in zip(sides, every) if one[0] == part], []
        for decoder, name in DECODERS.items():
            found = [one for of, by, one in every if (of, by) == (part, decoder)]
            if found:
                what = f"{look(first).label} − {look(second).label}"
                shown.append(f"{name}: {what} {listing(signed(one) for one in found)}")
        lines.append(f"- {text}: **{_word(signs)}**.{' ' + '; '.join(shown) + '.' if shown else ''}")
    head = "On real recordings, points with 95 % intervals; what counts is beyond sampling error, corrected for all of "
    return f"{head}them (Holm):\n\n" + "\n".join(lines)


def _results(file: File) -> list[dict[str, Any]]:
    return [{"values": row} for row in file["results"]]


def _differences(
    file: File, first: str, second: str, measure: str, decoder: str
) -> list[tuple[float, float, float]]:  # fmt: skip
    """First minus second with its interval, a pretraining seed after the other; the file has either order."""
    found = []
    for row in file.get("paired", []):
        if (row["decoder"], row["measure"]) == (decoder, measure):
            value, low, high = row["value"], row["low"], row["high"]
            if (row["first"], row["second"]) == (first, second):
                found.append((value, low, high))
            elif (row["first"], row["second"]) == (second, first):
                found.append((-value, -high, -low))
    return found


def _word(signs: Sequence[int]) -> str:
    if not signs:
        return "not measured"
    if set(signs) == {1}:
        return "seen"
    return "the opposite is seen" if set(signs) == {-1} else "not shown"
