"""D-BETA (Pham et al. 2025, "Boosting Masked ECG-Text Auto-Encoders as Discriminative Learners", ICML, arXiv
2410.02131): a wav2vec-2.0 encoder with a class token, and Flan-T5, with a pooled vector of each.

Written from the architecture that github.com/manhph2211/D-BETA shows at 92e07e7 (CC BY-NC 4.0; none of its code is
here); the weights are the user's to bring, for non-commercial use. Shapes: B batch, L leads, T samples, n positions, R
texts, W width, d shared space.
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

from merit.data.recording import LEADS
from merit.encoders import golden as gold
from merit.encoders import outside, published
from merit.encoders.base import InputSpec
from merit.encoders.peer import Peer
from merit.encoders.wav2vec2 import Wav2Vec2, Wav2Vec2Size

if TYPE_CHECKING:
    from transformers import T5Config

MAX_TOKENS = 512
"""Where Flan-T5's tokenizer cuts, which the original's zero-shot code leaves to it."""
BATCH = 64
"""Texts at once."""
TEXT_PARTS = ("language_encoder.", "multi_modal_language_proj.", "unimodal_language_pooler.")
NOT_RUN = (
    "ecg_encoder.mask_emb", "modality_type_embeddings.", "multi_modal_ecg_layers.", "multi_modal_language_layers.",
    "multi_modal_ecg_pooler.", "multi_modal_language_pooler.", "mlm_head.", "mim_head.", "itm_head.",
)  # fmt: skip
"""Parts of the published state that pretraining alone runs; its authors delete the first before they load the rest."""
WORDS = ("language_encoder.shared.weight", "language_encoder.encoder.embed_tokens.weight")
"""Two names of one table."""
WEIGHT_NORM = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
"""Names of today's PyTorch -> those in the file."""


@dataclass(frozen=True, kw_only=True)
class T5Size:
    """Sizes of a T5 encoder; the defaults are Flan-T5 base's, 110 million parameters."""

    vocabulary: int = 32128
    width: int = 768
    depth: int = 12
    heads: int = 12
    head_width: int = 64
    hidden: int = 2048

    def config(self) -> T5Config:
        """Hugging Face's configuration, with Flan-T5's gated GELU."""
        from transformers import T5Config

        return T5Config(
            vocab_size=self.vocabulary, d_model=self.width, d_kv=self.head_width, d_ff=self.hidden,
            num_layers=self.depth, num_heads=self.heads, feed_forward_proj="gated-gelu",
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes of both sides; the shared space is as wide as the ECG encoder."""

    ecg: Wav2Vec2Size
    text: T5Size


PUBLISHED = Size(ecg=Wav2Vec2Size(depth=8), text=T5Size())
SMALL = Size(
    ecg=Wav2Vec2Size(
        convolutions=((8, 2, 2),) * 4, width=24, depth=2, heads=2, hidden=48, positions=8, position_groups=4
    ),
    text=T5Size(vocabulary=100, width=24, depth=1, heads=2, head_width=12, hidden=32),
)


class Pooler(nn.Module):
    """A dense layer and a tanh."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, d] in (-1, 1), from the first token's [B, d]."""
        return torch.tanh(self.dense(x))


class EcgSide(nn.Module):
    """[B, 12, 5000] to the feature [B, 768]: the pooled class token. Parts are named as in the published state."""

    def __init__(self, size: Size = PUBLISHED) -> None:
        super().__init__()
        width = size.ecg.width
        self.class_embedding = nn.Parameter(torch.rand(width))
        self.ecg_encoder = Wav2Vec2(size.ecg)
        self.multi_modal_ecg_proj = nn.Linear(width, width)
        self.unimodal_ecg_pooler = Pooler(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, d] from [B, L, T]."""
        return self.unimodal_ecg_pooler(self.projected(x)[:, 0])

    def projected(self, x: Tensor) -> Tensor:
        """[B, 1 + n, d] from [B, L, T]: the class token, which got no position, and the positions in time."""
        patches = self.ecg_encoder.patches(x)
        with_class = torch.cat([self.class_embedding.expand(len(patches), 1, -1), patches], 1)
        return self.multi_modal_ecg_proj(self.ecg_encoder.transform(with_class))


class TextSide(nn.Module):
    """Flan-T5's first token, projected and pooled. Parts are named as in the published state."""

    def __init__(self, size: Size = PUBLISHED) -> None:
        from transformers import T5EncoderModel

        super().__init__()
        self.language_encoder = T5EncoderModel(size.text.config())
        self.multi_modal_language_proj = nn.Linear(size.text.width, size.ecg.width)
        self.unimodal_language_pooler = Pooler(size.ecg.width)

    def forward(self, ids: Tensor, attention: Tensor | None = None) -> Tensor:
        """[B, d] from token numbers [B, n]; attention: [B, n], 1 for tokens, 0 for padding; None: no padding."""
        states = self.language_encoder(input_ids=ids, attention_mask=attention).last_hidden_state
        return self.unimodal_language_pooler(self.multi_modal_language_proj(states[:, 0]))


class DBetaEncoder(Peer):
    """Millivolts as they are, neither scaled nor filtered, into the class token's pooled vector.

    tower: gives the text side and its tokenizer when they are first asked for.

    The original ranks by the plain product of two pooled vectors, whose lengths count. Here each vector of values in
    (-1, 1), over the root of its width, gets two coordinates, one for each side, of which its own brings its length to
    1: the products of such rows are the original's over the width.
    """

    name = "d-beta"
    input_spec = InputSpec(fs_hz=500, duration_s=10, leads=LEADS, scaling="none: millivolts")

    def __init__(self, network: EcgSide, tower: Callable[[], tuple[TextSide, object]], device: str = "cpu") -> None:
        super().__init__(network, device)
        self.tower = functools.cache(tower)

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 312, 768], first to last; their mean is not the embedding, which is a class token's."""
        return self.run(lambda x: self.network.projected(x)[:, 1:], self.prepared(signal_mv, fs_hz))

    def embed_shared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 770] of length 1 from [B, 12, T] millivolts; see the class."""
        return unit_keeping_products(self.embed(signal_mv, fs_hz), own=0)

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, 770] of length 1 of lower-cased texts; see the class.

        The original encodes a text at a time, without padding; here padding is masked, which gives the same. (In
        pretraining it pads and does not mask.) Raises NoWeights where the tokenizer is not there.
        """
        side, tokenizer = self.tower()
        lowered, out = [text.lower() for text in texts], []
        for start in range(0, len(lowered), BATCH):
            batch = tokenizer(
                lowered[start : start + BATCH], padding=True, truncation=True, max_length=MAX_TOKENS,
                return_tensors="pt",
            ).to(self.device)  # fmt: skip
            out.append(side(batch["input_ids"], batch["attention_mask"]).float().cpu().numpy())
        return unit_keeping_products(np.concatenate(out), own=1)


