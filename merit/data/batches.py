"""The training set as the loop reads it: signals of a store, one text embedding per distinct report, patients apart.

Shapes: N records, R distinct reports, L leads, T samples, W text width.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from merit.data.store import Store
from merit.data.token_states import TokenStates, Words


@dataclass(frozen=True)
class PairedRecordings:
    """Signals beside the embeddings of their reports; `take` gives a batch."""

    signal_uv: np.ndarray
    """int16 [N, L, T], microvolts; memory-mapped."""
    rows: np.ndarray
    """Rows of the store that take part, int64, rising."""
    text: Tensor
    """float32 [R, W]; one row per distinct report that is long enough, or [1, W] of zeros."""
    text_row: np.ndarray
    """Row of `text` per store row, -1 where the report is missing or too short."""
    records: pd.DataFrame
    """The store's records."""
    tokens: TokenStates | None = None
    """The same texts for layers of the text encoder that are trained; None: it is frozen, and `text` its output."""

    def __len__(self) -> int:
        return len(self.rows)

    @functools.cached_property
    def patient(self) -> np.ndarray:
        """int64 per store row, equal where the patient is."""
        return pd.factorize(self.records["patient_id"])[0].astype(np.int64)

    def take(self, positions: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor | Words, Tensor, Tensor]:
        """Signals in mV [B, L, T], text embeddings [B, W] (or tokens, where layers are trained), which rows have one
        [B], and numbers that tell patients apart [B]; positions: in `rows`.
        """
        rows = self.rows[positions]
        signal = torch.from_numpy(self.signal_uv[rows]).to(device).float() / 1000
        text_row = torch.from_numpy(self.text_row[rows])
        patient = torch.from_numpy(self.patient[rows]).to(device)
        known = text_row.clamp(min=0)
        text = self.text[known].to(device) if self.tokens is None else self.tokens.take(known.numpy(), device)
        return signal, text, (text_row >= 0).to(device), patient

    def only(self, rows: np.ndarray) -> PairedRecordings:
        """The same with other rows of the store."""
        return dataclasses.replace(self, rows=np.sort(rows))


def distinct_reports(store: Store, rows: np.ndarray) -> list[str]:
    """The reports of those rows that are long enough for alignment, each once, sorted."""
    records = store.records.iloc[rows]
    return sorted(set(records.loc[records["has_text"], "report"]))


def pair(store: Store, rows: np.ndarray, text: np.ndarray) -> PairedRecordings:
    """Join the rows of a store that may take part with the embeddings of their `distinct_reports`, float32 [R, W]."""
    place = {report: i for i, report in enumerate(distinct_reports(store, rows))}
    if len(place) != len(text):
        raise ValueError(f"text: expected {len(place)} rows, one a distinct report; got {len(text)}")
    has_text = store.records["has_text"].to_numpy(bool)
    text_row = [place.get(r, -1) if h else -1 for r, h in zip(store.records["report"], has_text)]
    embedding = torch.from_numpy(text) if len(text) else torch.zeros(1, text.shape[1])
    return PairedRecordings(store.signal_uv, np.sort(rows), embedding, np.array(text_row, np.int64), store.records)


def hold_out_patients(data: PairedRecordings, share: float, seed: int) -> tuple[PairedRecordings, PairedRecordings]:
    """Training and validation parts; whole patients (and groups of identical recordings) on one side.

    share: of the patients, 0 to 1; at least one patient is held out. A ValueError when there are fewer than two.
    """
    unit = data.records[["patient_id", "group"]].iloc[data.rows]
    label = _connected(unit["patient_id"].to_numpy(), unit["group"].to_numpy())
    units = np.unique(label)
    if len(units) < 2:
        raise ValueError(f"pretraining: expected at least 2 patients, one of them to validate on; got {len(units)}")
    order = np.random.default_rng(seed).permutation(units)
    held = np.isin(label, order[: max(1, round(share * len(units)))])
    return data.only(data.rows[~held]), data.only(data.rows[held])


def _connected(patients: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """A label per record, equal for records that share a patient or a group, however indirectly."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    p, g = pd.factorize(patients)[0], pd.factorize(groups)[0]
    n = p.max() + 1
    links = coo_array((np.ones(len(p)), (p, g + n)), shape=(n + g.max() + 1,) * 2)
    return connected_components(links, directed=False)[1][p]
