"""Synthetic hospitals: four sites, each a genuine WFDB tree in the layout of one published data set.

`write_hospitals` samples who has what, generates each recording from its own seed (so that the number of processes does
not matter), writes the trees under a temporary name and renames them when they are complete. WFDB headers and sample
files are written as bytes: what wfdb reads back, many times faster than its writer.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from merit import runs
from merit.config import HospitalConfig
from merit.data import taxonomy
from merit.data.recording import LEADS
from merit.parallel import ordered_map
from merit.synthetic.labels import Order, column, plan_site, published, vocabulary
from merit.synthetic.recordings import SITES, Made, render

RECORD_FILE = "synthetic.json"
"""Beside SYNTHETIC.md: what a tree was made from."""
CHUNK = 25
"""Recordings that a worker makes at a time."""


def write_hospitals(folder: Path, config: HospitalConfig, progress: bool = True) -> dict[str, Path]:
    """Write every site of `config.recordings` as `folder/<data set>`; returns cohort name -> root.

    A site that is there from the same settings (of that site) and the same generator is kept as it is. Other processes
    wait for the one that is writing it.
    """
    for site in config.recordings:
        if site not in SITES:
            raise ValueError(f"unknown site {site!r} in HospitalConfig.recordings; known: {sorted(SITES)}")
    generator = runs.digest(runs.source_closure(["merit.synthetic.hospitals"]))
    roots = {site: folder / site for site in config.recordings}
    for site, root in roots.items():
        # what a site's tree depends on: its settings and the generator's own source
        settings = {key: value for key, value in asdict(config).items() if key not in ("recordings", "workers")}
        identity = {"site": site, "recordings": config.recordings[site], **settings, "generator": generator}
        if not is_complete(root, identity):
            with runs.claimed(root):
                if not is_complete(root, identity):
                    write_site(root, site, config, identity, progress)
    return roots


def is_complete(root: Path, identity: dict[str, Any]) -> bool:
    """Whether a site is there from these settings and this generator. Whoever reads its recordings checks them."""
    if not runs.sealed(root):
        return False
    runs.check(root, RECORD_FILE)
    return json.loads((root / RECORD_FILE).read_text(encoding="utf-8")) == identity


def write_site(root: Path, site: str, config: HospitalConfig, identity: dict[str, Any], progress: bool) -> None:
    """Write one site's tree under a temporary name and put it in its place."""
    orders = plan_site(site, config)
    chunks = [orders[k : k + CHUNK] for k in range(0, len(orders), CHUNK)]
    made: list[Made] = []
    with (
        runs.new_folder(root) as folder,
        tqdm(total=len(orders), desc=f"synthetic {site}", unit="rec", disable=not progress) as bar,
    ):
        work = partial(make_chunk, root=folder, omission=config.report_omission)
        for part in ordered_map(work, chunks, config.workers if len(chunks) > 2 else 1):
            made += part
            bar.update(len(part))
        TABLES[site](folder, made)
        rows = []
        for m in made:  # the hidden truth: identity, patient, findings (all, and named by the report), measurements
            record, patient, _ = names(m.order)
            row = {"record_id": record, "patient_id": patient}
            row |= {"age": m.order.age, "sex": "female" if m.order.female else "male"}
            rows.append(row | {"findings": sorted(m.order.findings), "named": m.named, **m.truth})
        pd.DataFrame(rows).to_parquet(folder / "truth.parquet", index=False)
        (folder / "SYNTHETIC.md").write_text(about(site, identity), encoding="utf-8")
        runs.write_json(folder / RECORD_FILE, identity)


def make_chunk(orders: list[Order], root: Path, omission: float) -> list[Made]:
    """Generate and write some recordings: what a worker does."""
    done = []
    for order in orders:
        made, signal_mv, fs_hz = render(order, omission)
        write_recording(root, order, signal_mv, fs_hz)
        done.append(made)
    return done


