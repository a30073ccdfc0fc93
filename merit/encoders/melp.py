"""MELP (Wang, Xu and Yu, ICML 2025, arXiv 2506.21803): a wav2vec 2.0 with attentional pooling, beside a causal BERT.

Written from the description in HKU-MedAI/MELP at 088741d (MIT; model card Apache-2.0), whose encoder is
fairseq-signals'. Shapes: B batch, L leads, T samples, n positions, m queries, W width, d width of the shared space.

Two forms of weights are read: `fuyingw/MELP_Encoder` on Hugging Face (`model.safetensors`), which is the ECG side alone
and so gives features and no zero-shot classification; and a checkpoint of the authors' training (Lightning, state under
`state_dict`), which has the text side too, and of which none is published. Where PyTorch does not read the latter's
settings as plain values, its `state_dict` saved alone as safetensors is read.

The authors' zero-shot script cannot run: `get_text_emb` knows the published text encoder by an anonymised name alone,
reads an output that a causal model does not have, and forgets the [CLS] that training appends. Here a text takes the
path of training, `encode_text`, by which they also validate: "[BOS]" before it, 127 tokens with padding, [CLS] after
the padding, where a causal BERT has read them all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merit.encoders import bert_text, outside, published
from merit.encoders import golden as gold
from merit.encoders.attention import attend
from merit.encoders.base import InputSpec
from merit.encoders.bert_text import BertSize, FrozenBert
from merit.encoders.peer import MIMIC_LEADS, Peer, min_max
from merit.encoders.wav2vec2 import PRETRAINING, Wav2Vec2, Wav2Vec2Size

if TYPE_CHECKING:
    from transformers import BertConfig

MAX_TOKENS = 128
CLS = 2
"""The number of [CLS] in the golden file's texts."""
ECG_NOT_RUN = (
    *(f"ecg_encoder.{name}" for name in PRETRAINING),
    "attn_pool_caption.",
    "ln_caption.",
    "logit_scale",
    "bn.",
)
"""Of the ECG side: pretraining's parts, and what reads an ECG for the decoder of reports."""
TEXT_NOT_RUN = ("lm_model.cls.", "sent_proj.", "text_decoder.", "logit_scale")
"""Of the text side: prediction of words, alignment of sentences, the decoder of reports, the loss's temperature."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes of both sides."""

    ecg: Wav2Vec2Size = field(default_factory=lambda: Wav2Vec2Size(depth=8))
    queries: int = 13
    """As the code has it; `load` takes the number from the file, for the authors' commands say 10, 12 and 13."""
    heads: int = 8
    shared: int = 256
    text: BertSize = field(default_factory=lambda: BertSize(vocabulary=30523))
    """MedCPT's or heart_bert's, with a word more, [BOS]; `load` takes the number of words from the file."""


PUBLISHED = Size()
SMALL = Size(
    ecg=Wav2Vec2Size(
        convolutions=((8, 2, 2),) * 4, width=16, depth=2, heads=2, hidden=32, positions=8, position_groups=4
    ),
    queries=3,
    heads=2,
    shared=8,
    text=BertSize(vocabulary=90, width=16, depth=2, heads=2, positions=MAX_TOKENS),
)


class Pooler(nn.Module):
    """[B, n, W] to [B, m, d]: learnt queries attend to the positions, both normalised."""

    def __init__(self, queries: int, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(queries, width))
        self.attn = CrossAttention(width, context, heads)
        self.ln_q, self.ln_k = nn.LayerNorm(width), nn.LayerNorm(context)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.attn(self.ln_q(self.query).expand(len(x), -1, -1), self.ln_k(x))


