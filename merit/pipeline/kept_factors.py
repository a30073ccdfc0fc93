"""Where the factors of recordings come from: known since the recordings were made, or measured on them.

Both kinds have one form: a table of measurements, what is there, what each report states, and what decoders read of a
report beside its statements. Legend: N records of the store, in its order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from merit import runs
from merit.pipeline import measured

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace

MODULES = ("merit.synthetic.reports", "merit.evaluate.kept.words", "merit.evaluate.kept.einthoven")
NEEDED = ("heart_rate_bpm", "rr_rmssd_ms", "qrs_ms")
"""Measurements without which a delineation has failed, and none of that recording counts. P and T may be missing."""
COMPARES_LEADS = ("axis_deg", "_mv_")
"""In names of columns that mean nothing where leads are not on one scale."""


@dataclass
class Known:
    """Factors and findings as the synthetic hospitals wrote them down; reports are read for what they state."""

    ws: Workspace
    cohort: str
    source: ClassVar[str] = "truth"
    says_the_axis: ClassVar[bool] = True
    """Whether a statement says that the axis deviates."""
    leaves_out: ClassVar[bool] = True
    """Whether something may be there that the report does not state."""

    @property
    def identity(self) -> str:
        """Of the measurements."""
        return runs.file_digest(self.ws.truth(self.cohort))

    @cached_property
    def records(self) -> pd.DataFrame:
        """The store's rows."""
        return self.ws.store(self.cohort).records

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a record, columns as `synthetic.truth` names them."""
        return self._in_order(pd.read_parquet(self.ws.truth(self.cohort)))

    @cached_property
    def present(self) -> list[frozenset[str]]:
        """Codes of what is there in each recording."""
        return [frozenset(one) for one in self.table["findings"]]

    @cached_property
    def stated(self) -> list[frozenset[str]]:
        """What each report states."""
        from merit.synthetic.reports import statements

        return [frozenset(statements(report)) for report in self.records["report"]]

    def words(self, fewest: int) -> np.ndarray:
        """uint8 [N, W]: what decoders read of a report beside its statements; here nothing."""
        return np.zeros((len(self.records), 0), dtype=np.uint8)

    @cached_property
    def failed(self) -> np.ndarray:
        """bool [N]: records in which nothing was measured."""
        return self.table["heart_rate_bpm"].isna().to_numpy()

    def left_out(self, scored: np.ndarray) -> dict[str, int]:
        """How many of the scored records (bool [N]) miss what, by name."""
        return {"n_failed": int((self.failed & scored).sum())}

    def _in_order(self, table: pd.DataFrame) -> pd.DataFrame:
        table.index = table["record_id"].astype(str)
        return table.loc[self.records["record_id"].astype(str)].reset_index(drop=True)


@dataclass
class Measured(Known):
    """Factors measured on real recordings; what is there and what the report states are the codes taken from it."""

    source: ClassVar[str] = "measured"
    says_the_axis: ClassVar[bool] = False
    leaves_out: ClassVar[bool] = False

    @property
    def identity(self) -> str:
        """Of the measurements."""
        return measured.identity(self.ws.store(self.cohort))

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a record; NaN throughout where the delineation failed."""
        table = self._in_order(measured.measured(self.ws, self.cohort))
        numbers = table.columns.drop("record_id")
        table.loc[table[list(NEEDED)].isna().any(axis=1), numbers] = np.nan
        between = [name for name in numbers if any(part in name for part in COMPARES_LEADS)]
        table.loc[~self.on_one_scale, between] = np.nan
        return table

    @cached_property
    def on_one_scale(self) -> np.ndarray:
        """bool [N]: records whose leads can be compared with each other."""
        from merit.evaluate.kept.einthoven import on_one_scale

        return on_one_scale(self.ws.store(self.cohort).signal_uv)

    @cached_property
    def present(self) -> list[frozenset[str]]:
        """Labels of each recording."""
        return [frozenset(one) for one in self.records["labels"]]

    @property
    def stated(self) -> list[frozenset[str]]:
        """The same: the labels were taken from the report."""
        return self.present

    def words(self, fewest: int) -> np.ndarray:
        """uint8 [N, W]: words and pairs of words that at least `fewest` reports have."""
        from merit.evaluate.kept.words import words

        return words(self.records["report"].tolist(), fewest)

    def left_out(self, scored: np.ndarray) -> dict[str, int]:
        """Those of failed delineations, and of leads that are not on one scale."""
        return super().left_out(scored) | {"n_scaled": int((~self.on_one_scale & scored).sum())}


def factors_of(ws: Workspace, cohort: str) -> Known:
    """The factors of a cohort's recordings: known where their truth was written down, measured where not."""
    return (Measured if ws.truth(cohort) is None else Known)(ws, cohort)
