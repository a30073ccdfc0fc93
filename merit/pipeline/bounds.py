"""The bounds of Section 3 beside the truth, and what the scale of the target does to the sum (page `bounds`)."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from merit import runs
from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig, ProbeConfig, replace
from merit.evaluate.tasks import NotEnoughData
from merit.pipeline.recordings import NoCohort

if TYPE_CHECKING:
    from merit.evaluate.tasks import TaskData
    from merit.model.merit import Merit
    from merit.pipeline.workspace import Workspace

TASK = "superclass"
PAPER_BATCH = PretrainConfig().batch
SIZES = tuple(2**k for k in range(1, 11))
"""Batch sizes of the contrastive bound; the paper's, 128, is among them."""


@dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    """The sweep of the target's scale; sizes are for minutes on two cores, whatever the profile."""

    scales: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0)
    """s: the target is s times the z-scored signal."""
    batches: int = 3
    """Batches that a gradient's norm is averaged over."""
    first: int = 8
    """Updates, on a schedule of that length, after which the gradients of the profile's network are measured again."""
    seeds: int = 3
    """Pretraining seeds of the short runs."""
    updates: int = 150
    batch: int = 32
    learning_rate: float = 5e-3
    n_samples: int = 250
    """Samples of a recording that the small network sees: the first."""
    patch: int = 50
    width: int = 32
    probe_epochs: int = 15
    probe_rate: float = 1e-2
    n_resamples: int = 200


DRAWS = {"demo": 6}
"""Profile -> samples of pairs that the contrastive bound is taken on; 12 in others."""
TRIAL_DRAWS = 4


def contrastive_bound(ws: Workspace) -> dict[str, Any]:
    """InfoNCE under its ceiling on Gaussians of 16 dimensions a side, by the best critic and by the model's cosine."""
    small = ws.trial
    parameters = {
        "width": 16, "truths": [1.0, 8.0] if small else [1.0, 2.0, 4.0, 8.0],
        "sizes": [2, 16, 128] if small else list(SIZES), "temperature": ws.profile.model.temperature,
        "seeds": TRIAL_DRAWS if small else DRAWS.get(ws.profile.name, 12), "most": 8 if small else 16,
    }  # fmt: skip

    def compute() -> dict[str, Any]:
        """The values of the stage."""
        from merit.evaluate.bounds import contrastive_bound

        return {"rows": contrastive_bound(**parameters), "seeds": parameters["seeds"], "paper_batch": PAPER_BATCH}

    modules = ["merit.evaluate.bounds"]
    return ws.result("contrastive_bound", compute, parameters | {"paper_batch": PAPER_BATCH}, {}, modules, seed=0)


def decoder_bound(ws: Workspace) -> dict[str, Any]:
    """The Barber-Agakov bound of Gaussian decoders beside the information that it bounds, and its gap."""
    parameters = {"factors": [1.0, 0.5, 0.0], "n": 200, "seeds": 20}

    def compute() -> dict[str, Any]:
        """The values of the stage."""
        from merit.evaluate.bounds import decoder_bound

        return decoder_bound(**parameters)

    return ws.result("decoder_bound", compute, parameters, {}, ["merit.evaluate.bounds"], seed=0)


def processing_bound(ws: Workspace) -> dict[str, Any]:
    """The data-processing inequality on random chains, and information at a resolution."""
    parameters = {"n_chains": 200, "n_samples": 200, "noises": np.geomspace(10, 1e-4, 41).round(7).tolist()}

    def compute() -> dict[str, Any]:
        """The values of the stage."""
        from merit.evaluate.bounds import discrete_chains, gaussian_chains, resolutions

        discrete = discrete_chains(parameters["n_chains"], parameters["n_samples"], 0)
        return {
            "discrete": discrete, "gaussian": gaussian_chains(parameters["n_chains"], 1),
            "resolutions": resolutions(parameters["noises"]), "n_samples": parameters["n_samples"],
        }  # fmt: skip

    return ws.result("processing_bound", compute, parameters, {}, ["merit.evaluate.bounds"], seed=0)


