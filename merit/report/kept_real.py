"""What is kept on real recordings, as committed by `make reference`: the thesis figure, the table and the ceiling.

Committed results hold no resamples, so two encoders are compared by whether their intervals lie apart, seed by seed:
a stricter test than the paired one of the page's own results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from merit.report import kept_ceiling, kept_figures, reference
from merit.report.figures import Drawing
from merit.report.kept_figures import DECODERS, cell
from merit.report.numerals import fixed
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
    return sum((reference.label(file) for file in files), Html("")) if files else Sentence(NONE_YET)


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
    return sum((kept_ceiling.table(file.get("ceiling", [])) for file in files), Html(""))


def reading(files: Sequence[File]) -> Sentence:
    """The ceiling in words, then what of the thesis is seen, what is contradicted and what is not shown."""
    return Sentence("\n\n".join(f"{kept_ceiling.reading(f.get('ceiling', []))}\n\n{verdict(f)}" for f in files))


def verdict(file: File) -> str:
    """A line a part of the thesis. Seen: with both decoders, in every seed, the intervals lie apart the way it says."""
    values = kept_figures.found(_results(file))
    lines = []
    for text, first, second, measure in PARTS:
        signs, shown = [], []
        for decoder, name in DECODERS.items():
            a, b = (_of(values, encoder, decoder, measure) for encoder in (first, second))
            signs += [_apart(a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())]
            if a.keys() & b.keys():
                shown.append(f"{name}: {look(first).label} {_seeds(a)}, {look(second).label} {_seeds(b)}")
        lines.append(f"- {text}: **{_word(signs)}**.{' ' + '; '.join(shown) + '.' if shown else ''}")
    return "On real recordings, numbers in percent:\n\n" + "\n".join(lines)


def _results(file: File) -> list[dict[str, Any]]:
    return [{"values": row} for row in file["results"]]


def _of(values: Sequence[Mapping[str, Any]], encoder: str, decoder: str, measure: str) -> dict[int, Mapping[str, Any]]:
    """Pretraining seed -> an encoder's number."""
    own = {one.get("encoder_seed", 0): one["summary"][decoder][measure] for one in values if one["encoder"] == encoder}
    return {seed: number for seed, number in own.items() if number["low"] is not None}


def _apart(a: Mapping[str, Any], b: Mapping[str, Any]) -> int:
    return 1 if a["low"] > b["high"] else -1 if a["high"] < b["low"] else 0


def _word(signs: Sequence[int]) -> str:
    if not signs:
        return "not measured"
    if set(signs) == {1}:
        return "seen"
    return "the opposite is seen" if set(signs) == {-1} else "not shown"


def _seeds(numbers: Mapping[int, Mapping[str, Any]]) -> str:
    """One number with its interval, or the mean over seeds and all of them."""
    if len(numbers) == 1:
        return cell(next(iter(numbers.values()))).replace("\n", " ")
    values = [100 * numbers[seed]["value"] for seed in sorted(numbers)]
    return f"{fixed(float(np.mean(values)), 1)} (seeds: {listing(fixed(value, 1) for value in values)})"
