"""Reports as text to align with. Their content comes from files of others: cleaned here, escaped where it is shown."""

from __future__ import annotations

import re
import unicodedata

STATEMENT_BREAK = "\n"
"""What separates the statements of one report before cleaning."""

MAX_CHARACTERS = 5000
"""A longer report is cut: the longest real ones have a few hundred characters."""

_EKG = re.compile(r"\bekg", re.IGNORECASE)
_SPACES = re.compile(r"\s+")


def clean(report: str) -> str:
    """One lower-case line: statements (lines of the input) joined by ", ", "EKG" as "ecg", marks and controls removed.

    Asterisks go everywhere; equal signs, dashes and commas at the ends of a statement, where devices leave them.
    """
    statements = (_clean_statement(line) for line in report[:MAX_CHARACTERS].split(STATEMENT_BREAK))
    return ", ".join(statement for statement in statements if statement)


def has_text(cleaned: str, min_words: int) -> bool:
    """Whether a cleaned report has enough words to take part in alignment."""
    return len(cleaned.split()) >= min_words


def _clean_statement(line: str) -> str:
    if not line.isascii() or not line.isprintable():
        line = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") else c for c in line)
    line = _SPACES.sub(" ", _EKG.sub("ECG", line.replace("*", " ")))
    return line.strip(" =-,;").lower()
