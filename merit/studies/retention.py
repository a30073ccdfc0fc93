"""What an embedding retains of known factors beyond the report, how reliable measured factors are, and what changes it.

Factors of synthetic recordings are known since they were made; those of real ones are measured. Legend: N records of
the store, in its order.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from merit import runs, scores
from merit.config import folder_name, replace, without_text
from merit.data.store import Store
from merit.evaluate.retention import TRAINING_ONLY, Block, Question, RetentionConfig
from merit.evaluate.tasks import HELD_OUT, UNSEEN_FOLDS
from merit.parallel import usable_cores
from merit.studies.core import study
from merit.studies.workspace import remembered

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace

ENCODERS = ("merit", "cma", "ib", "mse", "random")
COHORT = "ptb-xl"  # the evaluated data set that has reports
FEWEST_STATED = 5  # reports that make a statement, under which it is no feature
AXIS = "axis deviation"
FINDINGS = {
    "atrial fibrillation": ("AFIB",),
    "sinus tachycardia": ("STACH",),
    "sinus bradycardia": ("SBRAD",),
    "premature ventricular beats": ("PVC",),
    "first degree AV block": ("1AVB",),
    "left bundle branch block": ("CLBBB",),
    "right bundle branch block": ("CRBBB",),
    AXIS: (),
    "left ventricular hypertrophy": ("LVH",),
    "inferior infarct": ("IMI",),
    "ST depression": ("STD_",),
}
"""Finding that reports name -> its codes; the axis deviates by its degrees."""
ALSO_STATED_AS = {
    AXIS: ("LAFB", "LPFB", "ALS", "ARS", "RVH", "left axis deviation", "right axis deviation"),
    "first degree AV block": ("LPR",),
    "left ventricular hypertrophy": ("VCLVH", "HVOLT"),
    "inferior infarct": ("ILMI", "IPMI", "IPLMI"),
}
"""Finding -> other statements that say it, so that a report with one of them is not silent on it."""


def _inputs(ws: Workspace, encoder: str, encoder_seed: int, **_: object) -> dict[str, str]:
    store, truth = ws.store(COHORT), ws.truth(COHORT)
    return {
        "store": store.identity,
        "embedding": ws.embedding_identity(encoder, COHORT, encoder_seed),
        "text": ws.text_identity,
        "factors": runs.file_digest(truth) if truth else measured_identity(store),
        "protocol": ws.protocol(COHORT),
    }


@study(
    over={"encoder": ENCODERS},
    needs=_inputs,
    config=lambda profile: RetentionConfig(n_resamples=profile.probe.n_resamples),
)
def retention(ws: Workspace, encoder: str, encoder_seed: int = 0, *, config: RetentionConfig) -> pd.DataFrame:
    """The rows of `evaluate.retention.measure`, and the mean partial R² beyond the frozen text encoder's embedding of
    the report (r2_partial_text).

    `source` says whether factors are known (truth) or measured. Measured, a report is its words and the codes that were
    taken from it, and no finding is scored as unstated: in PTB-XL a code is there because the report says so.
    """
    from merit.evaluate.retention import measure
    from merit.evaluate.tasks import refuse_seen

    asked = _asked(ws, config)
    question, scored = asked.question, asked.question.scored
    patients = asked.records["patient_id"][scored]
    n_seen = refuse_seen({(COHORT, patient) for patient in patients}, ws.seen(encoder, encoder_seed))
    embedding = ws.embedding(encoder, COHORT, encoder_seed)
    return pd.DataFrame(measure(embedding, question, asked.by_words, asked.by_text, config)).assign(
        cohort=COHORT,
        protocol=ws.protocol(COHORT),
        source=asked.source,
        n_records=int(scored.sum()),
        n_patients=len(np.unique(question.groups[scored])),
        n_seen=n_seen,
        n_features=asked.by_words[0].report.shape[1],
        n_failed=int((asked.table["heart_rate_bpm"].isna() & scored).sum()),
        n_scaled=int((~asked.on_one_scale & scored).sum()),
    )


# ------------------------------------------------------------------------------------------------- what is asked, once

NEEDED = ("heart_rate_bpm", "rr_rmssd_ms", "qrs_ms")
"""Measurements without which a delineation has failed, and none of that recording counts. P and T may be missing."""
COMPARES_LEADS = ("axis_deg", "_mv_")  # in names of columns that mean nothing where leads are not on one scale
NORMAL_AXIS = (-30.0, 90.0)  # degrees between which the axis does not deviate


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is known of each recording, what all encoders of a workspace are asked, and what reports alone say of it."""

    source: str
    """Of the factors. truth: as the synthetic hospitals wrote it down; measured: by delineation."""
    records: pd.DataFrame
    """The store's rows."""
    table: pd.DataFrame
    """One row per record, columns as `synthetic.truth` names them; NaN: not measured, or without meaning."""
    on_one_scale: np.ndarray
    """bool [N]: records whose leads can be compared with each other."""
    question: Question
    by_words: list[Block]
    by_text: list[Block]


