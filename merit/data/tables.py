"""Reading the data sets' CSV files: every cell as text, a broken row named instead of ending everything."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from merit.data.paths import shown

csv.field_size_limit(1 << 24)

AS_LATIN_1 = "merit-latin-1"
codecs.register_error(
    AS_LATIN_1, lambda found: (found.object[found.start : found.end].decode("cp1252", "replace"), found.end)
)


class BadTable(ValueError):
    """A table that is not what it should be; one line says what was expected where."""


def read_table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> tuple[pd.DataFrame, list[str]]:
    """The named columns of a CSV file as text ("" where empty, or where an optional column is missing), and bad rows.

    Bad rows as `iter_rows` names them. Raises BadTable if a column is missing.
    """
    bad: list[str] = []
    rows = list(iter_rows(path, columns, optional, bad))
    return pd.DataFrame(rows, columns=[*columns, *optional], dtype=object), bad


def iter_rows(path: Path, columns: Sequence[str], optional: Sequence[str], bad: list[str]) -> Iterator[list[str]]:
    """The cells of `columns` and `optional` of each row, in that order; `bad` collects what is left out.

    Bytes that are not UTF-8 are read as Windows-1252 (Latin-1), in which tables are often saved again. A row with
    another number of fields than the header is left out and named ("ptbxl_database.csv line 7: 3 fields, expected 28").
    """
    with path.open(encoding="utf-8-sig", errors=AS_LATIN_1, newline="") as file:
        reader = csv.reader(file)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise BadTable(f"{path}: expected the columns {', '.join(columns)}; line 1: {error}") from None
        missing = [name for name in columns if name not in header]
        if missing:
            raise BadTable(f"{path}: expected the columns {', '.join(missing)}; got {shown(', '.join(header), 200)}")
        places = [header.index(name) if name in header else None for name in (*columns, *optional)]
        for row in _whole_rows(reader, path, len(header), bad):
            yield ["" if place is None else row[place] for place in places]


def _whole_rows(reader: Iterator[list[str]], path: Path, n_fields: int, bad: list[str]) -> Iterator[list[str]]:
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            bad.append(f"{path.name} line {reader.line_num}: {error}")
            continue
        if len(row) == n_fields:
            yield row
        elif row:
            bad.append(f"{path.name} line {reader.line_num}: {len(row)} fields, expected {n_fields}")


def whole_id(text: str) -> str:
    """A number without the ".0" that pandas writes where a column had gaps; other text as it is."""
    digits = text.strip().removesuffix(".0")
    return digits if digits.isdecimal() else text


def number(text: str) -> float | None:
    """A finite number from a cell, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def age_years(text: str) -> float | None:
    """An age from a cell. 300, which PTB-XL writes for everybody above 89, becomes 90; what no age can be, None."""
    value = number(text)
    if value == 300:
        return 90.0
    return value if value is not None and 0 <= value <= 120 else None


def sex_name(text: str) -> str | None:
    """The words "female" and "male" from what data sets write, None for everything else."""
    return {"female": "female", "f": "female", "male": "male", "m": "male"}.get(text.strip().casefold())