def report_ceiling(ws: Workspace) -> dict[str, Any]:
    """What repeated reports of the pretraining recordings leave of the ceiling log B, by batch size."""
    parameters = {"sizes": sorted({*SIZES, ws.profile.pretrain.batch}), "draws": 200, "seed": 0}
    try:
        records = ws.store(ws.pretraining_cohort).records.iloc[ws.pretraining_rows]
    except NoCohort as reason:
        return {"stage": "report_ceiling", "id": None, "values": {"reason": str(reason)}, "parameters": {}}
    reports = records.loc[records["has_text"], "report"].tolist()

    def compute() -> dict[str, Any]:
        """The values of the stage."""
        from merit.evaluate.bounds import report_ceilings

        if len(reports) < 2:
            return {"reason": f"expected two recordings with reports to align; got {len(reports)}"}
        rows = report_ceilings(reports, **parameters)
        about = {"n_reports": len(reports), "n_distinct": len(set(reports)), "batch": ws.profile.pretrain.batch}
        return {"rows": rows, **about, "cohort": ws.pretraining_cohort, "paper_batch": PAPER_BATCH}

    inputs = {"reports": runs.digest(reports)}
    about = {**parameters, "batch": ws.profile.pretrain.batch}
    return ws.result("report_ceiling", compute, about, inputs, ["merit.evaluate.bounds"], seed=0)


def target_scale(ws: Workspace, **settings: Any) -> dict[str, Any]:
    """Gradients of both terms on the profile's encoder by the target's scale, and short runs of a small network at each
    scale, probed on superclass; `settings` change `ScaleConfig`. Without recordings the values hold a reason.
    """
    config = ScaleConfig()
    if ws.trial:
        config = replace(config, batches=2, first=2, seeds=2, updates=6, batch=8, probe_epochs=2, n_resamples=20)
    config = replace(config, **{name: value for name, value in settings.items() if value is not None})
    try:
        rows = f"{ws.store(ws.pretraining_cohort).identity}:{runs.digest(ws.pretraining_rows.tolist())}"
        inputs = {"recordings": rows, "text": ws.text_identity}
    except NoCohort as reason:
        return {"stage": "target_scale", "id": None, "values": {"reason": str(reason)}, "parameters": {}}
    with contextlib.suppress(NoCohort):
        inputs["probed"] = ws.store("ptb-xl").identity
    parameters = {
        "config": asdict(config), "model": ws.profile.model, "pretrain": ws.profile.pretrain, "probe": ws.profile.probe,
        "task": TASK, "protocol": ws.protocol("ptb-xl"),
    }  # fmt: skip
    modules = ["merit.pretrain.target_scale", "merit.evaluate.probing", "merit.evaluate.tasks"]
    modules += ["merit.evaluate.embeddings", "merit.encoders.ours"]

    def compute() -> dict[str, Any]:
        """The values of the stage."""
        try:
            return _Sweep(ws, config).values()
        except NotEnoughData as reason:
            return {"reason": str(reason)}

    return ws.result("target_scale", compute, parameters, inputs, modules, seed=0)


