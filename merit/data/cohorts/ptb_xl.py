"""PTB-XL 1.0.3: one table with reports, statements and official folds; every recording at 100 and at 500 Hz."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from typing import Any

from merit.data import taxonomy
from merit.data.cohorts.base import Cohort, Metadata, make_refs
from merit.data.paths import name_problem, shown
from merit.data.tables import age_years, number, read_table, whole_id

TABLE = "ptbxl_database.csv"
COLUMNS = ("ecg_id", "patient_id", "age", "sex", "report", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
SEX = {"0": "male", "1": "female"}
LOW_RATE_HZ = 100


class PtbXl(Cohort):
    """PTB-XL. All statements of a recording are labels, whatever their likelihood.

    `path` of a reference is the 100 Hz file, `path_500` the other. Read at 500 Hz unless at most 100 Hz are wanted;
    where one of the two files is not there, the other is read instead, whatever was wanted (its rate says so).
    """

    name = "ptb-xl"
    published_recordings = 21_799
    table_names = (TABLE,)
    waveform_folders = ("records100", "records500")
    path_columns = ("path", "path_500")
    official_folds = True

    def _load(self) -> Metadata:
        table, bad = read_table(self.root / TABLE, COLUMNS)
        parsed = [_codes(text) for text in table["scp_codes"]]
        folds = [_fold(text) for text in table["strat_fold"]]
        for column in ("filename_lr", "filename_hr"):  # as Windows writes them
            table[column] = [text.replace("\\", "/") for text in table[column]]
        refs = make_refs(
            {
                "record_id": [whole_id(text) for text in table["ecg_id"]],
                "patient_id": [whole_id(text) for text in table["patient_id"]],
                "path": table["filename_lr"].tolist(),
                "path_500": table["filename_hr"].tolist(),
                "report": table["report"].tolist(),
                "labels": [list(codes) for codes, _ in parsed],
                "fold": folds,
                "age": [age_years(text) for text in table["age"]],
                "sex": [SEX.get(whole_id(text)) for text in table["sex"]],
                "problem": [
                    problem
                    or _problem(row.patient_id, row.strat_fold, fold)
                    or (row.filename_hr and name_problem(row.filename_hr))
                    for row, fold, (_, problem) in zip(table.itertuples(index=False), folds, parsed)
                ],
            }
        )
        known = set(taxonomy.statements()["code"])
        unknown = Counter(code for codes in refs["labels"] for code in codes if code not in known)
        return Metadata(refs, bad, {"unknown_codes": dict(sorted(unknown.items()))})

    def readable_path(self, ref: Any, fs_hz: float | None = None) -> str:
        """The 100 Hz file if at most that is wanted, else the 500 Hz file; the other where the choice is not there."""
        order = self._paths(ref) if fs_hz is not None and fs_hz <= LOW_RATE_HZ else self._paths(ref)[::-1]
        there = {path: self._files_of(path) for path in order if path}
        whole = (path for path, files in there.items() if self._whole(files))
        return next(whole, next((path for path, files in there.items() if files), order[0]))


@functools.lru_cache(maxsize=1 << 14)  # the same few thousand combinations come again and again
def _codes(text: str) -> tuple[tuple[str, ...], str]:
    """The statements of a cell such as "{'NORM': 100.0, 'SR': 0.0}", and what is wrong with it."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return (), f"unparsable scp_codes: {shown(text)}"
    if not isinstance(value, dict) or not all(isinstance(code, str) for code in value):
        return (), f"unparsable scp_codes: {shown(text)}"
    return tuple(sorted(value)), ""


def _fold(text: str) -> int | None:
    value = number(text)
    return int(value) if value in range(1, 11) else None


def _problem(patient_id: str, fold_text: str, fold: int | None) -> str:
    if not patient_id:
        return "no patient id"
    return "" if fold is not None else f"invalid fold: {shown(fold_text)}, expected 1 to 10"
