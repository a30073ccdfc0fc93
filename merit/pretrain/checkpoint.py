"""A checkpoint folder: what is written during training, what stays after it, and how a run goes on from it.

model.safetensors, config.json, history.jsonl, seen.parquet, README.md; training_state.pt while training.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from merit.config import DecoderConfig, EncoderConfig, ModelConfig
from merit.model.merit import Merit
from merit.pretrain.network import network
from merit.runs import commit, plain, versions, write_json, write_text, written

STATE = "training_state.pt"


class History:
    """`history.jsonl`, a line a validation; lines after the resumed update are dropped."""

    def __init__(self, path: Path, keep_until: int) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.lines = [line for line in lines if json.loads(line)["update"] <= keep_until]

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
    """Whether the run in this folder came to its end."""
    return (folder / "model.safetensors").exists() and (folder / "config.json").exists()


def save_state(
    folder: Path, model: Merit, optimiser: torch.optim.Optimizer, update: int, seconds: float, settings: dict[str, Any],
    since: dict[str, list[Tensor]],
) -> None:  # fmt: skip
    """All that the loop changes, in one file, renamed into place: a kill leaves the old one or the new one.

    since: the terms of each update after the last line of the history.
    """
    state = {
        "update": update,
        "seconds": seconds,
        "settings": json.dumps(plain(settings), sort_keys=True),
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "since": since,
    }
    with written(folder / STATE) as temporary:
        torch.save(state, temporary)


def resume(
    folder: Path, model: Merit, optimiser: torch.optim.Optimizer, settings: dict[str, Any], device: torch.device
) -> tuple[int, float, dict[str, list[Tensor]]]:
    """Load the state in `folder` into model and optimiser; its update, the seconds spent, and the terms since the last
    line of the history: 0 and nothing where there is no state.

    A state of other settings is refused with the settings that differ.
    """
    path = folder / STATE
    if not path.exists():
        return 0, 0.0, {}
    state = torch.load(path, map_location=device, weights_only=True)
    differing = differences(json.loads(state["settings"]), json.loads(json.dumps(plain(settings))))
    if differing:
        raise ValueError(f"{path}: expected a checkpoint of these settings; they differ in {'; '.join(differing)}")
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return state["update"], state["seconds"], state["since"]


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Which leaves of two JSON-like trees differ, as "name: there, here"."""
    if isinstance(there, dict) and isinstance(here, dict):
        names = sorted(set(there) | set(here))
        return [d for k in names for d in differences(there.get(k), here.get(k), f"{name}.{k}".lstrip("."))]
    return [] if there == here else [f"{name}: {there!r} there, {here!r} here"]


def finish(folder: Path, model: Merit, settings: dict[str, Any], seen: pd.DataFrame, seconds: float) -> None:
    """Write what stays, with the seconds of training; `model.safetensors` last: it says that the run is finished."""
    with written(folder / "seen.parquet") as temporary:
        seen.to_parquet(temporary, index=False)
    write_json(
        folder / "config.json", {**settings, "seconds": round(seconds, 1), "commit": commit(), "versions": versions()}
    )
    write_text(folder / "README.md", model_card(settings, seen))
    with written(folder / "model.safetensors") as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, temporary)
    (folder / STATE).unlink(missing_ok=True)


def model_card(settings: dict[str, Any], seen: pd.DataFrame) -> str:
    """The README of a checkpoint: what it is, what it was trained on, what it is not for."""
    run, encoder = settings["pretrain"], settings["model"]["encoder"]
    where = ", ".join(f"{n} recordings of {c}" for c, n in seen["cohort"].value_counts().items())
    kind = f"ViT on 12-lead ECGs: width {encoder['width']}, {encoder['depth']} blocks"
    if encoder.get("kind") == "tiny_vit":
        kind = f"One-dimensional TinyViT on 12-lead ECGs: widths {tuple(encoder['tiny_vit']['widths'])}"
    if encoder.get("kind") == "resnet18":
        kind = f"One-dimensional ResNet18 on 12-lead ECGs: {encoder['resnet_width']} channels in the first stage"
    return (
        f"# MERIT companion: objective {run['objective']}, seed {run['seed']}\n\n"
        f"{kind}, patch {encoder['patch']} samples at 100 Hz. Pretrained for {settings['total_updates']} updates of "
        f"batch {run['batch']} on {where} (listed in "
        "`seen.parquet`; no evaluation scores a patient that is in it).\n\n"
        "Use: `merit.load(folder).embed(signal_mv, fs_hz=500)`.\n\n"
        "A research artefact. Not a medical device, and not for decisions about patients.\n"
    )


def load_model(folder: Path) -> tuple[Merit, dict[str, Any]]:
    """The network of a finished checkpoint, in evaluation mode on the CPU, and its settings; every key must fit."""
    if not finished(folder):
        raise FileNotFoundError(f"{folder}: expected a finished checkpoint (model.safetensors and config.json)")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes = dict(settings["model"])
    sizes["encoder"], sizes["decoder"] = EncoderConfig(**sizes["encoder"]), DecoderConfig(**sizes["decoder"])
    model = network(ModelConfig(**sizes), settings["pretrain"]["objective"])
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return model.eval(), settings