class _Sweep:
    """What the parts of the sweep share: recordings, settings, the task."""

    def __init__(self, ws: Workspace, config: ScaleConfig) -> None:
        from merit.data.batches import hold_out_patients, pair

        self.ws, self.config, self.device = ws, config, ws.torch_device()
        text = ws.report_embeddings()
        self.model = replace(ws.profile.model, text_width=text.shape[1], scaling="zscore", patch_target=False)
        self.data = pair(ws.store(ws.pretraining_cohort), ws.pretraining_rows, text)
        share = ws.profile.pretrain.validation_share
        self.training, self.validation = hold_out_patients(self.data, share, 0)
        self.aligned = self.training.only(self.training.rows[self.training.text_row[self.training.rows] >= 0])
        self.batch = min(config.batch, len(self.aligned))
        if self.batch < 2:
            raise NotEnoughData(f"expected two recordings with reports to align; got {self.batch}")
        self.n_hidden = _hidden_samples(self.model)

    def values(self) -> dict[str, Any]:
        """All that the page shows."""
        from merit.pretrain.target_scale import target_spreads

        spreads = target_spreads(self.training)
        return {
            "gradients": self._gradients(), "n_hidden": self.n_hidden, "scales": list(self.config.scales),
            "spreads": {how: _middle(values) for how, values in spreads.items()},
            "n_spreads": len(spreads["mv"]), "batch": self.batch, "first": self.config.first,
            "batches": self.config.batches, "window_s": self.config.n_samples / self.model.encoder.fs_hz,
            "n_hidden_short": _hidden_samples(self._small_model()), "short": asdict(self.config),
            "cohort": self.ws.pretraining_cohort,
            **self._short_runs(),
        }  # fmt: skip

    def _gradients(self) -> list[dict[str, Any]]:
        """A row a way and scale: the two norms on the profile's encoder, and their ratio over batches."""
        from merit.pretrain.target_scale import gradients, short_run
        from merit.pretrain.train import build

        scales = list(self.config.scales)
        pretrain = replace(
            self.ws.profile.pretrain, objective="merit", seed=0, batch=self.batch, updates=self.config.first,
            epochs=None,
        )  # fmt: skip
        fresh = build(self.model, pretrain).to(self.device).train()

        def measured(model: Merit, at: list[float], own_unit: bool) -> np.ndarray:
            count = self.config.batches
            return gradients(model, self.aligned, pretrain, at, count, own_unit=own_unit, device=self.device)

        found = []
        for way, own_unit in (("start", True), ("target alone", False)):
            norms = measured(fresh, scales, own_unit)
            found += [_gradient_row(way, s, norms[:, 0], norms[:, 1 + i]) for i, s in enumerate(scales)]
        for s in scales:
            model = short_run(self.training, self.model, pretrain, s**2, device=self.device).train()
            norms = measured(model, [s], True)
            found.append(_gradient_row("trained", s, norms[:, 0], norms[:, 1]))
        return found

    def _short_runs(self) -> dict[str, Any]:
        """A row a scale, and one for the random network: held-out terms and probing over seeds."""
        import torch

        from merit.pretrain.target_scale import first_samples, short_run
        from merit.pretrain.train import build, validate

        config, model = self.config, self._small_model()
        training, validation = (first_samples(part, config.n_samples) for part in (self.training, self.validation))
        task = self._task()
        runs_of: dict[str, list[tuple[dict[str, float] | None, Any]]] = {}
        for seed in range(config.seeds):
            pretrain = self._short_pretrain(seed)
            for s in config.scales:
                trained = short_run(training, model, pretrain, s**2, device=self.device)
                terms = validate(trained, validation, replace(pretrain, seed=0), torch.device(self.device))
                runs_of.setdefault(str(s), []).append((terms, self._probed(trained.eval(), task)))
            untrained = build(model, pretrain).to(self.device)
            terms = validate(untrained, validation, replace(pretrain, seed=0), torch.device(self.device))
            runs_of.setdefault("random", []).append((terms, self._probed(untrained.eval(), task)))
        rows = [_run_row(name, found) for name, found in runs_of.items()]
        probed = {"n_probed": 0, "unprobed": task} if isinstance(task, str) else {"n_probed": len(task.rows)}
        return {"runs": rows, "n_training": len(training), "n_validation": len(validation), **probed}

    def _small_model(self) -> ModelConfig:
        """The network of the short runs."""
        config = self.config
        encoder = EncoderConfig(
            n_samples=config.n_samples, patch=config.patch, width=config.width, depth=1, heads=2
        )  # fmt: skip
        decoder = DecoderConfig(width=config.width, depth=1, heads=2)
        return ModelConfig(encoder=encoder, decoder=decoder, text_width=self.model.text_width, shared_width=64)

    def _short_pretrain(self, seed: int) -> PretrainConfig:
        config = self.config
        return replace(
            self.ws.profile.pretrain, objective="merit", seed=seed, batch=self.batch, epochs=None,
            updates=config.updates, learning_rate=config.learning_rate,
        )  # fmt: skip

    def _task(self) -> TaskData | str:
        """What is probed, with no patient that the short runs saw; or why nothing is."""
        from merit.evaluate.tasks import refuse_seen, select
        from merit.pretrain.train import seen_records

        protocol = self.ws.protocol("ptb-xl")
        try:
            task = select(TASK, self.ws.store("ptb-xl").records, protocol=protocol)
        except (NoCohort, NotEnoughData) as reason:
            return str(reason)
        refuse_seen(task.scored_patients(protocol), seen_records(self.data, self.ws.pretraining_cohort))
        return task

    def _probed(self, model: Merit, task: TaskData | str) -> Any:
        """Pooled macro AUROC of a linear head on the embedding, with its interval; None without a task."""
        from merit.encoders.ours import MeritEncoder
        from merit.evaluate.embeddings import embed_store
        from merit.evaluate.metrics import number
        from merit.evaluate.probing import probe

        if isinstance(task, str):
            return None
        store = self.ws.store("ptb-xl")
        encoder = MeritEncoder(model, "short run", self.device)
        features = embed_store(encoder, store, self.ws.profile.embed_batch, progress=False, rows=task.rows)
        config = ProbeConfig(
            epochs=self.config.probe_epochs, learning_rate=self.config.probe_rate, n_resamples=self.config.n_resamples
        )
        protocol = self.ws.protocol("ptb-xl")
        found = probe(features, task, config, variants=("standardised",), protocol=protocol, device=self.device)
        pooled = found.set_index(["scored", "class", "metric"]).loc[("pooled", "macro", "auroc")]
        return {name: number(pooled[name]) for name in ("value", "low", "high")}


