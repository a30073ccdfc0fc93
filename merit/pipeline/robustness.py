"""Probes trained on clean recordings, scored on corrupted ones, from a workspace to results.

Each strength is a result of its own. The recordings of the test fold are read again from their files, corrupted at
their own rate and preprocessed as ingest does; the corrupted rows of one strength are in memory at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from merit import runs
from merit.config import ProbeConfig, one_of, replace
from merit.data.taxonomy import TASK_COHORT, TASKS
from merit.encoders import registry
from merit.evaluate.tasks import OFFICIAL_SPLIT, NotEnoughData
from merit.pipeline.recordings import NoCohort
from merit.pipeline.strengths import chosen, pairs
from merit.pipeline.training import ENCODER_NAMES

if TYPE_CHECKING:
    from merit.data.recording import Recording
    from merit.data.store import Store
    from merit.encoders.base import Encoder
    from merit.evaluate.robustness import Probe, Rows
    from merit.evaluate.tasks import TaskData
    from merit.pipeline.workspace import Workspace

CLEAN = "clean"
MODULES = (
    "merit.evaluate.robustness", "merit.evaluate.embeddings", "merit.evaluate.tasks", "merit.data.cohorts",
)  # fmt: skip
EXAMPLE_S = 3.0
"""Seconds of the picture of each corruption."""
EXAMPLE_LEAD = 1
"""Its lead, II."""


def robustness(
    ws: Workspace,
    encoders: Sequence[str] = ENCODER_NAMES,
    task: str = "superclass",
    corruptions: str | None = None,
    *,
    seed: int | None = None,
    encoder_seed: int = 0,
    allow_seen: bool = False,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Results: for each encoder the clean test part, then for each strength each encoder (`evaluate.robustness.Probe`).

    corruptions: as `strengths.chosen` takes it. seed: of heads, resamples and corruptions; None: the probe's.
    `settings` change `ProbeConfig`. A data set that is missing, or too small, gives results whose values hold a reason.
    """
    one_of("task", task, TASKS)
    seed = ws.profile.probe.seed if seed is None else seed
    config = replace(ws.profile.probe, **{"seed": seed, **{k: v for k, v in settings.items() if v is not None}})
    levels = pairs(chosen(corruptions, _few(ws)))
    session = _Session(ws, task, config, seed, encoder_seed, allow_seen)
    wanted: list[tuple[str, float | str | None]] = [(CLEAN, None), *levels]
    return [session.one(encoder, kind, level) for kind, level in wanted for encoder in encoders]


def examples(
    ws: Workspace, task: str = "superclass", corruptions: str | None = None, *, seed: int | None = None
) -> dict[str, Any]:
    """Lead II of one test recording, as the encoders see it, clean and under the strongest level of each kind; or a
    reason.
    """
    one_of("task", task, TASKS)
    seed = ws.profile.probe.seed if seed is None else seed
    strongest = {kind: levels[-1] for kind, levels in chosen(corruptions, _few(ws)).items()}
    session = _Session(ws, task, ws.profile.probe, seed, 0, False)
    try:
        inputs = session.inputs()
    except NoCohort as reason:
        return {"reason": str(reason)}
    parameters = {"task": task, "strongest": list(strongest.items()), "seed": seed}
    compute = functools.partial(session.examples, strongest)
    return ws.result("corrupted_example", compute, parameters, inputs, MODULES, seed=seed)["values"]


def _few(ws: Workspace) -> bool:
    return ws.trial or ws.profile.name != "paper"


