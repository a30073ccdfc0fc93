"""Held-out recordings with hidden patches, and what each decoder puts there, beside what needs no network (Figure 1).

Shapes: R recordings, L leads, T samples, N patches of a lead, P samples of a patch. Hidden: True = masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from merit import runs
from merit.config import COHORTS
from merit.data.preprocess import hardness, lead_covariances, masked_bound
from merit.data.recording import LEADS
from merit.evaluate.tasks import NotEnoughData
from merit.studies.core import study

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace

RECORDINGS = 200  # held-out recordings at most; one a patient
FITTED_ON = 2000
"""Recordings that are pretrained on from which the linear map's covariance is taken; more change the third digit."""


def _inputs(
    ws: Workspace, encoders: Sequence[str], leads: Sequence[str], encoder_seed: int, seed: int, most: int
) -> dict[str, str]:
    unknown = [lead for lead in leads if lead not in LEADS]
    if unknown or not leads:
        raise ValueError(f"leads: expected some of {', '.join(LEADS)}; got {', '.join(leads) or 'none'}")
    ws.checkpoints(encoders, (encoder_seed,))
    cohort, rows = held_out(ws, encoders, encoder_seed, seed, most)
    return {
        **{name: ws.encoder_identity(name, encoder_seed) for name in encoders},
        "store": ws.store(cohort).identity,
        "rows": runs.digest([cohort, rows.tolist()]),
        "fitted on": f"{ws.store(ws.pretraining_cohort).identity}:{len(ws.pretraining_rows)}",
    }


BOUNDED_ON = 5000  # recordings that the linear bounds are fitted on; more change the third digit


def _bounded(ws: Workspace) -> dict[str, str]:
    truth, rows = ws.truth(ws.pretraining_cohort), ws.pretraining_rows[:BOUNDED_ON]
    return {
        "store": ws.store(ws.pretraining_cohort).identity,
        "rows": runs.digest(rows.tolist()),
        "truth": runs.file_digest(truth),
        "mask ratio": str(ws.profile.model.mask_ratio),
    }


@study(over={}, needs=_bounded)
def bounds(ws: Workspace) -> pd.DataFrame:
    """What masked reconstruction is held against, on the recordings that are pretrained on: one row per bound.

    Those of `data.preprocess.hardness`, and three_lead_error: a linear map from three whole leads; linear_bound: one
    from what the mask leaves visible at an instant; noise_floor: the share that is noise of the electrodes, from the
    hidden truth of a synthetic hospital, none where that is not known.
    """
    store, truth = ws.store(ws.pretraining_cohort), ws.truth(ws.pretraining_cohort)
    signal = store.signal_uv[ws.pretraining_rows[:BOUNDED_ON]]
    values = hardness(signal)
    values["three_lead_error"] = values["three_lead_bound"]
    values["linear_bound"] = masked_bound(lead_covariances(signal).mean(0), ws.profile.model.mask_ratio)
    noise = None if truth is None else float(pd.read_parquet(truth, columns=["noise_share"])["noise_share"].mean())
    return pd.DataFrame([{"metric": name, "value": value} for name, value in (values | {"noise_floor": noise}).items()])


