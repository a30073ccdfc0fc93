"""Frozen BERT text towers (MedCPT, BioLinkBERT and others) with the weights that a peer's checkpoint holds.

The architecture is Hugging Face's `BertModel`; the tokenizer and the configuration come from a folder that the user
brings. Shapes: R texts, B texts of a batch, n tokens, W width of the tower, d width of what a head makes of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from merit.encoders import outside, published
from merit.encoders.peer import unit

if TYPE_CHECKING:
    from transformers import BertConfig, BertModel, PreTrainedTokenizerBase

BATCH = 64
"""Texts at once."""


@dataclass(frozen=True, kw_only=True)
class BertSize:
    """Sizes of a BERT; the defaults are those of MedCPT's query encoder, 109 million parameters."""

    vocabulary: int = 30522
    width: int = 768
    depth: int = 12
    heads: int = 12
    positions: int = 512

    def config(self) -> BertConfig:
        """Hugging Face's configuration of this size, with an MLP of four widths and everything else as BERT has it."""
        from transformers import BertConfig

        return BertConfig(
            vocab_size=self.vocabulary, hidden_size=self.width, num_hidden_layers=self.depth,
            num_attention_heads=self.heads, intermediate_size=4 * self.width, max_position_embeddings=self.positions,
        )  # fmt: skip


def pooler(states: Tensor, pooled: Tensor, attention: Tensor) -> Tensor:
    """[B, W]: BERT's own pooler, a dense layer and a tanh on the first token."""
    return pooled


def cls(states: Tensor, pooled: Tensor | None, attention: Tensor) -> Tensor:
    """[B, W]: the first token's last hidden state."""
    return states[:, 0]


def mean(states: Tensor, pooled: Tensor | None, attention: Tensor) -> Tensor:
    """[B, W]: mean of the last hidden states, padding left out."""
    weight = attention[..., None].to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1)


Pool = Callable[[Tensor, Tensor | None, Tensor], Tensor]
"""[B, W] from last hidden states [B, n, W], BERT's pooled output [B, W] and the attention mask [B, n], 1 for tokens."""


class FrozenBert:
    """A BERT with a checkpoint's weights: from token numbers (`outputs`) and, where it has a tokenizer, from texts."""

    def __init__(self, model: BertModel, tokenizer: object | None = None, device: str = "cpu") -> None:
        self.model, self.device = model.eval().requires_grad_(False).to(device), device
        self.tokenizer = tokenizer

    @torch.inference_mode()
    def outputs(self, ids: Tensor, attention: Tensor | None = None) -> tuple[Tensor, Tensor | None, Tensor]:
        """Last hidden states [B, n, W], pooled output [B, W] (None without pooler) and mask, as a `Pool` takes them.

        ids: int64 [B, n]. attention: [B, n], 1 for tokens, 0 for padding; None: all are tokens.
        """
        ids = ids.to(self.device)
        attention = torch.ones_like(ids) if attention is None else attention.to(self.device)
        found = self.model(input_ids=ids, attention_mask=attention)
        return found.last_hidden_state, found.pooler_output, attention

    @torch.inference_mode()
    def embed(
        self, texts: Sequence[str], max_length: int, pool: Pool, head: Callable[[Tensor], Tensor] | None = None
    ) -> np.ndarray:
        """float32 [R, W], or [R, d] after `head`; in batches of BATCH, cut after `max_length` tokens, or after as many
        as the tower has positions for."""
        if self.tokenizer is None:
            raise ValueError("texts: expected a tower with a tokenizer; this one was built without")
        out, most = [], min(max_length, self.model.config.max_position_embeddings)
        for start in range(0, len(texts), BATCH):
            batch = self.tokenizer(
                list(texts[start : start + BATCH]), padding=True, truncation=True, max_length=most,
                return_tensors="pt",
            )  # fmt: skip
            vectors = pool(*self.outputs(batch["input_ids"], batch["attention_mask"]))
            out.append((head(vectors) if head else vectors).float().cpu().numpy())
        return np.concatenate(out)


