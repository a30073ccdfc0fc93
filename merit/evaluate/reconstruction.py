"""Errors of masked reconstruction, and what they are held against: interpolation and a linear map between leads.

Shapes: R recordings, L leads, T samples, N patches of a lead, P samples of a patch. Hidden: True = masked.
"""

from __future__ import annotations

import numpy as np

from merit import intervals
from merit.data.preprocess import RIDGE

RESAMPLES = 1000


def interpolated(patches: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Hidden samples on the straight line between the nearest visible ones of their lead, held constant at the ends.

    patches: [R, L, N, P]; hidden: bool [R, L, N]. A lead that is all hidden becomes zero.
    """
    out = patches.reshape(*patches.shape[:2], -1).copy()
    gone = np.repeat(hidden, patches.shape[-1], axis=-1)
    at = np.arange(out.shape[-1])
    for place in np.ndindex(out.shape[:2]):
        missing = gone[place]
        if missing.all():
            out[place] = 0.0
        elif missing.any():
            out[place][missing] = np.interp(at[missing], at[~missing], out[place][~missing])
    return out.reshape(patches.shape)


def from_other_leads(patches: np.ndarray, hidden: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Hidden patches by the best linear map from the leads that are visible at the same instant; zero where none is.

    patches: [R, L, N, P]; hidden: bool [R, L, N]; covariance: [L, L] between leads, from other recordings.
    """
    out = np.where(hidden[..., None], 0.0, patches)
    instants, gone = out.transpose(0, 2, 1, 3).copy(), hidden.transpose(0, 2, 1)
    ridge = RIDGE * np.trace(covariance) * np.eye(len(covariance))
    patterns, which = np.unique(gone.reshape(-1, gone.shape[-1]), axis=0, return_inverse=True)
    which = which.reshape(gone.shape[:2])
    for number, missing in enumerate(patterns):
        if missing.any() and not missing.all():
            seen = ~missing
            weights = np.linalg.solve((covariance + ridge)[np.ix_(seen, seen)], covariance[np.ix_(seen, missing)])
            chosen = instants[which == number]
            chosen[:, missing] = np.einsum("sm,nsp->nmp", weights, chosen[:, seen])
            instants[which == number] = chosen
    return instants.transpose(0, 2, 1, 3)


def masked_errors(prediction: np.ndarray, target: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Mean squared error over the hidden patches of each recording, float64 [R]; NaN where nothing is hidden.

    Shapes as above. Their mean is the training loss where each recording hides as many patches (Eq. 5).
    """
    error = np.square(np.asarray(prediction, float) - target).mean(-1)
    counts = hidden.sum((1, 2))
    total = (error * hidden).sum((1, 2))
    return np.divide(total, counts, out=np.full(len(total), np.nan), where=counts > 0)


def summary(errors: np.ndarray, seed: int) -> dict[str, float]:
    """Mean (`value`) of [R] errors or differences with its 95 % interval from halves of the recordings (one a patient),
    and their quartiles.
    """
    weights = intervals.weights_of(np.arange(len(errors)), RESAMPLES, seed)[:, 1:].astype(np.float64)
    low, high = intervals.ends(errors.mean(), errors @ weights / weights.sum(axis=0))
    first, median, third = np.percentile(errors, (25, 50, 75))
    numbers = {"value": errors.mean(), "low": low, "high": high, "first": first, "median": median, "third": third}
    return {name: float(value) for name, value in numbers.items()}