def _hidden_samples(model: ModelConfig) -> int:
    """d: samples of a recording that are hidden."""
    from merit.model.vit import n_visible

    encoder = model.encoder
    return encoder.n_leads * encoder.patch * (encoder.n_patches - n_visible(encoder.n_patches, model.mask_ratio))


def _middle(values: np.ndarray) -> dict[str, float]:
    """Median and the middle 90 % of recordings."""
    low, median, high = np.percentile(values, (5, 50, 95))
    return {"value": float(median), "low": float(low), "high": float(high)}


def _gradient_row(way: str, scale: float, aligned: np.ndarray, error: np.ndarray) -> dict[str, Any]:
    ratio = error / aligned
    return {
        "way": way, "scale": scale, "info_nce": float(aligned.mean()), "masked_mse": float(error.mean()),
        "ratio": float(np.exp(np.log(ratio).mean())), "low": float(ratio.min()), "high": float(ratio.max()),
    }  # fmt: skip


def _run_row(name: str, found: list[tuple[dict[str, float], Any]]) -> dict[str, Any]:
    """Terms and AUROC of one scale over seeds: mean and sd, each seed's, and the mean of the patients' intervals."""
    row: dict[str, Any] = {"name": name}
    for term in ("info_nce", "masked_mse"):
        row[term] = _over_seeds([terms[term] for terms, _ in found])
    scores = [score for _, score in found if score is not None and score["value"] is not None]
    if scores:
        row["auroc"] = _over_seeds([one["value"] for one in scores])
        row["auroc"] |= {end: float(np.mean([one[end] for one in scores])) for end in ("low", "high")}
    return row


def _over_seeds(values: list[float]) -> dict[str, Any]:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"value": float(np.mean(values)), "sd": sd, "each": [float(v) for v in values]}
