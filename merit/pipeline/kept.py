"""What an embedding keeps: decodability of known factors beyond the report, an encoder at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from merit import runs
from merit.config import replace
from merit.evaluate.kept.measure import Asked, Block, KeptConfig
from merit.evaluate.splits import OFFICIAL_SPLIT, UNSEEN_FOLDS, NotEnoughData
from merit.pipeline import kept_factors
from merit.pipeline.kept_factors import Known, factors_of

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace

ENCODERS = ("merit", "cma", "ib", "mse", "random")
EVALUATED = "ptb-xl"
"""The evaluated data set that has reports."""
MODULES = (
    "merit.evaluate.kept.measure", "merit.evaluate.kept.factors", "merit.evaluate.seen",
    "merit.evaluate.information", *kept_factors.MODULES,
)  # fmt: skip
"""Modules of this package whose own functions shape the values."""
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
            inputs |= {"text": ws.text_identity, "truth": self.factors.identity}
        except runs.Unavailable as reason:
            values = {"encoder": encoder, "reason": str(reason)}
            return {"stage": "kept", "id": None, "values": values, "parameters": {}}
        parameters = {
            "encoder": encoder, "encoder_seed": self.seed, "kept": self.config,
            "protocol": ws.protocol(EVALUATED),
        }  # fmt: skip
        return ws.result("kept", lambda: self._values(encoder), parameters, inputs, MODULES, seed=self.config.seed)

    @cached_property
    def factors(self) -> Known:
        """What is known of, or was measured on, each recording."""
        return factors_of(self.ws, EVALUATED)

    def _values(self, encoder: str) -> dict[str, Any]:
        from merit.evaluate.kept.measure import beyond_another, measure
        from merit.evaluate.seen import refuse_seen

        about = {"encoder": encoder, "cohort": EVALUATED, "source": self.factors.source}
        try:
            asked, said, by_text = self.asked, self.said, self.said_by_text
        except NotEnoughData as reason:
            return about | {"reason": str(reason)}
        scored = {(EVALUATED, patient) for patient in self.factors.records["patient_id"][asked.scored]}
        n_seen = refuse_seen(scored, self.ws.seen(encoder, self.seed))
        embedding = self.ws.embedding(encoder, EVALUATED, self.seed)
        values = measure(embedding, asked, said, self.config)
        values["beyond_text"] = beyond_another(embedding, asked, by_text, self.config)
        about |= {"n_seen": n_seen, "n_features": self._statements.shape[1], **self.factors.left_out(asked.scored)}
        return about | values

    @cached_property
    def _made(self) -> dict[str, np.ndarray]:
        """Statement -> bool [N], those that are made at all, by name."""
        names = sorted(frozenset().union(*self.factors.stated))
        return {name: np.array([name in one for one in self.factors.stated], dtype=bool) for name in names}

    @cached_property
    def _statements(self) -> np.ndarray:
        """uint8 [N, S] of 0 and 1: what decoders read of a report."""
        columns = [made for made in self._made.values() if made.sum() >= FEWEST_STATED]
        return np.column_stack([self.factors.words(FEWEST_STATED), *columns]).astype(np.uint8)

    @cached_property
    def asked(self) -> Asked:
        """The question: factors, findings and statements of every record."""
        from merit.evaluate.kept.factors import axis_deviates, continuous

        findings, silent, factors = {}, {}, self.factors
        axis = axis_deviates(factors.table)
        for name, codes in FINDINGS.items():
            if name == AXIS and not factors.says_the_axis:
                continue  # asked in degrees alone: no code of PTB-XL says it
            there = axis if name == AXIS else [bool(one & set(codes)) for one in factors.present]
            findings[name] = np.array(there, dtype=bool)
            said = set(codes) | set(ALSO_STATED_AS.get(name, ()))
            silent[name] = np.array([factors.leaves_out and not (one & said) for one in factors.stated], dtype=bool)
        groups = factors.records["group"].astype(str).to_numpy()
        return Asked(continuous(factors.table), findings, silent, self._made, groups, self._folds(groups))

    def _folds(self, groups: np.ndarray) -> np.ndarray:
        """int [N]: folds of patients; where the cohort was pretrained on, folds 9 and 10, the others never scored."""
        from merit.evaluate.information import fold_of
        from merit.evaluate.kept.decode import NEVER

        if self.ws.protocol(EVALUATED) != OFFICIAL_SPLIT:
            return fold_of(groups, self.config.folds, self.config.seed)
        official = self.factors.records["fold"].to_numpy()
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

        reports = sorted(set(self.factors.records["report"]))
        rows = {report: k for k, report in enumerate(reports)}
        embedded = self.ws.text_embeddings(reports)[[rows[report] for report in self.factors.records["report"]]]
        return blocks(self.asked, embedded, standardise=True, findings=False, seed=self.config.seed)