class CrossAttention(nn.Module):
    """[B, m, d] from queries [B, m, d] and a context of another width, under `nn.MultiheadAttention`'s names."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj_weight = nn.Linear(width, width, bias=False).weight
        self.k_proj_weight = nn.Linear(context, width, bias=False).weight
        self.v_proj_weight = nn.Linear(context, width, bias=False).weight
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """See the class."""
        q_bias, k_bias, v_bias = self.in_proj_bias.chunk(3)
        q = F.linear(queries, self.q_proj_weight, q_bias)
        k, v = F.linear(context, self.k_proj_weight, k_bias), F.linear(context, self.v_proj_weight, v_bias)
        return self.out_proj(attend(q, k, v, self.heads))


class Network(nn.Module):
    """[B, 12, T] to [B, d], what the authors probe: the mean over the pooled and normalised queries."""

    def __init__(self, size: Size = PUBLISHED) -> None:
        super().__init__()
        self.ecg_encoder = Wav2Vec2(size.ecg)
        self.attn_pool_contrast = Pooler(size.queries, size.shared, size.ecg.width, size.heads)
        self.ln_contrast = nn.LayerNorm(size.shared)
        self.proj_contrast = nn.Linear(size.shared, size.shared, bias=False).weight

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.ln_contrast(self.attn_pool_contrast(self.ecg_encoder(x))).mean(1)

    def shared(self, x: Tensor) -> Tensor:
        """[B, d] of length 1 in the space that texts share: the feature through one matrix more."""
        return F.normalize(self(x) @ self.proj_contrast, dim=-1)


def text_head(size: Size) -> nn.Sequential:
    """[R, d] from the text tower's vectors, [R, width]; the original calls it `proj_t`."""
    return nn.Sequential(nn.Linear(size.text.width, size.shared), nn.GELU(), nn.Linear(size.shared, size.shared))


class TextSide:
    """The causal BERT, and the head into the shared space."""

    def __init__(self, tower: FrozenBert, head: nn.Sequential) -> None:
        self.tower, self.head = tower, head.eval().requires_grad_(False).to(tower.device)

    @torch.inference_mode()
    def vectors(self, ids: Tensor, attention: Tensor) -> Tensor:
        """[R, d] of length 1 from token numbers [R, n] and their mask, 1 for tokens; [CLS] stands last."""
        states, *_ = self.tower.outputs(ids, attention)
        return F.normalize(self.head(states[:, -1]), dim=-1)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, d] of length 1, in batches of 64."""
        out = []
        for start in range(0, len(texts), bert_text.BATCH):
            batch = self.tower.tokenizer(
                [f"[BOS] {text.lower()}" for text in texts[start : start + bert_text.BATCH]], padding="max_length",
                truncation=True, max_length=MAX_TOKENS, return_tensors="pt",
            )  # fmt: skip
            ids, attention = batch["input_ids"], batch["attention_mask"]
            # [CLS], which comes first, is moved to the end, after the padding.
            out.append(self.vectors(ids.roll(-1, 1), attention.roll(-1, 1)).float().cpu().numpy())
        return np.concatenate(out)


class MELPEncoder(Peer):
    """The network as an encoder: 10 s at 500 Hz, a recording's smallest value to 0 and its largest to 1.

    text: gives the text side when it is first asked for.
    """

    input_spec = InputSpec(
        fs_hz=500, duration_s=10, leads=MIMIC_LEADS, scaling="from 0 to 1 over the recording, all leads together"
    )

    def __init__(self, network: Network, text: Callable[[], TextSide], device: str = "cpu", name: str = "melp") -> None:
        super().__init__(network, device)
        self.name, self.text = name, functools.cache(text)

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, 12, T] from 0 to 1, float64."""
        return min_max(signal_mv.astype(np.float64))

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 312, 768], the transformer's positions; what the authors probe is pooled from them by attention,
        and is not their mean.
        """
        return self.run(self.network.ecg_encoder, self.prepared(signal_mv, fs_hz))

    def embed_shared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 256] of length 1 from [B, 12, T] millivolts."""
        return self.run(self.network.shared, self.prepared(signal_mv, fs_hz))

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, 256] of length 1. Raises NoWeights where the file or the folder `text` does not give it."""
        return self.text().embed(texts)


def spec(name: str = "melp") -> InputSpec:
    """What it is fed."""
    return MELPEncoder.input_spec


def network(name: str = "melp", size: Size = PUBLISHED) -> Network:
    """The ECG side with random weights, [B, 12, 5000] to [B, 256]."""
    return Network(size)


def load(path: Path, device: str = "cpu", name: str = "melp", size: Size = PUBLISHED) -> MELPEncoder:
    """The encoder from either form of published file, every key accounted for.

    A text side must be a BERT of `size.text`; its tokenizer and configuration come from the folder `text` when
    `embed_text` is first called. Raises ValueError for other files.
    """
    state = published.read(path, ("state_dict",))
    built = _ecg_side(published.take(state, "ecg_encoder."), path, size)
    tower, head = _text_side(published.leave(state, "ecg_encoder."), path, size)

    def ask() -> TextSide:
        """The text side, built when the first text comes. NoWeights where the file or the folder lacks it."""
        if not tower:
            raise outside.NoWeights(
                f"{name}: {path.name} holds the ECG side alone; texts take a checkpoint of MELP's training, of which "
                "its authors publish none"
            )
        return TextSide(_tower(outside.text_folder(name, path), tower, path, device), head)

    return MELPEncoder(built, ask, device, name)


def _ecg_side(state: published.State, path: Path, size: Size) -> Network:
    """The network with as many queries as the state has."""
    query = state.get("attn_pool_contrast.query")
    built = Network(size if query is None else replace(size, queries=len(query)))
    published.fill(built, published.leave(state, *ECG_NOT_RUN), path, "MELP's ECG side")
    return built


def _text_side(state: published.State, path: Path, size: Size) -> tuple[published.State, nn.Sequential]:
    """The text tower's weights, checked, and the head with its own; no weights where the state has no text side."""
    head, rest = text_head(size), published.leave(state, *TEXT_NOT_RUN, "lm_model.bert.")
    tower = published.take(state, "lm_model.bert.")
    if tower or rest:
        published.fill(head, {key.removeprefix("proj_t."): value for key, value in rest.items()}, path, "MELP's proj_t")
        embedding = tower.get("embeddings.word_embeddings.weight")
        bert = size.text if embedding is None else replace(size.text, vocabulary=len(embedding))
        bert_text.check(bert, tower, path, with_pooler=False)
    return tower, head


