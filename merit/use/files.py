"""`merit embed` and `merit classify`: many WFDB files into one table, in batches; what cannot be read is listed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from merit import runs
from merit.data.recording import RejectedRecording
from merit.data.wfdb_io import read_record
from merit.pretrain.checkpoint import finished
from merit.use.embedder import Embedder, load
from merit.use.reading import CHECKSUMS_DIFFER, Prepared, batched, in_threads, prepared

NOTICE = (
    "merit: scores are cosines of recording and text, no probabilities, and not comparable between classes; research "
    "only: not a medical device, and not for decisions about patients"
)
ENDINGS = (".csv", ".parquet")
ABOUT = ("record", "path", "fs_hz", "duration_s", "repaired", "checksums")
"""Columns before the numbers: name and path of the file, its own rate and length, samples of it that were repaired,
and whether its samples agree with its header's checksums (`CHECKSUMS`)."""
CHECKSUMS = {True: "agree", False: "differ", None: "none stated"}


class SomeUnread(RuntimeError):
    """Some files are not in the table; the message says how many and where they are listed."""

    exit_code = 1


def embed(
    files: Sequence[Path], out: Path, checkpoint: Path | None = None, *, device: str = "cpu", batch: int = 64
) -> int:
    """Write one row per file: `ABOUT`, then z0, z1, ... Returns how many; SomeUnread, once all is written, where files
    could not be read.
    """
    model = opened(out, checkpoint, device)
    return write_table(files, out, model, [f"z{i}" for i in range(model.width)], lambda z: z, batch)


def classify(
    files: Sequence[Path],
    out: Path,
    prompts: str = "superclass",
    checkpoint: Path | None = None,
    *,
    text_encoder: str | None = None,
    device: str = "cpu",
    batch: int = 64,
) -> int:
    """Write one row per file: `ABOUT`, then one column per class with its cosine. As `embed` otherwise."""
    model = opened(out, checkpoint, device, text_encoder)
    classes, score = model.scorer(prompts)
    if taken := sorted(set(classes) & set(ABOUT)):
        raise ValueError(f"prompts: expected classes called otherwise than the columns {', '.join(taken)}")
    print(NOTICE, file=sys.stderr)
    return write_table(files, out, model, classes, score, batch)


def opened(out: Path, checkpoint: Path | None, device: str, text_encoder: str | None = None) -> Embedder:
    """The model, the newest one of merit where none is given; a table that could not be written is refused before."""
    if out.suffix not in ENDINGS:
        raise ValueError(f"out: expected a file that ends in {' or '.join(ENDINGS)}; got {out}")
    if checkpoint is None:
        artifacts = runs.home() / "artifacts"
        there = [folder for folder in artifacts.glob("*/checkpoints/merit-seed*") if finished(folder)]
        if not there:
            raise FileNotFoundError(
                f"{artifacts}: expected a finished checkpoint of merit; make one or give --checkpoint"
            )
        checkpoint = max(there, key=lambda folder: (folder / "model.safetensors").stat().st_mtime)
        print(f"merit: {checkpoint}", file=sys.stderr)
    return load(checkpoint, device, text_encoder)


def write_table(
    files: Sequence[Path],
    out: Path,
    model: Embedder,
    columns: Sequence[str],
    values: Callable[[np.ndarray], np.ndarray],
    batch: int,
) -> int:
    """The table, in batches, under a temporary name and renamed; beside it `NAME.rejected.csv`, where files are not in
    it.
    """
    unread: list[tuple[str, str]] = []

    def rows(some: list[tuple[dict[str, Any], Prepared]]) -> pd.DataFrame:
        numbers = values(model.embed_prepared([item for _, item in some])).astype(np.float32)
        return pd.DataFrame([about for about, _ in some]).join(pd.DataFrame(numbers, columns=list(columns)))

    n_rows = 0
    with _table(out) as append:
        for part in in_threads(rows, batched(_readable(files, model, unread), batch)):
            append(part)
            n_rows += len(part)
    listed = out.with_name(f"{out.stem}.rejected.csv")
    listed.unlink(missing_ok=True)
    if unread:
        runs.write_text(listed, pd.DataFrame(unread, columns=["path", "reason"]).to_csv(index=False))
        raise SomeUnread(f"{len(unread)} of {len(files)} files are not in {out}; listed in {listed}")
    return n_rows


def _readable(
    files: Sequence[Path], model: Embedder, unread: list[tuple[str, str]]
) -> Iterator[tuple[dict[str, Any], Prepared]]:
    """What the table says about each file, and its signal; a file that cannot be read is said and noted."""
    for path in files:
        try:
            recording = read_record(path)
            item = next(prepared(recording, model.signal))
        except (RejectedRecording, OSError) as error:
            reason = str(error.__cause__ if isinstance(error.__cause__, RejectedRecording) else error)
            print(f"merit: {path}: {reason}", file=sys.stderr)
            unread.append((str(path), reason))
            continue
        done, checksums = item.outcome, CHECKSUMS[recording.checksums_agree]
        if done.checksums_differ:
            print(f"merit: {path}: {CHECKSUMS_DIFFER}", file=sys.stderr)
        about = (item.name, str(path), recording.fs_hz, done.source_duration_s, done.n_repaired, checksums)
        yield dict(zip(ABOUT, about)), item


@contextmanager
def _table(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """What appends tables of equal columns to a CSV or Parquet file, which is there once it is whole; without a row the
    file is what it was.
    """
    writer: pq.ParquetWriter | None = None
    with runs.written(path) as temporary, ExitStack() as opened:

        def append(part: pd.DataFrame) -> None:
            """Write more rows, in the first part's columns and types."""
            nonlocal writer
            if path.suffix == ".csv":
                begun = temporary.exists()
                part.to_csv(temporary, mode="a" if begun else "w", header=not begun, index=False)
                return
            rows = pa.Table.from_pandas(part, preserve_index=False)
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(temporary, rows.schema))
            writer.write_table(rows.cast(writer.schema))

        yield append
