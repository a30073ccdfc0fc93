"""The four published layouts, written: where files lie, what headers say, which tables go with them.

WFDB headers and sample files are written as bytes: what wfdb reads back, many times faster than its writer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from merit.data import taxonomy
from merit.data.recording import LEADS
from merit.synthetic.labels import Order, column, published
from merit.synthetic.recordings import SITES, Made

INVALID = -32768
"""Format 16 keeps this value for a sample that is not valid; a signal is clipped above it."""


def write_record(
    path: Path,
    signal_mv: np.ndarray,
    fs_hz: int,
    gain_per_mv: int,
    *,
    suffix: str = ".dat",
    form: str = "16",
    gain: str = "1000.0(0)",
    leads: tuple[str, ...] = LEADS,
    comments: tuple[str, ...] = (),
) -> None:
    """One record of int16 samples: `path.hea` with gain, first value and checksum of each signal, and `path` + suffix.

    signal_mv: [L, T], its rows called `leads`. Samples of all leads of an instant lie together; a .mat file begins with
    a MATLAB header. form and gain: as the header states them.
    """
    samples = np.clip(np.rint(signal_mv * gain_per_mv), INVALID + 1, 32767).astype("<i2")
    body = np.ascontiguousarray(samples.T).tobytes()
    if suffix == ".mat":
        body = np.array([30, samples.shape[0], samples.shape[1], 0, 4], "<i4").tobytes() + b"val\0" + body
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + suffix).write_bytes(body)
    lines = [f"{path.name} {len(leads)} {fs_hz} {samples.shape[1]}"]
    for first, checksum, lead in zip(samples[:, 0], samples.sum(axis=1, dtype=np.int64) % 65536, leads):
        lines.append(f"{path.name}{suffix} {form} {gain}/mV 16 0 {first} {checksum} 0 {lead}")
    path.with_name(f"{path.name}.hea").write_text("\n".join([*lines, *comments]) + "\n", encoding="ascii")


class MimicLayout:
    """files/pNNNN/pNNNNNNNN/sNNNNNNNN/NNNNNNNN, record_list.csv and machine_measurements.csv."""

    lead_order = (0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11)
    """MIMIC-IV-ECG has aVF before aVL."""

    def patient_id(self, order: Order) -> str:
        return str(10_000_032 + 11 * order.patient)

    def record_id(self, order: Order) -> str:
        return str(40_000_017 + 23 * order.index)

    def path(self, order: Order) -> str:
        """Of a record, relative to the root and without extension."""
        subject, study = self.patient_id(order), self.record_id(order)
        return f"files/p{subject[:4]}/p{subject}/s{study}/{study}"

    def record(self, root: Path, made: Made, signal_mv: np.ndarray, fs_hz: int) -> None:
        leads = tuple(LEADS[k] for k in self.lead_order)
        signal_mv = signal_mv[list(self.lead_order)]
        gain = SITES["mimic-iv-ecg"].gain_per_mv
        write_record(root / self.path(made.order), signal_mv, fs_hz, gain, leads=leads, gain="200.0(0)")

    def tables(self, root: Path, made: list[Made]) -> None:
        """The machine's measurements are rounded to 2 ms and a little off, 29999 where it found nothing."""
        listed, machine = [], []
        for m in made:
            date_rng, rng = (np.random.default_rng([m.order.record_seed, stream]) for stream in (3, 2))
            when = random_time("2150-01-01T00:00:00", 10, date_rng)
            study = {"subject_id": self.patient_id(m.order), "study_id": self.record_id(m.order)}
            place = {"file_name": study["study_id"], "ecg_time": when, "path": self.path(m.order)}
            listed.append(study | place)
            truth = {key: value + rng.normal(0, 5) for key, value in m.truth.items()}
            onset = 420.0 + rng.normal(0, 15)
            times_ms = {
                "rr_interval": 60_000 / m.truth["heart_rate_bpm"],
                "p_onset": onset - truth["pr_ms"],
                "p_end": onset - truth["pr_ms"] + truth["p_ms"],
                "qrs_onset": onset,
                "qrs_end": onset + truth["qrs_ms"],
                "t_end": onset + truth["qt_ms"],
            }
            row = {**study, "cart_id": 6_848_296, "ecg_time": when}
            row |= {f"report_{k}": m.report[k] if k < len(m.report) else "" for k in range(18)}
            row |= {"bandwidth": "0.005-150 Hz", "filtering": "60 Hz notch Baseline filter"}
            row |= {name: 29999 if np.isnan(ms) else int(round(ms / 2) * 2) for name, ms in times_ms.items()}
            machine.append(row | {"p_axis": 29999, "qrs_axis": round(truth["axis_deg"]), "t_axis": 29999})
        pd.DataFrame(listed).to_csv(root / "record_list.csv", index=False)
        pd.DataFrame(machine).to_csv(root / "machine_measurements.csv", index=False)