def _causal(config: BertConfig, words: int) -> BertConfig:
    """The configuration with so many words, each token reading itself and those before it."""
    config.vocab_size, config.is_decoder, config.use_cache = words, True, False
    return config


def _tower(folder: Path, state: published.State, path: Path, device: str) -> FrozenBert:
    """The causal BERT with the tokenizer and the configuration in `folder`, [BOS] added.

    Raises FileNotFoundError for a folder without them, ValueError where they do not fit the weights.
    """
    config, tokenizer = bert_text.read_folder(folder)
    tokenizer.add_special_tokens({"bos_token": "[BOS]"})
    words = len(state["embeddings.word_embeddings.weight"])
    if len(tokenizer) != words:
        raise ValueError(f"{folder}: expected a tokenizer of {words} words with [BOS]; got {len(tokenizer)}")
    return FrozenBert(bert_text.bert(_causal(config, words), state, path, with_pooler=False), tokenizer, device)


def expected(size: Size = PUBLISHED) -> dict[str, Tensor]:
    """Every entry of a checkpoint that is read, by the file's own names, on the meta device."""
    from transformers import BertModel

    with torch.device("meta"):
        parts = {
            "ecg_encoder.": Network(size),
            "lm_model.bert.": BertModel(size.text.config(), add_pooling_layer=False),
            "proj_t.": text_head(size),
        }
    return {prefix + key: value for prefix, part in parts.items() for key, value in part.state_dict().items()}


@torch.inference_mode()
def golden(name: str = "melp") -> dict[str, np.ndarray]:
    """Feature, shared vector and text vector of the small network, for `merit.encoders.golden.agreement`.

    Of the two texts the second is padded from its 20th token to the [CLS] at the end.
    """
    path, state = Path(name), gold.weights(expected(SMALL))
    built = _ecg_side(published.take(state, "ecg_encoder."), path, SMALL).eval()
    tower, head = _text_side(published.leave(state, "ecg_encoder."), path, SMALL)
    config = _causal(SMALL.text.config(), SMALL.text.vocabulary)
    text = TextSide(FrozenBert(bert_text.bert(config, tower, path, with_pooler=False)), head)
    x, ids = torch.from_numpy(gold.signal(2, 12, 640)), torch.from_numpy(gold.tokens(SMALL.text.vocabulary, 2, 40))
    ids[:, -1], attention = CLS, torch.ones_like(ids)
    attention[1, 19:-1] = 0
    found = {"feature": built(x), "shared": built.shared(x), "text": text.vectors(ids, attention)}
    return {key: value.numpy() for key, value in found.items()}
