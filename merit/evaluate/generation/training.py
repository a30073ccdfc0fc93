"""The adaptation loop: a frozen language model learns to answer from embedded ECGs (App. A.2.2).

Resume is exact because nothing random has a state: the order of an epoch follows from (seed, epoch) alone, so a
checkpoint is the trained weights, the optimiser, a number and the losses since the last line of the history.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from merit import runs
from merit.config import GenerationConfig
from merit.evaluate.generation.language_model import Conditioned, collate, encode_pair, load_language_model
from merit.parallel import one_thread_an_operation

STATE = "training_state.pt"
ADAPTER = "adapter.safetensors"
ABOUT = "generator.json"
LINE_EVERY = 20
"""Updates between two lines of the history."""
NOT_OF_TRAINING = (
    "decoding",
    "temperature",
    "top_p",
    "max_new_tokens",
    "test_pairs",
    "bert",
    "bert_layers",
    "save_every",
)
"""Settings that a trained adapter does not depend on."""
DECODING = ("decoding", "temperature", "top_p", "max_new_tokens")
"""Settings that a generator takes over from its run, and its user may change."""
MAY_DIFFER = ("language_model.source",)
"""Where the language model lies; its fingerprint may not."""


class NonFiniteLoss(RuntimeError):
    """The loss or its gradient is not a number; the message names it and the update."""


@one_thread_an_operation()
def train(
    model: Conditioned,
    questions: Sequence[str],
    answers: Sequence[str],
    ecg: np.ndarray,
    config: GenerationConfig,
    folder: Path,
    *,
    records: Sequence[str] | None = None,
    source: str | Path = "",
    progress: bool = True,
    stop_after: int | None = None,
) -> Path:
    """Train what `model.trained()` names on the pairs into `folder`, continuing what is there; return `folder`.

    ecg: float32 [N, n, D] or [N, D], one row per pair. records: names of the pairs, for messages. source: where the
    language model came from, for `load_adapter`. stop_after: leave after that many updates, with a checkpoint.
    A finished folder is loaded into `model`. Left behind: adapter.safetensors (what is trained alone), config.json
    (settings; pairs and how many of them were truncated), history.jsonl. ValueError for a folder of other settings or
    pairs, NonFiniteLoss (the last checkpoint stays) where the loss is none.
    """
    if not len(questions) == len(answers) == len(ecg) or not len(answers):
        raise ValueError(
            f"pairs: expected as many questions, answers and ECGs, at least one; got {len(questions)}, {len(answers)} "
            f"and {len(ecg)}"
        )
    names = records if records is not None else [""] * len(answers)
    pairs = [
        encode_pair(model.tokenizer, question, answer, config, name)
        for question, answer, name in zip(questions, answers, names, strict=True)
    ]
    total = total_updates(config, len(pairs))
    settings = {
        "generation": {k: v for k, v in runs.plain(asdict(config)).items() if k not in NOT_OF_TRAINING},
        "language_model": {"source": str(source), "fingerprint": model.fingerprint},
        "ecg_width": model.ecg_width,
        "pairs": {
            "n": len(pairs),
            "truncated": sum(pair.lost > 0 for pair in pairs),
            "tokens_lost": sum(pair.lost for pair in pairs),
            "tokens": sum(len(pair.ids) for pair in pairs),
            "digest": runs.digest(
                [[pair.ids for pair in pairs], hashlib.sha256(np.ascontiguousarray(ecg)).hexdigest()]
            ),
        },
        "total_updates": total,
    }
    if config.standardise:
        model.standardise(ecg)

    # -- read what is finished, or go on with what is not
    if runs.sealed(folder):
        there = runs.read_json(runs.check(folder) / "config.json")
        there = {name: there.get(name) for name in settings}
        runs.require_same_settings(folder / "config.json", there, settings, MAY_DIFFER)
        model.load_kept(load_file(folder / ADAPTER))
        return folder
    optimiser = make_optimiser(model, config)
    update, since, lines, before = 0, [], [], 0.0
    if state := runs.read_state(folder / STATE, settings, MAY_DIFFER, device=model.device):
        model.load_kept(state["kept"])
        optimiser.load_state_dict(state["optimiser"])
        update, since, lines, before = (state[name] for name in ("update", "since", "history", "seconds"))

    # -- update by update
    bar = tqdm(total=total, initial=update, unit="update", desc="adapting", disable=not progress, mininterval=1.0)
    model.train()
    began, done = time.perf_counter(), 0
    while update < total and (stop_after is None or done < stop_after):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(update, total, config)
        rows = positions(len(pairs), update, config)
        batch = collate([pairs[i] for i in rows], model.tokenizer, config)
        signal = torch.from_numpy(np.ascontiguousarray(ecg[rows], np.float32)).to(model.device)
        loss = model(batch.to(model.device), signal)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.trained().values(), config.clip_norm)
        values = {"loss": loss.item(), "gradient": norm.item()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise NonFiniteLoss(
                    f"update {update + 1}: expected a finite {name}; got {value}; the last good checkpoint is kept; "
                    "lower the learning rate or look at the embeddings of this update"
                )
        optimiser.step()
        update, done = update + 1, done + 1
        since.append(values["loss"])
        bar.update()

        # -- a line of the history, a checkpoint
        if update % LINE_EVERY == 0 or update == total:
            mean, rate = math.fsum(since) / len(since), optimiser.param_groups[0]["lr"]
            lines.append(json.dumps({"update": update, "learning_rate": rate, "loss": mean}))
            bar.set_postfix(loss=f"{mean:.3f}")
            since = []
        if update % config.save_every == 0 or update == total or done == stop_after:
            seconds = before + time.perf_counter() - began
            runs.write_text(folder / "history.jsonl", "".join(f"{line}\n" for line in lines))
            if update < total:
                state = {"update": update, "since": since, "seconds": seconds, "history": lines}
                state |= {"kept": {name: p.detach() for name, p in model.kept().items()}}
                runs.write_state(folder / STATE, settings, state | {"optimiser": optimiser.state_dict()})
    bar.close()

    # -- what stays; the digests last: they say that the run is finished
    if update == total:
        about = {"seconds": round(seconds, 1), "commit": runs.commit(), "versions": runs.versions()}
        runs.write_json(folder / "config.json", settings | about)
        with runs.written(folder / ADAPTER) as temporary:
            save_file({name: p.detach().cpu().contiguous() for name, p in model.kept().items()}, temporary)
        runs.seal(folder, ("config.json", "history.jsonl", ADAPTER))
        (folder / STATE).unlink(missing_ok=True)
    return folder


def make_optimiser(model: Conditioned, config: GenerationConfig) -> torch.optim.AdamW:
    """AdamW; no decay on vectors: biases, norms, the ECG token's embedding."""
    weights = list(model.trained().values())
    groups = [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)


