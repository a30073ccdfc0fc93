"""InfoNCE against the true mutual information of Gaussians as the batch grows (Eq. 3), by the loss that is trained.

The best critic that there is, the log ratio of densities, is written as a cosine over a temperature, so that
`objectives.info_nce` itself computes its bound. Legend: N pairs, d width, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from merit import intervals
from merit.evaluate.information.known import known_pairs

if TYPE_CHECKING:
    from torch import Tensor

TEMPERATURES = (0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.5, 1.0)
"""Temperatures among which the best is chosen, on pairs of their own."""
CHOOSING_SEED = 10_000
"""Seed of the pairs that a temperature is chosen on; seeds of the estimates stay below."""
Critic = Callable[[np.ndarray, np.ndarray], tuple["Tensor", "Tensor", float]]
"""Rows x and y -> both as the loss takes them, and the temperature."""


def best_critic(x: np.ndarray, y: np.ndarray, correlation: float) -> tuple[Tensor, Tensor, float]:
    """Rows and a temperature whose cosine / temperature is log p(x, y) / p(x) p(y), up to a constant.

    x, y: [N, d], variance 1, coordinates paired with one correlation ρ > 0. For those the log ratio is c x·y
    − k (|x|² + |y|²) with c = ρ / (1 − ρ²), k = ½ ρ² / (1 − ρ²): a product of two vectors, which fillers of their own
    bring to one length.
    """
    import torch

    c, k = correlation / (1 - correlation**2), 0.5 * correlation**2 / (1 - correlation**2)
    ones, none = np.ones((len(x), 1)), np.zeros((len(x), 1))
    sides = []
    for side, first in ((x, True), (y, False)):
        own = -k * (side**2).sum(1, keepdims=True)
        sides.append(np.hstack([np.sqrt(c) * side, *((own, ones) if first else (ones, own))]))
    length = max(float((side**2).sum(1).max()) for side in sides)
    fillers = [np.sqrt(np.maximum(length - (side**2).sum(1, keepdims=True), 0)) for side in sides]
    left = np.hstack([sides[0], fillers[0], none])
    right = np.hstack([sides[1], none, fillers[1]])
    return torch.from_numpy(left), torch.from_numpy(right), 1 / length


def bound(x: np.ndarray, y: np.ndarray, critic: Critic, batch: int, most: int) -> float:
    """log B − InfoNCE, nats: the mean over the first whole batches of the pairs, at most `most` of them."""
    from merit.objectives import info_nce

    losses = []
    for start in range(0, min(len(x) - batch + 1, most * batch), batch):
        rows = slice(start, start + batch)
        losses.append(float(info_nce(*critic(x[rows], y[rows]))))
    return float(np.log(batch) - np.mean(losses))


def cosine_critic(temperature: float) -> Critic:
    """The critic of the model: the cosine of two rows over a temperature (Eq. 3)."""
    import torch

    return lambda x, y: (torch.from_numpy(x), torch.from_numpy(y), temperature)


def against_truth(
    width: int, truths: Sequence[float], sizes: Sequence[int], temperature: float, *, seeds: int, most: int
) -> list[dict[str, Any]]:
    """A row per truth, critic and batch size: mean of the bound over seeds, its middle 95 % and sd, nats.

    width: dimensions a side. temperature: the model's. Critics: best (the log ratio), model (the cosine of the raw
    coordinates over `temperature`), tuned (over the best of `TEMPERATURES`). most: batches of a size within a seed.
    """
    rows = []
    for truth in truths:
        correlation = float(np.sqrt(1 - np.exp(-2 * truth / width)))
        tuned = best_temperature(width, truth, min(128, max(sizes)), max(sizes))
        critics: dict[str, Critic] = {
            "best": lambda x, y, rho=correlation: best_critic(x, y, rho),
            "model": cosine_critic(temperature),
            "tuned": cosine_critic(tuned),
        }
        drawn = [known_pairs("gaussian", width, truth, max(sizes), seed) for seed in range(seeds)]
        for name, critic in critics.items():
            for batch in sizes:
                found = np.array([bound(x, y, critic, batch, most) for x, y in drawn])
                low, high = intervals.middle(found)
                rows.append({
                    "truth": truth, "critic": name, "batch": batch, "value": float(found.mean()), "low": low,
                    "high": high, "largest": float(found.max()), "ceiling": float(np.log(batch)),
                    "temperature": {"model": temperature, "tuned": tuned}.get(name),
                })  # fmt: skip
    return rows


def best_temperature(width: int, truth: float, batch: int, n: int) -> float:
    """The temperature of `TEMPERATURES` with the highest bound of the cosine critic, on pairs of its own."""
    x, y = known_pairs("gaussian", width, truth, n, CHOOSING_SEED)
    return max(TEMPERATURES, key=lambda one: bound(x, y, cosine_critic(one), batch, most=n // batch))


def report_ceilings(reports: Sequence[str], sizes: Sequence[int], draws: int, seed: int) -> list[dict[str, Any]]:
    """A row per batch size: the ceiling log B, and what repeated reports leave of it on average, and its 95 % interval.

    A report that stands m times in a batch gives m equal columns, so that each of its rows loses log m at least, in
    both directions on average. Batches are drawn without replacement; sizes beyond the reports are left out. The
    interval is that of the mean over `draws` batches: where few batches hold a repeated report, the middle 95 % of them
    are all at the ceiling, and the mean below it.
    """
    codes = np.unique(np.asarray(reports, dtype=object).astype(str), return_inverse=True)[1]
    rows = []
    for batch in (size for size in sizes if size <= len(codes)):
        generator = np.random.default_rng([seed, batch])
        lost = np.array([_lost(generator.choice(codes, batch, replace=False)) for _ in range(draws)])
        left = np.log(batch) - lost
        value, ceiling = float(left.mean()), float(np.log(batch))
        reach = intervals.Z * float(left.std(ddof=1)) / draws**0.5 if draws > 1 else 0.0
        high = max(value, min(value + reach, ceiling))
        rows.append({"batch": batch, "ceiling": ceiling, "value": value, "low": value - reach, "high": high})
    return rows


def _lost(codes: np.ndarray) -> float:
    """Mean over the rows of a batch of log(how often its report stands there)."""
    counts = np.unique(codes, return_counts=True)[1]
    return float((counts * np.log(counts)).sum() / len(codes))
