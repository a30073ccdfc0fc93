"""The workspace that notebooks and commands use: it makes what is missing and reads what is there.

Recordings become stores, stores checkpoints, checkpoints embeddings; studies read these and keep their scores here.
Heavy packages are imported where something has to be computed: on the cached path torch is never touched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from merit import runs
from merit.config import (
    COHORTS,
    OBJECTIVE_NAMES,
    PEERS,
    SHORT,
    WITHOUT_TEXT,
    ModelConfig,
    PretrainConfig,
    Profile,
    TextTowerConfig,
    folder_name,
    method,
    one_of,
    profile,
    replace,
    require_hidden,
    resolve,
    settings_of,
)  # fmt: skip
from merit.encoders import registry
from merit.evaluate.tasks import CROSS_FITTED, OFFICIAL_SPLIT, TEN_FOLDS, remarks
from merit.model.weights import GLOSSARY, TEXT_RECIPE, pinned, weights_identity
from merit.parallel import ordered_map, together, torch_device, usable_cores
from merit.pretrain import NOT_OF_TRAINING, RECIPE, TEXT_SETTINGS

if TYPE_CHECKING:
    from merit.data.store import Store
    from merit.encoders.base import Encoder
    from merit.encoders.ours import MeritEncoder
    from merit.model.text import TextEncoder

ENCODER_NAMES = (*OBJECTIVE_NAMES, "random")
ROTATIONS = (1, 2, 3, 4, 5)
OFFICIAL_TRAINING_FOLDS = range(1, 9)
"""PTB-XL's folds 1 to 8: what may be pretrained on when PTB-XL is also evaluated."""
WHOLE = 50_000
"""Records of a store up to which all are embedded, once for every page; of a larger one, MIMIC-IV-ECG's, those alone
that are asked for."""


class NoCohort(runs.Unavailable):
    """A data set that is not there; the message says in one line what was looked for where."""