def bert(config: BertConfig, state: Mapping[str, Tensor], path: Path, with_pooler: bool = True) -> BertModel:
    """Hugging Face's BERT with these weights, strictly; ValueError names the file and the first key that is amiss.

    state: names as `BertModel` has them. Versions of transformers before 4.31 saved the positions' numbers too, which
    are no weights. Where the weights are on the meta device so is the model: a check of names and shapes alone.
    """
    from transformers import BertModel

    state = published.leave(state, "embeddings.position_ids")
    device = next(iter(state.values())).device if state else torch.device("cpu")
    with device:
        model = BertModel(config, add_pooling_layer=with_pooler)
    published.fill(model, state, path, f"a BERT of width {config.hidden_size}")
    return model


def shapes(size: BertSize, with_pooler: bool = True) -> published.State:
    """Names of a BERT's weights and their shapes, on the meta device."""
    from transformers import BertModel

    with torch.device("meta"):
        return BertModel(size.config(), add_pooling_layer=with_pooler).state_dict()


def check(size: BertSize, state: Mapping[str, Tensor], path: Path, with_pooler: bool = True) -> None:
    """ValueError unless the state is that of a BERT of this size; needs no folder."""
    bert(size.config(), {key: value.to("meta") for key, value in state.items()}, path, with_pooler)


def read_folder(folder: Path) -> tuple[BertConfig, PreTrainedTokenizerBase]:
    """The configuration and the tokenizer in a folder; FileNotFoundError where one is not there."""
    from transformers import AutoTokenizer, BertConfig

    try:
        config = BertConfig.from_pretrained(folder, local_files_only=True)
        return config, AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{folder}: expected config.json and a tokenizer's files; {str(error).splitlines()[0]}"
        ) from error


def from_folder(
    folder: Path, state: Mapping[str, Tensor], path: Path, device: str = "cpu", with_pooler: bool = True
) -> FrozenBert:
    """The tower with the tokenizer and the configuration in `folder` (`outside.text_folder`), the weights of `path`.

    Raises FileNotFoundError for a folder without tokenizer or configuration, ValueError where the weights do not fit.
    """
    config, tokenizer = read_folder(folder)
    return FrozenBert(bert(config, state, path, with_pooler), tokenizer, device)


class Tower:
    """The text side of a peer, from text to shared space: a checkpoint's BERT, a pooling and a head.

    The BERT is built when the first text comes, because only then is the folder with its tokenizer needed; names and
    shapes of its weights are checked at once.
    """

    def __init__(
        self, name: str, path: Path, state: Mapping[str, Tensor], *, size: BertSize, pool: Pool, head: nn.Module,
        max_length: int, device: str = "cpu",
    ) -> None:  # fmt: skip
        self.name, self.path, self.state, self.device = name, path, state, device
        self.size, self.pool, self.max_length = size, pool, max_length
        self.head = head.eval().requires_grad_(False).to(device)
        check(size, state, path, pool is pooler)

    @functools.cached_property
    def bert(self) -> FrozenBert:
        """The BERT with its tokenizer; NoWeights without the folder `text` beside the weights."""
        folder = outside.text_folder(self.name, self.path)
        return from_folder(folder, self.state, self.path, self.device, self.pool is pooler)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, d], rows of length 1."""
        return unit(self.bert.embed(texts, self.max_length, self.pool, self.head))

    @torch.inference_mode()
    def from_tokens(self, ids: Tensor, attention: Tensor) -> np.ndarray:
        """float32 [B, d], rows of length 1, from token numbers [B, n] and mask: needs no folder."""
        model = bert(self.size.config(), self.state, self.path, self.pool is pooler)
        pooled = self.pool(*FrozenBert(model, device=self.device).outputs(ids, attention))
        return unit(self.head(pooled).float().cpu().numpy())
