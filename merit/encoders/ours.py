"""Our own checkpoints behind the encoder protocol, and the randomly initialised network that every table needs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from merit.config import ModelConfig
from merit.data.recording import LEADS
from merit.encoders.base import InputSpec, fitted
from merit.model.merit import Merit, scale
from merit.model.text import TextEncoder, with_tower
from merit.pretrain.checkpoint import load_model


class MeritEncoder:
    """A network of ours as an encoder: frozen, nothing masked, tokens averaged."""

    def __init__(self, model: Merit, name: str, device: str = "cpu") -> None:
        self.model, self.name, self.device = model.eval().requires_grad_(False).to(device), name, device
        self.shares_space = model.ecg_head is not None
        """Whether there are projection heads: without the alignment branch (mse, simclr) there is no shared space."""
        self.trained_text = model.text_tower is not None
        """Whether layers of the text encoder were trained with this network, so that it has one of its own."""
        encoder = model.config.encoder
        self.fs_hz, self.n_samples = encoder.fs_hz, encoder.n_samples
        self.input_spec = InputSpec(
            fs_hz=self.fs_hz, duration_s=self.n_samples / self.fs_hz, leads=LEADS, scaling=model.config.scaling
        )

    @property
    def identity(self) -> str:
        """Digest of the weights and of the settings that give them meaning."""
        total = hashlib.sha256(repr(self.model.config).encode())
        for name, value in sorted(self.model.encoder.state_dict().items()):
            total.update(name.encode() + value.cpu().numpy().tobytes())
        return total.hexdigest()[:16]

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, D] from [B, 12, T] (or [D] from [12, T]) in millivolts at any rate; cut or padded to 10 s."""
        with torch.inference_mode():
            z = self.model.embed(self._prepared(signal_mv, fs_hz)).float().cpu().numpy()
        return z[0] if np.ndim(signal_mv) == 2 else z

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, n, D] from [B, 12, T]: one token per stretch of time (kind vit: the patches of one time averaged
        over leads); their mean is `embed`'s.
        """
        with torch.inference_mode():
            encoder, batch = self.model.encoder, self._prepared(signal_mv, fs_hz)
            tokens = encoder.over_time(encoder(scale(batch, self.model.config.scaling)))
            return tokens.float().cpu().numpy()

    def _prepared(self, signal_mv: np.ndarray, fs_hz: float) -> torch.Tensor:
        """[B, 12, T] at the network's own rate and length, on its device."""
        batch = signal_mv[None] if np.ndim(signal_mv) == 2 else signal_mv
        batch = np.ascontiguousarray(fitted(batch, fs_hz, self.input_spec), np.float32)
        return torch.from_numpy(batch).to(self.device)

    def project(self, z: np.ndarray) -> np.ndarray:
        """float32 [B, d] of length 1 in the shared space, from embeddings [B, D] that `embed` gave (Sec. 3.3)."""
        return self._through(self.model.ecg_head, z)

    def project_text(self, text: np.ndarray) -> np.ndarray:
        """float32 [R, d] of length 1 in the shared space, from embeddings [R, W] of its text encoder (`own_text`)."""
        return self._through(self.model.text_head, text)

    def own_text(self, frozen: TextEncoder) -> TextEncoder:
        """The text encoder that this network's space belongs to: the frozen one, or that with its trained layers."""
        return with_tower(frozen, self.model.text_tower) if self.trained_text else frozen

    def _through(self, head: torch.nn.Module | None, rows: np.ndarray) -> np.ndarray:
        if head is None:
            raise ValueError(f"encoder {self.name}: expected one with a shared space; it was pretrained without text")
        with torch.inference_mode():
            out = head(torch.from_numpy(np.ascontiguousarray(rows, np.float32)).to(self.device))
            return torch.nn.functional.normalize(out.float(), dim=-1).cpu().numpy()


def load(folder: str | Path, device: str = "cpu") -> MeritEncoder:
    """The encoder of a checkpoint folder that `merit pretrain` finished."""
    model, settings = load_model(Path(folder))
    return MeritEncoder(model, settings["pretrain"]["objective"], device)


def random_encoder(config: ModelConfig, seed: int, device: str = "cpu") -> MeritEncoder:
    """The same network, heads included, with the weights it starts from: the row that pretraining has to beat."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MeritEncoder(Merit(config, reconstructs=False), "random", device)
