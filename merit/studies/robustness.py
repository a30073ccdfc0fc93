"""Probes trained on clean recordings, scored on corrupted ones.

Each strength is a result of its own. The recordings of the test fold are read again from their files, corrupted at
their own rate and preprocessed as ingest does; the corrupted rows of one strength are in memory at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from merit import runs
from merit.config import ProbeConfig, one_of, replace
from merit.data.taxonomy import TASK_COHORT, TASKS
from merit.encoders import registry
from merit.evaluate.robustness import CLEAN, STRENGTHS, Probe, Rows, stored_row, stored_rows
from merit.evaluate.tasks import OFFICIAL_SPLIT, TaskData, refuse_seen, select
from merit.studies.core import embedded, study
from merit.studies.workspace import ENCODER_NAMES, remembered

if TYPE_CHECKING:
    from merit.data.recording import Recording
    from merit.encoders.base import Encoder
    from merit.studies.workspace import Workspace

FEW = "lost:1:4,kept,swap:arms,gain:0.25,duration:5:2.5,hum_50:1,hum_60:1,wander:0.3:1,muscle:0,rate:50"
"""What the small profiles try: each level costs an embedding of the test part by every encoder."""
EXAMPLE_S, EXAMPLE_LEAD = 3.0, 1
"""Seconds of the picture of each corruption, and its lead, II."""


def strengths(ws: Workspace, corruptions: str | None = None) -> list[str]:
    """`clean`, then `lost:1`, `lost:4`, ...: what is tried, each a `strength` of the study.

    corruptions: a text such as `lost:1:4,wander`, in which a kind alone stands for all its strengths; None: every kind,
    with few strengths where the profile is small. A ValueError names what is not known.
    """
    if corruptions is None:
        corruptions = FEW if ws.profile.trial or ws.profile.name != "paper" else ",".join(STRENGTHS)
    return _listed(corruptions)


def _listed(corruptions: str) -> list[str]:
    found = [CLEAN]
    for part in corruptions.split(","):
        kind, *levels = part.strip().split(":")
        one_of("corruptions", kind, tuple(STRENGTHS))
        found += [f"{kind}:{_parsed(f'{kind}:{level}')[1]}" for level in levels or STRENGTHS[kind]]
    return found


def _parsed(strength: str) -> tuple[str, float | str | None]:
    """Kind and level of a strength; a number where the kind's levels are numbers."""
    if strength == CLEAN:
        return CLEAN, None
    kind, _, level = strength.partition(":")
    one_of("corruptions", kind, tuple(STRENGTHS))
    if isinstance(STRENGTHS[kind][0], str):
        return kind, level
    try:
        number = float(level)
    except ValueError:
        raise ValueError(f"corruptions: {kind} takes numbers; got {level!r}") from None
    return kind, int(number) if number.is_integer() else number


def _files(ws: Workspace, task: str, strength: str, **_: object) -> dict[str, str]:
    """Identities of the store and of the files that are read again."""
    one_of("task", task, TASKS)
    _parsed(strength)
    store = ws.store(TASK_COHORT[task])
    return {"store": store.identity, "source": str(store.manifest["request"]["source"])}


@study(
    over={"strength": _listed(FEW), "encoder": ENCODER_NAMES},
    needs=lambda ws, **given: {**_files(ws, **given), **embedded(ws, **given)},
    config="probe",
    columns=("corruption", "draws"),
)
def robustness(
    ws: Workspace,
    encoder: str,
    strength: str,
    task: str = "superclass",
    encoder_seed: int = 0,
    allow_seen: bool = False,
    *,
    config: ProbeConfig,
) -> pd.DataFrame:
    """Scores of a clean probe on the test part, `clean` or under one strength (`evaluate.robustness.Probe`).

    strength: as `strengths` writes them. The corruptions are drawn with the probe's seed. signal_mv: root mean square
    difference between the corrupted and the clean recording as the encoders see them, mean over recordings.
    """
    from merit.evaluate.embeddings import embed_store

    kind, cohort = _parsed(strength)[0], TASK_COHORT[task]
    chosen = _task(ws, task, config.min_positives)
    n_seen = refuse_seen(chosen.scored_patients(OFFICIAL_SPLIT), ws.seen(encoder, encoder_seed), allow_seen)
    probe, store = _probe(ws, task, encoder, encoder_seed, config), ws.store(cohort)
    tested = chosen.rows[chosen.folds == 10]
    about = {"corruption": kind, "n_seen": n_seen, **ws.remarks(encoder, cohort)}
    if kind == CLEAN:
        rates = store.records["source_fs_hz"].iloc[tested].value_counts()
        about["scaling"] = _encoder(ws, encoder, encoder_seed).input_spec.scaling
        files = {f"{rate:g}": int(n) for rate, n in sorted(rates.items())}
        return probe.clean().assign(**about, source_fs_hz=[files])
    signals = ws.signals(encoder, cohort) if registry.known(encoder) else store  # others may want 500 Hz
    corrupted = _corrupted(ws, task, config.min_positives, strength, config.seed, signals.fs_hz)
    names = store.records["record_id"].iloc[tested]
    clean_uv = signals.signal_uv[pd.Index(signals.records["record_id"]).get_indexer(names)]
    changed = np.flatnonzero((corrupted.signal_uv != clean_uv).any(axis=(1, 2)))
    features = probe.features.copy()
    if len(changed):  # the others keep their embedding to the last bit
        model = _encoder(ws, encoder, encoder_seed)
        features[changed] = embed_store(model, corrupted, ws.profile.embed_batch, False, rows=changed)
    difference = corrupted.signal_uv.astype(np.float64) - clean_uv
    seen_mv = float(np.sqrt((difference**2).mean(axis=(1, 2))).mean() / 1000)
    found = pd.concat([probe.corrupted(features), pd.DataFrame([{"metric": "signal_mv", "value": seen_mv}])])
    return found.assign(**about, n_changed=len(changed), n_rejected=corrupted.n_rejected)


