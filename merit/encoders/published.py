"""What the adapters of published encoders share: reading a file, parts of networks, texts, and the protocol.

A file is read without executing anything, every key is accounted for, and an error is one line. Names of parts are
those of the published states. Shapes: B batch, L leads, T samples, n tokens or queries, m keys, W width, R texts, D
width of the feature that is probed, d width of the space shared with texts.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merit.data.recording import shown
from merit.encoders import golden, registry
from merit.encoders.base import InputSpec, fitted
from merit.runs import Unavailable

if TYPE_CHECKING:
    from transformers import BertConfig, PreTrainedTokenizerBase

State = dict[str, Tensor]
"""Name of an entry -> its weights."""
MIMIC_LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order in MIMIC-IV-ECG's files, in which encoders read that were pretrained on them as they stand."""

# -- a file of weights -------------------------------------------------------------------------------------------------


def read_state(path: Path, inside: Sequence[str] = ()) -> State:
    """The state in a file of weights: safetensors, or PyTorch's format, read as tensors and plain values alone.

    inside: keys to descend, such as ("model",). Raises ValueError for a file that was not downloaded whole, that holds
    other objects, that lacks these keys, or whose state holds anything but tensors.
    """
    if why := registry.not_whole(path):
        raise ValueError(f"{path} {why}")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file makes torch.load raise whatever its parsing runs into
        if isinstance(error, pickle.UnpicklingError) and "Unsupported" in str(error):
            raise ValueError(
                f"{path}: expected tensors and plain values; the file holds other objects, which would be executed, "
                "or is damaged; what is needed is the state alone, as safetensors"
            ) from error
        detail = shown(f"{type(error).__name__}: {error}", 120)
        raise ValueError(f"{path} {registry.NOT_WHOLE} ({detail})") from error
    expected = ""
    for key in inside:
        if not isinstance(content, Mapping) or key not in content:
            expected = f"the weights under {'.'.join(inside)}"
            break
        content = content[key]
    else:
        if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
            expected = "names and tensors"
    if expected:
        keys = sorted(map(str, content))[:5] if isinstance(content, Mapping) else None
        got = type(content).__name__ if keys is None else f"the keys {keys}"
        raise ValueError(f"{path}: expected {expected}; got {got}")
    return dict(content)


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Load `state` into `network`, strictly. what: the network, for the message of the ValueError."""
    try:
        network.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ValueError(f"{path}: expected {what}; {first[:300]}") from error


# -- parts of several networks -----------------------------------------------------------------------------------------


def named(**parts: nn.Module) -> nn.Sequential:
    """The parts one after the other, under these names."""
    return nn.Sequential(OrderedDict(parts))


class Apply(nn.Module):
    """A function of the input, and of parameters under the names that they have in a state."""

    def __init__(self, function: Callable[..., Tensor], **parameters: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, **dict(self.named_parameters()))


class MeanOfTokens(nn.Module):
    """A network whose feature is the mean of its `tokens`."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, D] from [B, L, T]."""
        return self.tokens(x).mean(1)


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


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, [N, d]."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


