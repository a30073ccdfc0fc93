"""A lower bound on mutual information: InfoNCE (Oord et al. 2018) of a critic that is trained afterwards.

The temperature and heads that an objective was trained with would favour it, so the same critic is trained for each
on its frozen embeddings and scored on patients that the critic has not seen. It sums a product of two small networks,
one a side, and a term of each side alone (separable critic, Poole et al. 2019), on canonical variables; it starts as
the ratio of Gaussian densities, so that a thousand pairs are enough to train it. A value never exceeds log K for
batches of K pairs. Batches hold each report once: a second copy would be a wrong negative. Legend: N pairs, K batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from merit.evaluate.information.gaussian import CanonicalFrame, Choice, Part, fold_of
from merit.threads import MAX_THREADS, one_thread_an_operation, usable_cores

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CLIP = 4.0
"""Canonical variables are cut at this many standard deviations: a square of an outlier would rule the batch."""


@dataclass(frozen=True, kw_only=True)
class CriticConfig:
    """The critic and its training; the same for every objective."""

    width: int = 64
    """Hidden units of each network."""
    fewest_pairs: int = 4
    """Canonical pairs that it sees though fewer are correlated: what is shared may show in no correlation."""
    batch: int = 128
    epochs: int = 40
    """Most passes; the pass with the best bound on a sixth of the training patients is kept."""
    patience: int = 5
    """Passes without a better bound after which training stops."""
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class CriticInformation:
    """The bound and what each pair contributes to it."""

    value: float
    """Nats: the mean of the contributions, at most `ceiling`."""
    ceiling: float
    """Nats: mean over pairs of log K, with K the pairs of the part that a pair is scored in."""
    contributions: np.ndarray
    """float64 [N], nats."""


def critic_information(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, parts: Sequence[Part], config: CriticConfig | None = None
) -> CriticInformation:
    """InfoNCE bound on the mutual information of rows x [N, d] and y [N, e]; every pair is scored once.

    groups [N]: patients. parts: of `cross_fit` on the same rows; the pairs of a part are scored by a critic that was
    trained on the others, in directions found on the others. The numbers depend on the arguments alone, not on the
    number of threads.
    """
    config = config or CriticConfig()
    contributions, ceilings = np.zeros(len(x)), np.zeros(len(x))

    def one(f: int) -> None:
        test = parts[f].rows
        train = np.setdiff1d(np.arange(len(x)), test)
        score = _train(x[train], y[train], groups[train], parts[f].choice, config, f)
        contributions[test], ceilings[test] = bound_contributions(score(x[test], y[test])), np.log(len(test))

    with one_thread_an_operation(), ThreadPoolExecutor(min(len(parts), MAX_THREADS, usable_cores())) as threads:
        list(threads.map(one, range(len(parts))))
    return CriticInformation(float(contributions.mean()), float(ceilings.mean()), contributions)


def bound_contributions(scores: np.ndarray) -> np.ndarray:
    """float64 [K]: log K plus the mean of both directions' log-softmax on the diagonal of scores [K, K] (Eq. 3)."""
    own = np.diag(scores)
    over = [np.logaddexp.reduce(scores, axis=axis) for axis in (0, 1)]
    return np.log(len(scores)) + own - 0.5 * (over[0] + over[1])


def _train(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, choice: Choice, config: CriticConfig, fold: int
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Train one critic and return its scores [K, K] of rows x and y."""
    import torch

    inner = fold_of(groups, 6, config.seed + 1) == 0
    frame = CanonicalFrame.fitted(
        x[~inner], y[~inner], choice.penalty, max(len(choice.correlations), config.fewest_pairs)
    )
    correlations = np.zeros(frame.directions[0].shape[1])
    known = choice.correlations[: len(correlations)]
    correlations[: len(known)] = known

    def framed(left: np.ndarray, right: np.ndarray) -> tuple[Tensor, Tensor]:
        both = (np.clip(side, -CLIP, CLIP).astype(np.float32) for side in frame.variables(left, right))
        return tuple(map(torch.from_numpy, both))

    parts = [framed(x[which], y[which]) for which in (~inner, inner)]
    towers = _fit(parts[0], parts[1], correlations, config, fold)
    with torch.inference_mode():
        return lambda left, right: _scores(towers, *framed(left, right)).double().numpy()


def _fit(
    training: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], correlations: np.ndarray, config: CriticConfig,
    fold: int,
) -> list[list[Tensor]]:  # fmt: skip
    """Two towers of weights; those of the pass with the best bound on the validation part.

    The Gaussian critic before any pass takes part in the choice, and so does the critic that is 0 and bounds nothing.
    """
    import torch

    generator = torch.Generator().manual_seed(1000 * config.seed + fold)
    order = np.random.default_rng([config.seed, fold])
    towers = [_tower(correlations, config, generator) for _ in training]
    weights = [w.requires_grad_() for tower in towers for w in tower]
    optimiser = torch.optim.AdamW(weights, config.learning_rate, weight_decay=config.weight_decay)
    best, kept, waited = 0.0, [torch.zeros_like(w) for w in weights], 0
    for epoch in range(config.epochs + 1):
        for rows in _batches(order.permutation(len(training[0])), config.batch) if epoch else []:
            loss = _info_nce(_scores(towers, *(side[rows] for side in training)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            bound = float(np.log(len(validation[0])) - _info_nce(_scores(towers, *validation)))
        waited += 1
        if bound > best:
            best, kept, waited = bound, [w.detach().clone() for w in weights], 0
        if waited > config.patience:
            break
    half = len(towers[0])
    return [kept[:half], kept[half:]]


def _batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """About equal parts of at most `size` rows."""
    return np.array_split(rows, -(-len(rows) // size))


def _tower(correlations: np.ndarray, config: CriticConfig, generator: torch.Generator) -> list[Tensor]:
    """Weights of one side, at the ratio of Gaussian densities: straight on, squares, hidden, bias, out.

    log p(u, v) / p(u) p(v) = Σ (ρ u v − ½ ρ² (u² + v²)) / (1 − ρ²) + constant. The hidden part adds nothing at first.
    """
    import torch

    rho = torch.from_numpy(np.minimum(correlations, 0.999).astype(np.float32))
    n = len(rho)
    return [
        torch.diag((rho / (1 - rho**2)).sqrt()), -0.5 * rho**2 / (1 - rho**2),
        torch.randn(n, config.width, generator=generator) / n**0.5, torch.zeros(config.width),
        torch.zeros(config.width, n + 1),
    ]  # fmt: skip


def _scores(towers: list[list[Tensor]], a: Tensor, b: Tensor) -> Tensor:
    """[K, K]: row i holds the scores of a's row i with every row of b."""
    products, alone = [], []
    for side, (straight, squares, hidden, bias, out) in zip((a, b), towers):
        more = (side @ hidden + bias).relu() @ out
        products.append(side @ straight + more[:, :-1])
        alone.append(side**2 @ squares + more[:, -1])
    return products[0] @ products[1].T + alone[0][:, None] + alone[1]


def _info_nce(scores: Tensor) -> Tensor:
    """Eq. 3 for scores [K, K]: the mean of both directions' cross-entropy, nats."""
    own = scores.diagonal().mean()
    return 0.5 * (scores.logsumexp(0).mean() + scores.logsumexp(1).mean()) - own
