"""Held-out recordings with hidden patches, and what each decoder puts there, beside what needs no network.

Shapes: R recordings, L leads, T samples, N patches of a lead, P samples of a patch. Hidden: True = masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from merit import intervals, runs
from merit.config import COHORTS
from merit.data.leads import RIDGE, lead_covariances
from merit.data.recording import LEADS
from merit.evaluate.bootstrap import weights_of
from merit.evaluate.tasks import refuse_seen
from merit.pipeline.recordings import NoCohort

if TYPE_CHECKING:
    import pandas as pd

    from merit.data.store import Store
    from merit.model.merit import Merit
    from merit.pipeline import Workspace

RECORDINGS = 200
"""Held-out recordings at most; one a patient."""
FITTED_ON = 2000
"""Recordings that are pretrained on from which the linear map's covariance is taken; more change the third digit."""
RESAMPLES = 1000
BASELINES = ("mean", "interpolation", "instant")
"""What needs no network: the recording's mean; the line between the nearest visible samples of the same lead; one
linear map from the leads that are visible at the same instant."""
SHOWN_LEADS = ("II", "aVL", "V1", "V5")


def reconstructions(
    ws: Workspace,
    encoders: Sequence[str] = ("merit", "mse", "cma", "ib"),
    leads: Sequence[str] = SHOWN_LEADS,
    *,
    encoder_seed: int = 0,
    seed: int = 0,
    most: int = RECORDINGS,
) -> dict[str, Any]:
    """The result of stage `reconstruction`: errors on hidden patches of held-out recordings, and one of them to draw.

    Everyone fills the same hidden patches (drawn from `seed`) of the same recordings, no patient of which any of the
    encoders has seen. The one to draw is at the median error of the first encoder that has a decoder. values: cohort,
    n_recordings, n_patients, hidden_share, without_decoder, errors (name -> [R]), summary (name -> mean with 95 %
    interval over patients, quartiles), difference (first minus second decoder, paired), example. Where nothing can be
    scored, values hold a reason.
    """
    unknown = [lead for lead in leads if lead not in LEADS]
    if unknown or not leads:
        raise ValueError(f"leads: expected some of {', '.join(LEADS)}; got {', '.join(leads) or 'none'}")
    try:
        ws.checkpoints(encoders, (encoder_seed,))
        cohort, rows = held_out(ws, encoders, encoder_seed, seed, most)
        inputs = {name: ws.encoder_identity(name, encoder_seed) for name in encoders}
    except NoCohort as reason:
        return {"stage": "reconstruction", "id": None, "values": {"reason": str(reason)}}
    inputs |= {"store": ws.store(cohort).identity, "rows": runs.digest([cohort, rows.tolist()])}
    inputs["fitted on"] = f"{ws.store(ws.pretraining_cohort).identity}:{len(ws.pretraining_rows)}"

    def compute() -> dict[str, Any]:
        return _values(ws, encoders, leads, cohort, rows, encoder_seed, seed)

    parameters = {"encoders": list(encoders), "leads": list(leads), "encoder_seed": encoder_seed, "mask_seed": seed}
    return ws.result("reconstruction", compute, {**parameters, "most": most}, inputs, [__name__], seed=seed)


def held_out(ws: Workspace, encoders: Sequence[str], encoder_seed: int, seed: int, most: int) -> tuple[str, np.ndarray]:
    """A cohort and rows of it, rising, one recording a patient whom none of the encoders has seen.

    The pretraining cohort where it has such patients (PTB-XL's folds 9 and 10), else the first other one that is there.
    NoCohort where no cohort has any.
    """
    order = sorted(COHORTS, key=lambda name: name != ws.pretraining_cohort)
    for cohort in order:
        try:
            records = ws.store(cohort).records
        except (NoCohort, ValueError):
            continue
        seen = {
            str(p) for name in encoders for c, p in _patients(ws.seen(name, encoder_seed)) if c == cohort
        }  # fmt: skip
        rows = np.flatnonzero(~records["patient_id"].astype(str).isin(seen))
        rows = _one_a_patient(records, rows, seed)[:most]
        if len(rows):
            for name in encoders:
                patients = [(cohort, str(p)) for p in records["patient_id"].iloc[rows]]
                refuse_seen(patients, ws.seen(name, encoder_seed))
            return cohort, np.sort(rows)
    raise NoCohort(
        f"reconstruction: expected patients that none of {', '.join(encoders)} has seen; no data set here has any"
    )


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
    """Mean squared error over the hidden patches of each recording, float64 [R]; shapes as above. Nothing hidden: nan.

    Their mean is the training loss where each recording hides as many patches (Eq. 5).
    """
    error = np.square(np.asarray(prediction, float) - target).mean(-1)
    counts = hidden.sum((1, 2))
    total = (error * hidden).sum((1, 2))
    return np.divide(total, counts, out=np.full(len(total), np.nan), where=counts > 0)


