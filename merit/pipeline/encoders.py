"""Frozen encoders by name, ours and others', and their embeddings: one array an encoder and cohort, made once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from merit import runs
from merit.config import replace
from merit.encoders import others
from merit.evaluate.tasks import remarks
from merit.pipeline.recordings import NoCohort
from merit.pipeline.training import Training

if TYPE_CHECKING:
    from merit.data.store import Store
    from merit.encoders.base import Encoder
    from merit.encoders.ours import MeritEncoder


WHOLE = 50_000
"""Records of a store up to which all are embedded, once for every page; of a larger one, MIMIC-IV-ECG's, those alone
that are asked for."""


class Encoders(Training):
    """What an evaluator asks for: arrays, by an encoder's name and a cohort's."""

    def trains(self, encoder: str) -> bool:
        """Whether an encoder is pretrained here."""
        return encoder != "random" and not others.known(encoder)

    def require(self, encoders: Sequence[str]) -> None:
        """ValueError, before any work, for a name that stands for nothing, or for what these settings cannot train."""
        for name in filter(self.trains, encoders):
            self.configs(name, 0)

    def require_models(self, *, pages: bool, text: bool = True) -> None:
        """ValueError, before any work, where the text encoder (text), or what pages take and a user named in place of
        the profile's own (the language model, BERTScore's), is not within reach; a hub may be asked.
        """
        from merit.profiles import SHORT, profile

        own, wanted = profile(self.profile.name).generation, {}
        if text:
            wanted["text.source"] = self.profile.text.source
        for name in ("language_model", "bert") if pages else ():
            if getattr(self.profile.generation, name) != getattr(own, name):
                wanted[f"generation.{name}"] = getattr(self.profile.generation, name)
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
        if others.known(encoder):
            return others.identity(encoder)
        return self.checkpoint_identity(encoder, seed)

    def encoder(self, encoder: str, seed: int = 0) -> Encoder:
        """The encoder itself, pretrained where it has to be: a `MeritEncoder`, or one of others (`encoders.others`),
        which has no seed. NoWeights where a user has to bring them.
        """
        from merit.encoders import ours

        if others.known(encoder):
            return others.load(encoder, self.torch_device())
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
        if others.known(encoder):
            return self._embedded(encoder, cohort, seed, "embed_shared")
        return self.encoder(encoder, seed).project(self.embedding(encoder, cohort, seed))

    def shared_text(self, encoder: str, texts: Sequence[str], seed: int = 0) -> np.ndarray:
        """float32 [R, d] of length 1: texts in that space. NoWeights where an encoder of others lacks its tokenizer."""
        if others.known(encoder):
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
        inputs = {cohort: self.store(cohort).identity}
        if others.known(encoder):
            apart = self._faster(encoder) and self._large(cohort)  # then no store of all at 500 Hz is made
            inputs["signals"] = "of these records, at 500 Hz" if apart else self.signals(encoder, cohort).identity
        return runs.identity(
            "embed", {"encoder": self.encoder_identity(encoder, seed)}, inputs,
            ["merit.evaluate.embeddings", *([] if others.known(encoder) else ["merit.encoders.ours"])],
        )  # fmt: skip

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
        if others.known(encoder):
            store, chosen = self.signals(encoder, cohort, rows), self._rows_of_signals(encoder, cohort, rows)

        def make() -> None:
            """Embed them."""
            from merit.evaluate.embeddings import embed_store, save_array

            found = embed_store(self.encoder(encoder, seed), store, self.profile.embed_batch, rows=chosen, call=call)
            save_array(path, found)

        return np.load(runs.once(path, make), allow_pickle=False)

    def rows(self, encoders: str, peers: str = "all", *, text: bool = False) -> tuple[list[str], list[others.Absent]]:
        """Encoders that a table has rows for, and published ones whose weights are not at hand.

        encoders: names of ours, separated by commas. peers: all, none, or names of published ones; a reader's own come
        last. text: those alone that share a space with texts.
        """
        there, absent = others.choose(peers)
        names = list(dict.fromkeys([*(name for name in encoders.split(",") if name), *there]))
        if not text:
            return names, absent
        kept = [name for name in names if not others.known(name) or others.shares_space(name)]
        return kept, [one for one in absent if one.text]

    # -- encoders of others: their own rate, and what is known of them -----------------------------------------------

    def signals(self, encoder: str, cohort: str, rows: np.ndarray | None = None) -> Store:
        """The store that an encoder of others reads: the profile's, or one at 500 Hz where it wants a higher rate; of a
        large cohort one of these rows alone.
        """
        if not self._faster(encoder):
            return self.store(cohort)
        return self.store_500(cohort, rows if self._large(cohort) else None)

    def _faster(self, encoder: str) -> bool:
        """Whether an encoder of others wants a higher rate than the profile's."""
        return others.fs_hz(encoder) > self.profile.signal.fs_hz

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
        if not others.known(encoder):
            return {}
        overlap, wanted_hz = cohort in others.pretrained_on(encoder), others.fs_hz(encoder)
        return remarks(overlap, self.signals(encoder, cohort).records["source_fs_hz"].to_numpy(), wanted_hz)

    def seen(self, encoder: str, seed: int = 0) -> pd.DataFrame:
        """Cohort, patient and record ids that an encoder was pretrained on; empty for the random one and for those of
        others, of which it is not known (`remarks`).
        """
        if encoder == "random" or others.known(encoder):
            return pd.DataFrame(columns=["cohort", "patient_id", "record_id"])
        return pd.read_parquet(self.checkpoint(encoder, seed) / "seen.parquet")