@dataclass
class _Session:
    """What the results of one call share: the task, the recordings as read, encoders, heads, one strength's rows."""

    ws: Workspace
    task_name: str
    config: ProbeConfig
    seed: int
    encoder_seed: int
    allow_seen: bool

    def __post_init__(self) -> None:
        self.encoder = functools.cache(self._encoder)
        self.probe = functools.cache(self._probe)
        self.recordings = functools.lru_cache(maxsize=2)(self._recordings)  # at the rates of ours and of others
        self.rows = functools.lru_cache(maxsize=1)(self._rows)

    @property
    def cohort(self) -> str:
        """The data set of the task."""
        return TASK_COHORT[self.task_name]

    @functools.cached_property
    def store(self) -> Store:
        """Its store."""
        return self.ws.store(self.cohort)

    def inputs(self) -> dict[str, str]:
        """Identities of the store and of the files that are read again; NoCohort."""
        return {"store": self.store.identity, "source": str(self.store.manifest["request"]["source"])}

    def one(self, encoder: str, kind: str, level: float | str | None) -> dict[str, Any]:
        """The result of an encoder and a strength, read where it is."""
        variant = kind if level is None else f"{kind} {level}"
        about = {"encoder": encoder, "task": self.task_name, "kind": kind, "level": level, "variant": variant}
        try:
            inputs = self.inputs()
            inputs["embedding"] = self.ws.embedding_identity(encoder, self.cohort, self.encoder_seed)
        except runs.Unavailable as reason:
            return {"stage": "corruption", "id": None, "values": {**about, "reason": str(reason)}, "parameters": {}}
        parameters = {
            **about, "seed": self.seed, "encoder_seed": self.encoder_seed, "allow_seen": self.allow_seen,
            "probe": asdict(self.config),
        }  # fmt: skip
        compute = functools.partial(self._values, encoder, kind, level, about)
        return self.ws.result("corruption", compute, parameters, inputs, MODULES, seed=self.seed)

    def _values(self, encoder: str, kind: str, level: float | str | None, about: Mapping[str, Any]) -> dict[str, Any]:
        from merit.evaluate.embeddings import embed_store
        from merit.evaluate.tasks import refuse_seen

        try:
            n_seen = refuse_seen(
                self.task.scored_patients(OFFICIAL_SPLIT), self.ws.seen(encoder, self.encoder_seed), self.allow_seen
            )
            probe = self.probe(encoder)
        except NotEnoughData as reason:
            return {**about, "reason": str(reason)}
        about = {**about, "n_seen": n_seen, **self.ws.remarks(encoder, self.cohort)}
        if kind == CLEAN:
            scaling = self.encoder(encoder).input_spec.scaling
            return {**about, **probe.clean(), "scaling": scaling, "source_fs_hz": self._rates()}
        signals = self._signals(encoder)
        corrupted = self.rows(kind, level, signals.fs_hz)
        clean_uv = signals.signal_uv[pd.Index(signals.records["record_id"]).get_indexer(self.test_ids)]
        changed = np.flatnonzero((corrupted.signal_uv != clean_uv).any(axis=(1, 2)))
        features = probe.features.copy()
        if len(changed):  # the others keep their embedding to the last bit
            features[changed] = embed_store(
                self.encoder(encoder), corrupted, self.ws.profile.embed_batch, False, rows=changed
            )
        difference = corrupted.signal_uv.astype(np.float64) - clean_uv
        return {
            **about, **probe.corrupted(features), "n_changed": len(changed), "n_refused": corrupted.n_refused,
            "seen_mv": float(np.sqrt((difference**2).mean(axis=(1, 2))).mean() / 1000),
        }  # fmt: skip

    @functools.cached_property
    def task(self) -> TaskData:
        """The task under the official split, whatever was pretrained on; NotEnoughData."""
        from merit.evaluate.tasks import select

        records = self.store.records
        return select(self.task_name, records, protocol=OFFICIAL_SPLIT, min_positives=self.config.min_positives)

    @functools.cached_property
    def test_rows(self) -> np.ndarray:
        """Rows of the store that are tested on: fold 10."""
        return self.task.rows[self.task.folds == 10]

    @functools.cached_property
    def test_ids(self) -> list[str]:
        """Their record ids."""
        return self.store.records["record_id"].iloc[self.test_rows].tolist()

    def _signals(self, encoder: str) -> Store:
        """The store that an encoder reads: an encoder of others may want 500 Hz."""
        return self.ws.signals(encoder, self.cohort) if registry.known(encoder) else self.store

    def _rates(self) -> dict[str, int]:
        """Rate of the files that the store was read from, Hz -> recordings of the test part."""
        rates = self.store.records["source_fs_hz"].iloc[self.test_rows].value_counts()
        return {f"{rate:g}": int(n) for rate, n in sorted(rates.items())}

    def _encoder(self, name: str) -> Encoder:
        return self.ws.encoder(name, self.encoder_seed)

    def _probe(self, encoder: str) -> Probe:
        from merit.evaluate.robustness import Probe

        features = self.ws.embedding(encoder, self.cohort, self.encoder_seed)[self.task.rows]
        return Probe.fit(self.task, features, self.config, self.ws.torch_device())

    def _rows(self, kind: str, level: float | str | None, store_hz: float) -> Rows:
        """The test part under one strength, as a store at that rate would hold it."""
        from merit.evaluate.robustness import stored_rows

        # A rate above the store's is taken from the publisher's faster file, where there is one.
        fs_hz = max(float(level), store_hz) if kind == "rate" else store_hz
        gap = self.store.manifest["request"]["max_gap_fraction"]
        signal = replace(self.ws.profile.signal, fs_hz=int(store_hz))
        return stored_rows(self.recordings(fs_hz), kind, level, self.seed, signal, gap)

    def _recordings(self, fs_hz: float) -> list[Recording]:
        """The test part as its files have it, in the order of the task."""
        from merit.data.cohorts import open_cohort

        cohort = open_cohort(self.cohort, self.ws.sources[self.cohort])
        if cohort.synthetic and runs.sealed(cohort.root):
            runs.check(cohort.root)
        refs = cohort.refs()
        usable = refs[refs["problem"] == ""].set_index("record_id", drop=False)
        wanted = usable.loc[self.test_ids]
        return [cohort.read(ref, fs_hz) for ref in wanted.itertuples(index=False, name="Ref")]

    def examples(self, strongest: Mapping[str, float | str]) -> dict[str, Any]:
        """The values of `examples`."""
        from merit.evaluate.robustness import stored_row

        try:
            record_id = self.test_ids[0]
        except NotEnoughData as reason:
            return {"reason": str(reason)}
        gap, signal = self.store.manifest["request"]["max_gap_fraction"], self.ws.profile.signal
        recording = self.recordings(self.store.fs_hz)[0]
        traces = {}
        for kind, level in [(CLEAN, None), *strongest.items()]:
            seen = stored_row(recording, kind, level, self.seed, signal, gap)
            shown = np.zeros(0) if seen is None else seen[EXAMPLE_LEAD, : round(EXAMPLE_S * signal.fs_hz)]
            traces[kind] = {"level": level, "uv": shown.tolist()}
        return {"record_id": record_id, "fs_hz": signal.fs_hz, "traces": traces}
