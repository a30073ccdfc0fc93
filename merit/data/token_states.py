"""Reports as a trained text encoder's last layers read them: the states of their tokens below those layers, on disk.

The layers below are frozen, so they run once per distinct report. A batch's texts are put in groups of similar length,
so that little is padded, and each distinct one is there once; the batch itself is the random draw that it is without.
R texts, M tokens of all of them, W width, B recordings of a batch, g texts of a group, n tokens of its longest.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

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


def computed_tokens(rows: np.ndarray, length: np.ndarray, n_groups: int = GROUPS) -> int:
    """Tokens that a batch's forward goes through, padding among them."""
    return sum(len(part) * int(length[part].max()) for part in grouped(rows, length, n_groups)[0])


def load(folder: Path) -> TokenStates:
    """What `merit.model.text.write_states` wrote; the states stay on disk until they are read."""
    from safetensors.torch import load_file

    states = np.load(check(folder) / "states.npy", mmap_mode="c", allow_pickle=False)
    start = np.load(folder / "start.npy", allow_pickle=False)
    tower = json.loads((folder / "tower.json").read_text(encoding="utf-8"))
    return TokenStates(torch.from_numpy(states), start, tower, load_file(folder / "tower.safetensors"))
