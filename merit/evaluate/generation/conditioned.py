"""A frozen language model, conditioned by an ECG: LoRA, biases, norms, the ECG token's row and the projector learn.

App. A.2.2, after stage 1 of MedTVT-R1. B batch, S positions, E ECG tokens, n encoder tokens, D encoder width, H
language model's width. Attention 1 = a token is seen; label -100 = no target.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from merit.config import GenerationConfig
from merit.evaluate.generation.language_model import ECG_TOKEN
from merit.evaluate.generation.projector import Projector

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The layers that get LoRA (MedTVT-R1: wq wk wv wo w1 w2 w3)."""
BIASED = ("q_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Those of them that get a bias where they have none (MedTVT-R1: wq wo w1 w3 w2); Llama's have none."""
NO_TARGET = -100


@dataclass(frozen=True)
class Encoded:
    """A pair as token ids: bos + question + " " + answer + eos, the ECG token repeated E times."""

    ids: list[int]
    n_question: int
    """Positions before the answer, which are no targets."""
    lost: int
    """Tokens cut from the end of the answer, eos among them; 0 where the pair fits."""


@dataclass(frozen=True)
class Batch:
    """int64 [B, S] each; attention 1 = seen, labels -100 = no target (a label stands at its own token's position)."""

    ids: Tensor
    attention: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.ids.to(device), self.attention.to(device), self.labels.to(device))


def encode_question(
    tokenizer: PreTrainedTokenizerFast, question: str, ecg_tokens: int = 1, record: str = ""
) -> list[int]:
    """Token ids of bos + question, its placeholder as `ecg_tokens` ECG tokens; ValueError unless it holds just one."""
    found = question.count(ECG_TOKEN)
    if found != 1:
        where = f" of record {record}" if record else ""
        raise ValueError(
            f"question{where}: expected one {ECG_TOKEN}; got {found} in {question[:80]!r}; correct the pair"
        )
    ecg = tokenizer.convert_tokens_to_ids(ECG_TOKEN)
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids = tokenizer(question, add_special_tokens=False)["input_ids"]
    place = ids.index(ecg)
    return [*start, *ids[:place], *[ecg] * ecg_tokens, *ids[place + 1 :]]


