"""The frozen text encoder: a hub model or folder (MedCPT), or a small BERT that is trained on the reports.

Only this module imports transformers for embedding. Shapes: R texts, W text width.
"""

from __future__ import annotations

import logging
import re
import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from merit.config import TextConfig
from merit.model.weights import GLOSSARY
from merit.runs import loading, new_folder, sealed
from merit.threads import one_thread_an_operation


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
                vocab_size=len(tokenizer), hidden_size=config.width, num_hidden_layers=config.depth,
                num_attention_heads=config.heads, intermediate_size=4 * config.width,
                max_position_embeddings=config.max_tokens, pad_token_id=tokenizer.pad_token_id,
                hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            )
        )  # fmt: skip
        tokens = tokenizer(
            texts, padding="max_length", truncation=True, max_length=config.max_tokens, return_tensors="pt"
        )
        _masked_language_modelling(model, tokens, tokenizer, config, progress)
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


def _masked_language_modelling(model, tokens, tokenizer, config: TextConfig, progress: bool) -> None:
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
            tokens = self.tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=self.config.max_tokens,
                return_tensors="pt",
            ).to(self.device)  # fmt: skip
            out[rows] = self.pool(self.model(**tokens).last_hidden_state, tokens["attention_mask"]).cpu().numpy()
        return out

    def pool(self, states: Tensor, attention: Tensor) -> Tensor:
        """[B, W] from [B, n, W]; attention: [B, n], 1 for tokens, 0 for padding."""
        if self.config.pooling == "cls":
            return states[:, 0]
        weight = attention[..., None].to(states.dtype)
        return (states * weight).sum(1) / weight.sum(1)
