from __future__ import annotations

from pathlib import Path

import numpy as np

from merit.data.chunks import Outcome
from merit.data.journal import JOURNAL, Journal

REQUEST = {"cohort": "any", "limit": None}


def chunk(value: int, n: int) -> tuple[np.ndarray, list[Outcome]]:
    """A chunk with `n` stored recordings and one refused."""
    outcomes = [Outcome(digest=f"{value}", age=float(value)) for _ in range(n)] + [Outcome(reason="no samples")]
    return np.full((n, 12, 50), value, np.int16), outcomes


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