def left_out() -> dict[str, list[str]]:
    """What no synthetic recording has of PTB-XL's statements (all 71 are made) and of the conditions in CSN's table."""
    table = vocabulary()
    known = {"ptb-xl": taxonomy.statements()["code"], "csn": taxonomy.csn_conditions()["label"]}
    return {name: [label for label in labels if label not in set(table[name])] for name, labels in known.items()}


def left_out_in_words() -> str:
    """One sentence that names what no synthetic recording has."""
    ptb_xl, csn = (", ".join(names) or "none" for names in left_out().values())
    return (
        f"Left out of the synthetic hospitals: of PTB-XL's statements {ptb_xl}; of the conditions in CSN's table, "
        f"beyond the 38 that are scored, {csn}."
    )


def about(site: str, identity: dict[str, Any]) -> str:
    """Text of SYNTHETIC.md, which lies in every synthetic tree and says what it is."""
    lacking = left_out()
    return f"""# Synthetic recordings in the layout of {site}

None of these is a recording of a person. A model of the heart's electric vector made them, to show that the programs
around it work and to test a theory where the truth is known. Numbers obtained here say nothing about real hearts.

Made from: `{json.dumps(identity, sort_keys=True)}`

- `truth.parquet` holds what no report says: findings, those that the report names, heart rate, intervals (ms), axis
  (degrees, 0 left, 90 feet), amplitudes and ST level of each lead (mV, noise-free).
- Reports are in English everywhere; the real PTB-XL's are mostly German.
- Labels are what the generator was asked for. Severity varies, so some findings are borderline and cannot be seen, and
  some mild changes carry no label, as in real data.
- PTB-XL statements left out: {", ".join(lacking["ptb-xl"]) or "none"}. Conditions of the Chapman-Shaoxing-Ningbo table
  left out: {", ".join(lacking["csn"])}.
"""


# -- the four published layouts: where files lie, what headers say, which tables go with them -------------------------

INVALID = -32768
"""Format 16 keeps this value for a sample that is not valid; a signal is clipped above it."""


def names(order: Order) -> tuple[str, str, str]:
    """Ids of a recording and of its patient, and where its record lies, relative to the root and without extension.

    CPSC2018 and CSN publish no patient ids, so a recording's own stands for one.
    """
    number = order.index + 1
    match order.site:
        case "mimic-iv-ecg":
            subject, study = str(10_000_032 + 11 * order.patient), str(40_000_017 + 23 * order.index)
            return study, subject, f"files/p{subject[:4]}/p{subject}/s{study}/{study}"
        case "ptb-xl":  # at 100 Hz
            return str(number), str(302 + 7 * order.patient), f"records100/{number // 1000 * 1000:05d}/{number:05d}_lr"
        case "cpsc2018":  # as the challenge of 2020 converted it
            return f"A{number:04d}", f"A{number:04d}", f"training/cpsc_2018/g{1 + order.index // 1000}/A{number:04d}"
    folder = f"WFDBRecords/{1 + number // 1000:02d}/{10 + number // 100:03d}"
    return f"JS{number:05d}", f"JS{number:05d}", f"{folder}/JS{number:05d}"


def fast_path(order: Order) -> str:
    """Where PTB-XL's record at 500 Hz lies."""
    return names(order)[2].replace("records100", "records500").replace("_lr", "_hr")


