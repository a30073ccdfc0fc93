"""The text encoder: a frozen hub model or folder (MedCPT), a small BERT trained on the reports, and last layers of
either that are trained with the network.

Only this module imports transformers for embedding. Shapes: R texts, M tokens of all of them, B recordings, g texts
of a group, n tokens of its longest, W text width.
"""

from __future__ import annotations

import copy
import json
import logging
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from merit.config import TextConfig, TextTowerConfig
from merit.model.weights import GLOSSARY
from merit.parallel import one_thread_an_operation
from merit.runs import loading, new_folder, sealed

# -- the frozen encoder -----------------------------------------------------------------------------------------------


class TextEncoder:
    """A frozen Hugging Face encoder by hub name or folder; `embed` pools its last hidden state."""

    def __init__(self, source: str | Path, config: TextConfig, device: str = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()  # a pooler that is missing is none that we use
        logging.disable_progress_bar()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(**loading(source))
            model = AutoModel.from_pretrained(**loading(source))
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"text encoder {source}: expected a local folder with model and tokenizer, or a hub name and a network "
                f"to reach it; {str(error).splitlines()[0]}"
            ) from error
        self.model, self.config, self.device = model.eval().to(device), config, device
        self.width: int = self.model.config.hidden_size

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], batch: int = 128, progress: bool = False) -> np.ndarray:
        """float32 [R, W]; mean over the tokens of a text, padding left out, or the first one (`pooling` cls)."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = np.zeros((len(texts), self.width), np.float32)
        for start in tqdm(range(0, len(order), batch), desc="embedding reports", disable=not progress, mininterval=1.0):
            rows = order[start : start + batch]
            some, most = [texts[i] for i in rows], self.config.max_tokens
            tokens = self.tokenizer(some, padding=True, truncation=True, max_length=most, return_tensors="pt")
            tokens = tokens.to(self.device)
            states = self.model(**tokens).last_hidden_state
            out[rows] = pooled(states, tokens["attention_mask"], self.config.pooling).cpu().numpy()
        return out


def pooled(states: Tensor, real: Tensor, pooling: str) -> Tensor:
    """[g, W] from [g, n, W]: the first token's state (cls), or the mean over tokens; real: [g, n], 0 for padding."""
    if pooling == "cls":
        return states[:, 0]
    weight = real[..., None].to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1)


def require_reachable(name: str, source: str) -> None:
    """ValueError that begins with `name` where a model is neither a folder with its config.json nor one that the hub,
    or the copies of it on this machine, have.
    """
    from transformers import AutoConfig

    said = f"{name}: expected a folder with a model and its config.json, or a hub name within reach; got {source!r}"
    if not Path(source).is_dir() and not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", source):
        raise ValueError(f"{said}; there is no such folder")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of each of its attempts
    for here in (True, False):
        try:
            AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=here)
            return
        except (OSError, ValueError) as error:
            if not here or Path(source).is_dir():
                raise ValueError(f"{said}; {str(error).splitlines()[0]}") from error


# -- a small BERT, trained on the reports -----------------------------------------------------------------------------


def glossary() -> list[str]:
    """The lines of the glossary, lower-cased as reports are."""
    return [line.strip().lower() for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.strip()]


def train_text_encoder(reports: Sequence[str], config: TextConfig, folder: Path, progress: bool = True) -> Path:
    """Train a small BERT by masked language modelling on `reports` and the glossary; save it, with its WordPiece, and
    return `folder`. One encoder serves all objectives; the same texts and settings give the same weights on the CPU.
    """
    from transformers import BertConfig, BertForMaskedLM
    from transformers.utils import logging

    if sealed(folder):
        return folder
    texts = sorted(set(reports) | set(glossary()))
    tokenizer = make_tokenizer(texts, config)
    with torch.random.fork_rng(devices=[]), one_thread_an_operation():
        torch.manual_seed(config.seed)
        model = BertForMaskedLM(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=config.width,
                num_hidden_layers=config.depth,
                num_attention_heads=config.heads,
                intermediate_size=4 * config.width,
                max_position_embeddings=config.max_tokens,
                pad_token_id=tokenizer.pad_token_id,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            )
        )
        tokens = tokenizer(
            texts, padding="max_length", truncation=True, max_length=config.max_tokens, return_tensors="pt"
        )
        masked_language_modelling(model, tokens, tokenizer, config, progress)
    logging.disable_progress_bar()
    with new_folder(folder) as made:
        model.bert.save_pretrained(made)
        tokenizer.save_pretrained(made)
    return folder