# -- texts -------------------------------------------------------------------------------------------------------------

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

    what = "a BERT of width {size.width}"
    """The model, for messages."""
    max_tokens: int
    """Tokens after which a text is cut."""
    pooler = False
    """Whether the state has BERT's own pooler, a dense layer and a tanh on the first token."""
    pooling = "first"
    """What the head reads: the "first" token's last hidden state, the "last" one's, their "mean", padding left out,
    BERT's "pooler", or the "output" as it is.
    """
    lower = False
    """Whether texts are lower-cased."""
    unit = False
    """Whether vectors are brought to length 1 behind the head."""
    causal = False
    """Whether a token reads those before it alone. Such a text begins with [BOS], is padded to `max_tokens`, and has
    its [CLS] behind the padding, where the model has read all; as many words as the state has, [BOS] among them.
    """
    with_config = True
    """Whether the folder `text` has a configuration; else it is that of the size."""

    def __init__(
        self, name: str, path: Path, state: Mapping[str, Tensor], size: Any, head: nn.Module, device: str = "cpu"
    ) -> None:
        """state: names as Hugging Face's model has them. size: a `BertSize`. head: [B, d] from pooled [B, W]."""
        words = state.get("embeddings.word_embeddings.weight")
        self.size = replace(size, vocabulary=len(words)) if self.causal and words is not None else size
        self.name, self.path, self.device = name, path, device
        self.head = head.eval().requires_grad_(False).to(device)
        # Versions of transformers before 4.31 saved the positions' numbers too, which are no weights.
        self.state = {key: value for key, value in state.items() if key != "embeddings.position_ids"}
        with torch.device("meta"):
            self.filled(None, {key: value.to("meta") for key, value in self.state.items()})

    @classmethod
    def build(cls, size: Any, config: Any = None) -> nn.Module:
        """The model with random weights, of this configuration or of the size's."""
        from transformers import BertModel

        return BertModel(config or size.config(), add_pooling_layer=cls.pooler)

    def filled(self, config: Any, state: Mapping[str, Tensor]) -> nn.Module:
        """The model with these weights, strictly; config: None for the size's."""
        if self.causal:
            config = config or self.size.config()
            config.vocab_size, config.is_decoder, config.use_cache = self.size.vocabulary, True, False
        model = self.build(self.size, config)
        fill(model, state, self.path, self.what.format(size=self.size))
        return model.eval().requires_grad_(False)

    @functools.cached_property
    def model_and_tokenizer(self) -> tuple[nn.Module, PreTrainedTokenizerBase]:
        """What texts need. Raises Unavailable without the folder `text` beside the weights, FileNotFoundError for one
        that lacks files, ValueError for one that does not fit the weights.
        """
        folder = self.path.parent / "text"
        if not folder.is_dir():
            needed = registry.PUBLISHED[self.name].text
            raise Unavailable(f"{self.name}: no folder weights/{self.name}/text; it takes {needed}")
        config, tokenizer = read_folder(folder, self.with_config)
        if self.causal:
            tokenizer.add_special_tokens({"bos_token": "[BOS]"})
            if len(tokenizer) != self.size.vocabulary:
                raise ValueError(
                    f"{folder}: expected a tokenizer of {self.size.vocabulary} words with [BOS]; got {len(tokenizer)}"
                )
        return self.filled(config, self.state).to(self.device), tokenizer

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, d], in batches; texts are cut after `max_tokens`, or after as many as there are positions for."""
        model, tokenizer = self.model_and_tokenizer
        longest = min(self.max_tokens, getattr(model.config, "max_position_embeddings", self.max_tokens))
        shape = {"padding": "max_length", "max_length": self.max_tokens} if self.causal else {"max_length": longest}
        rows = []
        for start in range(0, len(texts), BATCH):
            batch = [text.lower() if self.lower else text for text in texts[start : start + BATCH]]
            batch = [f"[BOS] {text}" for text in batch] if self.causal else batch
            read = tokenizer(batch, **{"padding": True, "truncation": True, "return_tensors": "pt", **shape})
            ids, attention = read["input_ids"], read["attention_mask"]
            if self.causal:  # [CLS], which comes first, is moved to the end
                ids, attention = ids.roll(-1, 1), attention.roll(-1, 1)
            rows.append(self.vectors(ids, attention, model))
        return np.concatenate(rows)

    @torch.inference_mode()
    def vectors(self, ids: Tensor, attention: Tensor, model: nn.Module | None = None) -> np.ndarray:
        """float32 [B, d] from token numbers [B, n] and their mask. model: None for one that needs no folder."""
        if model is None:
            model = self.filled(None, self.state).to(self.device)
        ids, attention = ids.to(self.device), attention.to(self.device)
        output = model(input_ids=ids, attention_mask=attention)
        if self.pooling == "output":
            pooled = output
        elif self.pooling == "pooler":
            pooled = output.pooler_output
        elif self.pooling == "mean":
            weight = attention[..., None].to(output.last_hidden_state.dtype)
            pooled = (output.last_hidden_state * weight).sum(1) / weight.sum(1)
        else:
            pooled = output.last_hidden_state[:, {"first": 0, "last": -1}[self.pooling]]
        rows = self.head(pooled).float().cpu().numpy()
        return unit(rows) if self.unit else rows


# -- an encoder --------------------------------------------------------------------------------------------------------


class PublishedEncoder:
    """A published encoder behind the protocol: subclasses say what its file holds and how it is fed and read."""

    name: str
    input_spec: InputSpec
    network_class: type[nn.Module]
    what: str
    """The network, for messages; {name} and {size} are filled in. For a file of one network; otherwise see `parts`."""
    published: Any = None
    """The sizes of the published weights."""
    small: Any = None
    """The sizes of the golden file, at which tests run; None where there is one network alone."""

    inside: tuple[str, ...] = ()
    """Keys that a published file has its state under."""
    within: str = ""
    """Prefix that all of it has in another published file,"""
    beside: tuple[str, ...] = ()
    """and what such a file holds besides."""
    lacking: str = ""
    """Prefix that names lack in a published file of the ECG encoder alone."""
    renames: tuple[tuple[str, str], ...] = ()
    """Pattern and replacement for names that a file may have; what two names are given for must be equal."""
    tied: tuple[str, ...] = ()
    """Two names of one entry, of which a file has one or both."""
    sized_by: tuple[str, str] | None = None
    """A field of the size, and the entry of the file whose length it is."""
    left_out: tuple[str, ...] = ()
    """Prefixes of entries of the state that no evaluation here runs."""

    text_class: type[TextTower] | None = None
    text_prefix: str = ""
    """Prefix of the text tower's names."""
    text_head: str = ""
    """Prefix of the part that leads from the text tower into the shared space."""
    texts_take: str = ""
    """The file that holds the text side too, where another one holds the ECG side alone."""

    class_token = False
    """Whether the first of the network's tokens is a class token, which has no place in time."""
    min_max: type | None = None
    """Precision in which a recording is brought from its smallest value, 0, to its largest, 1; None: it is not."""

    path: Path = Path()
    """The file of weights."""
    head: nn.Module | None = None
    """The way from the ECG side into the shared space."""
    text: TextTower | None = None
    """The way from texts into it."""

    def __init__(self, network: nn.Module, device: str = "cpu") -> None:
        """network: the feature that is probed, [B, D], from [B, L, T] as `prepared` gives it."""
        self.network, self.device = network.eval().requires_grad_(False).to(device), device

    @classmethod
    def parts(cls, size: Any) -> dict[str, tuple[str, nn.Module]]:
        """Prefix of names in the file -> what it is, for messages, and a network of random weights.

        The ECG encoder comes first; "" takes all that has no other prefix; the text tower is not among them.
        """
        return {"": (cls.what.format(name=cls.name, size=size), cls.network_class(size))}

    @classmethod
    def ecg_network(cls, size: Any = None) -> nn.Module:
        """The ECG encoder with random weights, at the published size unless another is given."""
        return next(network for _, network in cls.parts(size or cls.published).values())

    @classmethod
    def shapes(cls, size: Any = None) -> State:
        """Everything that is read of a file, by the names there, on the meta device."""
        size = size or cls.published
        with torch.device("meta"):
            networks = {prefix: network for prefix, (_, network) in cls.parts(size).items()}
            if cls.text_class:
                networks[cls.text_prefix] = cls.text_class.build(size.text)
        return {prefix + key: value for prefix, part in networks.items() for key, value in part.state_dict().items()}

    @classmethod
    def seeded_state(cls, size: Any = None) -> State:
        """A state in the form of the file, with the weights of `merit.encoders.golden`."""
        state = golden.weights(cls.shapes(size))
        return state | ({cls.tied[1]: state[cls.tied[0]]} if cls.tied else {})

    @classmethod
    def load(cls, path: Path, device: str = "cpu", size: Any = None) -> Self:
        """The encoder from a published file, every key accounted for. Raises ValueError for any other file."""
        return cls.from_state(read_state(path, cls.inside), path, device, size)

    @classmethod
    def from_state(cls, state: State, path: Path, device: str = "cpu", size: Any = None) -> Self:
        """The encoder with the state of a published file. path: the file, for messages and for its folder `text`."""
        size = size or cls.published
        if cls.sized_by and cls.sized_by[1] in state:
            size = replace(size, **{cls.sized_by[0]: len(state[cls.sized_by[1]])})
        state = {key: value for key, value in cls.renamed(state, path).items() if not key.startswith(cls.left_out)}

        # The entries of each part, without its prefix; "": those of no other part.
        parts = cls.parts(size)
        first, prefixes = next(iter(parts)), [*parts, *([cls.text_prefix] if cls.text_class else [])]
        states: dict[str, State] = {prefix: {} for prefix in ("", *prefixes)}
        for key, value in state.items():
            prefix = next((prefix for prefix in prefixes if prefix and key.startswith(prefix)), "")
            states[prefix][key.removeprefix(prefix)] = value
        alone = bool(cls.texts_take) and all(key.startswith(first) for key in state)
        for prefix in [first] if alone else parts:
            what, network = parts[prefix]
            fill(network, states[prefix], path, what)
        if "" not in parts and states[""]:
            raise ValueError(f"{path}: expected names under {', '.join(prefixes)}; got {min(states[''])}")

        encoder = cls(parts[first][1], device)
        encoder.path = path
        if n_samples := getattr(size, "n_samples", None):
            encoder.input_spec = replace(cls.input_spec, duration_s=n_samples / cls.input_spec.fs_hz)
        if cls.text_class and not alone:
            encoder.head = parts[""][1] if first and "" in parts else nn.Identity()
            encoder.head = encoder.head.eval().requires_grad_(False).to(device)
            text_head = parts[cls.text_head][1] if cls.text_head else nn.Identity()
            encoder.text = cls.text_class(cls.name, path, states[cls.text_prefix], size.text, text_head, device)
        return encoder

    @classmethod
    def renamed(cls, state: State, path: Path) -> State:
        """The state by the names of `shapes`, where a file has others. Raises ValueError where it contradicts itself:
        what stands there under two names must be equal.
        """
        nested = bool(cls.within) and any(key.startswith(cls.within) for key in state)
        bare = bool(cls.lacking) and not any(key.startswith(cls.lacking) for key in state)
        names: dict[str, str] = {}  # name -> key in the file
        same = [cls.tied] if cls.tied and all(key in state for key in cls.tied) else []
        for key in state:
            name = cls.lacking + key if bare else key
            if nested:
                same += [(key, cls.within + key)] if cls.within + key in state else []
                if key.startswith(cls.beside):
                    continue
                name = key.removeprefix(cls.within) if key.startswith(cls.within) else f"/{key}"  # which fits nothing
            for pattern, replacement in cls.renames:
                name = re.sub(pattern, replacement, name)
            same += [(key, names[name])] if name in names else []
            names[name] = key
        for key, other in same:
            if not torch.equal(state[key], state[other]):
                raise ValueError(f"{path}: {key} and {other} are one entry under two names, and differ")
        found = {name: state[key] for name, key in names.items()}
        twin = next((state[key] for key in cls.tied if key in state), None)
        return found if twin is None else found | {cls.text_prefix + key: twin for key in cls.tied}

    @property
    def identity(self) -> str:
        """Digest of the ECG side's weights."""
        total = hashlib.sha256()
        for key, value in sorted(self.network.state_dict().items()):
            total.update(key.encode() + value.cpu().numpy().tobytes())
        return total.hexdigest()[:16]

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, D] from [B, 12, T] millivolts at any rate."""
        return self.run(self.network, self.prepared(signal_mv, fs_hz))

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, n, D], first to last, by the network's `tokens`, which says whether their mean is the feature."""
        tokens = self.run(self.network.tokens, self.prepared(signal_mv, fs_hz))
        return tokens[:, 1:] if self.class_token else tokens

    def prepared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, L, T] at the encoder's rate and length, leads in its order, filtered and scaled as it expects."""
        return np.ascontiguousarray(self.conditioned(fitted(signal_mv, fs_hz, self.input_spec)), np.float32)

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, L, T] filtered and scaled: millivolts as they are, or from 0 to 1 over all leads and samples of a
        recording, a flat one to 0; or as a subclass says.
        """
        if self.min_max is None:
            return signal_mv
        signal_mv = signal_mv.astype(self.min_max)
        low, high = (bound(axis=(1, 2), keepdims=True) for bound in (signal_mv.min, signal_mv.max))
        return (signal_mv - low) / (high - low + 1e-8)  # as MERL and MELP have it

    def run(self, call: Callable[[Tensor], Tensor], x: np.ndarray) -> np.ndarray:
        """float32 of `call` on the device, without gradients."""
        with torch.inference_mode():
            return call(torch.from_numpy(x).to(self.device)).float().cpu().numpy()


class TextAlignedEncoder(PublishedEncoder):
    """One that shares a space with texts; Unavailable where its file, or the folder `text`, does not give them."""

    def embed_shared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, d] of length 1 from [B, 12, T] millivolts."""
        self.need_texts()
        return self.shared(self.prepared(signal_mv, fs_hz))

    def shared(self, x: np.ndarray) -> np.ndarray:
        """float32 [B, d] of length 1, from what `prepared` gives."""
        return self.run(lambda x: self.head(self.network(x)), x)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, d] of length 1."""
        self.need_texts()
        return self.text.embed(texts)

    def need_texts(self) -> None:
        """Unavailable where the file holds the ECG side alone."""
        if self.text is None:
            raise Unavailable(f"{self.name}: {self.path.name} holds the ECG side alone; texts take {self.texts_take}")