@study(over={"strength": (CLEAN,)}, needs=_files, config="probe")
def corrupted_example(ws: Workspace, strength: str, task: str = "superclass", *, config: ProbeConfig) -> pd.DataFrame:
    """Lead II of the first test recording as the encoders see it, one row per sample, µV; `second` says when."""
    (kind, level), store, signal = _parsed(strength), ws.store(TASK_COHORT[task]), ws.profile.signal
    recording = _recordings(ws, task, config.min_positives, store.fs_hz)[0]
    seen = stored_row(recording, kind, level, config.seed, signal, store.manifest["request"]["max_gap_fraction"])
    trace = [] if seen is None else seen[EXAMPLE_LEAD, : round(EXAMPLE_S * signal.fs_hz)].astype(float)
    seconds = np.arange(len(trace)) / signal.fs_hz
    return pd.DataFrame({"corruption": kind, "metric": "uv", "second": seconds, "value": trace})


@remembered(2)
def _task(ws: Workspace, task: str, min_positives: int) -> TaskData:
    """The task under the official split, whatever was pretrained on."""
    records = ws.store(TASK_COHORT[task]).records
    return select(task, records, protocol=OFFICIAL_SPLIT, min_positives=min_positives)


@remembered(32)
def _encoder(ws: Workspace, encoder: str, encoder_seed: int) -> Encoder:
    return ws.encoder(encoder, encoder_seed)


@remembered(32)
def _probe(ws: Workspace, task: str, encoder: str, encoder_seed: int, config: ProbeConfig) -> Probe:
    chosen = _task(ws, task, config.min_positives)
    features = ws.embedding(encoder, chosen.cohort, encoder_seed)[chosen.rows]
    return Probe(chosen, features, config, ws.torch_device())


@remembered(1)
def _corrupted(ws: Workspace, task: str, min_positives: int, strength: str, seed: int, store_hz: float) -> Rows:
    """The test part under one strength, as a store at that rate would hold it."""
    kind, level = _parsed(strength)
    # A rate above the store's is taken from the publisher's faster file, where there is one.
    fs_hz = max(float(level), store_hz) if kind == "rate" else store_hz
    gap = ws.store(TASK_COHORT[task]).manifest["request"]["max_gap_fraction"]
    signal = replace(ws.profile.signal, fs_hz=int(store_hz))
    return stored_rows(_recordings(ws, task, min_positives, fs_hz), kind, level, seed, signal, gap)


@remembered(2)  # at the rates of ours and of others
def _recordings(ws: Workspace, task: str, min_positives: int, fs_hz: float) -> list[Recording]:
    """The test part as its files have it, in the order of the task."""
    from merit.data.cohorts import open_cohort

    chosen = _task(ws, task, min_positives)
    names = ws.store(chosen.cohort).records["record_id"].iloc[chosen.rows[chosen.folds == 10]].tolist()
    cohort = open_cohort(chosen.cohort, ws.sources[chosen.cohort])
    if cohort.synthetic and runs.sealed(cohort.root):
        runs.check(cohort.root)
    refs = cohort.refs()
    usable = refs[refs["problem"] == ""].set_index("record_id", drop=False)
    return [cohort.read(ref, fs_hz) for ref in usable.loc[names].itertuples(index=False, name="Ref")]
