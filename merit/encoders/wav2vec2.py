"""The wav2vec-2.0 encoder of ECGs that fairseq-signals builds, and the three published encoders that are made of it:
ECG-FM, MELP and D-BETA.

Four strided convolutions, a projection, a convolution that tells positions, and a transformer (Baevski et al. 2020,
arXiv 2006.11477; for ECGs: Oh et al. 2022, arXiv 2203.06889). Written from the architecture's description in
Jwoo5/fairseq-signals (MIT) at 6b9e137; names of parts are those of its state, so that published files load strictly.
Shapes: B batch, L leads, T samples, n positions (a sixteenth of T), C channels, W width, m queries, R texts, d shared
space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merit.data.recording import LEADS
from merit.encoders.base import InputSpec
from merit.encoders.published import (
    MIMIC_LEADS,
    Apply,
    Attention,
    BertSize,
    MeanOfTokens,
    PublishedEncoder,
    State,
    TextAlignedEncoder,
    TextTower,
    attend,
    named,
)

FS_HZ = 500

# -- the shared network ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Wav2Vec2Size:
    """Sizes of the encoder; the defaults are what fairseq-signals calls base, 12 layers (ECG-FM)."""

    leads: int = 12
    convolutions: tuple[tuple[int, int, int], ...] = ((256, 2, 2),) * 4
    """(channels, kernel, stride) of each; the first is followed by a group norm with one channel per group."""
    width: int = 768
    depth: int = 12
    """12 in ECG-FM, 8 in MELP and D-BETA."""
    heads: int = 12
    hidden: int = 3072
    positions: int = 128
    """Kernel of the convolution that tells positions."""
    position_groups: int = 16


SMALL = Wav2Vec2Size(
    convolutions=((8, 2, 2),) * 4, width=16, depth=2, heads=2, hidden=32, positions=8, position_groups=4
)
PRETRAINING = ("mask_emb", "quantizer.", "project_q.", "final_proj.")
"""What a state holds in addition, for the masked prediction of quantised patches: no evaluation runs it."""


class Wav2Vec2(nn.Module):
    """[B, L, T] to the transformer's output at every position, [B, n, W], nothing masked.

    The convolution that tells positions has its weight normalised tap by tap; PyTorch loads either name of its parts,
    `parametrizations.weight.original0` and `original1`, or `weight_g` and `weight_v` of before.
    """

    def __init__(self, size: Wav2Vec2Size) -> None:
        super().__init__()
        convolutions, n_in = [], size.leads
        for i, (n_out, kernel, stride) in enumerate(size.convolutions):
            norm = [nn.GroupNorm(n_out, n_out)] if i == 0 else []
            # The Identity is the original's dropout of zero: parts are named by their place.
            convolution = nn.Conv1d(n_in, n_out, kernel, stride, bias=False)
            convolutions.append(nn.Sequential(convolution, nn.Identity(), *norm, nn.GELU()))
            n_in = n_out
        self.feature_extractor = named(conv_layers=nn.Sequential(*convolutions))
        self.layer_norm = nn.LayerNorm(n_in)
        self.post_extract_proj = nn.Linear(n_in, size.width) if n_in != size.width else None
        wide = nn.Conv1d(
            size.width, size.width, size.positions, padding=size.positions // 2, groups=size.position_groups
        )
        self.conv_pos = named(pos_conv=nn.Sequential(nn.utils.parametrizations.weight_norm(wide, dim=2)))
        layers = nn.Sequential(*(Layer(size) for _ in range(size.depth)))
        self.encoder = named(layer_norm=nn.LayerNorm(size.width), layers=layers)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, n, W] from [B, L, T]."""
        return self.encoder(self.patches(x))

    def patches(self, x: Tensor) -> Tensor:
        """[B, n, W] of convolved and projected samples, their positions added: the transformer's input."""
        x = self.layer_norm(self.feature_extractor(x).transpose(1, 2))
        if self.post_extract_proj is not None:
            x = self.post_extract_proj(x)
        # An even kernel gives one position too many, the last, which is cut.
        positions = F.gelu(self.conv_pos(x.transpose(1, 2))[:, :, : x.shape[1]])
        return x + positions.transpose(1, 2)


