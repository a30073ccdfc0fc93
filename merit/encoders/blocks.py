"""What several published encoders are built of: attention, transformer blocks, positions, and frozen text towers.

Names of parts are those of the published states. Shapes: B batch, n tokens or queries, m keys, W width, R texts, d
shared space.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merit.encoders import registry, weights

if TYPE_CHECKING:
    from transformers import BertConfig, PreTrainedTokenizerBase


def frozen(network: nn.Module, device: str = "cpu") -> nn.Module:
    """The network itself, for evaluation, without gradients, on the device."""
    return network.eval().requires_grad_(False).to(device)


def named(**parts: nn.Module) -> nn.Sequential:
    """The parts one after the other, under these names."""
    return nn.Sequential(OrderedDict(parts))


# -- transformers ------------------------------------------------------------------------------------------------------


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, allowed: Tensor | None = None) -> Tensor:
    """[B, n, W] from queries [B, n, W], keys and values [B, m, W], whose columns are divided among the heads.

    allowed: bool [n, m], True where a query (row) reads a key (column); None: everywhere.
    """
    q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed).transpose(1, 2).flatten(2)


class Attention(nn.MultiheadAttention):
    """PyTorch's attention by `attend`: its own path at inference has operations that the counter of FLOPs misses."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """[B, n, W] from [B, n, W], which attend to `context`, [B, m, kdim], or to themselves."""
        context = x if context is None else context
        apart = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        matrices = apart if self.in_proj_weight is None else self.in_proj_weight.chunk(3)
        rows = zip((x, context, context), matrices, self.in_proj_bias.chunk(3))
        q, k, v = (F.linear(of, matrix, bias) for of, matrix, bias in rows)
        return self.out_proj(attend(q, k, v, self.num_heads))


class PreNormBlock(nn.Module):
    """Attention, then a perceptron, each behind a layer normalisation and added to its input (ST-MEM, MERL's ViT)."""

    def __init__(self, width: int, heads: int, head_width: int, hidden: int) -> None:
        super().__init__()
        self.heads, inner = heads, heads * head_width
        self.attn = nn.ModuleDict({"norm": nn.LayerNorm(width)})
        self.attn["fn"] = named(to_qkv=nn.Linear(width, 3 * inner), to_out=nn.Sequential(nn.Linear(inner, width)))
        # The Identity is the original's dropout: parts are named by their place.
        net = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, width))
        self.ff = named(norm=nn.LayerNorm(width), fn=named(net=net))

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, W] to [B, n, W]."""
        to_qkv, to_out = self.attn["fn"]
        x = x + to_out(attend(*to_qkv(self.attn["norm"](x)).chunk(3, dim=2), self.heads))
        return x + self.ff(x)


def sin_cos(n: int, width: int) -> Tensor:
    """float32 [n, width]: the sines of a position at falling frequencies, then its cosines (Vaswani et al. 2017).

    width: even; the frequencies are 10000^(-2 i / width) for i from 0 to width / 2 - 1.
    """
    half = width // 2
    angle = np.arange(n)[:, None] * 10_000.0 ** (-np.arange(half) / half)
    return torch.tensor(np.concatenate((np.sin(angle), np.cos(angle)), 1).astype(np.float32))


class UnitLength(nn.Module):
    """[B, d] to the same directions at length 1."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


# -- text towers -------------------------------------------------------------------------------------------------------

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

        sizes = {"hidden_size": self.width, "num_hidden_layers": self.depth, "num_attention_heads": self.heads}
        sizes |= {"intermediate_size": 4 * self.width, "max_position_embeddings": self.positions}
        return BertConfig(vocab_size=self.vocabulary, **sizes)


MEDCPT = BertSize()


def read_folder(folder: Path, with_config: bool = True) -> tuple[BertConfig | None, PreTrainedTokenizerBase]:
    """BERT's configuration (None unless `with_config`) and the tokenizer in a folder that the user brings.

    Raises FileNotFoundError where one of them is not there; code that lies beside them is never run.
    """
    from transformers import AutoTokenizer, BertConfig

    try:
        config = BertConfig.from_pretrained(folder, local_files_only=True) if with_config else None
        return config, AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        needed = "config.json and a tokenizer's files" if with_config else "a tokenizer's files"
        raise FileNotFoundError(f"{folder}: expected {needed}; {str(error).splitlines()[0]}") from error


