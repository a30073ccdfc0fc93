"""The three estimators on pairs of known mutual information: where each can be trusted and where it fails.

Pairs of d independent couples of Gaussians of one correlation have I = −d/2 log(1 − ρ²), nats. Cubing every coordinate
changes neither side's information (it can be undone) but makes both far from Gaussian. Directions that a side has for
itself, louder than those that are shared, change it neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from merit.evaluate.information.critic import CriticConfig
from merit.evaluate.information.measure import estimate

SHAPES = {"gaussian": lambda z: z, "cubed": lambda z: z**3}


def known_pairs(
    shape: str, width: int, nats: float, n: int, seed: int, *, private: tuple[int, int] = (0, 0), scale: float = 5.0
) -> tuple[np.ndarray, np.ndarray]:
    """x and y, float64 [n, width + private] each, of mutual information `nats`; shape: gaussian or cubed.

    private: directions that each side has for itself, Gaussian, `scale` times as loud as those that are shared; both
    sides are then turned at random, so that no column is a direction.
    """
    if shape not in SHAPES:
        raise ValueError(f"shape: expected one of {', '.join(SHAPES)}; got {shape!r}")
    correlation = np.sqrt(1 - np.exp(-2 * nats / width))
    x, noise = np.random.default_rng([seed, width, round(1000 * nats), n]).normal(size=(2, n, width))
    y = correlation * x + np.sqrt(1 - correlation**2) * noise
    generator, sides = np.random.default_rng([seed, *private]), []
    for side, own in zip((x, y), private):
        side = np.hstack([SHAPES[shape](side), scale * generator.normal(size=(n, own))])
        turn = np.linalg.qr(generator.normal(size=(side.shape[1],) * 2))[0]
        sides.append(side @ turn if own else side)
    return sides[0], sides[1]


def against_truth(
    shape: str, width: int, truths: list[float], n: int, critic: CriticConfig | None, seed: int = 0,
    private: tuple[int, int] = (0, 0), scale: float = 5.0,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row per estimator and truth: shape, width, private directions, n, estimator, truth, estimate, ceiling (None:
    none) and, in no_vote, why it cannot be trusted (None: it can); nats.

    critic: None leaves the InfoNCE bound out, which takes longest.
    """
    rows = []
    for truth in truths:
        x, y = known_pairs(shape, width, truth, n, seed, private=private, scale=scale)
        found = estimate(x, y, np.arange(n), critic, seed=seed)
        values = found.values | {"ksg_plain": found.about["plain"]["ksg"]}
        about = {"shape": shape, "width": width, "private": list(private), "n": n, "truth": truth}
        rows += [
            about | {
                "estimator": name, "estimate": round(value, 10),
                "ceiling": found.about["ceilings"].get(name) if name == "info_nce" else None,
                "no_vote": found.about["no_vote"].get(name),
            } for name, value in values.items()
        ]  # fmt: skip
    return rows
