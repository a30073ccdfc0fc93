"""Between a text encoder and its last layers that are trained: what they start from, what they read, and back again.

Shapes: R texts, M tokens of all of them, W width.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from merit.config import TextTowerConfig
from merit.model.text import TextEncoder
from merit.model.text_tower import TextTower
from merit.runs import new_folder


def tower_config(frozen: TextEncoder, layers: int) -> TextTowerConfig:
    """Sizes of the last `layers` layers; ValueError for an encoder that is no BERT or has fewer."""
    about = frozen.model.config
    if about.model_type != "bert" or about.hidden_act != "gelu":
        raise ValueError(
            f"text_layers: expected a BERT with GELU as text encoder, to train layers of; got {about.model_type} with "
            f"{getattr(about, 'hidden_act', 'another activation')}; text_layers 0 takes any encoder"
        )
    if not 1 <= layers <= about.num_hidden_layers:
        raise ValueError(f"text_layers: expected 0 to {about.num_hidden_layers}, the encoder's layers; got {layers}")
    return TextTowerConfig(
        layers=layers, width=about.hidden_size, heads=about.num_attention_heads, hidden=about.intermediate_size,
        eps=about.layer_norm_eps, pooling=frozen.config.pooling,
    )  # fmt: skip


def tower_of(frozen: TextEncoder, layers: int) -> TextTower:
    """The last layers with the weights that they have before training, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        tower = TextTower(tower_config(frozen, layers))
    for ours, theirs in zip(tower.layer, frozen.model.encoder.layer[-layers:], strict=True):
        ours.load_state_dict(theirs.state_dict())
    return tower


def with_tower(frozen: TextEncoder, tower: TextTower) -> TextEncoder:
    """The text encoder with its last layers as they were trained; the frozen one stays as it is."""
    tuned = copy.copy(frozen)
    tuned.model = copy.deepcopy(frozen.model)
    for theirs, ours in zip(tuned.model.encoder.layer[-len(tower.layer) :], tower.layer, strict=True):
        theirs.load_state_dict(ours.state_dict())
    return tuned


def write_states(frozen: TextEncoder, texts: Sequence[str], layers: int, folder: Path, batch: int = 128) -> Path:
    """Write the states of all texts' tokens below the last `layers` layers, float32 [M, W], with those layers' weights.
    Only one batch is in memory.
    """
    from safetensors.torch import save_file

    tower = tower_of(frozen, layers)
    ids = frozen.tokenizer(list(texts), truncation=True, max_length=frozen.config.max_tokens)["input_ids"]
    start = np.cumsum([0, *map(len, ids)])
    order = np.argsort(np.diff(start), kind="stable")
    header = {"descr": "<f4", "fortran_order": False, "shape": (int(start[-1]), frozen.width)}
    with new_folder(folder) as made:
        np.save(made / "start.npy", start.astype(np.int64))
        with (made / "states.npy").open("wb") as file:  # not a memory map: a full disk would end the process
            np.lib.format.write_array_header_1_0(file, header)
            origin = file.tell()
            steps = range(0, len(order), batch)
            for first in tqdm(steps, desc="reading reports", mininterval=1.0, disable=len(order) < batch):
                rows = order[first : first + batch]
                for row, found in zip(rows, _below(frozen, [ids[row] for row in rows], layers)):
                    file.seek(origin + int(start[row]) * frozen.width * 4)
                    file.write(np.ascontiguousarray(found, "<f4"))
        (made / "tower.json").write_text(json.dumps(asdict(tower_config(frozen, layers))), encoding="utf-8")
        save_file(tower.state_dict(), made / "tower.safetensors")
    return folder


@torch.inference_mode()
def _below(frozen: TextEncoder, ids: list[list[int]], layers: int) -> list[np.ndarray]:
    """The states of each text's tokens, float32 [its tokens, W]."""
    tokens = frozen.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(frozen.device)
    states = frozen.model(**tokens, output_hidden_states=True).hidden_states[-1 - layers].float().cpu().numpy()
    return [own[: len(text)] for own, text in zip(states, ids)]
