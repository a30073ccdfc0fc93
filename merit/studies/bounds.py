"""The bounds of Section 3 beside the truth, and what the scale of the target does to the sum (page `bounds`)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from merit import runs
from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig, ProbeConfig, replace
from merit.evaluate.tasks import NotEnoughData
from merit.studies.core import study

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace

TASK, COHORT = "superclass", "ptb-xl"
PAPER_BATCH = PretrainConfig().batch
SIZES = tuple(2**k for k in range(1, 11))  # batch sizes of the contrastive bound; the paper's, 128, is among them
TERMS = ("info_nce", "masked_mse")


def _contrastive_plan(ws: Workspace) -> dict[str, Any]:
    small = ws.trial
    return {
        "width": 16,
        "truths": [1.0, 8.0] if small else [1.0, 2.0, 4.0, 8.0],
        "sizes": [2, 16, 128] if small else list(SIZES),
        "temperature": ws.profile.model.temperature,
        "seeds": 4 if small else 6 if ws.profile.name == "demo" else 12,  # samples of pairs
        "most": 8 if small else 16,
    }


@study(over={}, needs=lambda ws: {"plan": runs.digest(_contrastive_plan(ws))})
def contrastive_bound(ws: Workspace) -> pd.DataFrame:
    """InfoNCE under its ceiling on Gaussians of 16 dimensions a side, by the optimal critic and the model's cosine."""
    from merit.evaluate.bounds import contrastive_bound as bound

    plan = _contrastive_plan(ws)
    return pd.DataFrame(bound(**plan)).assign(metric="bound", seeds=plan["seeds"], paper_batch=PAPER_BATCH)


@study(over={}, needs=lambda ws: {})
def decoder_bound(ws: Workspace) -> pd.DataFrame:
    """The Barber-Agakov bound of Gaussian decoders from drawn signals, with its formula, its gap and the truth."""
    from merit.evaluate.bounds import decoder_bound as bound

    return pd.DataFrame(bound([1.0, 0.5, 0.0], n=200, seeds=20)).assign(metric="bound")


@study(over={}, needs=lambda ws: {})
def processing_bound(ws: Workspace) -> dict[str, pd.DataFrame]:
    """Information at a resolution; part "chains": both sides of the data-processing inequality on random chains."""
    from merit.evaluate.bounds import discrete_chains, gaussian_chains, resolutions

    chains = {"discrete": discrete_chains(200, n_samples=200, seed=0), "gaussian": gaussian_chains(200, seed=1)}
    rows = [{"kind": kind, "n": 200, **row} for kind, of_kind in chains.items() for row in of_kind]
    scores = pd.DataFrame(resolutions(np.geomspace(10, 1e-4, 41).round(7).tolist()))
    return {"scores": scores, "chains": pd.DataFrame(rows)}


def _reports(ws: Workspace) -> list[str]:
    records = ws.store(ws.pretraining_cohort).records.iloc[ws.pretraining_rows]
    return records.loc[records["has_text"], "report"].tolist()


@study(over={}, needs=lambda ws: {"reports": runs.digest(_reports(ws)), "batch": str(ws.profile.pretrain.batch)})
def report_ceiling(ws: Workspace) -> pd.DataFrame:
    """What repeated reports of the pretraining recordings leave of the ceiling log B, by batch size."""
    from merit.evaluate.bounds import report_ceilings

    reports, batch = _reports(ws), ws.profile.pretrain.batch
    if len(reports) < 2:
        raise NotEnoughData(f"expected two recordings with reports to align; got {len(reports)}")
    rows = pd.DataFrame(report_ceilings(reports, sorted({*SIZES, batch}), draws=200, seed=0))
    about = {"n": len(reports), "n_distinct": len(set(reports)), "own_batch": batch, "paper_batch": PAPER_BATCH}
    return rows.assign(metric="left", cohort=ws.pretraining_cohort, **about)


# -- the scale of the target ------------------------------------------------------------------------------------------


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