class PtbXlLayout:
    """records100 and, for a few, records500; ptbxl_database.csv and scp_statements.csv."""

    axes = (
        (-30, 30, "LAD"),
        (30, 90, "MID"),
        (90, 120, "RAD"),
        (120, 180, "ARAD"),
        (-90, -30, "ALAD"),
        (-181, -90, "AXR"),
    )
    """Half-open ranges in degrees of the axis and PTB-XL's names for them."""
    likelihoods, odds = (100.0, 80.0, 50.0, 35.0, 15.0), (0.72, 0.08, 0.12, 0.02, 0.06)
    """Of diagnoses; rhythm and form carry 0, as in the real table."""

    def patient_id(self, order: Order) -> str:
        return str(302 + 7 * order.patient)

    def record_id(self, order: Order) -> str:
        return str(order.index + 1)

    def path(self, order: Order, rate: int) -> str:
        """Of a record at 100 or 500 Hz, relative to the root and without extension."""
        number = order.index + 1
        return f"records{rate}/{number // 1000 * 1000:05d}/{number:05d}_{'lr' if rate == 100 else 'hr'}"

    def record(self, root: Path, made: Made, signal_mv: np.ndarray, fs_hz: int) -> None:
        leads = tuple(lead.upper() for lead in LEADS)
        gain = SITES["ptb-xl"].gain_per_mv
        for rate in {fs_hz, 100}:
            signal = signal_mv if rate == fs_hz else every_fifth(signal_mv)
            write_record(root / self.path(made.order, rate), signal, rate, gain, leads=leads)

    def tables(self, root: Path, made: list[Made]) -> None:
        """The real tables' columns in their order, filled where the synthetic site knows something."""
        statements = taxonomy.statements()
        infarcts = set(statements.loc[statements["superclass"] == "MI", "code"])
        kinds, names = column("kind"), column("ptb-xl")
        rows = []
        for m in made:
            order, rng = m.order, np.random.default_rng([m.order.record_seed, 4])
            axis = next((name for low, high, name in self.axes if low <= m.truth["axis_deg"] < high), "")
            when = random_time("1984-11-01T08:00:00", 16, rng)
            infarct = infarcts.intersection(published("ptb-xl", order.findings))
            row = {"ecg_id": order.index + 1, "patient_id": float(self.patient_id(order)), "age": order.age}
            row |= {"sex": int(order.female), "height": "", "weight": ""}
            row |= {"nurse": float(rng.integers(0, 12)), "site": float(rng.integers(0, 4)), "device": "synthetic"}
            row |= {"recording_date": when, "report": ", ".join(m.report).lower()}
            codes = [code for code in kinds if code in order.findings and names[code]]
            scp_codes = {
                names[code]: float(rng.choice(self.likelihoods, p=self.odds)) if kinds[code] == "diagnosis" else 0.0
                for code in codes
            }
            row |= {"scp_codes": str(scp_codes), "heart_axis": axis}
            row |= {"infarction_stadium1": "unknown" if infarct else "", "infarction_stadium2": "", "validated_by": ""}
            row |= {"second_opinion": False, "initial_autogenerated_report": True, "validated_by_human": False}
            row |= dict.fromkeys(("baseline_drift", "static_noise", "burst_noise", "electrodes_problems"), "")
            row["extra_beats"] = "alles" if order.findings & {"PVC", "PAC", "BIGU", "TRIGU", "PRC(S)"} else ""
            row |= {"pacemaker": "ja, pacemaker" if "PACE" in order.findings else "", "strat_fold": order.fold}
            row |= {"filename_lr": self.path(order, 100), "filename_hr": ""}
            if order.also_500_hz:
                row["filename_hr"] = self.path(order, 500)
            rows.append(row)
        pd.DataFrame(rows).to_csv(root / "ptbxl_database.csv", index=False)
        flags = {name: np.where(statements[name], "1.0", "") for name in ("diagnostic", "form", "rhythm")}
        table = {"": statements["code"], "description": statements["description"], **flags}
        table |= {"diagnostic_class": statements["superclass"], "diagnostic_subclass": statements["subclass"]}
        pd.DataFrame(table).to_csv(root / "scp_statements.csv", index=False)