def write_recording(root: Path, order: Order, signal_mv: np.ndarray, fs_hz: int) -> None:
    """The record of a recording [12, T], as its site lays it out; PTB-XL's at 100 Hz too.

    Int16 samples, those of all leads of an instant together (after a MATLAB header in a .mat file), and a header with
    gain, first value and checksum of each signal.
    """
    path, per_mv = root / names(order)[2], SITES[order.site].gain_per_mv
    leads, suffix, form, gain, comments = LEADS, ".dat", "16", "1000.0(0)", []
    records = [(path, signal_mv, fs_hz)]
    if order.site == "mimic-iv-ecg":  # has aVF before aVL
        rows, gain = [0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11], "200.0(0)"
        leads, records = [LEADS[k] for k in rows], [(path, signal_mv[rows], fs_hz)]
    elif order.site == "ptb-xl":
        leads = [lead.upper() for lead in LEADS]
        if fs_hz == 500:  # to 100 Hz: a low-pass at 40 Hz (windowed sinc, edges held), then one sample in five
            taps = np.arange(-60, 61)
            kernel = np.sinc(2 * 40 / 500 * taps) * np.hanning(len(taps) + 2)[1:-1]
            padded = np.pad(signal_mv, ((0, 0), (60, 60)), mode="edge")
            slow = np.stack([np.convolve(lead, kernel / kernel.sum(), "valid")[::5] for lead in padded])
            records = [(root / fast_path(order), signal_mv, fs_hz), (path, slow, 100)]
    else:  # as the challenges of 2020 and 2021 converted data sets: age, sex and diagnoses in the header
        suffix, form, gain = ".mat", "16+24", "1000" if order.site == "cpsc2018" else gain
        diagnoses = ",".join(diagnosis_of(order.site)[label] for label in site_labels(order))
        facts = {"Age": f"{order.age:.0f}", "Sex": "Female" if order.female else "Male", "Dx": diagnoses}
        facts |= dict.fromkeys(("Rx", "Hx", "Sx"), "Unknown")
        comments = [f"#{name}: {value}" for name, value in facts.items()]
    for path, signal, rate in records:
        samples = np.clip(np.rint(signal * per_mv), INVALID + 1, 32767).astype("<i2")
        body = np.ascontiguousarray(samples.T).tobytes()
        if suffix == ".mat":
            body = np.array([30, samples.shape[0], samples.shape[1], 0, 4], "<i4").tobytes() + b"val\0" + body
        lines = [f"{path.name} {len(leads)} {rate} {samples.shape[1]}"]
        for first, checksum, lead in zip(samples[:, 0], samples.sum(axis=1, dtype=np.int64) % 65536, leads):
            lines.append(f"{path.name}{suffix} {form} {gain}/mV 16 0 {first} {checksum} 0 {lead}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name + suffix).write_bytes(body)
        path.with_name(f"{path.name}.hea").write_text("\n".join([*lines, *comments]) + "\n", encoding="ascii")


def site_labels(order: Order) -> list[str]:
    """The labels that a site publishes; three at most in CPSC2018, as REFERENCE.csv has columns for."""
    labels = published(order.site, order.findings)
    return labels[:3] if order.site == "cpsc2018" else labels


@cache
def diagnosis_of(site: str) -> dict[str, str]:
    """Label -> what a header's Dx line calls it: a word in CPSC2018, a SNOMED code in CSN."""
    table = taxonomy.cpsc2018_classes() if site == "cpsc2018" else taxonomy.csn_conditions()
    return dict(zip(table["label"], table["word" if site == "cpsc2018" else "snomed"]))


def random_time(first: str, years: int, rng: np.random.Generator) -> str:
    """A second of the given years from an ISO time on, with a blank in place of the T."""
    return str(np.datetime64(first) + np.timedelta64(int(rng.integers(0, years * 365 * 86400)), "s")).replace("T", " ")


def mimic_tables(root: Path, made: list[Made]) -> None:
    """record_list.csv and machine_measurements.csv, these rounded to 2 ms and a little off, 29999 for nothing found."""
    listed, machine = [], []
    for m in made:
        date_rng, rng = (np.random.default_rng([m.order.record_seed, stream]) for stream in (3, 2))
        when = random_time("2150-01-01T00:00:00", 10, date_rng)
        study_id, subject_id, path = names(m.order)
        study = {"subject_id": subject_id, "study_id": study_id}
        listed.append(study | {"file_name": study_id, "ecg_time": when, "path": path})
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


AXES = {"LAD": (-30, 30), "MID": (30, 90), "RAD": (90, 120), "ARAD": (120, 180), "ALAD": (-90, -30), "AXR": (-181, -90)}
"""PTB-XL's names for half-open ranges of the axis, degrees."""
LIKELIHOODS, ODDS = (100.0, 80.0, 50.0, 35.0, 15.0), (0.72, 0.08, 0.12, 0.02, 0.06)
"""Of diagnoses in PTB-XL; rhythm and form carry 0, as in the real table."""


def ptb_xl_tables(root: Path, made: list[Made]) -> None:
    """ptbxl_database.csv with the real columns in their order, filled where something is known; scp_statements.csv."""
    statements = taxonomy.statements()
    infarcts = set(statements.loc[statements["superclass"] == "MI", "code"])
    kinds, codes = column("kind"), column("ptb-xl")
    rows = []
    for m in made:
        order, rng = m.order, np.random.default_rng([m.order.record_seed, 4])
        axis = next((name for name, (low, high) in AXES.items() if low <= m.truth["axis_deg"] < high), "")
        when = random_time("1984-11-01T08:00:00", 16, rng)
        infarct = infarcts.intersection(site_labels(order))
        _, patient, path = names(order)
        row = {"ecg_id": order.index + 1, "patient_id": float(patient), "age": order.age}
        row |= {"sex": int(order.female), "height": "", "weight": ""}
        row |= {"nurse": float(rng.integers(0, 12)), "site": float(rng.integers(0, 4)), "device": "synthetic"}
        row |= {"recording_date": when, "report": ", ".join(m.report).lower()}
        scp_codes = {
            codes[code]: float(rng.choice(LIKELIHOODS, p=ODDS)) if kind == "diagnosis" else 0.0
            for code, kind in kinds.items()
            if code in order.findings and codes[code]
        }
        row |= {"scp_codes": str(scp_codes), "heart_axis": axis}
        row |= {"infarction_stadium1": "unknown" if infarct else "", "infarction_stadium2": "", "validated_by": ""}
        row |= {"second_opinion": False, "initial_autogenerated_report": True, "validated_by_human": False}
        row |= dict.fromkeys(("baseline_drift", "static_noise", "burst_noise", "electrodes_problems"), "")
        row["extra_beats"] = "alles" if order.findings & {"PVC", "PAC", "BIGU", "TRIGU", "PRC(S)"} else ""
        row |= {"pacemaker": "ja, pacemaker" if "PACE" in order.findings else "", "strat_fold": order.fold}
        row |= {"filename_lr": path, "filename_hr": fast_path(order) if order.also_500_hz else ""}
        rows.append(row)
    pd.DataFrame(rows).to_csv(root / "ptbxl_database.csv", index=False)
    flags = {name: np.where(statements[name], "1.0", "") for name in ("diagnostic", "form", "rhythm")}
    table = {"": statements["code"], "description": statements["description"], **flags}
    table |= {"diagnostic_class": statements["superclass"], "diagnostic_subclass": statements["subclass"]}
    pd.DataFrame(table).to_csv(root / "scp_statements.csv", index=False)


def cpsc2018_tables(root: Path, made: list[Made]) -> None:
    """REFERENCE.csv, which has numbers for labels."""
    numbers = dict(taxonomy.cpsc2018_classes().set_index("label")["number"])
    columns = ("First_label", "Second_label", "Third_label")
    rows = []
    for m in made:
        row = {"Recording": names(m.order)[0], **dict.fromkeys(columns, "")}
        rows.append(row | dict(zip(columns, (numbers[label] for label in site_labels(m.order)))))
    pd.DataFrame(rows).to_csv(root / "REFERENCE.csv", index=False)


def csn_tables(root: Path, made: list[Made]) -> None:
    """ConditionNames_SNOMED-CT.csv."""
    table = taxonomy.csn_conditions()
    table = table.rename(columns={"label": "AcronymName", "description": "FullName", "snomed": "Snomed_CT"})
    columns = ["AcronymName", "FullName", "Snomed_CT"]
    table[columns].to_csv(root / "ConditionNames_SNOMED-CT.csv", index=False, encoding="utf-8-sig")


TABLES = {"mimic-iv-ecg": mimic_tables, "ptb-xl": ptb_xl_tables, "cpsc2018": cpsc2018_tables, "csn": csn_tables}
