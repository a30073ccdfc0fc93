"""Small WFDB trees, written byte by byte so that every kind of damage can be put into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from merit.data.recording import LEADS

PTB_XL_HEADER = b"ecg_id,patient_id,age,sex,height,report,scp_codes,strat_fold,filename_lr,filename_hr"
GOOD_REPORT = "sinus rhythm with normal axis"


def ecg_like(seed: int, n_samples: int = 1000, n_leads: int = 12) -> np.ndarray:
    """int16 [L, T], a bounded random walk: nothing flat, nothing repeated."""
    steps = np.random.default_rng(seed).normal(0, 20, (n_leads, n_samples)).cumsum(axis=1)
    return (steps - steps.mean(axis=1, keepdims=True)).clip(-30000, 30000).astype(np.int16)


def header(
    name: str, n_samples: int, *, fs: float | str, names: Sequence[str], gain: str, file: str, fmt: str = "16"
) -> str:
    lines = [f"{name} {len(names)} {fs} {n_samples}"]
    lines += [f"{file} {fmt} {gain} 16 0 0 0 0 {lead}" for lead in names]
    return "\n".join(lines) + "\n"


def put_record(
    folder: Path,
    name: str,
    digital: np.ndarray,
    *,
    fs: float | str = 100,
    names: Sequence[str] = LEADS,
    gain: str = "1000.0(0)/mV",
    file: str | None = None,
    comments: Sequence[str] = (),
) -> Path:
    """A format-16 record `folder/name.{hea,dat}` from int16 [L, T]; returns the header's path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = file or f"{name}.dat"
    if ".." not in file and not file.startswith("/"):
        (folder / file).write_bytes(np.ascontiguousarray(digital.T, dtype="<i2").tobytes())
    text = header(name, digital.shape[1], fs=fs, names=names, gain=gain, file=file)
    path = folder / f"{name}.hea"
    path.write_text(text + "".join(f"# {line}\n" for line in comments), encoding="utf-8")
    return path


class PtbXlTree:
    """A tree in PTB-XL's layout that grows row by row."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[bytes] = []
        self.folder = root / "records100" / "00000"
        self.folder.mkdir(parents=True)
        self.save()

    def add(
        self,
        ecg_id: int,
        digital: np.ndarray | None = None,
        *,
        patient: str | None = None,
        codes: str = "{'NORM': 100.0, 'SR': 0.0}",
        report: bytes = GOOD_REPORT.encode(),
        fold: str | None = None,
        path: str | None = None,
        age: str = "60.0",
        wave: bool = True,
        **record: object,
    ) -> Path:
        """A row and, with `wave`, its 100 Hz record; returns the header's path."""
        name = f"{ecg_id:05d}_lr"
        low, high = path or f"records100/00000/{name}", f"records500/00000/{ecg_id:05d}_hr"
        cells = [str(ecg_id), f"{patient or 1000 + ecg_id}.0", age, "1", ""]
        tail = [f'"{codes}"', fold or str(ecg_id % 10 + 1), low, high]
        self.rows.append(b",".join([*(c.encode() for c in cells), b'"' + report + b'"', *(t.encode() for t in tail)]))
        self.save()
        if wave:
            put_record(self.folder, name, ecg_like(ecg_id) if digital is None else digital, **record)
        return self.folder / f"{name}.hea"

    def save(self) -> None:
        (self.root / "ptbxl_database.csv").write_bytes(b"\n".join([PTB_XL_HEADER, *self.rows]) + b"\n")


@pytest.fixture
def make_ecg() -> Callable[..., np.ndarray]:
    return ecg_like


@pytest.fixture
def record_writer() -> Callable[..., Path]:
    return put_record


@pytest.fixture
def ptb_xl(tmp_path: Path) -> PtbXlTree:
    return PtbXlTree(tmp_path / "ptb-xl")
