"""The three estimators on pairs of known mutual information: where each can be trusted and where it fails.

Pairs of d independent couples of Gaussians of one correlation have I = −d/2 log(1 − ρ²), nats. Cubing every coordinate
changes neither side's information (it can be undone) but makes both far from Gaussian.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from merit.evaluate.information.critic import CriticConfig, critic_information
from merit.evaluate.information.gaussian import gaussian_information
from merit.evaluate.information.ksg import ksg_information

SHAPES = {"gaussian": lambda z: z, "cubed": lambda z: z**3}


def known_pairs(shape: str, width: int, nats: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y, float64 [n, width] each, of mutual information `nats`; shape: gaussian or cubed."""
    if shape not in SHAPES:
        raise ValueError(f"shape: expected one of {', '.join(SHAPES)}; got {shape!r}")
    correlation = np.sqrt(1 - np.exp(-2 * nats / width))
    x, noise = np.random.default_rng([seed, width, round(1000 * nats), n]).normal(size=(2, n, width))
    y = correlation * x + np.sqrt(1 - correlation**2) * noise
    return SHAPES[shape](x), SHAPES[shape](y)


def against_truth(
    shape: str, width: int, truths: list[float], n: int, critic: CriticConfig | None, seed: int = 0
) -> list[dict[str, Any]]:
    """A row per estimator and truth: shape, width, n, estimator, truth, estimate, ceiling (None: none); nats.

    critic: None leaves the InfoNCE bound out, which takes longest.
    """
    rows = []
    for truth in truths:
        x, y = known_pairs(shape, width, truth, n, seed)
        groups = np.arange(n)
        nearest = ksg_information(x, y, seed=seed)
        found = {
            "gaussian": (gaussian_information(x, y, groups, seed=seed).value, None),
            "ksg": (nearest.value, None),
            "ksg_plain": (nearest.plain, None),
        }
        if critic is not None:
            bound = critic_information(x, y, groups, critic)
            found["info_nce"] = (bound.value, bound.ceiling)
        about = {"shape": shape, "width": width, "n": n, "truth": truth}
        rows += [about | {"estimator": e, "estimate": round(v, 10), "ceiling": c} for e, (v, c) in found.items()]
    return rows
