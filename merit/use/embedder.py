"""A checkpoint as a thing to use: embeddings, zero-shot scores and nearest recordings, from arrays or WFDB files.

Around the encoder that tables use, with the preparation that stores get, so that a file and its row of a store have one
embedding. Research only: not a medical device. B recordings, D width, d width of the shared space, R texts.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from huggingface_hub import ModelHubMixin, snapshot_download
from safetensors.torch import save_file

from merit.config import SignalConfig
from merit.data.store import Store
from merit.data.taxonomy import TASKS
from merit.encoders import ours
from merit.encoders.ours import MeritEncoder
from merit.evaluate import zero_shot
from merit.evaluate.embeddings import embed_store
from merit.evaluate.zero_shot import load_prompts, own_prompts
from merit.model.text import TextEncoder
from merit.model.weights import DECIDING
from merit.parallel import torch_device
from merit.pretrain import TEXT_SETTINGS
from merit.pretrain.checkpoint import KEPT, ORIGIN, model_card, read_origin, text_config
from merit.runs import SUMS, Unavailable, check, seal, sealed, write_json, write_text, written
from merit.use.reading import Leads, Prepared, Rate, batched, in_threads, is_one, prepared

COSINES = "cosines of recording and text, from -1 to 1: no probabilities, and not for decisions about patients"
INSIDE = "text"
"""Where `save_pretrained` puts the text encoder, so that a folder holds all that it needs."""
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
PUBLISHED = ("*.json", "*.jsonl", "*.safetensors", "seen.parquet", "README.md", SUMS, f"{INSIDE}/*")
"""Files of a hub repository that belong to a checkpoint."""
Prompts = str | Path | Mapping[str, str | list[str]]
Among = Store | str | Path | pd.DataFrame | np.ndarray


class Embedder(ModelHubMixin):
    """What `merit.load` gives. `x`, everywhere: a path of a WFDB record (with .hea or without), a `Recording`, an array
    [leads, samples], several of these in a list, or an array [recordings, leads, samples].

    For arrays, fs_hz is the rate in Hz (one, or one per recording), leads the names of the rows in any order (default:
    all twelve in the usual one; I, II, V1 to V6 are enough), unit mV, uV or V. Any rate and length: 100 Hz and the
    first 10 s are taken, gaps repaired, as ingest does; RejectedRecording says what ingest would not store.
    """

    def __init__(
        self, encoder: MeritEncoder, settings: dict[str, Any], folder: Path, text_encoder: str | Path | None = None
    ) -> None:
        self.encoder = encoder
        """The encoder that tables use; it takes arrays [B, 12, T] in mV as they are."""
        self.settings, self.folder, self._text_source = settings, folder, text_encoder
        self.signal = SignalConfig(fs_hz=encoder.fs_hz, duration_s=encoder.n_samples / encoder.fs_hz)
        self.name, self.input_spec = encoder.name, encoder.input_spec

    def __repr__(self) -> str:
        return f"<{self.name} of {self.folder}: {self.width} wide, on {self.encoder.device}>"

    @property
    def identity(self) -> str:
        """Digest of the weights and of the settings that give them meaning."""
        return self.encoder.identity

    @property
    def width(self) -> int:
        """D."""
        return self.encoder.model.config.encoder.embedding_width

    @functools.cached_property
    def text(self) -> TextEncoder:
        """The text encoder of pretraining, with the layers that were trained; Unavailable where it is not at hand,
        ValueError for one of another width.
        """
        source, width = find_text(self.folder, self._text_source), self.encoder.model.config.text_width
        if isinstance(source, Path) and sealed(source):
            check(source)
        frozen = TextEncoder(source, text_config(self.folder), self.encoder.device)
        if frozen.width != width:
            raise ValueError(f"text encoder {source}: expected one {width} wide, as in pretraining; got {frozen.width}")
        return self.encoder.own_text(frozen)

    def embed(
        self, x: object, fs_hz: Rate = None, leads: Leads = None, *, unit: str = "mV", batch: int = 64
    ) -> np.ndarray:
        """float32 [B, D], or [D] for one recording."""
        batches = batched(prepared(x, self.signal, fs_hz, leads, unit), batch)
        parts = list(in_threads(self.embed_prepared, batches))
        z = np.concatenate([np.empty((0, self.width), np.float32), *parts])
        return z[0] if is_one(x) else z

    def embed_shared(
        self, x: object, fs_hz: Rate = None, leads: Leads = None, *, unit: str = "mV", batch: int = 64
    ) -> np.ndarray:
        """float32 [B, d] (or [d]) of length 1 in the space that recordings share with texts."""
        z = self.embed(x, fs_hz, leads, unit=unit, batch=batch)
        return self.encoder.project(z[None])[0] if z.ndim == 1 else self.encoder.project(z)

    def embed_text(self, reports: Sequence[str]) -> np.ndarray:
        """float32 [R, d] of length 1 in the same space."""
        if not self.encoder.shares_space:
            raise ValueError(f"encoder {self.name}: expected one with a shared space; it was pretrained without text")
        return self.encoder.project_text(self.text.embed(list(reports)))

    def zero_shot(
        self,
        x: object,
        prompts: Prompts = "superclass",
        fs_hz: Rate = None,
        leads: Leads = None,
        *,
        unit: str = "mV",
        batch: int = 64,
    ) -> pd.DataFrame:
        """One row per recording, one column per class: cosines, which order recordings within a class. No
        probabilities, not comparable between classes, and not for decisions about patients.

        prompts: a task's name, such as superclass, rhythm or cpsc2018; or a dict of class and text (or texts, which
        are averaged), or a JSON file of one.
        """
        (classes, score), names = self.scorer(prompts), []

        def noted() -> Iterator[Prepared]:
            for recording in prepared(x, self.signal, fs_hz, leads, unit):
                names.append(recording.name)
                yield recording

        parts = list(in_threads(lambda some: score(self.embed_prepared(some)), batched(noted(), batch)))
        table = pd.DataFrame(np.concatenate([np.empty((0, len(classes))), *parts]), columns=classes)
        table.index = pd.Index(names, name="record", dtype=object)
        table.attrs["scores"] = COSINES
        return table

    def scorer(self, prompts: Prompts) -> tuple[list[str], Callable[[np.ndarray], np.ndarray]]:
        """A table's columns, and what gives them, float64 [B, classes], from embeddings [B, D]; texts embedded once."""
        if not isinstance(prompts, Mapping) and str(prompts) in TASKS:
            chosen = load_prompts("enriched", str(prompts))
        elif isinstance(prompts, Mapping) or os.path.isfile(prompts):
            chosen = own_prompts(prompts)
        else:
            raise ValueError(
                f"prompts: expected one of {', '.join(TASKS)}, or a dict of class and text (or a JSON file of one); "
                f"got {str(prompts)!r}"
            )
        vectors = zero_shot.class_vectors(self.embed_text(chosen.flat), chosen.owner)
        return list(chosen.texts), lambda z: zero_shot.cosines(self.encoder.project(z), vectors)

    def similar(
        self,
        x: object,
        among: Among,
        k: int = 5,
        fs_hz: Rate = None,
        leads: Leads = None,
        *,
        unit: str = "mV",
        batch: int = 64,
    ) -> pd.DataFrame:
        """The k recordings whose embeddings have the largest cosine with each of `x`: query (its position), rank (from
        1), record, row (in `among`), cosine.

        among: a store or its folder (embedded now, which takes its time), a file or table that `merit embed` wrote, or
        an array [N, D], whose records are called by their rows. A recording that lies among them finds itself.
        """
        if k < 1:
            raise ValueError(f"k: expected at least 1; got {k}")
        records, z = self._embedded(among, batch)
        queries = self.embed(x, fs_hz, leads, unit=unit, batch=batch).reshape(-1, self.width)
        if z.ndim != 2 or z.shape[1] != self.width:
            raise ValueError(f"among: expected embeddings [N, {self.width}] of this encoder; got {list(z.shape)}")
        unit_length = z / np.linalg.norm(z.astype(np.float64), axis=1, keepdims=True)
        cosines = zero_shot.cosines(queries, unit_length)
        rows = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        query, rank = np.indices(rows.shape)
        nearest = {"query": query.ravel(), "rank": rank.ravel() + 1, "record": records[rows.ravel()]}
        nearest |= {"row": rows.ravel(), "cosine": np.take_along_axis(cosines, rows, axis=1).ravel()}
        return pd.DataFrame(nearest)

    def embed_prepared(self, some: Sequence[Prepared]) -> np.ndarray:
        """float32 [B, D] of one batch that `merit.use.reading.prepared` gave."""
        signal_mv = np.stack([recording.signal_uv for recording in some]).astype(np.float32) / 1000
        return self.encoder.embed(signal_mv, self.encoder.fs_hz)

    def _embedded(self, among: object, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """Names of records, object [N], and their embeddings [N, D]."""
        if isinstance(among, str | Path):
            path = Path(among)
            reader = Store.open if path.is_dir() else pd.read_csv if path.suffix == ".csv" else pd.read_parquet
            among = reader(path)
        if isinstance(among, Store):
            return among.records["record_id"].to_numpy(object), embed_store(self.encoder, among, batch, progress=False)
        if isinstance(among, pd.DataFrame):
            columns = [f"z{i}" for i in range(self.width)]
            if missing := [name for name in ("record", *columns) if name not in among]:
                raise ValueError(f"among: expected columns record and z0 to {columns[-1]}; missing: {missing[0]}")
            return among["record"].to_numpy(object), among[columns].to_numpy(np.float32)
        return np.arange(len(among)).astype(object), np.asarray(among, np.float32)

    # -- as huggingface_hub's models are saved and loaded -----------------------------------------------------------

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> str | None:
        """The checkpoint with its text encoder, its model card and the list of recordings that it has seen, in a folder
        that can be moved; `push_to_hub` of huggingface_hub publishes the same. A README.md there is kept.
        """
        if Path(save_directory).resolve() == self.folder.resolve():
            raise ValueError(f"{save_directory}: expected another folder than the checkpoint's own")
        return super().save_pretrained(save_directory, **kwargs)

    def _save_pretrained(self, save_directory: Path) -> None:
        about = self._save_text(save_directory)
        for name in ("seen.parquet", "history.jsonl"):
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, save_directory / name)
        write_json(save_directory / ORIGIN, about)
        write_json(save_directory / "config.json", self.settings)
        if not (save_directory / "README.md").exists():
            seen = pd.read_parquet(self.folder / "seen.parquet") if (self.folder / "seen.parquet").is_file() else None
            write_text(save_directory / "README.md", model_card(self.settings, about, seen))
        weights = {name: value.cpu().contiguous() for name, value in self.encoder.model.state_dict().items()}
        with written(save_directory / "model.safetensors") as temporary:
            save_file(weights, temporary)
        names = [*KEPT, *(f"{INSIDE}/{path.name}" for path in save_directory.glob(f"{INSIDE}/*"))]
        seal(save_directory, [name for name in names if (save_directory / name).is_file()])

    def _save_text(self, save_directory: Path) -> dict[str, Any]:
        """Copy the text encoder where it is a folder; what `origin.json` then says."""
        about = read_origin(self.folder) or {"text": {}, "synthetic": None}
        if not self.encoder.shares_space:
            return about | {"text": {}}
        try:
            source = find_text(self.folder, self._text_source)
        except Unavailable:
            return about
        settings = {name: getattr(text_config(self.folder), name) for name in TEXT_SETTINGS}
        if not Path(source).is_dir():
            return about | {"text": {"source": str(source), **settings}}
        inside = save_directory / INSIDE
        inside.mkdir(exist_ok=True)
        for path in sorted({path for pattern in DECIDING for path in Path(source).glob(pattern)}):
            shutil.copyfile(path, inside / path.name)
        return about | {"text": {"source": INSIDE, **settings}}

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, device: str = "cpu", text_encoder: str | Path | None = None, **download: Any
    ) -> Self:
        folder = Path(model_id)
        if not folder.is_dir():
            known = ("revision", "cache_dir", "force_download", "local_files_only", "token")
            given = {name: download[name] for name in known}
            folder = Path(snapshot_download(model_id, allow_patterns=list(PUBLISHED), **given))
        encoder = ours.load(folder, torch_device(device))
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return cls(encoder, settings, folder, text_encoder)


