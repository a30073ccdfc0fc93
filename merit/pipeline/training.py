"""From stores to checkpoints: the text encoder, pretraining, histories."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from merit import runs
from merit.config import OBJECTIVE_NAMES, ModelConfig, PretrainConfig, Profile, replace, require_hidden
from merit.methods import PEERS, WITHOUT_TEXT, method
from merit.model.weights import GLOSSARY, TEXT_RECIPE, pinned, weights_identity
from merit.pipeline.questions import asked_patients
from merit.pipeline.recordings import NoCohort, Recordings
from merit.pipeline.text_states import with_tokens
from merit.pool import ordered_map
from merit.pretrain import NOT_OF_TRAINING, RECIPE, TEXT_SETTINGS
from merit.threads import together, usable_cores

if TYPE_CHECKING:
    from merit.model.text import TextEncoder

ENCODER_NAMES = (*OBJECTIVE_NAMES, "random")
OFFICIAL_TRAINING_FOLDS = range(1, 9)
"""PTB-XL's folds 1 to 8: what may be pretrained on when PTB-XL is also evaluated."""


class Training(Recordings):
    """Everything that is trained, each thing under an identity that needs no weights."""

    @functools.cached_property
    def pretraining_cohort(self) -> str:
        """MIMIC-IV-ECG where it has waveforms, else PTB-XL (of which folds 9 and 10 then stay out)."""
        for cohort in ("mimic-iv-ecg", "ptb-xl"):
            with contextlib.suppress(NoCohort):
                self.store(cohort)
                return cohort
        raise NoCohort(f"pretraining: expected mimic-iv-ecg or ptb-xl with waveforms and reports under {self.data}")

    def note(self) -> str:
        """One sentence on where the numbers come from, and on the split where PTB-XL is also pretrained on."""
        note = super().note()
        try:
            if self.pretraining_cohort != "ptb-xl" or len(self.pretraining_rows) == 0:
                return note
        except NoCohort as reason:
            return f"{note} Nothing was pretrained ({reason})."
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
            kept_out = ~records["fold"].isin(OFFICIAL_TRAINING_FOLDS)
            touched = records["group"].isin(records.loc[kept_out, "group"])
            rows = np.flatnonzero(~kept_out & ~touched)
        elif asked := asked_patients(self):
            rows = np.flatnonzero(~records["patient_id"].astype(str).isin(asked))
        if len(rows) < 2 * self.profile.pretrain.batch:
            raise NoCohort(
                f"pretraining: expected at least {2 * self.profile.pretrain.batch} recordings of "
                f"{self.pretraining_cohort}, two batches; got {len(rows)}"
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
        from merit.data.batches import distinct_reports

        return distinct_reports(self.store(self.pretraining_cohort), self.pretraining_rows)

    def report_embeddings(self) -> np.ndarray:
        """float32 [R, W], one row a distinct report of the pretraining rows; embedded once, then read."""
        from merit.evaluate.embeddings import save_array

        path = self.folder / "text" / f"reports-{self.text_identity}-{self._reports_identity}.npy"

        def make() -> None:
            """Embed them."""
            save_array(path, self._text_encoder.embed(self.distinct_reports(), progress=True))

        return np.load(runs.once(path, make), allow_pickle=False)

    def text_embeddings(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, W] of the frozen text encoder, for prompts and reports."""
        return self._text_encoder.embed(list(texts))

    @functools.cached_property
    def _text_encoder(self) -> TextEncoder:
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
        """Network and optimisation of a name that is pretrained here (`methods`)."""
        found = method(encoder)
        changes: dict[str, Any] = {} if found.strength is None else {"bottleneck_strength": found.strength}
        if found.objective in WITHOUT_TEXT:
            changes["text_layers"] = 0
        changes |= {"objective": found.objective, "seed": self.pretraining_seed(seed)}
        pretrain = replace(self.profile.pretrain, **changes)
        model = found.model(self.profile.model)
        require_hidden(model, found.objective)
        return model, pretrain

    def checkpoint(self, objective: str, seed: int = 0) -> Path:
        """Folder of a finished checkpoint, trained (or continued) where it is not finished; objective: one of the
        paper's, or a peer's method (`methods.TRAINED_NAMES`).
        """
        folder = self._checkpoint_folder(objective, seed)
        if not runs.sealed(folder):
            from merit.data.batches import pair
            from merit.pretrain import checkpoint
            from merit.pretrain.train import pretrain

            cohort = self.pretraining_cohort
            text = self.report_embeddings()
            model, config = self.configs(objective, seed)
            model = replace(model, text_width=text.shape[1])
            data = pair(self.store(cohort), self.pretraining_rows, text)
            if config.text_layers:
                inputs = {"text": self.text_identity, "reports": self._reports_identity}
                data, model = with_tokens(
                    data, model, config.text_layers, self.folder / "text", inputs, lambda: self._text_encoder,
                    self.distinct_reports,
                )  # fmt: skip
            with contextlib.nullcontext() if together() else runs.claimed(folder):
                pretrain(
                    data, model, config, folder, cohort=cohort, device=self.torch_device(), compiled=self.compiled,
                    graphs=self.graphs, attention=self.attention,
                    about=checkpoint.origin(folder, self._text_source, self.profile.text, self.synthetic),
                )  # fmt: skip
        settings = json.loads((runs.check(folder) / "config.json").read_text(encoding="utf-8"))
        about = {name: settings.get(name) for name in ("seconds", "device", "commit")}
        name = f"checkpoint {objective} seed {self.pretraining_seed(seed)}"
        self.used[name] = {"id": self.checkpoint_identity(objective, seed), **about}
        return folder

    def _checkpoint_folder(self, objective: str, seed: int) -> Path:
        key = self.checkpoint_identity(objective, seed)
        name = objective if objective in PEERS else method(objective).objective
        return self.folder / "checkpoints" / f"{name}-seed{self.pretraining_seed(seed)}-{key}"

    def checkpoints(self, objectives: Sequence[str] = OBJECTIVE_NAMES, seeds: Sequence[int] = (0,)) -> list[Path]:
        """Folders of several checkpoints; on a CPU those that are missing are trained side by side, one a core."""
        wanted = [(objective, seed) for seed in seeds for objective in objectives]
        missing = [(o, s) for o, s in wanted if not runs.sealed(self._checkpoint_folder(o, s))]
        if len(missing) > 1 and self.torch_device() == "cpu" and not together():
            self.report_embeddings()
            longest = ("simclr", "clocs", "merit", "mse")
            missing.sort(key=lambda run: longest.index(run[0]) if run[0] in longest else len(longest))
            tasks = [(self.profile, self.data, self.folder, self.compiled, *run) for run in missing]
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
        for objective in objectives:
            for seed in seeds:
                path = self.checkpoint(objective, seed) / "history.jsonl"
                for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
                    for split in ("train", "validation"):
                        for term, value in line[split].items():
                            rows.append((objective, seed, line["update"], line["epoch"], split, term, value))
        return pd.DataFrame(rows, columns=["objective", "seed", "update", "epoch", "split", "term", "value"])


def train_one(task: tuple[Profile, Path | None, Path, bool, str, int]) -> None:
    """One run in a process of its own: (profile, data, folder, compiled, objective, seed), on the CPU."""
    profile, data, folder, compiled, objective, seed = task
    Training(profile, data, "cpu", folder, compiled).checkpoint(objective, seed)
