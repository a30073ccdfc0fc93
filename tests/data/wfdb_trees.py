"""Small WFDB records and trees, written byte by byte so that every kind of damage can be put into them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from merit.data.recording import LEADS

COLUMNS = b"ecg_id,patient_id,age,sex,height,report,scp_codes,strat_fold,filename_lr,filename_hr"


def make_ecg(seed: int, n_samples: int = 1000, n_leads: int = 12) -> np.ndarray:
    """int16 [L, T], a bounded random walk: nothing flat, nothing repeated."""
    steps = np.random.default_rng(seed).normal(0, 20, (n_leads, n_samples)).cumsum(axis=1)
    return (steps - steps.mean(axis=1, keepdims=True)).clip(-30000, 30000).astype(np.int16)


def put_record(
    folder: Path,
    name: str,
    digital: np.ndarray,
    *,
    fs: float | str = 100,
    names: Sequence[str] = LEADS,
    gain: str = "1000.0(0)/mV",
    fmt: str = "16",
    raw: bytes | None = None,
    sums: Sequence[int] | None = None,
    initial: int = 0,
    record: str | None = None,
    comments: Sequence[str] = (),
) -> Path:
    """The record `folder/name.{hea,dat}` from [L, T], in format 16 unless fmt and raw say otherwise; its header's path.

    record: the first line, if it is not the usual one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    body = np.ascontiguousarray(digital.T).astype("<i2").tobytes() if raw is None else raw
    (folder / f"{name}.dat").write_bytes(body)
    lines = [record or f"{name} {len(names)} {fs} {digital.shape[1]}"]
    for lead, checksum in zip(names, sums or [0] * len(names)):
        lines.append(f"{name}.dat {fmt} {gain} 16 0 {initial} {checksum} 0 {lead}")
    path = folder / f"{name}.hea"
    path.write_text("\n".join([*lines, *(f"# {line}" for line in comments)]) + "\n", encoding="utf-8")
    return path


class PtbXlTree:
    """A tree in PTB-XL's layout that grows row by row."""

    def __init__(self, root: Path) -> None:
        self.root, self.rows = root, list[bytes]()
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
        report: bytes = b"sinus rhythm with normal axis",
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
            put_record(self.folder, name, make_ecg(ecg_id) if digital is None else digital, **record)
        return self.folder / f"{name}.hea"

    def save(self) -> None:
        (self.root / "ptbxl_database.csv").write_bytes(b"\n".join([COLUMNS, *self.rows]) + b"\n")


def put_csn(root: Path, *numbers: int, dx: str = "426783006", n_samples: int = 1000) -> Path:
    """Records JS0000N in CSN's layout; returns their folder."""
    for number in numbers:
        folder = root / "csn/WFDBRecords/01/010"
        put_record(folder, f"JS{number:05d}", make_ecg(number, n_samples), fs=500, comments=[f"Dx: {dx}"])
    return folder