def load(name: str | Path, device: str = "cpu", text_encoder: str | Path | None = None) -> Embedder:
    """A checkpoint by its folder, or by its name on the Hugging Face hub, the one case in which something is fetched.

    device: cpu, cuda, cuda:1, or auto. text_encoder: folder or hub name of the text encoder, if it is not where the
    checkpoint says. FileNotFoundError where there is no finished checkpoint.
    """
    here = Path(name)
    if here.is_dir():
        if not (here / "config.json").is_file():
            raise FileNotFoundError(f"{here}: expected a finished checkpoint (model.safetensors and config.json)")
        return Embedder.from_pretrained(here, device=device, text_encoder=text_encoder)
    if isinstance(name, Path) or not HUB_NAME.fullmatch(name) or here.parent.is_dir():
        raise FileNotFoundError(f"{name}: expected the folder of a finished checkpoint, or a name on the hub")
    try:
        return Embedder.from_pretrained(name, device=device, text_encoder=text_encoder)
    except OSError as error:
        raise FileNotFoundError(
            f"{name}: expected the folder of a finished checkpoint, or a name on the hub and a network to reach it; "
            f"{str(error).splitlines()[0]}"
        ) from error


def find_text(folder: Path, given: str | Path | None = None) -> str | Path:
    """Folder (or hub name, if that is what is given) of the text encoder of the checkpoint in `folder`.

    In turn: `given`; where the checkpoint says that it lies; `text` in its folder; the only one in `text` two folders
    up, beside `checkpoints`, as in artifacts. Nothing is downloaded for what the checkpoint says. Unavailable where
    there is none.
    """
    if given is not None:
        return given
    said = read_origin(folder).get("text", {}).get("source")
    beside = sorted(path.parent for path in (folder.resolve().parents[1] / "text").glob("*/config.json"))
    candidates = [folder / (said or INSIDE), folder / INSIDE, *(beside if len(beside) == 1 else ())]
    for candidate in candidates:
        if (candidate / "config.json").is_file():
            return candidate
    if said and not said.startswith("."):  # a hub model, with or without @revision, that was downloaded before
        from huggingface_hub import snapshot_download

        hub_name, _, revision = said.partition("@")
        with contextlib.suppress(OSError, ValueError):
            return Path(snapshot_download(hub_name, revision=revision or None, local_files_only=True))
    raise Unavailable(
        f"{folder}: no text encoder at hand{f'; it was aligned with {said}' if said else ''}; give its folder or hub "
        "name as text_encoder (it is the one of pretraining, under artifacts/*/text)"
    )
