"""Writing answers: many questions at once with the key-value cache, greedily or by sampling from the likeliest tokens.

B texts at work, S positions, V vocabulary. A text does not depend on its batch: padding is hidden, and a random draw
belongs to (seed, number of the text, position). Sums over batches of another size may differ in the last bit, which
matters only where two tokens are equally likely to that bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from merit.config import GenerationConfig
from merit.evaluate.generation.conditioned import Conditioned, encode_question
from merit.threads import one_thread_an_operation


@one_thread_an_operation()
@torch.inference_mode()
def generate(
    model: Conditioned,
    questions: Sequence[str],
    ecg: np.ndarray,
    config: GenerationConfig,
    batch: int = 32,
    progress: bool = True,
    *,
    records: Sequence[str] | None = None,
) -> list[str]:
    """An answer to each question about its ECG, up to `max_new_tokens` tokens or the end that the model writes.

    ecg: float32 [N, n, D] or [N, D], a row a question. Questions of like length share a batch. records: names for
    messages. ValueError where a question has not just one placeholder, or the numbers of questions and ECGs differ.
    """
    if len(questions) != len(ecg):
        raise ValueError(f"generate: expected an ECG a question; got {len(questions)} questions and {len(ecg)} ECGs")
    names = records if records is not None else [""] * len(questions)
    prompts = [
        encode_question(model.tokenizer, question, model.config.ecg_tokens, name)
        for question, name in zip(questions, names, strict=True)
    ]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    texts = [""] * len(prompts)
    was_training = model.training
    model.eval()
    with tqdm(total=len(prompts), desc="writing", unit="text", disable=not progress, mininterval=1.0) as bar:
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            signal = torch.from_numpy(np.ascontiguousarray(ecg[rows], np.float32)).to(model.device)
            for row, ids in zip(rows, _write([prompts[i] for i in rows], signal, rows, model, config, bar)):
                texts[row] = model.tokenizer.decode(ids, skip_special_tokens=True).strip()
    model.train(was_training)
    return texts


def _write(
    prompts: list[list[int]], ecg: Tensor, rows: list[int], model: Conditioned, config: GenerationConfig, bar: tqdm
) -> list[list[int]]:
    """Token ids that follow each prompt, eos left out; a text that has ended leaves the batch."""
    from transformers import DynamicCache

    ids, attention = pad_left(prompts, model.tokenizer.pad_token_id, model.device)
    forbidden = torch.tensor(never_written(model), device=model.device)
    draws = [np.random.default_rng([config.seed, row]).random(config.max_new_tokens) for row in rows]
    cache = DynamicCache(config=model.language_model.config)
    written: list[list[int]] = [[] for _ in prompts]
    at_work = list(range(len(prompts)))
    embeddings, position = model.embed(ids, ecg), (attention.cumsum(1) - 1).clamp(min=0)
    for step in range(config.max_new_tokens):
        with model.autocast():
            states = model.language_model.get_decoder()(
                inputs_embeds=embeddings, attention_mask=attention, position_ids=position, past_key_values=cache,
                use_cache=True,
            ).last_hidden_state  # fmt: skip
            logits = model.logits(states[:, -1]).index_fill(1, forbidden, -torch.inf)
        chosen = choose(logits, np.array([draws[i][step] for i in at_work]), config)
        going = [k for k, token in enumerate(chosen.tolist()) if token != model.tokenizer.eos_token_id]
        for k in going:
            written[at_work[k]].append(int(chosen[k]))
        bar.update(len(at_work) - len(going))
        if len(going) < len(at_work):
            if not going:
                return written
            keep = torch.tensor(going, device=model.device)
            cache.batch_select_indices(keep)
            chosen, attention, position = chosen[keep], attention[keep], position[keep]
            at_work = [at_work[k] for k in going]
        attention = torch.cat([attention, attention.new_ones(len(at_work), 1)], 1)
        position = position[:, -1:] + 1
        embeddings = model.language_model.get_input_embeddings()(chosen[:, None])
    bar.update(len(at_work))
    return written


def pad_left(prompts: list[list[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention (1 = seen), int64 [B, S]: padding first, so that all prompts end together."""
    length = max(map(len, prompts))
    ids = torch.tensor([[pad] * (length - len(p)) + p for p in prompts], device=device)
    seen = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts], device=device)
    return ids, seen


def never_written(model: Conditioned) -> list[int]:
    """Tokens that no text may hold: the ECG's, bos and padding (unless padding is eos)."""
    tokens = model.tokenizer
    return sorted({model.ecg_id, tokens.bos_token_id, tokens.pad_token_id} - {None, tokens.eos_token_id})


def choose(logits: Tensor, draws: np.ndarray, config: GenerationConfig) -> Tensor:
    """int64 [B], the next token from logits [B, V]: the likeliest, or by `draws` [B] (uniform, 0 to 1) one of the
    likeliest that together reach `top_p` at `temperature` (nucleus sampling; MedTVT-R1's code: 0.6 and 0.9).
    """
    if config.decoding == "greedy":
        return logits.argmax(-1)
    share, token = (logits.double() / config.temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
    share = share.masked_fill(share.cumsum(-1) - share > config.top_p, 0.0)
    reached = share.cumsum(-1)
    drawn = torch.from_numpy(draws).to(reached)[:, None] * reached[:, -1:]
    place = torch.searchsorted(reached, drawn, right=True).clamp(max=logits.shape[-1] - 1)
    return token.gather(1, place)[:, 0]