def total_updates(config: GenerationConfig, n_pairs: int) -> int:
    """Updates of a run: `updates`, or epochs times the batches of an epoch, at least one."""
    if config.updates is not None:
        return config.updates
    return max(1, round(config.epochs * updates_per_epoch(config, n_pairs)))


def updates_per_epoch(config: GenerationConfig, n_pairs: int) -> int:
    """Whole batches of an epoch, the rest left out of that epoch; one where there are fewer pairs than `batch`."""
    return max(1, n_pairs // config.batch)


def learning_rate(update: int, total: int, config: GenerationConfig) -> float:
    """Rate of an update (from 0): cosine from `learning_rate` to `min_learning_rate`, no warm-up (App. A.2.2)."""
    low, high = config.min_learning_rate, config.learning_rate
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * update / total))


def positions(n_pairs: int, update: int, config: GenerationConfig) -> np.ndarray:
    """Which pairs an update uses: its slice of the epoch's permutation, drawn from (seed, epoch)."""
    epoch, place = divmod(update, updates_per_epoch(config, n_pairs))
    order = np.random.default_rng([config.seed, epoch]).permutation(n_pairs)
    return order[place * config.batch : (place + 1) * config.batch]


def load_adapter(folder: Path, source: str | Path | None = None, device: str = "cpu") -> Conditioned:
    """The model of a finished run, for decoding: its language model from where it came from, or from `source`.

    FileNotFoundError where the run is not finished or the language model is gone; ValueError for another one than the
    adapter was trained with.
    """
    if not runs.sealed(folder):
        raise FileNotFoundError(f"{folder}: expected a finished adapter ({ADAPTER}, config.json and SHA256SUMS)")
    settings = runs.read_json(runs.check(folder) / "config.json")
    known = settings["generation"]
    config = GenerationConfig(**{**known, "betas": tuple(known["betas"])})
    where = source or settings["language_model"]["source"]
    model = Conditioned(*load_language_model(where, config, device), settings["ecg_width"], config)
    if model.fingerprint != settings["language_model"]["fingerprint"]:
        raise ValueError(f"{folder}: expected the language model that it was trained with; {where} is another")
    model.load_kept(load_file(folder / ADAPTER))
    return model.eval()


def describe(folder: Path, encoder: str, checkpoint: Path | None, config: GenerationConfig) -> None:
    """Write down beside an adapter which encoder it was trained with, where its checkpoint lies from there, and how
    texts were decoded the first time; kept where it is there.
    """
    if runs.sealed(folder / ABOUT):
        return
    where = None if checkpoint is None else os.path.relpath(checkpoint, folder)
    decoding = {name: getattr(config, name) for name in DECODING}
    runs.write_json(folder / ABOUT, {"encoder": encoder, "checkpoint": where, "decoding": decoding})
    runs.seal(folder / ABOUT)
