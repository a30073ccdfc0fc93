from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from merit.data.chunks import Outcome, signal_digest
from merit.data.journal import JOURNAL, Journal

REQUEST = {"cohort": "any", "limit": None}


def chunk(value: int, n: int) -> tuple[np.ndarray, list[Outcome]]:
    """A chunk with `n` stored recordings and one refused."""
    signals = np.full((n, 12, 50), value, np.int16)
    outcomes = [Outcome(digest=signal_digest(signal), age=float(value)) for signal in signals]
    return signals, [*outcomes, Outcome(reason="no samples")]


def test_what_was_begun_is_taken_up_again_and_again(tmp_path: Path) -> None:
    for value in (1, 2, 3):
        with Journal.open(tmp_path, REQUEST, 50) as journal:
            assert journal.n_stored == 2 * (value - 1)
            assert len(journal.outcomes) == 3 * (value - 1)
            journal.append(*chunk(value, 2))
        with (tmp_path / JOURNAL).open("ab") as lines, (tmp_path / "signal_uv.npy").open("ab") as signals:
            lines.write(b'{"outcomes": [["half a li')
            signals.write(b"\x07" * 77)
    with Journal.open(tmp_path, REQUEST, 50) as journal:
        assert [outcome.age for outcome in journal.outcomes] == [1, 1, None, 2, 2, None, 3, 3, None]
        journal.finish()
    stored = np.load(tmp_path / "signal_uv.npy")
    assert stored.shape == (6, 12, 50)
    assert stored[:, 0, 0].tolist() == [1, 1, 2, 2, 3, 3]


def test_a_journal_without_its_signals_begins_anew(tmp_path: Path) -> None:
    with Journal.open(tmp_path, REQUEST, 50) as journal:
        journal.append(*chunk(1, 2))
    (tmp_path / "signal_uv.npy").write_bytes(b"short")
    with Journal.open(tmp_path, REQUEST, 50) as journal:
        assert journal.outcomes == []


def test_another_request_begins_anew_and_clears_the_folder(tmp_path: Path) -> None:
    with Journal.open(tmp_path, REQUEST, 50) as journal:
        journal.append(*chunk(1, 2))
    (tmp_path / "records.parquet").write_text("of the other")
    with Journal.open(tmp_path, REQUEST | {"limit": 3}, 50) as journal:
        assert journal.outcomes == []
        assert not (tmp_path / "records.parquet").exists()


@pytest.mark.parametrize("damaged", [JOURNAL, "signal_uv.npy"])
def test_from_what_is_not_as_it_was_written_on_all_is_done_again(tmp_path: Path, damaged: str) -> None:
    with Journal.open(tmp_path, REQUEST, 50) as journal:
        for value in (1, 2, 3):
            journal.append(*chunk(value, 2))
        end = {JOURNAL: (tmp_path / JOURNAL).read_bytes().rindex(b"[[") + 4, "signal_uv.npy": -7}[damaged]
    content = bytearray((tmp_path / damaged).read_bytes())
    content[end] ^= 1
    (tmp_path / damaged).write_bytes(content)
    with Journal.open(tmp_path, REQUEST, 50) as journal:
        assert [outcome.age for outcome in journal.outcomes] == [1, 1, None, 2, 2, None]