def make_tokenizer(texts: Sequence[str], config: TextConfig):
    """A lower-casing WordPiece: every character, then the commonest words of `texts`, ties in alphabetical order.

    The tokenizers library's own trainer gives another vocabulary at every run (huggingface/tokenizers#1794). Reports
    use few enough words for whole ones, and what is rarer falls back to characters.
    """
    from tokenizers import BertWordPieceTokenizer, normalizers, pre_tokenizers
    from transformers import BertTokenizerFast

    normalise, split = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in split.pre_tokenize_str(normalise.normalize_str(text)))
    characters = sorted({c for word in counts for c in word} | set(string.ascii_lowercase + string.digits))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters)]
    words = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if len(word) > 1]
    pieces += words[: max(0, config.vocabulary - len(pieces))]
    table = {piece: i for i, piece in enumerate(pieces)}
    learnt = BertWordPieceTokenizer(vocab=table, lowercase=True)
    return BertTokenizerFast(tokenizer_object=learnt._tokenizer, model_max_length=config.max_tokens)


def masked_language_modelling(model, tokens, tokenizer, config: TextConfig, progress: bool) -> None:
    """BERT's own objective: 15 % of the pieces, of which 80 % masked, 10 % replaced, 10 % kept (Devlin et al. 2019)."""
    ids, attention = tokens["input_ids"], tokens["attention_mask"]
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.updates, pct_start=0.1
    )
    generator = torch.Generator().manual_seed(config.seed)
    model.train()
    for _ in tqdm(range(config.updates), desc="text encoder", unit="update", disable=not progress, mininterval=1.0):
        rows = torch.randint(len(ids), (config.batch,), generator=generator)
        width = int(attention[rows].sum(1).max())
        piece, ignored = ids[rows, :width], special[rows, :width]
        chosen = (torch.rand(piece.shape, generator=generator) < 0.15) & ~ignored
        fate = torch.rand(piece.shape, generator=generator)
        noise = torch.randint(len(tokenizer), piece.shape, generator=generator)
        masked = torch.where(chosen & (fate < 0.8), tokenizer.mask_token_id, piece)
        masked = torch.where(chosen & (fate >= 0.9), noise, masked)
        labels = torch.where(chosen, piece, -100)
        loss = model(input_ids=masked, attention_mask=attention[rows, :width], labels=labels).loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()


# -- last layers that are trained with the network --------------------------------------------------------------------


class Layer(nn.Module):
    """A layer of BERT: attention, then an MLP, each added to what it read and normalised (Devlin et al., 2019)."""

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        width, self.heads = config.width, config.heads

        def out(inner: int) -> nn.ModuleDict:
            """Back to the width, and the norm of the sum."""
            return nn.ModuleDict({"dense": nn.Linear(inner, width), "LayerNorm": nn.LayerNorm(width, eps=config.eps)})

        read = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": read, "output": out(width)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, config.hidden)})
        self.output = out(config.hidden)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """states: [g, n, W]; real: bool [g, n], False = padding, which nothing attends to."""
        read, out = self.attention["self"], self.attention["output"]
        q, k, v = (read[name](states).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in read)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None])
        states = out["LayerNorm"](states + out["dense"](mixed.transpose(1, 2).flatten(2)))
        inner = F.gelu(self.intermediate["dense"](states))
        return self.output["LayerNorm"](states + self.output["dense"](inner))


class TextTower(nn.Module):
    """From the states below the trained layers to one embedding per recording, pooled as the frozen encoder pools.

    BERT's layers under BERT's names, so that their weights go from a Hugging Face model into the network and back.
    Without dropout: nothing random has a state.
    """

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, words: tuple) -> Tensor:
        """[B, W]; words: a `merit.data.batches.Words`."""
        groups, place = words
        embedded = []
        for states, real in groups:
            for layer in self.layer:
                states = layer(states, real)
            embedded.append(pooled(states, real, self.pooling))
        return torch.cat(embedded)[place]


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
        layers=layers,
        width=about.hidden_size,
        heads=about.num_attention_heads,
        hidden=about.intermediate_size,
        eps=about.layer_norm_eps,
        pooling=frozen.config.pooling,
    )


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


@torch.inference_mode()
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
                tokens = frozen.tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
                every = frozen.model(**tokens.to(frozen.device), output_hidden_states=True).hidden_states
                for row, below in zip(rows, every[-1 - layers].float().cpu().numpy()):
                    file.seek(origin + int(start[row]) * frozen.width * 4)
                    file.write(np.ascontiguousarray(below[: len(ids[row])], "<f4"))
        (made / "tower.json").write_text(json.dumps(asdict(tower_config(frozen, layers))), encoding="utf-8")
        save_file(tower.state_dict(), made / "tower.safetensors")
    return folder
