"""What an embedding keeps: decodability of known factors beyond the report, an encoder at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from merit import runs
from merit.config import replace
from merit.evaluate.kept.measure import Asked, Block, KeptConfig
from merit.evaluate.splits import OFFICIAL_SPLIT, UNSEEN_FOLDS, NotEnoughData
from merit.pipeline import measured
from merit.pipeline.recordings import NoCohort

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace

ENCODERS = ("merit", "cma", "ib", "mse", "random")
EVALUATED = "ptb-xl"
"""The evaluated data set that has reports."""
MODULES = (
    "merit.evaluate.kept.measure", "merit.evaluate.kept.factors", "merit.evaluate.seen", "merit.synthetic.statements",
    "merit.evaluate.information.gaussian", "merit.evaluate.kept.words",
    "merit.evaluate.kept.einthoven",
)  # fmt: skip
FEWEST_STATED = 5
"""Reports that make a statement, under which it is no feature."""
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
TRUTH, MEASURED = "truth", "measured"
"""Where factors come from: known since the recordings were made, or measured on them (`pipeline.measured`)."""
NEEDED = ("heart_rate_bpm", "rr_rmssd_ms", "qrs_ms")
"""Measurements without which a delineation has failed, and none of that recording counts. P and T may be missing."""
COMPARES_LEADS = ("axis_deg", "_mv_")
"""In names of columns that mean nothing where leads are not on one scale."""


def kept(
    ws: Workspace, encoders: Sequence[str] = ENCODERS, *, encoder_seed: int = 0, **settings: Any
) -> list[dict[str, Any]]:
    """Results, one per encoder, values as `evaluate.kept.measure` gives them; `settings` change `KeptConfig`.

    Where the data set is missing or too small, values hold a reason in place of numbers. `source` says whether factors
    are known (synthetic recordings) or measured; measured, a report is its words and the codes that were taken from it,
    and no finding is scored as unstated: in PTB-XL a code is there because the report says so.
    """
    config = KeptConfig(n_resamples=ws.profile.probe.n_resamples)
    config = replace(config, **{k: v for k, v in settings.items() if v is not None})
    session = _Session(ws, config, encoder_seed)
    return [session.one(encoder) for encoder in encoders]


@dataclass
class _Session:
    """What the results of one call share: the question, and what reports alone say."""

    ws: Workspace
    config: KeptConfig
    seed: int

    def one(self, encoder: str) -> dict[str, Any]:
        """The result of an encoder, read where it is."""
        ws = self.ws
        try:
            store = ws.store(EVALUATED)
            inputs = {"store": store.identity, "embedding": ws.embedding_identity(encoder, EVALUATED, self.seed)}
            inputs |= {"text": ws.text_identity, "truth": self._truth_identity}
        except NoCohort as reason:
            values = {"encoder": encoder, "reason": str(reason)}
            return {"stage": "kept", "id": None, "values": values, "parameters": {}}
        parameters = {
            "encoder": encoder, "encoder_seed": self.seed, "kept": self.config, "code": runs.own_source(__name__),
            "protocol": ws.protocol(EVALUATED),
        }  # fmt: skip
        return ws.result("kept", lambda: self._values(encoder), parameters, inputs, MODULES, seed=self.config.seed)

    @cached_property
    def truth_path(self) -> Any:
        """Where the truth of synthetic recordings lies; None for real ones."""
        path = self.ws.sources[EVALUATED] / "truth.parquet"
        return path if path.exists() else None

    @property
    def _truth_identity(self) -> str:
        if self.known:
            return runs.file_digest(self.truth_path)
        return measured.identity(self.ws.store(EVALUATED))

    @property
    def known(self) -> bool:
        """Whether factors are known, not measured."""
        return self.truth_path is not None

    def _values(self, encoder: str) -> dict[str, Any]:
        from merit.evaluate.kept.measure import beyond_another, measure
        from merit.evaluate.seen import refuse_seen

        about = {"encoder": encoder, "cohort": EVALUATED, "source": TRUTH if self.known else MEASURED}
        try:
            asked, said, by_text = self.asked, self.said, self.said_by_text
        except NotEnoughData as reason:
            return about | {"reason": str(reason)}
        scored = {(EVALUATED, patient) for patient in self._records["patient_id"][asked.scored]}
        n_seen = refuse_seen(scored, self.ws.seen(encoder, self.seed))
        embedding = self.ws.embedding(encoder, EVALUATED, self.seed)
        values = measure(embedding, asked, said, self.config)
        values["beyond_text"] = beyond_another(embedding, asked, by_text, self.config)
        failed = int((self._failed & asked.scored).sum())
        about |= {"n_seen": n_seen, "n_features": self._statements.shape[1], "n_failed": failed}
        if not self.known:
            about["n_scaled"] = int((~self._on_one_scale & asked.scored).sum())
        return about | values

    @cached_property
    def _records(self) -> pd.DataFrame:
        return self.ws.store(EVALUATED).records

    @cached_property
    def _truth(self) -> pd.DataFrame:
        """A row a record of the store, in its order; measured, a failed delineation is NaN throughout."""
        truth = pd.read_parquet(self.truth_path) if self.known else measured.measured(self.ws, EVALUATED)
        truth.index = truth["record_id"].astype(str)
        truth = truth.loc[self._records["record_id"].astype(str)].reset_index(drop=True)
        if not self.known:
            numbers = truth.columns.drop("record_id")
            truth.loc[truth[list(NEEDED)].isna().any(axis=1), numbers] = np.nan
            between = [name for name in numbers if any(part in name for part in COMPARES_LEADS)]
            truth.loc[~self._on_one_scale, between] = np.nan
        return truth

    @cached_property
    def _on_one_scale(self) -> np.ndarray:
        """bool [N]: recordings whose leads can be compared with each other."""
        from merit.evaluate.kept.einthoven import on_one_scale

        return on_one_scale(self.ws.store(EVALUATED).signal_uv)

    @cached_property
    def _failed(self) -> np.ndarray:
        """bool [N]: recordings in which nothing was measured."""
        return self._truth["heart_rate_bpm"].isna().to_numpy()

    @cached_property
    def _present(self) -> list[frozenset[str]]:
        """Codes of what is there in each recording: known, or of its labels."""
        return [frozenset(one) for one in (self._truth["findings"] if self.known else self._records["labels"])]

    @cached_property
    def _stated(self) -> list[frozenset[str]]:
        """What each report states: read from its text, or the codes that were taken from it."""
        from merit.synthetic.statements import statements

        if not self.known:
            return self._present
        return [frozenset(statements(report)) for report in self._records["report"]]

    @cached_property
    def _made(self) -> dict[str, np.ndarray]:
        """Statement -> bool [N], those that are made at all, by name."""
        names = sorted(frozenset().union(*self._stated))
        return {name: np.array([name in one for one in self._stated], dtype=bool) for name in names}

    @cached_property
    def _statements(self) -> np.ndarray:
        """float64 [N, S]: what decoders read of a report."""
        from merit.evaluate.kept.words import words

        columns = [made for made in self._made.values() if made.sum() >= FEWEST_STATED]
        if self.known:
            return np.column_stack([np.zeros((len(self._records), 0)), *columns]).astype(np.float64)
        return np.column_stack([words(self._records["report"].tolist(), FEWEST_STATED), *columns])

    @cached_property
    def asked(self) -> Asked:
        """The question: factors, findings and statements of every record."""
        from merit.evaluate.kept.factors import axis_deviates, continuous

        findings, silent = {}, {}
        for name, codes in FINDINGS.items():
            if name == AXIS and not self.known:
                continue  # asked in degrees alone: no code of PTB-XL says it
            there = axis_deviates(self._truth) if name == AXIS else [bool(one & set(codes)) for one in self._present]
            findings[name] = np.array(there, dtype=bool)
            said = set(codes) | set(ALSO_STATED_AS.get(name, ()))
            silent[name] = np.array([self.known and not (one & said) for one in self._stated], dtype=bool)
        groups = self._records["group"].astype(str).to_numpy()
        return Asked(continuous(self._truth), findings, silent, self._made, groups, self._folds(groups))

    def _folds(self, groups: np.ndarray) -> np.ndarray:
        """int [N]: folds of patients; where the cohort was pretrained on, folds 9 and 10, the others never scored."""
        from merit.evaluate.information.gaussian import fold_of
        from merit.evaluate.kept.decode import NEVER

        if self.ws.protocol(EVALUATED) != OFFICIAL_SPLIT:
            return fold_of(groups, self.config.folds, self.config.seed)
        official = self._records["fold"].to_numpy()
        folds = np.full(len(groups), NEVER)
        for k, fold in enumerate(UNSEEN_FOLDS):
            folds[official == fold] = k
        return folds

    @cached_property
    def said(self) -> list[Block]:
        """What the statements of the reports say of each factor."""
        from merit.evaluate.kept.measure import blocks

        return blocks(self.asked, self._statements, seed=self.config.seed)

    @cached_property
    def said_by_text(self) -> list[Block]:
        """The same by the frozen text encoder's embedding of the report."""
        from merit.evaluate.kept.measure import blocks

        reports = sorted(set(self._records["report"]))
        rows = {report: k for k, report in enumerate(reports)}
        embedded = self.ws.text_embeddings(reports)[[rows[report] for report in self._records["report"]]]
        return blocks(self.asked, embedded, standardise=True, findings=False, seed=self.config.seed)
