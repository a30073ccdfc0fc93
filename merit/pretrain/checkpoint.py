"""A checkpoint folder: what is written during training, what stays after it, and how a run goes on from it.

model.safetensors, config.json, history.jsonl, seen.parquet, origin.json, README.md; SHA256SUMS last, which says that
the run is finished; training_state.pt while training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from merit import runs
from merit.config import DecoderConfig, EncoderConfig, ModelConfig
from merit.model.merit import Merit
from merit.pretrain import NOT_OF_TRAINING, origin
from merit.pretrain.card import card
from merit.pretrain.network import network
from merit.runs import commit, plain, versions, write_json, write_text, written

STATE = "training_state.pt"
KEPT = ("config.json", "history.jsonl", "model.safetensors", origin.FILE, "seen.parquet")
"""What stays after training, beside a README.md that anybody may change."""


class History:
    """`history.jsonl`, a line a validation; `lines` are those of the state that a run goes on from."""

    def __init__(self, path: Path, lines: list[str]) -> None:
        self.path, self.lines = path, list(lines)

    def append(
        self, update: int, epoch: float, rate: float, per_second: float, train: dict[str, float], val: dict[str, float]
    ) -> None:
        """Add a line; it reaches the disk with `flush`."""
        row = {"update": update, "epoch": round(epoch, 4), "learning_rate": rate, "train": train, "validation": val}
        self.lines.append(json.dumps({**row, "samples_per_s": round(per_second, 1)}, allow_nan=False))

    def flush(self) -> None:
        """Write the whole file, renamed into place."""
        write_text(self.path, "".join(line + "\n" for line in self.lines))


def finished(folder: Path) -> bool:
    """Whether the run in this folder came to its end. Damaged for weights without digests that no state explains: they
    are not trained over.
    """
    if not runs.sealed(folder) and (folder / "model.safetensors").exists() and not (folder / STATE).exists():
        raise runs.Damaged(folder, "SHA256SUMS is missing")
    return runs.sealed(folder)


def save_state(
    folder: Path, model: Merit, optimiser: torch.optim.Optimizer, update: int, seconds: float, settings: dict[str, Any],
    since: dict[str, list[Tensor]], history: list[str],
) -> None:  # fmt: skip
    """All that the loop changes, in one file with its digest, renamed into place: a kill leaves the old one or the new.

    since: the terms of each update after the last line of the history.
    """
    state = {
        "update": update,
        "seconds": seconds,
        "settings": json.dumps(plain(settings), sort_keys=True),
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "since": since,
        "history": history,
    }
    with written(folder / STATE) as temporary:
        torch.save(state, temporary)
        runs.append_digest(temporary)


def resume(
    folder: Path, model: Merit, optimiser: torch.optim.Optimizer, settings: dict[str, Any], device: torch.device
) -> tuple[int, float, dict[str, list[Tensor]], list[str]]:
    """Load the state in `folder` into model and optimiser; its update, the seconds spent, the terms since the last line
    of the history, and that: 0 and nothing where there is no state.

    A state of other settings is refused with the settings that differ, one that is not as it was written as Damaged.
    """
    path = folder / STATE
    if not path.exists():
        return 0, 0.0, {}, []
    runs.check_appended(path)
    state = torch.load(path, map_location=device, weights_only=True)
    there, here = json.loads(state["settings"]), json.loads(json.dumps(plain(settings)))
    for name in NOT_OF_TRAINING:
        there["pretrain"][name] = here["pretrain"][name]
    differing = differences(there, here)
    if differing:
        raise ValueError(f"{path}: expected a checkpoint of these settings; they differ in {'; '.join(differing)}")
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return state["update"], state["seconds"], state["since"], state["history"]


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Which leaves of two JSON-like trees differ, as "name: there, here"."""
    if isinstance(there, dict) and isinstance(here, dict):
        names = sorted(set(there) | set(here))
        return [d for k in names for d in differences(there.get(k), here.get(k), f"{name}.{k}".lstrip("."))]
    return [] if there == here else [f"{name}: {there!r} there, {here!r} here"]


def finish(
    folder: Path, model: Merit, settings: dict[str, Any], seen: pd.DataFrame, seconds: float,
    about: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write what stays, with the seconds of training; the digests last: they say that the run is finished.

    about: what `origin.json` holds, as `origin.about` gives it; None: there is none.
    """
    with written(folder / "seen.parquet") as temporary:
        seen.to_parquet(temporary, index=False)
    write_json(
        folder / "config.json", {**settings, "seconds": round(seconds, 1), "commit": commit(), "versions": versions()}
    )
    if about is not None:
        write_json(folder / origin.FILE, about)
    write_text(folder / "README.md", card(plain(settings), dict(about or {}), seen))
    with written(folder / "model.safetensors") as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, temporary)
    runs.seal(folder, [name for name in KEPT if (folder / name).exists()])
    (folder / STATE).unlink(missing_ok=True)


def load_model(folder: Path) -> tuple[Merit, dict[str, Any]]:
    """The network of a finished checkpoint, in evaluation mode on the CPU, and its settings; every key must fit."""
    if not (folder / "model.safetensors").exists() or not (folder / "config.json").exists():
        raise FileNotFoundError(f"{folder}: expected a finished checkpoint (model.safetensors and config.json)")
    if not runs.sealed(folder):
        raise ValueError(
            f"{folder}: expected SHA256SUMS beside model.safetensors, which tells whether all is as it was written; a "
            "checkpoint of an earlier edition has none; where you trust it: `merit.runs.seal(folder)`"
        )
    settings = runs.read_json(runs.check(folder) / "config.json")
    sizes = dict(settings["model"])
    sizes["encoder"], sizes["decoder"] = EncoderConfig(**sizes["encoder"]), DecoderConfig(**sizes["decoder"])
    model = network(ModelConfig(**sizes), settings["pretrain"]["objective"])
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return model.eval(), settings