class Layer(nn.Module):
    """Self-attention and a perceptron of one hidden layer, each added to its input and normalised."""

    def __init__(self, size: Wav2Vec2Size) -> None:
        super().__init__()
        self.heads, width = size.heads, size.width
        self.self_attn = nn.ModuleDict(
            {name: nn.Linear(width, width) for name in ("q_proj", "k_proj", "v_proj", "out_proj")}
        )
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, size.hidden), nn.Linear(size.hidden, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, W] to [B, n, W]."""
        q, k, v = (self.self_attn[name](x) for name in ("q_proj", "k_proj", "v_proj"))
        x = self.self_attn_layer_norm(x + self.self_attn["out_proj"](attend(q, k, v, self.heads)))
        return self.final_layer_norm(x + self.fc2(F.gelu(self.fc1(x))))


# -- ECG-FM ------------------------------------------------------------------------------------------------------------
# McKeen et al. 2024, arXiv 2408.05178. Written from the descriptions in bowang-lab/ECG-FM at 9cc0d3f (MIT; its
# notebooks and scripts/linear.py) and in fairseq-signals' scripts/preprocess/ecg/preprocess.py. Weights: a fairseq
# checkpoint, mimic_iv_ecg_physionet_pretrained.pt.

SEGMENT = 2500


class SegmentedWav2Vec2(MeanOfTokens, Wav2Vec2):
    """[B, 12, T] to [B, W]: the mean over positions and over the segments of SEGMENT samples, a remainder left out."""

    def tokens(self, x: Tensor) -> Tensor:
        """[B, n, W], 156 of each segment, from it alone; their mean is the feature."""
        segments = x[:, :, : x.shape[2] // SEGMENT * SEGMENT].unflatten(2, (-1, SEGMENT)).transpose(1, 2)
        return Wav2Vec2.forward(self, segments.flatten(0, 1)).unflatten(0, segments.shape[:2]).flatten(1, 2)


class EcgFm(PublishedEncoder):
    """10 s at 500 Hz, each lead standardised over all of them, two segments of 5 s, each encoded alone; a shorter
    recording is filled up with zeros first, where the authors leave an incomplete segment out.
    """

    name = "ecg-fm"
    input_spec = InputSpec(
        fs_hz=FS_HZ,
        duration_s=10,
        leads=LEADS,
        scaling="each lead to mean 0 and standard deviation 1 over the recording; a constant lead to 0",
    )
    published, small = Wav2Vec2Size(), SMALL
    inside, left_out = ("model",), PRETRAINING
    network_class, what = SegmentedWav2Vec2, "ECG-FM, {size.depth} layers of width {size.width}"

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, 12, T], each lead standardised."""
        constant = signal_mv.max(2, keepdims=True) == signal_mv.min(2, keepdims=True)
        centred = np.where(constant, 0, signal_mv - signal_mv.mean(2, keepdims=True, dtype=np.float64))
        return centred / np.where(constant, 1, centred.std(2, keepdims=True))


# -- MELP --------------------------------------------------------------------------------------------------------------
# Wang, Xu and Yu, ICML 2025, arXiv 2506.21803: attentional pooling, beside a causal BERT. Written from the description
# in HKU-MedAI/MELP at 088741d (MIT; model card Apache-2.0).


@dataclass(frozen=True, kw_only=True)
class MelpSize:
    """Sizes of both sides."""

    ecg: Wav2Vec2Size = field(default_factory=lambda: Wav2Vec2Size(depth=8))
    queries: int = 13
    """As the code has it; the number is taken from the file, for the authors' commands say 10, 12 and 13."""
    heads: int = 8
    shared: int = 256
    text: BertSize = field(default_factory=lambda: BertSize(vocabulary=30523))
    """MedCPT's or heart_bert's, with one more word, [BOS]; the number of words is taken from the file."""


class AttentionPooler(nn.Module):
    """[B, n, W] to [B, m, d]: learnt queries attend to the positions, both normalised."""

    def __init__(self, queries: int, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(queries, width))
        self.attn = Attention(width, heads, kdim=context, vdim=context)
        self.ln_q, self.ln_k = nn.LayerNorm(width), nn.LayerNorm(context)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(self.ln_q(self.query).expand(len(x), -1, -1), self.ln_k(x))


class MelpNetwork(nn.Module):
    """[B, 12, T] to [B, d], what the authors probe: the mean over the pooled and normalised queries."""

    def __init__(self, size: MelpSize) -> None:
        super().__init__()
        self.ecg_encoder = Wav2Vec2(size.ecg)
        self.attn_pool_contrast = AttentionPooler(size.queries, size.shared, size.ecg.width, size.heads)
        self.ln_contrast = nn.LayerNorm(size.shared)
        self.proj_contrast = nn.Linear(size.shared, size.shared, bias=False).weight

    def forward(self, x: Tensor) -> Tensor:
        return self.ln_contrast(self.attn_pool_contrast(self.ecg_encoder(x))).mean(1)

    def tokens(self, x: Tensor) -> Tensor:
        """[B, 312, W], the positions; the feature is pooled from them by attention, it is not their mean."""
        return self.ecg_encoder(x)

    def shared(self, x: Tensor) -> Tensor:
        """[B, d] of length 1 in the space that texts share: the feature through one more matrix."""
        return F.normalize(self(x) @ self.proj_contrast, dim=-1)