TRIAL = {"batches": 2, "first": 2, "seeds": 2, "updates": 6, "batch": 8, "probe_epochs": 2, "n_resamples": 20}
"""Settings of the sweep where results are only tried."""


def _scale_inputs(ws: Workspace, **_: object) -> dict[str, str]:
    found = {
        "recordings": f"{ws.store(ws.pretraining_cohort).identity}:{runs.digest(ws.pretraining_rows.tolist())}",
        "text": ws.text_identity,
        "settings": runs.digest([ws.profile.model, ws.profile.pretrain]),
        "protocol": ws.protocol(COHORT),
    }
    with contextlib.suppress(runs.Unavailable):
        found["probed"] = ws.store(COHORT).identity
    return found


@study(over={}, needs=_scale_inputs, config=lambda profile: ScaleConfig(**(TRIAL if profile.trial else {})))
def target_scale(ws: Workspace, *, config: ScaleConfig) -> dict[str, pd.DataFrame]:
    """Short runs of a small network at each scale of the target, and of one left random: held-out terms, and probing.

    One row per scale (missing: the random network) and metric: mean and sd over seeds, `each` seed's value; for AUROC
    of superclass also the mean over seeds of the patients' interval. Part "gradients": norms of both terms' gradients
    on the profile's encoder, and their ratio over batches. Part "spreads": the scale that common ways to prepare a
    recording stand for, median and middle 90 % of recordings.
    """
    import torch

    from merit.data.batches import hold_out_patients, pair
    from merit.encoders.ours import MeritEncoder
    from merit.evaluate.embeddings import embed_store
    from merit.evaluate.metrics import number
    from merit.evaluate.probing import probe
    from merit.evaluate.tasks import refuse_seen, select
    from merit.model.vit import n_visible
    from merit.pretrain.target_scale import first_samples, gradients, short_run, target_spreads
    from merit.pretrain.train import build, seen_records, validate

    device, text, cohort = ws.torch_device(), ws.report_embeddings(), ws.pretraining_cohort
    model = replace(ws.profile.model, text_width=text.shape[1], scaling="zscore", patch_target=False)
    data = pair(ws.store(cohort), ws.pretraining_rows, text)
    training, validation = hold_out_patients(data, ws.profile.pretrain.validation_share, 0)
    aligned = training.only(training.rows[training.text_row[training.rows] >= 0])
    batch = min(config.batch, len(aligned))
    if batch < 2:
        raise NotEnoughData(f"expected two recordings with reports to align; got {batch}")
    pretrain = replace(ws.profile.pretrain, objective="merit", seed=0, batch=batch, epochs=None, updates=config.first)

    # Gradients of both terms: at the start, with the target alone scaled, and after a few updates at each scale.
    norms: list[tuple[str, float, np.ndarray, np.ndarray]] = []
    fresh = build(model, pretrain).to(device).train()
    for way, own_unit in (("start", True), ("target alone", False)):
        found = gradients(fresh, aligned, pretrain, config.scales, config.batches, own_unit=own_unit, device=device)
        norms += [(way, s, found[:, 0], found[:, 1 + k]) for k, s in enumerate(config.scales)]
    for s in config.scales:
        trained = short_run(training, model, pretrain, s**2, device=device).train()
        found = gradients(trained, aligned, pretrain, [s], config.batches, own_unit=True, device=device)
        norms.append(("trained", s, found[:, 0], found[:, 1]))
    ratios = [
        {
            "way": way,
            "scale": s,
            "metric": "ratio",
            "value": float(np.exp(np.log(error / alignment).mean())),
            "low": float((error / alignment).min()),
            "high": float((error / alignment).max()),
            "info_nce": float(alignment.mean()),
            "masked_mse": float(error.mean()),
        }
        for way, s, alignment, error in norms
    ]

    # Short runs of a small network at each scale, over seeds.
    small = ModelConfig(
        encoder=EncoderConfig(n_samples=config.n_samples, patch=config.patch, width=config.width, depth=1, heads=2),
        decoder=DecoderConfig(width=config.width, depth=1, heads=2),
        text_width=model.text_width,
        shared_width=64,
    )
    short_training, short_validation = (first_samples(part, config.n_samples) for part in (training, validation))

    # What is probed, with no patient that the short runs saw: pooled macro AUROC with its interval.
    task, task_reason, protocol = None, None, ws.protocol(COHORT)
    settings = ProbeConfig(epochs=config.probe_epochs, learning_rate=config.probe_rate, n_resamples=config.n_resamples)
    try:
        task = select(TASK, ws.store(COHORT).records, protocol=protocol)
    except (runs.Unavailable, NotEnoughData) as reason:
        task_reason = str(reason)
    else:
        refuse_seen(task.scored_patients(protocol), seen_records(data, cohort))

    seeds_of: dict[float | None, list[dict[str, Any]]] = {}
    for seed in range(config.seeds):
        short = replace(pretrain, seed=seed, updates=config.updates, learning_rate=config.learning_rate)
        for s in (*config.scales, None):
            if s is None:
                network = build(small, short).to(device)
            else:
                network = short_run(short_training, small, short, s**2, device=device)
            terms = validate(network, short_validation, replace(short, seed=0), torch.device(device))
            if task is not None:
                encoder = MeritEncoder(network.eval(), "short run", device)
                features = embed_store(
                    encoder, ws.store(COHORT), ws.profile.embed_batch, progress=False, rows=task.rows
                )
                how = {"variants": ("standardised",), "protocol": protocol, "device": device}
                probed = probe(features, task, settings, **how).set_index(["scored", "class", "metric"])
                pooled = probed.loc[("pooled", "macro", "auroc")]
                terms = {**terms, "auroc": {name: number(pooled[name]) for name in ("value", "low", "high")}}
            seeds_of.setdefault(s, []).append(terms)

    n_hidden, n_hidden_short = (  # d: samples of a recording that are hidden
        of.encoder.n_leads * of.encoder.patch * (of.encoder.n_patches - n_visible(of.encoder.n_patches, of.mask_ratio))
        for of in (model, small)
    )
    about = {
        "cohort": cohort,
        "batch": batch,
        "updates": config.updates,
        "seeds": config.seeds,
        "batches": config.batches,
        "first": config.first,
        "n": len(short_training),
        "n_validation": len(short_validation),
        "n_probed": 0 if task is None else len(task.rows),
        "window_s": config.n_samples / model.encoder.fs_hz,
        "n_hidden": n_hidden,
        "n_hidden_short": n_hidden_short,
    }

    def over_seeds(values: list[float]) -> dict[str, Any]:
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return {"value": float(np.mean(values)), "sd": sd, "each": [float(value) for value in values]}

    rows: list[dict[str, Any]] = []
    for s, seeds in seeds_of.items():
        rows += [{"scale": s, "metric": term, **over_seeds([terms[term] for terms in seeds])} for term in TERMS]
        auroc = [terms["auroc"] for terms in seeds if task is not None and terms["auroc"]["value"] is not None]
        if auroc:
            ends = {end: float(np.mean([of_seed[end] for of_seed in auroc])) for end in ("low", "high")}
            rows.append({"scale": s, "metric": "auroc", **over_seeds([of_seed["value"] for of_seed in auroc]), **ends})
    if task is None:
        rows.append({"scale": None, "metric": "auroc", "reason": task_reason})
    middles = []
    for how, spread in target_spreads(training).items():
        low, value, high = np.percentile(spread, (5, 50, 95)).tolist()
        row = {"scaling": how, "metric": "scale", "n": len(spread), "low": low, "value": value, "high": high}
        middles.append(row)
    scores = pd.DataFrame(rows).assign(**about)
    return {"scores": scores, "gradients": pd.DataFrame(ratios), "spreads": pd.DataFrame(middles)}