@study(over={}, needs=_inputs)
def reconstruction(
    ws: Workspace,
    encoders: Sequence[str] = ("merit", "mse", "cma", "ib"),
    leads: Sequence[str] = ("II", "aVL", "V1", "V5"),
    encoder_seed: int = 0,
    seed: int = 0,
    most: int = RECORDINGS,
) -> dict[str, pd.DataFrame]:
    """Masked errors on held-out recordings: all decoders reconstruct the same masked patches, drawn from `seed`.

    No patient was seen by any of the encoders. One row per encoder with a decoder, and per baseline without a network:
    mean (the recording's), interpolation (between the nearest visible samples of the lead) and instant (one linear map
    from the leads that are visible at the same instant); `errors` [R], and `drawn`, the error of the recording at the
    median error of the first decoder. A row "difference": first minus second decoder, paired. Part "example": that
    recording, one row per lead, signals in hundredths of the target's unit.
    """
    import torch

    from merit.evaluate.reconstruction import from_other_leads, interpolated, masked_errors, summary
    from merit.model.merit import scale
    from merit.model.vit import hidden_from, random_visible
    from merit.parallel import one_thread_an_operation
    from merit.pretrain.checkpoint import load_model

    cohort, rows = held_out(ws, encoders, encoder_seed, seed, most)
    store, config = ws.store(cohort), ws.profile.model
    n_leads, n_patches = config.encoder.n_leads, config.encoder.n_patches
    visible = random_visible((len(rows), n_leads, n_patches), config.mask_ratio, torch.Generator().manual_seed(seed))
    signal_mv = store.signal_uv[rows].astype(np.float32) / 1000
    signal = torch.from_numpy(signal_mv)
    target = scale(signal, config.scaling).unflatten(-1, (n_patches, config.encoder.patch)).numpy()
    hidden = hidden_from(visible, n_patches).numpy()

    filled: dict[str, np.ndarray] = {}
    with one_thread_an_operation(), torch.inference_mode():  # on the CPU, in batches: the same digits everywhere
        for name in encoders:
            model, _ = load_model(ws.checkpoint(name, encoder_seed))
            if model.decoder is None or model.config.patch_target:
                continue
            text = torch.zeros(1, model.config.text_width)
            pieces = zip(signal.split(ws.profile.embed_batch), visible.split(ws.profile.embed_batch))
            parts = [model(piece, text.expand(len(piece), -1), chosen).prediction for piece, chosen in pieces]
            filled[name] = torch.cat(parts).numpy()
    if not filled:
        raise NotEnoughData(f"none of {', '.join(encoders)} was trained with a decoder that predicts the signal itself")
    decoders = list(filled)
    own = ws.store(ws.pretraining_cohort).signal_uv[ws.pretraining_rows[:FITTED_ON]]
    filled["mean"] = np.zeros_like(target)
    filled["interpolation"] = interpolated(target, hidden)
    filled["instant"] = from_other_leads(target, hidden, lead_covariances(own).mean(0))

    errors = {name: masked_errors(prediction, target, hidden) for name, prediction in filled.items()}
    first = errors[decoders[0]]  # its median: of an even number the lower of the middle two, of equal ones the first
    place = int(np.flatnonzero(first == np.sort(first)[(len(first) - 1) // 2])[0])
    about = {
        "cohort": cohort,
        "scaling": config.scaling,
        "n": len(rows),
        "n_patients": int(store.records["patient_id"].iloc[rows].nunique()),
        "hidden_share": round(float(hidden.mean()), 4),
    }
    scores: list[dict[str, Any]] = [
        {
            "encoder": name,
            "metric": "masked_error",
            **summary(of, seed),
            "drawn": float(of[place]),
            "errors": [round(float(error), 4) for error in of],
        }
        for name, of in errors.items()
    ]
    scores += [
        {"encoder": name, "metric": "masked_error", "reason": "no decoder"} for name in encoders if name not in filled
    ]
    if len(decoders) > 1:
        paired = summary(first - errors[decoders[1]], seed)
        scores.append({"encoder": decoders[0], "other": decoders[1], "metric": "difference", **paired})

    record, chosen = store.records.iloc[rows[place]], [LEADS.index(lead) for lead in leads]

    def drawn(patches: np.ndarray) -> list[list[int]]:
        return np.rint(100 * patches[place][chosen].reshape(len(chosen), -1)).astype(int).tolist()

    example = {
        "lead": list(leads),
        "hidden": hidden[place][chosen].astype(int).tolist(),
        "target": drawn(target),
        **{name: drawn(prediction) for name, prediction in filled.items() if name != "mean"},
    }
    facts = {
        "record_id": str(record["record_id"]),
        "labels": [[str(label) for label in record["labels"]]] * len(leads),
        "fs_hz": store.fs_hz,
        "unit_mv": float(signal_mv[place].std() / (target[place].std() or 1.0)) or 1.0,
    }
    return {"scores": pd.DataFrame(scores).assign(**about), "example": pd.DataFrame(example).assign(**facts)}


def held_out(ws: Workspace, encoders: Sequence[str], encoder_seed: int, seed: int, most: int) -> tuple[str, np.ndarray]:
    """A cohort and rows of it, rising, one recording a patient whom none of the encoders has seen.

    The pretraining cohort where it has such patients (PTB-XL's folds 9 and 10), else the first other one that is there.
    `Unavailable` where no cohort has any.
    """
    from merit.evaluate.tasks import refuse_seen

    for cohort in sorted(COHORTS, key=lambda name: name != ws.pretraining_cohort):
        try:
            records = ws.store(cohort).records
        except (runs.Unavailable, ValueError):
            continue
        tables = [ws.seen(name, encoder_seed) for name in encoders]
        seen = {str(p) for of in tables for p in of.loc[of["cohort"].astype(str) == cohort, "patient_id"]}
        unseen = records[~records["patient_id"].astype(str).isin(seen).to_numpy()].reset_index(names="row")
        first = unseen.drop_duplicates("patient_id")["row"].to_numpy(copy=True)
        rows = np.random.default_rng(seed).permutation(first)[:most]
        if len(rows):
            patients = [(cohort, str(p)) for p in records["patient_id"].iloc[rows]]
            for of in tables:
                refuse_seen(patients, of)
            return cohort, np.sort(rows)
    raise runs.Unavailable(
        f"reconstruction: expected patients that none of {', '.join(encoders)} has seen; no data set here has any"
    )