@remembered(1)  # reports are decoded once for all encoders of a workspace
def _asked(ws: Workspace, config: RetentionConfig) -> Asked:
    from merit.evaluate.information import fold_of
    from merit.evaluate.retention import blocks, words
    from merit.evaluate.retention_factors import continuous, on_one_scale
    from merit.synthetic.labels import statements

    # Factors, what is there, and what each report states: known from the truth, or measured and taken from the codes.
    store, truth = ws.store(COHORT), ws.truth(COHORT)
    records = store.records
    reports = records["report"].tolist()
    table = measured_factors(ws) if truth is None else pd.read_parquet(truth)
    table.index = table["record_id"].astype(str)
    table = table.loc[records["record_id"].astype(str)].reset_index(drop=True)
    if truth is not None:
        one_scale, in_words = np.ones(len(records), bool), np.zeros((len(records), 0), np.uint8)
        present = [frozenset(codes) for codes in table["findings"]]
        said = [frozenset(statements(report)) for report in reports]
    else:
        one_scale, in_words = on_one_scale(store.signal_uv), words(reports, FEWEST_STATED)
        numbers = table.columns.drop("record_id")
        table.loc[table[list(NEEDED)].isna().any(axis=1), numbers] = np.nan
        table.loc[~one_scale, [name for name in numbers if any(part in name for part in COMPARES_LEADS)]] = np.nan
        present = said = [frozenset(labels) for labels in records["labels"]]
    stated = {
        name: np.array([name in of_report for of_report in said], dtype=bool)
        for name in sorted(frozenset().union(*said))
    }
    findings, silent, axis = {}, {}, table["axis_deg"].to_numpy(np.float64)
    for name, codes in FINDINGS.items():
        if name == AXIS and truth is None:
            continue  # asked in degrees alone: no code of PTB-XL says it
        if name == AXIS:
            findings[name] = (axis < NORMAL_AXIS[0]) | (axis > NORMAL_AXIS[1])
        else:
            findings[name] = np.array([bool(there & set(codes)) for there in present], dtype=bool)
        said_as = set(codes) | set(ALSO_STATED_AS.get(name, ()))
        leaves_out = truth is not None  # measured: what is there is what the report states
        silent[name] = np.array([leaves_out and not of_report & said_as for of_report in said], dtype=bool)

    groups = records["group"].astype(str).to_numpy()
    if ws.protocol(COHORT) in HELD_OUT:
        official = records["fold"].to_numpy()
        folds = np.full(len(groups), TRAINING_ONLY)
        for k, fold in enumerate(UNSEEN_FOLDS):
            folds[official == fold] = k
    else:
        folds = fold_of(groups, config.folds, config.seed)
    question = Question(continuous(table), findings, silent, stated, groups, folds)

    # A report as its words and statements, and as the frozen text encoder embeds it.
    columns = [states for states in stated.values() if states.sum() >= FEWEST_STATED]
    by_words = blocks(question, np.column_stack([in_words, *columns]).astype(np.uint8), seed=config.seed)
    distinct, place = np.unique(np.array(reports, dtype=object), return_inverse=True)
    embedded = ws.text_embeddings(distinct.tolist())[place]
    by_text = blocks(question, embedded, standardise=True, findings=False, seed=config.seed)
    return Asked("measured" if truth is None else "truth", records, table, one_scale, question, by_words, by_text)


# -------------------------------------------------------------------------- factors that are measured, and how reliably


def measured_identity(store: Store) -> str:
    """Of the table of a store's measured factors: its signals, the library and our code around it."""
    library = {"neurokit2": importlib.metadata.version("neurokit2")}
    return runs.identity("measured", library, {"store": store.identity}, ["merit.evaluate.retention_factors"])


def measured_factors(ws: Workspace, cohort: str = COHORT, progress: bool = True) -> pd.DataFrame:
    """One row per record, with its record_id and the columns of `synthetic.truth`; NaN: not measured.

    Delineated once, which takes a tenth of a second of a core a recording, and read from then on.
    """
    store = ws.store(cohort)
    key = measured_identity(store)
    path = ws.folder / "measured" / f"{cohort}-{key}.parquet"

    def make() -> None:
        from merit.evaluate.retention_factors import measure_recordings

        table = measure_recordings(store.signal_uv, store.fs_hz, usable_cores(), progress)
        table.insert(0, "record_id", store.records["record_id"].astype(str).to_numpy())
        with runs.new_file(path) as made:
            table.to_parquet(made, index=False)

    runs.once(path, make)
    ws.used[f"delineation {cohort}"] = {"id": key, "device": "cpu"}
    return pd.read_parquet(path)


def _ludb(ws: Workspace) -> Path:
    """LUDB's folder; Unavailable where there is none beside the other data."""
    if ws.data is None or not (ws.data / "ludb" / "data").is_dir():
        raise runs.Unavailable("LUDB, with whose manual marks measured factors are compared, is not beside other data")
    return ws.data / "ludb"


def _reliability_inputs(ws: Workspace, **_: object) -> dict[str, str]:
    files = sorted(path for path in (_ludb(ws) / "data").iterdir() if path.is_file() and path.name[0] != ".")
    return {
        "neurokit2": importlib.metadata.version("neurokit2"),
        "ludb": runs.digest([runs.file_digest(path) for path in files]),
    }


