"""The training set as the loop reads it: signals of a store, one text embedding per distinct report, patients apart.

Where the last layers of the text encoder are trained, it holds the states of the reports' tokens below those layers:
the layers below are frozen, so they run once per distinct report. A batch's texts are put in groups of similar length,
so that little is padded, and each distinct one is there once; the batch itself stays the random draw that it is.

Shapes: N records, R distinct reports, L leads, T samples, W text width, M tokens of all texts, B recordings of a batch,
g texts of a group, n tokens of its longest.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from merit.data.store import Store, connected
from merit.runs import check

GROUPS = 4
"""Groups of a batch's texts; more would pad less and launch more."""


class Words(NamedTuple):
    """The texts of a batch, each distinct one once."""

    groups: tuple[tuple[Tensor, Tensor], ...]
    """States [g, n, W] and which of them are no padding [g, n], from the shortest texts to the longest."""
    place: Tensor
    """int64 [B]: each recording's text, counted through all groups."""


@dataclass(frozen=True)
class TokenStates:
    """All texts, their tokens one after another, and what the layers above start from."""

    states: Tensor
    """[M, W]; memory-mapped, or on a device."""
    start: np.ndarray
    """int64 [R + 1]: first token of each text."""
    tower: dict[str, Any]
    """Sizes of the layers above, for `TextTowerConfig`."""
    weights: dict[str, Tensor]
    """Their weights before training."""

    @property
    def n_bytes(self) -> int:
        """What the states take in memory."""
        return self.states.numel() * self.states.element_size()

    def to(self, device: torch.device) -> TokenStates:
        """The same with its states in a device's memory."""
        return dataclasses.replace(self, states=self.states.to(device))

    def take(self, rows: np.ndarray, device: torch.device, n_groups: int = GROUPS) -> Words:
        """The texts of a batch on a device; rows: int [B] in the texts. Nothing in it waits for a GPU."""
        parts, place = grouped(rows, np.diff(self.start), n_groups)
        groups = []
        for part in parts:
            begin, length = self.start[part][:, None], np.diff(self.start)[part][:, None]
            along = np.arange(length.max())[None]
            index = torch.from_numpy(begin + np.minimum(along, length - 1)).to(self.states.device, non_blocking=True)
            real = torch.from_numpy(along < length).to(device, non_blocking=True)
            groups.append((self.states[index].to(device, non_blocking=True), real))
        return Words(tuple(groups), torch.from_numpy(place).to(device, non_blocking=True))


def grouped(rows: np.ndarray, length: np.ndarray, n_groups: int = GROUPS) -> tuple[list[np.ndarray], np.ndarray]:
    """The distinct ones of `rows`, by length in groups of equal size, and where each of `rows` is among them, int64.

    length: of every text, in tokens. What is as long as another comes in the order of the texts.
    """
    distinct, which = np.unique(rows, return_inverse=True)
    order = np.argsort(length[distinct], kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return np.array_split(distinct[order], min(n_groups, len(order))), rank[which]


def load_tokens(folder: Path) -> TokenStates:
    """What `merit.model.text.write_states` wrote; the states stay on disk until they are read."""
    from safetensors.torch import load_file

    states = np.load(check(folder) / "states.npy", mmap_mode="c", allow_pickle=False)
    start = np.load(folder / "start.npy", allow_pickle=False)
    tower = json.loads((folder / "tower.json").read_text(encoding="utf-8"))
    return TokenStates(torch.from_numpy(states), start, tower, load_file(folder / "tower.safetensors"))


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
        raise ValueError(f"text: expected {len(place)} rows, one per distinct report; got {len(text)}")
    has_text = store.records["has_text"].to_numpy(bool)
    text_row = [place.get(r, -1) if h else -1 for r, h in zip(store.records["report"], has_text)]
    embedding = torch.from_numpy(text) if len(text) else torch.zeros(1, text.shape[1])
    return PairedRecordings(store.signal_uv, np.sort(rows), embedding, np.array(text_row, np.int64), store.records)


def hold_out_patients(data: PairedRecordings, share: float, seed: int) -> tuple[PairedRecordings, PairedRecordings]:
    """Training and validation parts; whole patients (and groups of identical recordings) on one side.

    share: of the patients, 0 to 1; at least one patient is held out. A ValueError when there are fewer than two.
    """
    unit = data.records[["patient_id", "group"]].iloc[data.rows]
    label = connected(unit["patient_id"], unit["group"])
    units = np.unique(label)
    if len(units) < 2:
        raise ValueError(f"pretraining: expected at least 2 patients, one of them to validate on; got {len(units)}")
    order = np.random.default_rng(seed).permutation(units)
    held = np.isin(label, order[: max(1, round(share * len(units)))])
    return data.only(data.rows[~held]), data.only(data.rows[held])
