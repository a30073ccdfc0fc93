"""The four published layouts, written: where files lie, what headers say, which tables go with them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from merit.data import taxonomy
from merit.data.recording import LEADS
from merit.synthetic import ptb_xl_table
from merit.synthetic.labels import published
from merit.synthetic.orders import Made, Order
from merit.synthetic.wfdb_files import every_fifth, header, quantise, write_samples

MIMIC_ORDER = (0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11)
"""MIMIC-IV-ECG has aVF before aVL."""


class Layout(Protocol):
    """How one data set lies on disk."""

    def folders(self, root: Path, orders: list[Order]) -> None:
        """Make all folders, so that workers need not."""

    def record(self, root: Path, made: Made, signal_mv: np.ndarray, fs_hz: int) -> None:
        """Write one recording."""

    def tables(self, root: Path, made: list[Made]) -> None:
        """Write the metadata."""

    def record_id(self, order: Order) -> str:
        """As the reader names it."""

    def patient_id(self, order: Order) -> str:
        """As the reader names it."""


def _write(folder: Path, name: str, signal_mv: np.ndarray, fs_hz: int, per_mv: int, *, suffix: str = ".dat",
           leads: tuple[str, ...] = LEADS, **options: Any) -> None:  # fmt: skip
    samples = quantise(signal_mv, per_mv)
    write_samples(folder / f"{name}{suffix}", samples, matlab=suffix == ".mat")
    text = header(name, suffix, fs_hz, samples, leads, **options)
    (folder / f"{name}.hea").write_text(text, encoding="ascii")


class MimicLayout:
    """files/pNNNN/pNNNNNNNN/sNNNNNNNN/NNNNNNNN, record_list.csv and machine_measurements.csv."""

    gain = 200

    def patient_id(self, order: Order) -> str:
        return str(10_000_032 + 11 * order.patient)

    def record_id(self, order: Order) -> str:
        return str(40_000_017 + 23 * order.index)

    def path(self, order: Order) -> str:
        subject, study = self.patient_id(order), self.record_id(order)
        return f"files/p{subject[:4]}/p{subject}/s{study}/{study}"

    def folders(self, root: Path, orders: list[Order]) -> None:
        for order in orders:
            (root / self.path(order)).parent.mkdir(parents=True)

    def record(self, root: Path, made: Made, signal_mv: np.ndarray, fs_hz: int) -> None:
        path = root / self.path(made.order)
        order = list(MIMIC_ORDER)
        leads = tuple(LEADS[k] for k in order)
        _write(path.parent, path.name, signal_mv[order], fs_hz, self.gain, leads=leads, gain="200.0(0)")

    def tables(self, root: Path, made: list[Made]) -> None:
        """`record_list.csv` and `machine_measurements.csv`."""
        identity = [
            {"subject_id": self.patient_id(o), "study_id": self.record_id(o), "ecg_time": _date(o, 2150)}
            for o in (m.order for m in made)
        ]
        places = [{"file_name": row["study_id"], "path": self.path(m.order)} for row, m in zip(identity, made)]
        listed = pd.DataFrame([row | place for row, place in zip(identity, places)])
        columns = ["subject_id", "study_id", "file_name", "ecg_time", "path"]
        listed[columns].to_csv(root / "record_list.csv", index=False)
        rows = [self._machine(row, m) for row, m in zip(identity, made)]
        pd.DataFrame(rows).to_csv(root / "machine_measurements.csv", index=False)

    def _machine(self, row: dict[str, str], made: Made) -> dict[str, Any]:
        """A row of the machine's measurements: rounded to 2 ms and a little off, 29999 where it found nothing."""
        rng = np.random.default_rng([made.order.record_seed, 2])
        truth = {key: value + rng.normal(0, 5) for key, value in made.truth.items()}

        def rounded(value: float) -> int:
            return 29999 if np.isnan(value) else int(round(value / 2) * 2)

        onset = 420.0 + rng.normal(0, 15)
        reports = {f"report_{k}": made.report[k] if k < len(made.report) else "" for k in range(18)}
        return {
            "subject_id": row["subject_id"], "study_id": row["study_id"], "cart_id": 6_848_296,
            "ecg_time": row["ecg_time"], **reports,
            "bandwidth": "0.005-150 Hz", "filtering": "60 Hz notch Baseline filter",
            "rr_interval": rounded(60_000 / made.truth["heart_rate_bpm"]), "p_onset": rounded(onset - truth["pr_ms"]),
            "p_end": rounded(onset - truth["pr_ms"] + truth["p_ms"]), "qrs_onset": rounded(onset),
            "qrs_end": rounded(onset + truth["qrs_ms"]), "t_end": rounded(onset + truth["qt_ms"]), "p_axis": 29999,
            "qrs_axis": round(truth["axis_deg"]), "t_axis": 29999,
        }  # fmt: skip