def remembered(most: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A function of a workspace whose last results are held as long as that workspace is, and no longer."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        held: weakref.WeakKeyDictionary[Workspace, dict[tuple, Any]] = weakref.WeakKeyDictionary()

        @functools.wraps(function)
        def call(ws: Workspace, *args: Any) -> Any:
            own = held.setdefault(ws, {})
            own[args] = own.pop(args) if args in own else function(ws, *args)  # the one asked for last is last
            while len(own) > most:
                own.pop(next(iter(own)))
            return own[args]

        call.cache_clear = held.clear
        return call

    return declare


@dataclass(eq=False)
class Workspace:
    """The stores of one profile and one source of recordings, in `artifacts/<name>/`."""

    profile: Profile
    data: Path | None
    device: str
    folder: Path
    compiled: bool = False
    """Whether pretraining compiles its network (`merit pretrain --compiled`)."""
    graphs: bool = False
    """Whether it also records CUDA graphs (`--graphs`)."""
    attention: str = "sdpa"
    """The kernel of its attention (`--attention`)."""
    settings: str = ""
    """What differs from the profile of that name, for the page's foot."""
    used: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What this session read or made, by kind and id, for `provenance`."""
    _stores: dict[str, Store] = field(default_factory=dict, init=False, repr=False)
    """Those that this session opened, by their folders' names."""
    origin: Workspace | None = None
    """Another workspace, of the same network, whose encoders are evaluated on the recordings of this one."""
    rotation: int | None = None
    """Of cross-fitted pretraining, from 1: which two of PTB-XL's ten folds nothing is trained on (`rotated`)."""

    @classmethod
    def open(
        cls, profile: str = "demo", data: str | Path | None = None, device: str = "auto", settings: str = ""
    ) -> Self:  # fmt: skip
        """profile: smoke, demo or paper. data: folder with real data sets, None: synthetic hospitals. device: auto: GPU
        where there is one. settings: what is changed of the profile, "model.mask_ratio=0.5" (`config.resolve`, which
        reads the environment too). Nothing is computed yet; what is wrong of these is refused. MERIT_COMPILED,
        MERIT_GRAPHS and MERIT_ATTENTION=flex say how pretraining computes, the same numbers but for rounding.
        """
        chosen = resolve(profile, settings)
        root = None if data is None else Path(data).resolve()
        if root is not None and not root.is_dir():
            raise NoCohort(f"data: expected a folder that holds {', '.join(COHORTS)}; there is no folder {root}")
        given = {name: os.environ.get(f"MERIT_{name.upper()}") or "0" for name in ("compiled", "graphs")}
        for name, value in given.items():
            one_of(f"MERIT_{name.upper()}", value, ("0", "1"))
        how = {name: value == "1" for name, value in given.items()}
        how["attention"] = os.environ.get("MERIT_ATTENTION") or "sdpa"
        folder = runs.home() / "artifacts" / folder_name(chosen, root)
        opened = cls(chosen, root, device, folder, settings=settings_of(chosen), **how)
        one_of("MERIT_ATTENTION", opened.attention, ("sdpa", "flex"))
        fast = "MERIT_GRAPHS" if opened.graphs else "MERIT_ATTENTION" if opened.attention == "flex" else ""
        if device not in ("auto", "cpu") or fast:
            place = opened.torch_device()
            if fast and not place.startswith("cuda"):
                raise ValueError(f"{fast}: expected a GPU; the device is {place}; leave it away")
        if opened.graphs and chosen.pretrain.text_layers:
            raise ValueError("MERIT_GRAPHS: expected a frozen text encoder; leave it, or TEXT_LAYERS, away")
        return opened

    @functools.cached_property
    def synthetic(self) -> bool:
        """Whether numbers come from synthetic hospitals: made here, or found under `data` and declared as such."""
        if self.data is None:
            return True
        from merit.data.cohorts import open_cohort

        return any(open_cohort(name, root).synthetic for name, root in self.sources.items())

    @functools.cached_property
    def sources(self) -> dict[str, Path]:
        """Cohort -> root of its files; the synthetic hospitals are written when they are missing."""
        if self.data is not None:
            from merit.data.cohorts import find_cohorts, nothing_found

            found = find_cohorts(self.data)
            if not found:
                raise NoCohort(nothing_found(self.data))
            return found
        from merit.synthetic.hospitals import write_hospitals

        return write_hospitals(self.folder / "raw", self.profile.hospitals)

    def truth(self, cohort: str) -> Path | None:
        """The table of what is known of a synthetic hospital's recordings, checked; None: real ones have no such."""
        root = self.sources[cohort]
        if not (root / "truth.parquet").exists():
            return None
        return (runs.check(root, "truth.parquet") if runs.sealed(root) else root) / "truth.parquet"

    def store(self, cohort: str, fs_hz: int | None = None, rows: np.ndarray | None = None) -> Store:
        """The store of a cohort, ingested when it is missing; NoCohort where there are no recordings.

        fs_hz: another rate than the profile's, from the files' own. rows: of the profile's store, these records alone.
        """
        one_of("cohort", cohort, COHORTS)
        only = None if rows is None else tuple(sorted(set(self.store(cohort).records["record_id"].iloc[rows])))
        name = cohort if fs_hz is None else f"{cohort}-{fs_hz}hz"
        name += "" if only is None else f"-{runs.digest(only)}"
        if name not in self._stores:
            from merit.data.ingest import ingest

            if cohort not in self.sources:
                raise NoCohort(f"{cohort}: no such data set under {self.data}")
            signal = self.profile.signal if fs_hz is None else replace(self.profile.signal, fs_hz=fs_hz)
            source, out = self.sources[cohort], self.folder / "stores" / name
            store = ingest(cohort, source, out, signal=signal, limit=self.profile.limit, only=only)
            if len(store.records) == 0:
                raise NoCohort(f"{source}: {store.why_empty}")
            if self.rotation and cohort == "ptb-xl":
                store.records = store.records.assign(fold=(store.records["fold"] - 2 * self.rotation - 1) % 10 + 1)
            self.used[f"store {name}"] = {"id": store.identity, "device": "cpu"}
            self._stores[name] = store
        return self._stores[name]

    def cohorts(self) -> dict[str, dict[str, Any] | str]:
        """Cohort -> the manifest of its store, or the reason why there is none."""
        found: dict[str, dict[str, Any] | str] = {}
        for cohort in COHORTS:
            try:
                found[cohort] = self.store(cohort).manifest
            except (NoCohort, ValueError) as reason:
                found[cohort] = str(reason)
        return found

    @property
    def as_paper(self) -> bool:
        """Whether numbers are to be compared with the paper's: its profile, real recordings, and nothing set but where
        models lie.
        """
        named = profile(self.profile.name)
        text = replace(self.profile.text, source=named.text.source)
        placed = replace(self.profile, text=text, generation=named.generation)
        return self.profile.name == "paper" and placed == named and not self.synthetic

    def torch_device(self) -> str:
        """The device's name for torch; a ValueError when it is not there."""
        return torch_device(self.device)

    # -- pretraining ---------------------------------------------------------------------------------------------------

    @functools.cached_property
    def pretraining_cohort(self) -> str:
        """MIMIC-IV-ECG where it has waveforms, else PTB-XL (of which folds 9 and 10 then stay out)."""
        for cohort in ("mimic-iv-ecg", "ptb-xl"):
            with contextlib.suppress(NoCohort):
                self.store(cohort)
                return cohort
        raise NoCohort(f"pretraining: expected mimic-iv-ecg or ptb-xl with waveforms and reports under {self.data}")

    def rotated(self, rotation: int) -> Workspace:
        """The same with two other folds of PTB-XL held out: 2 r - 1 and 2 r of rotation r, from 1 to 5, in the place of
        folds 9 and 10. Each recording is then scored once by an encoder that has not seen its patient.

        ValueError where PTB-XL is not what is pretrained on, or lacks a fold.
        """
        one_of("rotation", rotation, ROTATIONS)
        if self.pretraining_cohort != "ptb-xl":
            raise ValueError(f"rotation: expected PTB-XL to be pretrained on; {self.pretraining_cohort} is")
        there = set(dataclasses.replace(self, rotation=None).store("ptb-xl").records["fold"])
        if missing := sorted(set(range(1, 11)) - there):
            raise ValueError(f"rotation: expected PTB-XL's ten folds; no recording here of {missing}")
        return dataclasses.replace(self, rotation=rotation)

    def note(self) -> str:
        """Where the numbers come from, what is set of the profile, and the split where PTB-XL is also pretrained on."""
        asked = {"limit": self.profile.limit, "epochs": self.profile.epochs}
        if asked := [f"{name} {number}" for name, number in asked.items() if number is not None]:
            note = f"A run with {' and '.join(asked)}, to see that everything runs; no number here means anything."
        elif self.profile.name == "smoke":
            note = "Smoke profile: everything runs, tiny and hardly trained; no number here means anything."
        elif self.synthetic:
            note = (
                "Synthetic hospitals: these numbers show that the machinery works and test the theory where the truth "
                "is known; they say nothing about real hearts and are not comparable with the paper's."
            )
        else:
            there = [cohort for cohort, manifest in self.cohorts().items() if isinstance(manifest, dict)]
            counts = ", ".join(f"{cohort} ({len(self.store(cohort).records):,} recordings)" for cohort in there)
            note = f"Real recordings: {counts}; profile {self.profile.name}."
        note += f" Set: {self.settings}." if self.settings else ""
        try:
            if self.pretraining_cohort != "ptb-xl" or len(self.pretraining_rows) == 0:
                return note
        except NoCohort as reason:
            return f"{note} Nothing was pretrained ({reason})."
        if self.rotation:
            held_out = f"{2 * self.rotation - 1} and {2 * self.rotation}"
            return (
                f"{note} PTB-XL is pretrained on without folds {held_out}, on which probes validate and test in turn."
            )
        return (
            f"{note} Without MIMIC-IV-ECG, PTB-XL is pretrained on: only its folds 1 to 8, which the probes also train "
            "on; they validate on fold 9 and test on fold 10, so its tasks have one split in place of ten folds."
        )

    @functools.cached_property
    def pretraining_rows(self) -> np.ndarray:
        """Rows of the pretraining store that may be trained or validated on; int64, rising. Left out are folds 9 and 10
        of PTB-XL, and the patients of MIMIC-IV-ECG that MedTVT-QA tests on where it is there.
        """
        records = self.store(self.pretraining_cohort).records
        rows = np.arange(len(records))
        if self.pretraining_cohort == "ptb-xl":
            held_out = ~records["fold"].isin(OFFICIAL_TRAINING_FOLDS)
            touched = records["group"].isin(records.loc[held_out, "group"])
            rows = np.flatnonzero(~held_out & ~touched)
        else:
            from merit.evaluate.generation.texts import asked_patients

            asked = asked_patients(self.data, records)
            rows = np.flatnonzero(~records["patient_id"].astype(str).isin(asked))
        if len(rows) < (fewest := 2 * self.profile.pretrain.batch):
            raise NoCohort(
                f"pretraining: expected at least {fewest} recordings of {self.pretraining_cohort}, two batches; got "
                f"{len(rows)}"
            )
        return rows

    @functools.cached_property
    def _recordings_identity(self) -> str:
        return self.store(self.pretraining_cohort).content(self.pretraining_rows)

    @functools.cached_property
    def _reports_identity(self) -> str:
        return runs.digest(self.distinct_reports())

    @functools.cached_property
    def text_identity(self) -> str:
        """Identity of the frozen text encoder, one for all objectives: its weights, or what they are trained from."""
        if self.origin:
            return self.origin.text_identity
        config, known = self.profile.text, {"stage": "text", "recipe": TEXT_RECIPE}
        if config.source != "trained":
            used = {name: getattr(config, name) for name in TEXT_SETTINGS}
            return runs.digest({**known, "weights": weights_identity(config.source), **used})
        texts = [self._reports_identity, runs.file_digest(GLOSSARY)]
        return runs.digest({**known, "settings": runs.non_defaults(config), "texts": texts})

    @property
    def _text_source(self) -> Path | str:
        """Folder, there or not, or hub name of the frozen text encoder."""
        config = self.profile.text
        return self.folder / "text" / self.text_identity if config.source == "trained" else pinned(config.source)

    def text_encoder(self) -> Path | str:
        """Folder (trained where it is missing) or hub name of the frozen text encoder."""
        from merit.model.text import train_text_encoder

        config, folder = self.profile.text, self._text_source
        if config.source != "trained":
            return folder
        return runs.once(folder, lambda: train_text_encoder(self.distinct_reports(), config, folder))

    def distinct_reports(self) -> list[str]:
        """The reports of the pretraining rows that are long enough for alignment, each once, sorted."""
        if self.origin:
            return self.origin.distinct_reports()
        from merit.data.batches import distinct_reports

        return distinct_reports(self.store(self.pretraining_cohort), self.pretraining_rows)

    def report_embeddings(self) -> np.ndarray:
        """float32 [R, W], one row a distinct report of the pretraining rows; embedded once, then read."""
        if self.origin:
            return self.origin.report_embeddings()
        path = self.folder / "text" / f"reports-{self.text_identity}-{self._reports_identity}.npy"

        def make() -> None:
            with runs.new_file(path) as made:
                np.save(made, self._text_encoder.embed(self.distinct_reports(), progress=True), allow_pickle=False)

        return np.load(runs.once(path, make), allow_pickle=False)

    def text_embeddings(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, W] of the frozen text encoder, for prompts and reports."""
        return self._text_encoder.embed(list(texts))

    @functools.cached_property
    def _text_encoder(self) -> TextEncoder:
        if self.origin:
            return self.origin._text_encoder
        from merit.model.text import TextEncoder

        return TextEncoder(self.text_encoder(), self.profile.text, self.torch_device())

    @property
    def tokenizer(self) -> Any:
        """The frozen text encoder's tokenizer, a Hugging Face one."""
        return self._text_encoder.tokenizer

    def checkpoint_identity(self, objective: str, seed: int = 0) -> str:
        """Identity of a pretraining run: what it is trained on (recordings and reports by their content, the text
        encoder) and with (settings that are not at their defaults, the recipe's number). Not the source: an edit throws
        no pretraining away.
        """
        if self.origin:
            return self.origin.checkpoint_identity(objective, seed)
        model, pretrain = (runs.non_defaults(config) for config in self.configs(objective, seed))
        for name in NOT_OF_TRAINING:
            pretrain.pop(name, None)
        text = None if method(objective).objective in WITHOUT_TEXT else self.text_identity
        known = {"stage": "pretrain", "recipe": RECIPE, "model": model, "pretrain": pretrain}
        return runs.digest({**known, "recordings": self._recordings_identity, "text": text})

    def pretraining_seed(self, seed: int) -> int:
        """The seed that a run is trained with: runs are numbered from 0, their seeds from the profile's."""
        return self.profile.pretrain.seed + seed

    def configs(self, encoder: str, seed: int) -> tuple[ModelConfig, PretrainConfig]:
        """Network and optimisation of a name that is pretrained here (`config.method`)."""
        found = method(encoder)
        changes: dict[str, Any] = dict(found.training)
        if found.objective in WITHOUT_TEXT:
            changes["text_layers"] = 0
        changes |= {"objective": found.objective, "seed": self.pretraining_seed(seed)}
        pretrain = replace(self.profile.pretrain, **changes)
        model = found.model(self.profile.model)
        require_hidden(model, found.objective)
        return model, pretrain

    def checkpoint(self, objective: str, seed: int = 0) -> Path:
        """Folder of a finished checkpoint, trained (or continued) where it is not finished; objective: one of the
        paper's, or a peer's method (`config.TRAINED_NAMES`).
        """
        if self.origin:
            return self.origin.checkpoint(objective, seed)
        folder = self._checkpoint_folder(objective, seed)
        if not runs.sealed(folder):
            from merit.data.batches import load_tokens, pair
            from merit.model.text import write_states
            from merit.pretrain import checkpoint
            from merit.pretrain.train import pretrain

            cohort, text = self.pretraining_cohort, self.report_embeddings()
            model, config = self.configs(objective, seed)
            model = replace(model, text_width=text.shape[1])
            data = pair(self.store(cohort), self.pretraining_rows, text)
            if layers := config.text_layers:
                # The frozen layers' states of every report, once, on disk: 4 bytes a token and width.
                inputs = {"text": self.text_identity, "reports": self._reports_identity}
                key = runs.identity("token_states", {"layers": layers}, inputs, ["merit.model.text"])
                states, reports = self.folder / "text" / f"states-{key}", self.distinct_reports()
                runs.once(states, lambda: write_states(self._text_encoder, reports, layers, states))
                data = dataclasses.replace(data, tokens=load_tokens(states))
                model = replace(model, text_tower=TextTowerConfig(**data.tokens.tower))
            with contextlib.nullcontext() if together() else runs.claimed(folder):
                pretrain(
                    data, model, config, folder, cohort=cohort, device=self.torch_device(), compiled=self.compiled,
                    graphs=self.graphs, attention=self.attention,
                    about=checkpoint.origin(folder, self._text_source, self.profile.text, self.synthetic),
                )  # fmt: skip
        settings = json.loads((runs.check(folder) / "config.json").read_text(encoding="utf-8"))
        about = {name: settings.get(name) for name in ("seconds", "device", "commit")}
        number = self.pretraining_seed(seed)
        self.used[f"checkpoint {objective} seed {number}"] = {
            "id": self.checkpoint_identity(objective, seed), "seed": number, **about,
        }  # fmt: skip
        return folder

    def _checkpoint_folder(self, objective: str, seed: int) -> Path:
        key = self.checkpoint_identity(objective, seed)
        name = objective if objective in PEERS else method(objective).objective
        return self.folder / "checkpoints" / f"{name}-seed{self.pretraining_seed(seed)}-{key}"

    def checkpoints(self, objectives: Sequence[str] = OBJECTIVE_NAMES, seeds: Sequence[int] = (0,)) -> list[Path]:
        """Folders of several checkpoints; on a CPU those that are missing are trained side by side, one a core."""
        if self.origin:
            return self.origin.checkpoints(objectives, seeds)
        wanted = [(objective, seed) for seed in seeds for objective in objectives]
        missing = [(o, s) for o, s in wanted if not runs.sealed(self._checkpoint_folder(o, s))]
        if len(missing) > 1 and self.torch_device() == "cpu" and not together():
            self.report_embeddings()
            longest = ("simclr", "clocs", "merit", "mse")
            missing.sort(key=lambda run: longest.index(run[0]) if run[0] in longest else len(longest))
            tasks = [(self.profile, self.data, self.folder, self.compiled, self.rotation, *run) for run in missing]
            for _ in ordered_map(train_one, tasks, min(len(missing), usable_cores())):
                pass
        return [self.checkpoint(objective, seed) for objective, seed in wanted]

    def histories(self, objectives: Sequence[str] = OBJECTIVE_NAMES, seeds: Sequence[int] = (0,)) -> pd.DataFrame:
        """Long table of every term of the loss: objective, seed, update, epoch, split, term, value; empty where there
        is nothing to pretrain on.
        """
        rows = []
        try:
            self.checkpoints(objectives, seeds)
        except NoCohort:
            objectives = ()
        for objective, seed in itertools.product(objectives, seeds):
            path = self.checkpoint(objective, seed) / "history.jsonl"
            for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
                for split in ("train", "validation"):
                    front = (objective, seed, line["update"], line["epoch"], split)
                    rows += [(*front, term, value) for term, value in line[split].items()]
        return pd.DataFrame(rows, columns=["objective", "seed", "update", "epoch", "split", "term", "value"])

    # -- encoders and their embeddings ---------------------------------------------------------------------------------

    def trains(self, encoder: str) -> bool:
        """Whether an encoder is pretrained here."""
        return encoder != "random" and not registry.known(encoder)

    def require(self, encoders: Sequence[str], *, texts: bool, pages: bool) -> None:
        """ValueError, before any work, for an encoder's name that stands for nothing, or that these settings cannot
        train; and where the text encoder (texts), or what pages take and a user named in place of the profile's own
        (the language model, BERTScore's), is not within reach; a hub may be asked.
        """
        for name in filter(self.trains, encoders):
            self.configs(name, 0)
        own, chosen = profile(self.profile.name).generation, self.profile.generation
        wanted = {"text.source": self.profile.text.source} if texts else {}
        for name in ("language_model", "bert") if pages else ():
            if getattr(chosen, name) != getattr(own, name):
                wanted[f"generation.{name}"] = getattr(chosen, name)
        variables = {path: variable for variable, path in SHORT.items() if os.environ.get(variable)}
        for path, source in wanted.items():
            if source != "trained":
                from merit.model.text import require_reachable

                require_reachable(variables.get(path, path), source)

    def encoder_identity(self, encoder: str, seed: int = 0) -> str:
        """Identity of an encoder by its name; needs no weights."""
        if encoder == "random":
            parameters = {"model": self.profile.model, "seed": self.pretraining_seed(seed)}
            return runs.identity("random", parameters, {}, ["merit.model.merit"])
        if registry.known(encoder):
            return registry.entry(encoder).identity()
        return self.checkpoint_identity(encoder, seed)

    def encoder(self, encoder: str, seed: int = 0) -> Encoder:
        """The encoder itself, pretrained where it has to be: a `MeritEncoder`, or one of `encoders.registry`,
        which has no seed. Unavailable where a user has to bring them.
        """
        from merit.encoders import ours

        if registry.known(encoder):
            return registry.entry(encoder).load(self.torch_device())
        if encoder == "random":
            model = replace(self.profile.model, text_width=self.text_width)
            return ours.random_encoder(model, self.pretraining_seed(seed), self.torch_device())
        return ours.load(self.checkpoint(encoder, seed), self.torch_device())

    @property
    def text_width(self) -> int:
        """Width of the frozen text encoder; the profile's where there is nothing to train one on."""
        try:
            return int(self.report_embeddings().shape[1])
        except NoCohort:
            return self.profile.model.text_width

    def shared(self, encoder: str, cohort: str, seed: int = 0) -> np.ndarray:
        """float32 [N, d] of length 1: the cohort's recordings in the space that an encoder shares with texts."""
        if registry.known(encoder):
            return self._embedded(encoder, cohort, seed, "embed_shared")
        return self.encoder(encoder, seed).project(self.embedding(encoder, cohort, seed))

    def shared_text(self, encoder: str, texts: Sequence[str], seed: int = 0) -> np.ndarray:
        """float32 [R, d] of length 1: texts in that space. Unavailable where a tokenizer is missing."""
        if registry.known(encoder):
            return self.encoder(encoder, seed).embed_text(texts)
        return self.projected_text(self.encoder(encoder, seed), texts)

    def projected_text(self, model: MeritEncoder, texts: Sequence[str] | None = None) -> np.ndarray:
        """The same by an encoder of ours at hand, with its own text encoder; texts None: the distinct reports that are
        pretrained on.
        """
        if model.trained_text:
            texts = self.distinct_reports() if texts is None else texts
            return model.project_text(model.own_text(self._text_encoder).embed(list(texts)))
        return model.project_text(self.report_embeddings() if texts is None else self.text_embeddings(texts))

    def embedding_identity(self, encoder: str, cohort: str, seed: int = 0) -> str:
        """Identity of an encoder's embedding of a cohort: the encoder, the store, and the code between them."""
        inputs, modules = {cohort: self.store(cohort).identity}, ["merit.evaluate.embeddings"]
        if not registry.known(encoder):
            modules.append("merit.encoders.ours")
        elif registry.entry(encoder).fs_hz > self.profile.signal.fs_hz and self._large(cohort):
            # No store of all at 500 Hz is made then.
            inputs["signals"] = "of these records, at 500 Hz"
        else:
            inputs["signals"] = self.signals(encoder, cohort).identity
        return runs.identity("embed", {"encoder": self.encoder_identity(encoder, seed)}, inputs, modules)

    def embedding(self, encoder: str, cohort: str, seed: int = 0, rows: np.ndarray | None = None) -> np.ndarray:
        """float32 [N, D], a row per record of the cohort's store, or [len(rows), D] for these records of it."""
        if rows is None or self._large(cohort):
            return self._embedded(encoder, cohort, seed, "embed", rows)
        return self._embedded(encoder, cohort, seed, "embed")[rows]

    def tokens(self, encoder: str, cohort: str, rows: np.ndarray, seed: int = 0) -> np.ndarray:
        """float32 [len(rows), n, D]: what an encoder gives of these records before it averages over time."""
        return self._embedded(encoder, cohort, seed, "tokens", rows)

    def _embedded(
        self, encoder: str, cohort: str, seed: int, call: str, rows: np.ndarray | None = None
    ) -> np.ndarray:  # fmt: skip
        """What `call` of an encoder gives of a cohort's records, or of these rows; made once, kept, then read."""
        key, suffix = self.embedding_identity(encoder, cohort, seed), "" if call == "embed" else f"-{call}"
        if rows is not None:
            key = runs.digest([key, rows.tolist()])
        path = self.folder / "embeddings" / f"{encoder}-seed{seed}-{cohort}{suffix}-{key}.npy"
        store, chosen = self.store(cohort), rows
        if registry.known(encoder):
            store, chosen = self.signals(encoder, cohort, rows), self._rows_of_signals(encoder, cohort, rows)

        def make() -> None:
            from merit.evaluate.embeddings import embed_store

            found = embed_store(self.encoder(encoder, seed), store, self.profile.embed_batch, rows=chosen, call=call)
            with runs.new_file(path) as made:
                np.save(made, found, allow_pickle=False)

        return np.load(runs.once(path, make), allow_pickle=False)

    def rows(self, encoders: str, peers: str = "all", *, text: bool = False) -> tuple[list[str], list[registry.Absent]]:
        """Encoders that a table has rows for, and published ones whose weights are not at hand.

        encoders: names of ours, separated by commas. peers: all, none, or names of published ones; a reader's own come
        last. text: those alone that share a space with texts.
        """
        there, absent = registry.choose(peers)
        names = list(dict.fromkeys([*(name for name in encoders.split(",") if name), *there]))
        if not text:
            return names, absent
        with_text = [name for name in names if not registry.known(name) or registry.entry(name).shares_space]
        return with_text, [missing for missing in absent if missing.text]

    # -- encoders of others: their own rate, and what is known of them -------------------------------------------------

    def signals(self, encoder: str, cohort: str, rows: np.ndarray | None = None) -> Store:
        """The store that an encoder of others reads: the profile's, or one at 500 Hz where it wants a higher rate; of a
        large cohort one of these rows alone.
        """
        if registry.entry(encoder).fs_hz <= self.profile.signal.fs_hz:
            return self.store(cohort)
        return self.store(cohort, 500, rows if self._large(cohort) else None)

    def _large(self, cohort: str) -> bool:
        """Whether a cohort is embedded by rows."""
        return len(self.store(cohort)) > WHOLE

    def _rows_of_signals(self, encoder: str, cohort: str, rows: np.ndarray | None = None) -> np.ndarray:
        """Row of `signals` for each record of the cohort's store, or for these; NoCohort where one cannot be read at
        that rate.
        """
        wanted, there = self.store(cohort).records["record_id"], self.signals(encoder, cohort, rows).records
        wanted = wanted if rows is None else wanted.iloc[rows]
        found = pd.Index(there["record_id"]).get_indexer(wanted)
        if (found < 0).any():
            missing = wanted[found < 0]
            raise NoCohort(
                f"{cohort}: {len(missing)} recordings that can be read at {self.profile.signal.fs_hz} Hz cannot at 500 "
                f"Hz, {missing.iloc[0]} the first; see rejected.csv of its store"
            )
        return found

    def remarks(self, encoder: str, cohort: str) -> dict[str, Any]:
        """What a number of an encoder of others must be read with (`evaluate.tasks.remarks`); {} for ours."""
        if not registry.known(encoder):
            return {}
        overlap, wanted_hz = cohort in registry.entry(encoder).pretraining_cohorts(), registry.entry(encoder).fs_hz
        return remarks(overlap, self.signals(encoder, cohort).records["source_fs_hz"].to_numpy(), wanted_hz)

    def seen(self, encoder: str, seed: int = 0) -> pd.DataFrame:
        """Cohort, patient and record ids that an encoder was pretrained on; empty for the random one and for those of
        others, of which it is not known (`remarks`).
        """
        if encoder == "random" or registry.known(encoder):
            return pd.DataFrame(columns=["cohort", "patient_id", "record_id"])
        return pd.read_parquet(self.checkpoint(encoder, seed) / "seen.parquet")

    # -- results -------------------------------------------------------------------------------------------------------

    def protocol(self, cohort: str) -> str:
        """One official split, or two turns of a rotation, for a cohort that is also pretrained on, else ten folds."""
        try:
            if cohort == self.pretraining_cohort and len(self.pretraining_rows):
                return CROSS_FITTED if self.rotation else OFFICIAL_SPLIT
            return TEN_FOLDS
        except NoCohort:
            return TEN_FOLDS

    def result(
        self, study: str, compute: Callable[[], dict[str, Any]], arguments: Mapping[str, Any],
        inputs: Mapping[str, str], source: Mapping[str, str],
    ) -> dict[str, Any]:  # fmt: skip
        """A study's result for one point of its grid, read where it is and computed else; noted for `provenance`."""

        if self.rotation:
            inputs = {**inputs, "rotation": str(self.rotation)}

        def facts() -> dict[str, Any]:
            return {"profile": self.profile.name, "synthetic": self.synthetic, "device": self.torch_device()}

        result = runs.read_or_compute(
            self.folder / "results", study, compute, parameters=arguments, inputs=inputs, source=source, facts=facts
        )
        what, number = [study, *(value for value in arguments.values() if isinstance(value, str))], None
        if (seed := arguments.get("encoder_seed")) is not None:
            number = self.profile.pretrain.seed + seed
            what += [f"seed {number}"] if seed else []
        self.used[" ".join(what)] = {**result, "seed": number}
        return result

    def provenance(self) -> pd.DataFrame:
        """A row per store, checkpoint and result that this session used; seed: of pretraining, where it has one."""
        columns = ["what", "id", "seed", "seconds", "commit", "device", "finished"]
        rows = [[what, *(entry.get(name) for name in columns[1:])] for what, entry in self.used.items()]
        return pd.DataFrame(rows, columns=columns, dtype=object)


def train_one(task: tuple[Profile, Path | None, Path, bool, int | None, str, int]) -> None:
    """One run in a process of its own: (profile, data, folder, compiled, rotation, objective, seed), on the CPU."""
    profile, data, folder, compiled, rotation, objective, seed = task
    Workspace(profile, data, "cpu", folder, compiled, rotation=rotation).checkpoint(objective, seed)