class MelpText(TextTower):
    """A causal BERT, read as in training: "[BOS]" before a text, 127 tokens with padding, and [CLS] after the padding,
    where the model has read them all: training's path, `encode_text`, by which the authors also validate.
    """

    max_tokens, causal, pooling, lower = 128, True, "last", True


class Melp(TextAlignedEncoder):
    """10 s at 500 Hz, a recording's smallest value to 0 and its largest to 1. A checkpoint whose settings are no plain
    values to PyTorch is read where its `state_dict` is saved alone as safetensors.
    """

    name = "melp"
    input_spec = InputSpec(
        fs_hz=FS_HZ, duration_s=10, leads=MIMIC_LEADS, scaling="from 0 to 1 over the recording, all leads together"
    )
    published = MelpSize()
    small_text = BertSize(vocabulary=90, width=16, depth=2, heads=2, positions=128)
    small = MelpSize(ecg=SMALL, queries=3, heads=2, shared=8, text=small_text)
    inside, min_max = ("state_dict",), np.float64
    sized_by = ("queries", "ecg_encoder.attn_pool_contrast.query")
    texts_take = "a checkpoint of MELP's training, of which its authors publish none"
    left_out = (
        *(f"ecg_encoder.ecg_encoder.{name}" for name in PRETRAINING),
        # What reads an ECG for the decoder of reports:
        *(f"ecg_encoder.{name}" for name in ("attn_pool_caption.", "ln_caption.", "logit_scale", "bn.")),
        # Prediction of words, alignment of sentences, the decoder of reports, the loss's temperature:
        *("lm_model.cls.", "sent_proj.", "text_decoder.", "logit_scale"),
    )
    text_class, text_prefix, text_head = MelpText, "lm_model.bert.", "proj_t."

    @classmethod
    def parts(cls, size: MelpSize) -> dict[str, tuple[str, nn.Module]]:
        first, last = nn.Linear(size.text.width, size.shared), nn.Linear(size.shared, size.shared)
        head = nn.Sequential(first, nn.GELU(), last, Apply(partial(F.normalize, dim=-1)))
        return {"ecg_encoder.": ("MELP's ECG side", MelpNetwork(size)), "proj_t.": ("MELP's proj_t", head)}

    def embed_shared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 256] of length 1 from [B, 12, T] millivolts, by any file."""
        return self.run(self.network.shared, self.prepared(signal_mv, fs_hz))


# -- D-BETA ------------------------------------------------------------------------------------------------------------
# Pham et al. 2025, "Boosting Masked ECG-Text Auto-Encoders as Discriminative Learners", ICML, arXiv 2410.02131: a class
# token, and Flan-T5, with a pooled vector of each. Written from the architecture that github.com/manhph2211/D-BETA
# shows at 92e07e7 (CC BY-NC 4.0; none of its code is here); weights for non-commercial use.


@dataclass(frozen=True, kw_only=True)
class T5Size:
    """Sizes of a T5 encoder, as `T5Config` names them; the defaults are Flan-T5 base's, 110 million parameters."""

    vocab_size: int = 32128
    d_model: int = 768
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 12
    num_heads: int = 12
    shared_width: int = 768
    """Width that its pooled vector is projected to, the ECG encoder's."""


@dataclass(frozen=True, kw_only=True)
class DBetaSize:
    """Sizes of both sides."""

    ecg: Wav2Vec2Size
    text: T5Size