class TextTower:
    """The text side of a published encoder: a frozen BERT with a checkpoint's weights, a pooling and a head.

    The model is built when the first text comes, because only then is the folder with its tokenizer and configuration
    needed; names and shapes of its weights are checked at once (ValueError).
    """

    max_tokens: int
    """Tokens after which a text is cut."""
    pooler = False
    """Whether the state has BERT's own pooler, a dense layer and a tanh on the first token."""
    with_config = True
    """Whether the folder `text` has a configuration; else it is that of the size."""

    def __init__(
        self, name: str, path: Path, state: Mapping[str, Tensor], size: Any, head: nn.Module, device: str = "cpu"
    ) -> None:
        """state: names as Hugging Face's model has them. size: a `BertSize`. head: [B, d] from pooled [B, W]."""
        self.name, self.path, self.size, self.head, self.device = name, path, size, frozen(head, device), device
        # Versions of transformers before 4.31 saved the positions' numbers too, which are no weights.
        self.state = weights.leave(state, "embeddings.position_ids")
        with torch.device("meta"):
            self.filled(size.config(), {key: value.to("meta") for key, value in self.state.items()})

    @property
    def what(self) -> str:
        """The model, for messages."""
        return f"a BERT of width {self.size.width}"

    @classmethod
    def build(cls, config: Any) -> nn.Module:
        """The model with random weights."""
        from transformers import BertModel

        return BertModel(config, add_pooling_layer=cls.pooler)

    def filled(self, config: Any, state: Mapping[str, Tensor]) -> nn.Module:
        """The model with these weights, strictly."""
        model = self.build(config)
        weights.fill(model, state, self.path, self.what)
        return model.eval().requires_grad_(False)

    def read(self, folder: Path) -> tuple[Any, PreTrainedTokenizerBase]:
        """Configuration and tokenizer in the folder `text`."""
        config, tokenizer = read_folder(folder, self.with_config)
        return config or self.size.config(), tokenizer

    def pool(self, output: Any, attention: Tensor) -> Tensor:
        """[B, W] from the model's output and the attention mask: the first token's last hidden state."""
        return output.last_hidden_state[:, 0]

    @functools.cached_property
    def model_and_tokenizer(self) -> tuple[nn.Module, PreTrainedTokenizerBase]:
        """What texts need. Raises Unavailable without the folder `text` beside the weights, FileNotFoundError for one
        that lacks files, ValueError for one that does not fit the weights.
        """
        config, tokenizer = self.read(registry.PUBLISHED[self.name].text_folder(self.path))
        return self.filled(config, self.state).to(self.device), tokenizer

    def tokenised(self, texts: Sequence[str], longest: int) -> tuple[Tensor, Tensor]:
        """Token numbers and attention mask, int64 [B, n], of texts that are cut after `longest` tokens."""
        _, tokenizer = self.model_and_tokenizer
        batch = tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        return batch["input_ids"], batch["attention_mask"]

    @torch.inference_mode()
    def vectors(self, model: nn.Module, ids: Tensor, attention: Tensor) -> np.ndarray:
        """float32 [B, d] from token numbers [B, n] and their mask."""
        ids, attention = ids.to(self.device), attention.to(self.device)
        output = model(input_ids=ids, attention_mask=attention)
        return self.head(self.pool(output, attention)).float().cpu().numpy()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, d], in batches; texts are cut after `max_tokens`, or after as many as there are positions for."""
        model, _ = self.model_and_tokenizer
        longest = min(self.max_tokens, getattr(model.config, "max_position_embeddings", self.max_tokens))
        batches = (self.tokenised(texts[start : start + BATCH], longest) for start in range(0, len(texts), BATCH))
        return np.concatenate([self.vectors(model, *batch) for batch in batches])

    def from_tokens(self, ids: Tensor, attention: Tensor | None = None) -> np.ndarray:
        """float32 [B, d] from token numbers [B, n] and mask (None: no padding): needs no folder."""
        attention = torch.ones_like(ids) if attention is None else attention
        return self.vectors(self.filled(self.size.config(), self.state).to(self.device), ids, attention)