def unit_keeping_products(pooled: np.ndarray, own: int) -> np.ndarray:
    """float32 [N, d + 2] of length 1 from [N, d] in (-1, 1); between rows of different `own`, 0 or 1, products are
    those of `pooled` over d.
    """
    inside = pooled.astype(np.float64) / np.sqrt(pooled.shape[1])
    missing = np.zeros((len(pooled), 2))
    missing[:, own] = np.sqrt(np.maximum(1 - np.square(inside).sum(1), 0))
    return np.concatenate([inside, missing], 1).astype(np.float32)


def spec(name: str = "d-beta") -> InputSpec:
    """What it is fed."""
    return DBetaEncoder.input_spec


def network(name: str = "d-beta", size: Size = PUBLISHED) -> EcgSide:
    """The ECG side with random weights, [B, 12, 5000] to [B, 768]."""
    return EcgSide(size)


def load(path: Path, device: str = "cpu", name: str = "d-beta", size: Size = PUBLISHED) -> DBetaEncoder:
    """The encoder from a published file, the state under `model` (or safetensors), every key accounted for.

    The text side must be a T5 of `size.text`; its tokenizer comes from the folder `text` when `embed_text` is first
    called. Raises ValueError for other files.
    """
    network, text = _filled(published.read(path, ("model",)), path, size)

    def ask() -> tuple[TextSide, object]:
        tokenizer = _tokenizer(outside.text_folder(name, path))
        return _text_side(text, path, size).to(device), tokenizer

    return DBetaEncoder(network, ask, device)


def _filled(state: Mapping[str, Tensor], path: Path, size: Size) -> tuple[EcgSide, published.State]:
    """The ECG side with a published state's weights, and the text side's weights, checked."""
    state = published.leave(state, *NOT_RUN)
    text = {key: value for key, value in state.items() if key.startswith(TEXT_PARTS)}
    network = EcgSide(size)
    published.fill(network, published.leave(state, *TEXT_PARTS), path, "D-BETA's ECG side")
    words = [text[key] for key in WORDS if key in text]
    if len(words) == 2 and not torch.equal(*words):
        raise ValueError(f"{path}: {' and '.join(WORDS)} are one table, and differ")
    text.update({key: words[0] for key in WORDS if words})
    with torch.device("meta"):
        _text_side({key: value.to("meta") for key, value in text.items()}, path, size)
    return network, text


def _text_side(state: Mapping[str, Tensor], path: Path, size: Size) -> TextSide:
    side = TextSide(size)
    published.fill(side, state, path, "D-BETA's text side")
    return side.eval().requires_grad_(False)


def _tokenizer(folder: Path):
    """Flan-T5's, from its files. FileNotFoundError where they are not in the folder."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"{folder}: expected a tokenizer's files; {str(error).splitlines()[0]}") from error


def expected(size: Size = PUBLISHED) -> dict[str, Tensor]:
    """Every entry of a published state that is read, by the file's own names, on the meta device."""
    with torch.device("meta"):
        state = {**EcgSide(size).state_dict(), **TextSide(size).state_dict()}
    for ours, theirs in WEIGHT_NORM.items():
        state = {key.replace(ours, theirs): value for key, value in state.items()}
    return state


@torch.inference_mode()
def golden(name: str = "d-beta") -> dict[str, np.ndarray]:
    """Feature, text vector and their products of the small network, for `merit.encoders.golden.agreement`."""
    path, state = Path(name), gold.weights(expected(SMALL))
    state[WORDS[1]] = state[WORDS[0]]
    network, text = _filled(state, path, SMALL)
    pooled = _text_side(text, path, SMALL)(torch.from_numpy(gold.tokens(SMALL.text.vocabulary, 2, 9))).numpy()
    feature = network.eval()(torch.from_numpy(gold.signal(2, 12, 640))).numpy()
    rows = unit_keeping_products(feature, 0), unit_keeping_products(pooled, 1)
    return {"feature": feature, "text": pooled, "products": feature.shape[1] * rows[0] @ rows[1].T}