class DBetaNetwork(nn.Module):
    """[B, 12, 5000] to the feature [B, 768]: the pooled class token."""

    def __init__(self, size: DBetaSize) -> None:
        super().__init__()
        width = size.ecg.width
        self.class_embedding = nn.Parameter(torch.rand(width))
        self.ecg_encoder = Wav2Vec2(size.ecg)
        self.multi_modal_ecg_proj = nn.Linear(width, width)
        self.unimodal_ecg_pooler = named(dense=nn.Linear(width, width), tanh=nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """[B, d] from [B, L, T]."""
        return self.unimodal_ecg_pooler(self.tokens(x)[:, 0])

    def tokens(self, x: Tensor) -> Tensor:
        """[B, 1 + n, d] from [B, L, T]: the class token, which got no position and is the feature, and the positions in
        time.
        """
        patches = self.ecg_encoder.patches(x)
        with_class = torch.cat([self.class_embedding.expand(len(patches), 1, -1), patches], 1)
        return self.multi_modal_ecg_proj(self.ecg_encoder.encoder(with_class))


class FlanT5(nn.Module):
    """Flan-T5's first token, projected and pooled."""

    def __init__(self, size: T5Size) -> None:
        from transformers import T5Config, T5EncoderModel

        super().__init__()
        self.config = T5Config(**asdict(size), feed_forward_proj="gated-gelu")
        self.language_encoder = T5EncoderModel(self.config)
        width = size.shared_width
        self.multi_modal_language_proj = nn.Linear(size.d_model, width)
        self.unimodal_language_pooler = named(dense=nn.Linear(width, width), tanh=nn.Tanh())

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, d] from token numbers [B, n] and their mask, 1 for tokens, 0 for padding."""
        states = self.language_encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.unimodal_language_pooler(self.multi_modal_language_proj(states[:, 0]))


class DBetaText(TextTower):
    """Flan-T5 with its projection and pooler, which its state holds too; the folder `text` has a tokenizer alone.
    Padding is masked, which gives what the original gives, one text at a time.
    """

    what, with_config, lower, pooling = "D-BETA's text side", False, True, "output"
    max_tokens = 512  # where Flan-T5's tokenizer cuts, which the original's zero-shot code leaves to it

    @classmethod
    def build(cls, size: T5Size, config: Any = None) -> nn.Module:
        """The model with random weights."""
        return FlanT5(size)


class DBeta(TextAlignedEncoder):
    """Millivolts as they are, neither scaled nor filtered, into the class token's pooled vector.

    The original ranks by the plain product of two pooled vectors, whose lengths count. Here each vector of values in
    (-1, 1), over the root of its width, gets two coordinates, one for each side, of which its own brings its length to
    1: the products of such rows are the original's over the width.
    """

    name = "d-beta"
    input_spec = InputSpec(fs_hz=FS_HZ, duration_s=10, leads=LEADS, scaling="none: millivolts")
    published = DBetaSize(ecg=Wav2Vec2Size(depth=8), text=T5Size())
    small = DBetaSize(
        ecg=replace(SMALL, width=24, hidden=48),
        text=T5Size(vocab_size=100, d_model=24, d_kv=12, d_ff=32, num_layers=1, num_heads=2, shared_width=24),
    )
    inside = ("model",)
    left_out = (
        *("ecg_encoder.mask_emb", "modality_type_embeddings.", "mlm_head.", "mim_head.", "itm_head."),
        *("multi_modal_ecg_layers.", "multi_modal_language_layers."),
        *("multi_modal_ecg_pooler.", "multi_modal_language_pooler."),
    )
    """What pretraining alone runs; its authors delete the first before they load the rest."""
    tied = ("language_encoder.shared.weight", "language_encoder.encoder.embed_tokens.weight")  # one table of words
    text_class, text_prefix = DBetaText, "text/"  # our own prefix: the file has none
    renames = ((r"^(?=language_encoder\.|multi_modal_language_proj\.|unimodal_language_pooler\.)", "text/"),)
    network_class, what, class_token = DBetaNetwork, "D-BETA's ECG side", True

    @classmethod
    def shapes(cls, size: DBetaSize | None = None) -> State:
        """See the base class; by the names that older PyTorch gave to normalised weights."""
        older = {"original0": "weight_g", "original1": "weight_v"}
        return {
            re.sub(r"parametrizations\.weight\.(\w+)", lambda part: older[part[1]], key.removeprefix("text/")): value
            for key, value in super().shapes(size).items()
        }

    def embed_shared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 770] of length 1 from [B, 12, T] millivolts; see the class."""
        return self.unit_keeping_products(self.embed(signal_mv, fs_hz), own=0)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, 770] of length 1; see the class. Raises Unavailable where the tokenizer is not there."""
        return self.unit_keeping_products(super().embed_text(texts), own=1)

    @staticmethod
    def unit_keeping_products(vectors: np.ndarray, own: int) -> np.ndarray:
        """float32 [N, d + 2] of length 1 from [N, d] in (-1, 1); between rows of different `own`, 0 or 1, products are
        those of `vectors` over d.
        """
        inside = vectors.astype(np.float64) / np.sqrt(vectors.shape[1])
        missing = np.zeros((len(vectors), 2))
        missing[:, own] = np.sqrt(np.maximum(1 - np.square(inside).sum(1), 0))
        return np.concatenate([inside, missing], 1).astype(np.float32)
