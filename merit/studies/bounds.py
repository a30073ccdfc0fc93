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
TEMPERATURES = (0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.5, 1.0)
"""Temperatures among which the best is chosen, on pairs of their own."""
CHOOSING_SEED = 10_000  # seed of the pairs that a temperature is chosen on; seeds of the estimates stay below
WIDTH = 16  # dimensions a side of the contrastive bound
N_CHAINS = 200
N_DRAWN = 200  # signals that the decoder's bound is taken on, and draws that a chain's tables are counted on

# -- contrastive: InfoNCE and its ceiling log B (Eq. 3) ----------------------------------------------------------------


def _contrastive_plan(ws: Workspace) -> dict[str, Any]:
    """What is true, batch sizes, temperature of the model, samples of pairs, and batches of a size within a sample."""
    small = ws.profile.trial
    return {
        "truths": [1.0, 8.0] if small else [1.0, 2.0, 4.0, 8.0],
        "sizes": [2, 16, 128] if small else list(SIZES),
        "temperature": ws.profile.model.temperature,
        "seeds": 4 if small else 6 if ws.profile.name == "demo" else 12,
        "most": 8 if small else 16,
    }


@study(over={}, needs=lambda ws: {"plan": runs.digest(_contrastive_plan(ws))})
def contrastive_bound(ws: Workspace) -> pd.DataFrame:
    """InfoNCE under its ceiling on Gaussians, one row per true information, critic and batch size: mean of the bound
    over samples, its middle 95 %, the largest.

    Critics: best (the log ratio of densities), model (the cosine of the raw coordinates over the model's temperature),
    tuned (over the best of `TEMPERATURES`).
    """
    from merit.evaluate.bounds import info_nce_bound, over_samples
    from merit.evaluate.information import known_pairs

    plan = _contrastive_plan(ws)
    largest, rows = max(plan["sizes"]), []
    for truth in plan["truths"]:
        correlation = float(np.sqrt(1 - np.exp(-2 * truth / WIDTH)))
        x, y = known_pairs("gaussian", WIDTH, truth, largest, CHOOSING_SEED)
        batch = min(128, largest)
        tuned = max(TEMPERATURES, key=lambda t: info_nce_bound(x, y, batch, largest // batch, temperature=t))
        samples = [known_pairs("gaussian", WIDTH, truth, largest, seed) for seed in range(plan["seeds"])]
        for name, temperature in (("best", None), ("model", plan["temperature"]), ("tuned", tuned)):
            for batch in plan["sizes"]:
                how = {"temperature": temperature, "correlation": correlation}
                values = np.array([info_nce_bound(x, y, batch, plan["most"], **how) for x, y in samples])
                row = {"truth": truth, "critic": name, "batch": batch, **over_samples(values)}
                row |= {"largest": float(values.max()), "ceiling": float(np.log(batch)), "temperature": temperature}
                rows.append(row)
    return pd.DataFrame(rows).assign(metric="bound", seeds=plan["seeds"], paper_batch=PAPER_BATCH)


def _reports(ws: Workspace) -> list[str]:
    records = ws.store(ws.pretraining_cohort).records.iloc[ws.pretraining_rows]
    return records.loc[records["has_text"], "report"].tolist()


@study(over={}, needs=lambda ws: {"reports": runs.digest(_reports(ws)), "batch": str(ws.profile.pretrain.batch)})
def report_ceiling(ws: Workspace) -> pd.DataFrame:
    """What repeated reports of the pretraining recordings leave of the ceiling log B, one row per batch size, of those
    up to the number of reports (`evaluate.bounds.ceiling_of`).
    """
    from merit.evaluate.bounds import ceiling_of

    reports, own_batch = _reports(ws), ws.profile.pretrain.batch
    if len(reports) < 2:
        raise NotEnoughData(f"expected two recordings with reports to align; got {len(reports)}")
    sizes = [size for size in sorted({*SIZES, own_batch}) if size <= len(reports)]
    about = {"n": len(reports), "n_distinct": len(set(reports)), "own_batch": own_batch, "paper_batch": PAPER_BATCH}
    rows = pd.DataFrame([{"batch": size, **ceiling_of(reports, size)} for size in sizes])
    return rows.assign(metric="left", cohort=ws.pretraining_cohort, **about)


# -- the decoder's bound (Barber-Agakov, Eq. 4 to 6) -------------------------------------------------------------------


@study(over={}, needs=lambda ws: {})
def decoder_bound(ws: Workspace) -> pd.DataFrame:
    """The bound of Gaussian decoders, whose mean is `factor` times the best prediction: from drawn signals (mean over
    seeds and its middle 95 %), and error, `bound` and gap by formula, beside the true information.

    kind: at the variance of the decoder's best bound (v = L_MSE), or at the one that a weight of one stands for
    (v = d / 2).
    """
    from merit.evaluate.bounds import Signal, over_samples

    signal, seeds = Signal(), 20
    d, rows = len(signal.hidden), []
    about = {"information": signal.information, "entropy": signal.hidden_entropy, "d": d, "n": N_DRAWN, "seeds": seeds}
    for factor in (1.0, 0.5, 0.0):
        error = signal.error(factor)
        drawn = np.array([signal.measured_error(factor, N_DRAWN, seed) for seed in range(seeds)])
        for kind, variance in (("best", error), ("weight one", d / 2)):
            row = {"factor": factor, "kind": kind, "variance": variance, "error": error}
            row |= over_samples(signal.bound(drawn, variance))
            row |= {"bound": float(signal.bound(error, variance)), "gap": float(signal.gap(factor, variance))}
            rows.append(row | about)
    return pd.DataFrame(rows).assign(metric="bound")


# -- data processing: X → Y → Z has I(X; Z) ≤ I(X; Y) ------------------------------------------------------------------


@study(over={}, needs=lambda ws: {})
def processing_bound(ws: Workspace) -> dict[str, pd.DataFrame]:
    """Information of embeddings of the signal with noise of sd σ added, one row per noise and embedding (`metric`).

    copy: I(x; x₁ + σε), one sample copied, which grows without end as σ falls. one: I(x_h; w·x_v + σε), of the
    direction of the visible part with the highest correlation with the hidden one; whole: the same for the whole
    visible part; ceiling: I(x_v; x_h), which processing cannot pass. Part "chains": both sides of the inequality on
    random chains, for discrete ones from counts of draws too.
    """
    from merit.evaluate.bounds import Signal, discrete_information, information, regression

    signal = Signal()
    visible, hidden = signal.visible, signal.hidden
    seen = signal.covariance[np.ix_(visible, visible)]
    matrix, _ = regression(signal.covariance, hidden, visible)
    told = matrix @ signal.covariance[np.ix_(hidden, visible)]
    root = np.linalg.inv(np.linalg.cholesky(seen))
    best = np.linalg.eigh(root @ told @ root.T)[1][:, -1] @ root
    d, rows = len(hidden), []
    for noise in np.geomspace(10, 1e-4, 41).round(7).tolist():
        values = {"copy": 0.5 * float(np.log1p(1 / noise**2))}
        for name, weights in (("one", best[None]), ("whole", np.eye(len(visible)))):
            k, cross = len(weights), weights @ signal.covariance[np.ix_(visible, hidden)]
            own = weights @ seen @ weights.T + noise**2 * np.eye(k)
            covariance = np.block([[own, cross], [cross.T, signal.covariance[np.ix_(hidden, hidden)]]])
            values[name] = information(covariance, np.arange(k), np.arange(k, k + d))
        for name, value in values.items():
            rows.append({"noise": noise, "metric": name, "value": value, "ceiling": signal.information})

    # Three variables of 6 values. Rows of the first channel are Dirichlet draws, from nearly deterministic to nearly
    # uniform; the second mixes such a channel with one that only renames, in any share.
    chains: list[dict[str, Any]] = []
    generator = np.random.default_rng(0)
    for _ in range(N_CHAINS):
        p = generator.dirichlet(np.ones(6))
        first, second = (generator.dirichlet(np.full(6, generator.uniform(0.05, 1.0)), size=6) for _ in range(2))
        share = generator.uniform()
        second = share * np.eye(6)[generator.permutation(6)] + (1 - share) * second
        joint = p[:, None] * first
        cells = generator.multinomial(N_DRAWN, (joint[:, :, None] * second).ravel() / joint.sum()).reshape(6, 6, 6)
        tables = {"first": joint, "both": joint @ second}
        tables |= {"first_counted": cells.sum(2) / N_DRAWN, "both_counted": cells.sum(1) / N_DRAWN}
        sides = {name: discrete_information(table) for name, table in tables.items()}
        chains.append({"kind": "discrete", "n": N_CHAINS, **sides})

    # y = A x + noise, z = B y + noise, with x of 4, y of 4 and z of 3 dimensions.
    generator = np.random.default_rng(1)
    x, y, z = np.arange(4), np.arange(4, 8), np.arange(8, 11)
    for _ in range(N_CHAINS):
        a, b = generator.normal(size=(4, 4)), generator.normal(size=(3, 4))
        noise = np.exp(generator.uniform(np.log(0.1), np.log(3.0), size=2))
        mix = np.zeros((11, 11))  # x, y, z from the sources x, noise of y, noise of z
        mix[:4, :4], mix[4:8, :4], mix[4:8, 4:8] = np.eye(4), a, noise[0] * np.eye(4)
        mix[8:] = b @ mix[4:8]
        mix[8:, 8:] += noise[1] * np.eye(3)
        covariance = mix @ mix.T
        sides = {"first": information(covariance, x, y), "both": information(covariance, x, z)}
        chains.append({"kind": "gaussian", "n": N_CHAINS, **sides})
    return {"scores": pd.DataFrame(rows), "chains": pd.DataFrame(chains)}


# -- the scale of the target -------------------------------------------------------------------------------------------


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
    inputs = {
        "recordings": f"{ws.store(ws.pretraining_cohort).identity}:{runs.digest(ws.pretraining_rows.tolist())}",
        "text": ws.text_identity,
        "settings": runs.digest([ws.profile.model, ws.profile.pretrain]),
        "protocol": ws.protocol(COHORT),
    }
    with contextlib.suppress(runs.Unavailable):
        inputs["probed"] = ws.store(COHORT).identity
    return inputs


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
        norm = gradients(fresh, aligned, pretrain, config.scales, config.batches, own_unit=own_unit, device=device)
        norms += [(way, s, norm[:, 0], norm[:, 1 + k]) for k, s in enumerate(config.scales)]
    for s in config.scales:
        trained = short_run(training, model, pretrain, s**2, device=device).train()
        norm = gradients(trained, aligned, pretrain, [s], config.batches, own_unit=True, device=device)
        norms.append(("trained", s, norm[:, 0], norm[:, 1]))
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