class ChallengeLayout:
    """As the challenges of 2020 and 2021 converted data sets: format 16+24, age, sex and diagnoses in the header.

    A subclass names a recording, its folder, and what `#Dx:` lists.
    """

    gain = "1000.0(0)"

    def patient_id(self, order: Order) -> str:
        """The record's own, as no patient ids are published."""
        return self.record_id(order)

    def record(self, root: Path, made: Made, signal_mv: np.ndarray, fs_hz: int) -> None:
        order = made.order
        facts = {"Age": f"{order.age:.0f}", "Sex": "Female" if order.female else "Male"}
        facts |= {"Dx": ",".join(self.diagnoses(order))} | dict.fromkeys(("Rx", "Hx", "Sx"), "Unknown")
        comments = tuple(f"#{name}: {value}" for name, value in facts.items())
        path = root / self.folder(order) / self.record_id(order)
        per_mv = SITES[order.site].gain_per_mv
        write_record(path, signal_mv, fs_hz, per_mv, suffix=".mat", form="16+24", gain=self.gain, comments=comments)


class CpscLayout(ChallengeLayout):
    """training/cpsc_2018/gN/A0001 as converted in 2020: `#Dx:` in words, REFERENCE.csv with numbers."""

    gain = "1000"

    def __init__(self) -> None:
        classes = taxonomy.cpsc2018_classes().set_index("label")
        self.words, self.numbers = dict(classes["word"]), dict(classes["number"])

    def record_id(self, order: Order) -> str:
        return f"A{order.index + 1:04d}"

    def folder(self, order: Order) -> str:
        return f"training/cpsc_2018/g{1 + order.index // 1000}"

    def labels(self, order: Order) -> list[str]:
        """At most three, as REFERENCE.csv has columns for."""
        return published("cpsc2018", order.findings)[:3]

    def diagnoses(self, order: Order) -> list[str]:
        return [self.words[label] for label in self.labels(order)]

    def tables(self, root: Path, made: list[Made]) -> None:
        columns = ("First_label", "Second_label", "Third_label")
        rows = []
        for m in made:
            numbers = [self.numbers[label] for label in self.labels(m.order)]
            row = {"Recording": self.record_id(m.order), **dict.fromkeys(columns, "")}
            rows.append(row | dict(zip(columns, numbers)))
        pd.DataFrame(rows).to_csv(root / "REFERENCE.csv", index=False)


class CsnLayout(ChallengeLayout):
    """WFDBRecords/NN/NNN/JSNNNNN: SNOMED codes in `#Dx`, ConditionNames_SNOMED-CT.csv."""

    def __init__(self) -> None:
        self.codes = dict(taxonomy.csn_conditions().set_index("label")["snomed"])

    def record_id(self, order: Order) -> str:
        return f"JS{order.index + 1:05d}"

    def folder(self, order: Order) -> str:
        number = order.index + 1
        return f"WFDBRecords/{1 + number // 1000:02d}/{10 + number // 100:03d}"

    def diagnoses(self, order: Order) -> list[str]:
        return [self.codes[label] for label in published("csn", order.findings)]

    def tables(self, root: Path, made: list[Made]) -> None:
        table = taxonomy.csn_conditions()
        table = table.rename(columns={"label": "AcronymName", "description": "FullName", "snomed": "Snomed_CT"})
        columns = ["AcronymName", "FullName", "Snomed_CT"]
        table[columns].to_csv(root / "ConditionNames_SNOMED-CT.csv", index=False, encoding="utf-8-sig")


LAYOUTS = {
    "mimic-iv-ecg": MimicLayout(),
    "ptb-xl": PtbXlLayout(),
    "cpsc2018": CpscLayout(),
    "csn": CsnLayout(),
}
"""Site -> its layout: how the reader names a recording and its patient, how a recording and the tables are written."""


def every_fifth(signal_mv: np.ndarray) -> np.ndarray:
    """From 500 to 100 Hz: a low-pass at 40 Hz (windowed sinc, edges held), then one sample in five [L, T / 5]."""
    taps = np.arange(-60, 61)
    kernel = np.sinc(2 * 40 / 500 * taps) * np.hanning(len(taps) + 2)[1:-1]
    padded = np.pad(signal_mv, ((0, 0), (60, 60)), mode="edge")
    return np.stack([np.convolve(lead, kernel / kernel.sum(), "valid")[::5] for lead in padded])


def random_time(first: str, years: int, rng: np.random.Generator) -> str:
    """A second of the given years from an ISO time on, with a blank in place of the T."""
    return str(np.datetime64(first) + np.timedelta64(int(rng.integers(0, years * 365 * 86400)), "s")).replace("T", " ")