@study(over={}, needs=_reliability_inputs)
def reliability(ws: Workspace, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How well measured factors agree with LUDB's manual marks, with 95 % intervals over records: bias, sd and r2, one
    row each per delineator (fs_hz, method, own_qrs) and factor (`evaluate.retention.agreement`).
    """
    from merit.evaluate.retention import measure_agreement

    rows = measure_agreement(_ludb(ws), n_resamples=n_resamples, seed=seed, workers=usable_cores())
    metrics = [(row, metric, row.pop(metric)) for row in rows for metric in ("bias", "sd", "r2")]
    return pd.DataFrame([{**row, "metric": metric, **number} for row, metric, number in metrics])


# --------------------------------------------------------------------------------------- committed, and what changes it


def differences(result: pd.DataFrame, by: str) -> pd.DataFrame:
    """Each encoder minus each later one in every summary, paired by half of the patients; rows of kind "difference".

    by: the column within which encoders are compared, besides pretraining seed and decoder.
    """
    summary = scores.scored(result, kind="summary")
    pairs = []
    for seed, of_seed in summary.groupby("encoder_seed", sort=False):
        names = list(dict.fromkeys(of_seed["encoder"]))
        for k, first in enumerate(names):
            own = of_seed[of_seed["encoder"].isin(names[k:])]
            pairs.append(scores.paired(own, [by, "decoder"], first=first).assign(encoder_seed=seed))
    columns = [
        "study",
        "encoder_seed",
        "kind",
        by,
        "decoder",
        "metric",
        "encoder",
        "other",
        "value",
        "low",
        "high",
        "n",
    ]
    if not pairs:
        return pd.DataFrame(columns=columns)
    return pd.concat(pairs).assign(study="retention", kind="difference")[columns].dropna(subset="low")


SHARES = (0.0, 0.3, 0.6, 1.0)
"""Shares of a recording's findings that its report leaves out (`HospitalConfig.report_omission`)."""
PRETRAINED_ON = "mimic-iv-ecg"  # the site whose reports change
MADE, RECORDED = "synthetic hearts", "real hearts"


def report_omission(ws: Workspace, encoders: Sequence[str], *, encoder_seed: int = 0) -> pd.DataFrame:
    """`retention` at each share of findings that reports of pretraining leave out (column share); encoders that read
    no reports once, at the usual share.

    The same hearts are pretrained on at every share, and the same recordings with their usual reports are evaluated.
    Recordings that are brought along have no such dial: no row.
    """
    if ws.data is not None:
        return scores.frame([])
    usual = ws.profile.hospitals.report_omission
    readers = [name for name in encoders if name != "random" and not without_text(name)]
    others = [name for name in encoders if name not in readers]
    results = [retention(ws, others, encoder_seed=encoder_seed).assign(share=usual)]
    for share in SHARES:
        where = ws if share == usual else _with_reports(ws, share)
        where.checkpoints(readers, (encoder_seed,))
        results.append(retention(where, readers, encoder_seed=encoder_seed).assign(share=share))
    return pd.concat(results, ignore_index=True)


def _with_reports(ws: Workspace, share: float) -> Workspace:
    """The workspace with encoders pretrained where reports leave out `share`; those hospitals lie beside its folder."""
    hospitals = ws.profile.hospitals
    only = {PRETRAINED_ON: hospitals.recordings[PRETRAINED_ON]}
    profile = replace(ws.profile, hospitals=replace(hospitals, recordings=only, report_omission=share))
    folder = ws.folder.with_name(f"{ws.folder.name}-left-out-{share:g}")
    origin = dataclasses.replace(ws, profile=profile, data=None, folder=folder, used={})
    return dataclasses.replace(ws, origin=origin, used={})


def synthetic_to_real(ws: Workspace, encoders: Sequence[str], *, encoder_seed: int = 0) -> pd.DataFrame:
    """`retention` on real recordings, of encoders pretrained on them and on synthetic hospitals (column hearts).

    Both are scored on the same recordings, unseen in pretraining. Synthetic recordings have nothing to carry over to:
    no row.
    """
    if ws.synthetic:
        return scores.frame([])
    folder = ws.folder.with_name(folder_name(ws.profile, None))
    made = dataclasses.replace(ws, data=None, folder=folder, used={})
    trained = [name for name in encoders if name != "random"]
    made.checkpoints(trained, (encoder_seed,))
    both = ((RECORDED, ws, encoders), (MADE, dataclasses.replace(ws, origin=made, used={}), trained))
    results = [retention(at, names, encoder_seed=encoder_seed).assign(hearts=hearts) for hearts, at, names in both]
    return pd.concat(results, ignore_index=True)


def to_commit(result: pd.DataFrame, by: str, *more: pd.DataFrame) -> pd.DataFrame:
    """The scores of one pretraining seed as they are committed, their differences beside them; no row where none is."""
    return pd.concat([result, differences(result, by), *more], ignore_index=True) if len(result) else result