class PtbXlLayout:
    """records100 and, for a few, records500; ptbxl_database.csv and scp_statements.csv."""

    gain = 1000
    leads = tuple(lead.upper() for lead in LEADS)

    def patient_id(self, order: Order) -> str:
        return str(302 + 7 * order.patient)

    def record_id(self, order: Order) -> str:
        return str(order.index + 1)

    def path(self, order: Order, rate: int) -> str:
        number = order.index + 1
        return f"records{rate}/{number // 1000 * 1000:05d}/{number:05d}_{'lr' if rate == 100 else 'hr'}"

    def folders(self, root: Path, orders: list[Order]) -> None:
        for order in orders:
            for rate in (100, 500) if order.also_500_hz else (100,):
                (root / self.path(order, rate)).parent.mkdir(parents=True, exist_ok=True)

    def record(self, root: Path, made: Made, signal_mv: np.ndarray, fs_hz: int) -> None:
        for rate in {fs_hz, 100}:
            path = root / self.path(made.order, rate)
            signal = signal_mv if rate == fs_hz else every_fifth(signal_mv)
            _write(path.parent, path.name, signal, rate, self.gain, leads=self.leads)

    def tables(self, root: Path, made: list[Made]) -> None:
        """The data set's own tables."""
        rows = [
            ptb_xl_table.row(m, self.patient_id(m.order), self.path(m.order, 100), self.path(m.order, 500))
            for m in made
        ]
        pd.DataFrame(rows).to_csv(root / "ptbxl_database.csv", index=False)
        ptb_xl_table.statements().to_csv(root / "scp_statements.csv", index=False)


class CpscLayout:
    """training/cpsc_2018/gN/A0001 as converted in 2020: format 16+24, `#Dx:` in words, REFERENCE.csv with numbers."""

    gain = 1000

    def record_id(self, order: Order) -> str:
        return f"A{order.index + 1:04d}"

    patient_id = record_id

    def folder(self, order: Order) -> str:
        return f"training/cpsc_2018/g{1 + order.index // 1000}"

    def folders(self, root: Path, orders: list[Order]) -> None:
        for folder in {self.folder(order) for order in orders}:
            (root / folder).mkdir(parents=True)

    def labels(self, order: Order) -> list[str]:
        """At most three, as REFERENCE.csv has columns for."""
        return published("cpsc2018", order.findings)[:3]

    def record(self, root: Path, made: Made, signal_mv: np.ndarray, fs_hz: int) -> None:
        """One record, labels in its header."""
        order, words = made.order, _cpsc_column("word")
        comments = (
            f"#Age: {order.age:.0f}", f"#Sex: {'Female' if order.female else 'Male'}",
            "#Dx: " + ",".join(words[label] for label in self.labels(order)),
            "#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown",
        )  # fmt: skip
        _write(root / self.folder(order), self.record_id(order), signal_mv, fs_hz, self.gain, suffix=".mat",
               form="16+24", gain="1000", comments=comments)  # fmt: skip

    def tables(self, root: Path, made: list[Made]) -> None:
        """The data set's own tables."""
        numbers = _cpsc_column("number")
        columns = ("First_label", "Second_label", "Third_label")
        rows = [
            {"Recording": self.record_id(m.order), **dict.fromkeys(columns, "")}
            | dict(zip(columns, (numbers[label] for label in self.labels(m.order))))
            for m in made
        ]
        pd.DataFrame(rows).to_csv(root / "REFERENCE.csv", index=False)


class CsnLayout:
    """WFDBRecords/NN/NNN/JSNNNNN: format 16+24, SNOMED codes in `#Dx`, ConditionNames_SNOMED-CT.csv."""

    gain = 1000

    def record_id(self, order: Order) -> str:
        return f"JS{order.index + 1:05d}"

    patient_id = record_id

    def folder(self, order: Order) -> str:
        number = order.index + 1
        return f"WFDBRecords/{1 + number // 1000:02d}/{10 + number // 100:03d}"

    def folders(self, root: Path, orders: list[Order]) -> None:
        for folder in {self.folder(order) for order in orders}:
            (root / folder).mkdir(parents=True)

    def record(self, root: Path, made: Made, signal_mv: np.ndarray, fs_hz: int) -> None:
        """One record, SNOMED codes in its header."""
        order, codes = made.order, _csn_codes()
        comments = (
            f"#Age: {order.age:.0f}", f"#Sex: {'Female' if order.female else 'Male'}",
            "#Dx: " + ",".join(codes[label] for label in published("csn", order.findings)),
            "#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown",
        )  # fmt: skip
        _write(root / self.folder(order), self.record_id(order), signal_mv, fs_hz, self.gain, suffix=".mat",
               form="16+24", comments=comments)  # fmt: skip

    def tables(self, root: Path, made: list[Made]) -> None:
        table = taxonomy.csn_conditions()
        table = table.rename(columns={"label": "AcronymName", "description": "FullName", "snomed": "Snomed_CT"})
        columns = ["AcronymName", "FullName", "Snomed_CT"]
        table[columns].to_csv(root / "ConditionNames_SNOMED-CT.csv", index=False, encoding="utf-8-sig")


@cache
def _cpsc_column(column: str) -> dict[str, str]:
    """A column of the table of CPSC2018's classes by label."""
    return dict(taxonomy.cpsc2018_classes().set_index("label")[column])


@cache
def _csn_codes() -> dict[str, str]:
    """SNOMED code by acronym."""
    return dict(taxonomy.csn_conditions().set_index("label")["snomed"])


LAYOUTS: dict[str, Layout] = {
    "mimic-iv-ecg": MimicLayout(),
    "ptb-xl": PtbXlLayout(),
    "cpsc2018": CpscLayout(),
    "csn": CsnLayout(),
}


def _date(order: Order, year: int) -> str:
    rng = np.random.default_rng([order.record_seed, 3])
    day = np.datetime64(f"{year}-01-01T00:00:00") + np.timedelta64(int(rng.integers(0, 10 * 365 * 86400)), "s")
    return str(day).replace("T", " ")