def middle(errors: np.ndarray) -> int:
    """Place of the median error: of an even number the lower of the middle two, of equal ones the first."""
    order = np.argsort(errors, kind="stable")
    return int(np.flatnonzero(errors == errors[order[(len(errors) - 1) // 2]])[0])


def summary(errors: np.ndarray, seed: int) -> dict[str, float]:
    """Mean of [R] errors or differences, its 95 % interval from halves of the recordings (one a patient), quartiles."""
    weights = weights_of(np.arange(len(errors)), RESAMPLES, seed)[:, 1:].astype(np.float64)
    low, high = intervals.ends(errors.mean(), errors @ weights / weights.sum(axis=0))
    first, median, third = np.percentile(errors, (25, 50, 75))
    found = {"mean": errors.mean(), "low": low, "high": high, "first": first, "median": median, "third": third}
    return {name: float(value) for name, value in found.items()}


def _values(
    ws: Workspace, encoders: Sequence[str], leads: Sequence[str], cohort: str, rows: np.ndarray, encoder_seed: int,
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    store = ws.store(cohort)
    signal_mv = store.signal_uv[rows].astype(np.float32) / 1000
    filled, target, hidden = _by_decoders(ws, encoders, encoder_seed, signal_mv, seed)
    if not filled:
        return {"reason": f"none of {', '.join(encoders)} was trained with a decoder that predicts the signal itself"}
    own = ws.store(ws.pretraining_cohort).signal_uv[ws.pretraining_rows[:FITTED_ON]]
    filled["mean"] = np.zeros_like(target)
    filled["interpolation"] = interpolated(target, hidden)
    filled["instant"] = from_other_leads(target, hidden, lead_covariances(own).mean(0))
    errors = {name: masked_errors(one, target, hidden) for name, one in filled.items()}
    decoders = [name for name in encoders if name in filled]
    pair = [errors[name] for name in decoders[:2]]
    return {
        "cohort": cohort,
        "scaling": ws.profile.model.scaling,
        "n_recordings": len(rows),
        "n_patients": int(store.records["patient_id"].iloc[rows].nunique()),
        "hidden_share": round(float(hidden.mean()), 4),
        "decoders": decoders,
        "without_decoder": [name for name in encoders if name not in filled],
        "errors": {name: [round(float(e), 4) for e in one] for name, one in errors.items()},
        "summary": {name: summary(one, seed) for name, one in errors.items()},
        "difference": {"of": decoders[:2], **summary(pair[0] - pair[1], seed)} if len(pair) == 2 else None,
        "example": _example(store, rows, signal_mv, leads, filled, target, hidden, errors, decoders[0]),
    }


def _by_decoders(
    ws: Workspace, encoders: Sequence[str], encoder_seed: int, signal_mv: np.ndarray, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Prediction [R, L, N, P] of each encoder that has a decoder, the target, and what was hidden [R, L, N]."""
    import torch

    from merit.model.merit import scale
    from merit.model.vit import hidden_from, random_visible
    from merit.pretrain.checkpoint import load_model
    from merit.threads import one_thread_an_operation

    config = ws.profile.model
    shape = (len(signal_mv), config.encoder.n_leads, config.encoder.n_patches)
    visible = random_visible(shape, config.mask_ratio, torch.Generator().manual_seed(seed))
    signal = torch.from_numpy(signal_mv)
    target = scale(signal, config.scaling).unflatten(-1, (config.encoder.n_patches, config.encoder.patch))
    filled = {}
    with one_thread_an_operation(), torch.inference_mode():
        for name in encoders:
            model, _ = load_model(ws.checkpoint(name, encoder_seed))
            if model.decoder is not None and not model.config.patch_target:
                filled[name] = _fill(model, signal, visible, ws.profile.embed_batch)
    return filled, target.numpy(), hidden_from(visible, config.encoder.n_patches).numpy()


def _fill(model: Merit, signal: Any, visible: Any, batch: int) -> np.ndarray:
    """Predicted patches [R, L, N, P], in batches, on the CPU: the same digits everywhere."""
    import torch

    text = torch.zeros(1, model.config.text_width)
    parts = []
    for start in range(0, len(signal), batch):
        piece, chosen = signal[start : start + batch], visible[start : start + batch]
        parts.append(model(piece, text.expand(len(piece), -1), chosen).prediction)
    return torch.cat(parts).numpy()


def _example(
    store: Store, rows: np.ndarray, signal_mv: np.ndarray, leads: Sequence[str], filled: dict[str, np.ndarray],
    target: np.ndarray, hidden: np.ndarray, errors: dict[str, np.ndarray], by: str,
) -> dict[str, Any]:  # fmt: skip
    """The recording at the median error of `by`: signals in hundredths of the target's unit, [lead][T]."""
    place = middle(errors[by])
    chosen = [LEADS.index(lead) for lead in leads]

    def drawn(patches: np.ndarray) -> list[list[int]]:
        return np.rint(100 * patches[place][chosen].reshape(len(chosen), -1)).astype(int).tolist()

    return {
        "record_id": str(store.records["record_id"].iloc[rows[place]]),
        "labels": [str(label) for label in store.records["labels"].iloc[rows[place]]],
        "rule": f"median error of {by}",
        "fs_hz": store.fs_hz,
        "unit_mv": float(signal_mv[place].std() / (target[place].std() or 1.0)) or 1.0,
        "leads": list(leads),
        "hidden": hidden[place][chosen].astype(int).tolist(),
        "target": drawn(target),
        "filled": {name: drawn(one) for name, one in filled.items() if name != "mean"},
        "errors": {name: float(one[place]) for name, one in errors.items()},
    }


def _one_a_patient(records: pd.DataFrame, rows: np.ndarray, seed: int) -> np.ndarray:
    """The first recording of each patient, patients in an order drawn from the seed."""
    first = records.iloc[rows].drop_duplicates("patient_id").index.to_numpy(copy=True)
    return np.random.default_rng(seed).permutation(first)


def _patients(seen: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(seen["cohort"].astype(str), seen["patient_id"].astype(str)))