def encode_pair(
    tokenizer: PreTrainedTokenizerFast, question: str, answer: str, config: GenerationConfig, record: str = ""
) -> Encoded:
    """A pair in at most `max_tokens` tokens; one that is longer loses the end of its answer, never of its question.

    No chat template, as in MedTVT-R1. ValueError for a placeholder in the answer, none or two in the question, or a
    question that leaves no room for an answer; each names the record.
    """
    head = encode_question(tokenizer, question, config.ecg_tokens, record)
    where = f" of record {record}" if record else ""
    if ECG_TOKEN in answer:
        raise ValueError(f"answer{where}: expected no {ECG_TOKEN}; got it in {answer[:80]!r}; correct the pair")
    room = config.max_tokens - len(head)
    if room < 1:
        raise ValueError(
            f"question{where}: expected fewer than max_tokens = {config.max_tokens} tokens; got {len(head)}"
        )
    tail = [*tokenizer(f" {answer}", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return Encoded([*head, *tail[:room]], len(head), max(0, len(tail) - room))


def collate(pairs: Sequence[Encoded], tokenizer: PreTrainedTokenizerFast, config: GenerationConfig) -> Batch:
    """Pairs as one batch, padded at the end up to the longest; padding is hidden and no target.

    `train_on_padding`: padded with eos up to `max_tokens`, seen and a target everywhere (MedTVT-R1's code).
    """
    length = config.max_tokens if config.train_on_padding else max(len(pair.ids) for pair in pairs)
    filler = tokenizer.eos_token_id if config.train_on_padding else tokenizer.pad_token_id
    ids = torch.full((len(pairs), length), filler)
    used = torch.zeros(len(pairs), length, dtype=torch.long)
    labels = torch.full((len(pairs), length), filler if config.train_on_padding else NO_TARGET)
    for row, pair in enumerate(pairs):
        n = len(pair.ids)
        ids[row, :n] = torch.tensor(pair.ids)
        labels[row, :n] = ids[row, :n]
        labels[row, : pair.n_question] = NO_TARGET
        used[row, :n] = 1
    return Batch(ids, torch.ones_like(used) if config.train_on_padding else used, labels)


class Conditioned(nn.Module):
    """A language model with its adapter and projector; everything that is not trained is frozen.

    LoRA without scaling (alpha = rank) and without dropout, and biases that start at 0, as in the original: at first
    nothing is changed. The original overwrites the embedding at the placeholder and trains the whole table of
    embeddings (262 million numbers); here the one row of the ECG token is trained, as what all ECGs share: an ECG
    token's embedding is that row plus the projector's output. Gradients,
    weights that are trained, and the optimiser are float32 whatever the language model's own type.
    """

    def __init__(
        self, language_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, ecg_width: int,
        config: GenerationConfig,
    ) -> None:  # fmt: skip
        from peft import LoraConfig, inject_adapter_in_model

        super().__init__()
        if any("lora_" in name for name, _ in language_model.named_parameters()):
            raise ValueError("language model: expected one without an adapter; this one has one already; load it again")
        self.config, self.tokenizer, self.ecg_width = config, tokenizer, ecg_width
        self.ecg_id: int = tokenizer.convert_tokens_to_ids(ECG_TOKEN)
        table = language_model.get_input_embeddings().weight
        self.fingerprint = fingerprint(table, self.ecg_id)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            for name, layer in language_model.named_modules():
                if name.rpartition(".")[2] in BIASED and layer.bias is None:
                    layer.bias = nn.Parameter(layer.weight.new_zeros(layer.out_features))
            lora = LoraConfig(r=config.lora_rank, lora_alpha=config.lora_rank, target_modules=list(PROJECTIONS))
            self.language_model = inject_adapter_in_model(lora, language_model.requires_grad_(False))
            self.projector = Projector(ecg_width, config.projector_width, table.shape[1], config.ecg_tokens)
        self.projector.to(table.device)
        self.register_buffer("ecg_centre", torch.zeros(ecg_width, device=table.device))
        self.register_buffer("ecg_scale", torch.ones(ecg_width, device=table.device))
        self.ecg_embedding = nn.Parameter(table[self.ecg_id].detach().float().clone())
        for name, parameter in self.language_model.named_parameters():
            if "lora_" in name or "norm" in name or name.endswith(".bias"):
                parameter.requires_grad_(True)
                parameter.data = parameter.data.float()
        if config.gradient_checkpointing:
            self.language_model.activation_checkpointing_enable({"use_reentrant": False})

    @property
    def frozen_size(self) -> int:
        """Numbers of the language model that stay as they were."""
        return sum(p.numel() for p in self.language_model.parameters() if not p.requires_grad)

    @property
    def device(self) -> torch.device:
        """Where the weights lie, and where batches must."""
        return self.ecg_embedding.device

    def autocast(self) -> contextlib.AbstractContextManager:
        """bfloat16 arithmetic where the language model is bfloat16, as on a GPU; nothing where it is float32."""
        if self.language_model.dtype == torch.bfloat16:
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def embed(self, ids: Tensor, ecg: Tensor) -> Tensor:
        """[B, S, H] embeddings of ids [B, S], at whose ECG tokens `ecg` ([B, n, D] or [B, D]) stands."""
        embeddings = self.language_model.get_input_embeddings()(ids)
        with torch.autocast(self.device.type, enabled=False):
            tokens = self.projector((ecg - self.ecg_centre) / self.ecg_scale) + self.ecg_embedding
        return embeddings.masked_scatter((ids == self.ecg_id)[..., None], tokens.to(embeddings.dtype))

    def logits(self, states: Tensor) -> Tensor:
        """float32 [..., vocabulary] from the last states [..., H]."""
        return self.language_model.get_output_embeddings()(states).float()

    def forward(self, batch: Batch, ecg: Tensor) -> Tensor:
        """Mean cross-entropy of the next token over the targets, nats; logits are computed at targets alone."""
        with self.autocast():
            states = self.language_model.get_decoder()(
                inputs_embeds=self.embed(batch.ids, ecg), attention_mask=batch.attention, use_cache=False
            ).last_hidden_state
            targets = batch.labels[:, 1:]
            wanted = targets != NO_TARGET
            logits = self.logits(states[:, :-1][wanted])
        return nn.functional.cross_entropy(logits, targets[wanted])

    def standardise(self, ecg: np.ndarray) -> None:
        """From now on, centre and scale what comes in by these training ECGs, float32 [N, n, D] or [N, D]."""
        flat = np.asarray(ecg, np.float64).reshape(-1, self.ecg_width)
        self.ecg_centre.copy_(torch.from_numpy(flat.mean(0)))
        self.ecg_scale.copy_(torch.from_numpy(np.maximum(flat.std(0), 1e-6)))

    def kept(self) -> dict[str, Tensor]:
        """All that makes this model another than its language model: what is trained, and how ECGs are scaled."""
        return {**self.trained(), "ecg_centre": self.ecg_centre, "ecg_scale": self.ecg_scale}

    def trained(self) -> dict[str, nn.Parameter]:
        """What training changes, by name: LoRA, norms, biases, the ECG token's row, the projector."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def load_kept(self, state: dict[str, Tensor]) -> None:
        """Take over what `kept` names; a ValueError for names or shapes that differ."""
        own = self.kept()
        if differing := sorted(own.keys() ^ state.keys()):
            raise ValueError(
                f"adapter: expected the weights of this model; {len(differing)} differ, first {differing[0]}"
            )
        for name, parameter in own.items():
            if parameter.shape != state[name].shape:
                raise ValueError(
                    f"adapter: expected {name} of shape {[*parameter.shape]}; got {[*state[name].shape]}; other sizes?"
                )
            parameter.data.copy_(state[name])


def fingerprint(table: Tensor, ecg_id: int) -> str:
    """Sixteen hexadecimal digits of a language model's embeddings [V, H] in bfloat16, the ECG token's row left out: the
    same on a CPU and a GPU."""
    numbers = table.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy()
    found = hashlib.sha256()
    for part in (numbers[:ecg_id], numbers[ecg_id + 1 :]):
        found.update(part.tobytes())
    return found.hexdigest()[:16]
