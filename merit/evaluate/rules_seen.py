"""What it is worth that a patient was seen in pretraining: patients that were, against patients held out at random.

Pretraining holds out a random share of its patients and chooses nothing by them, so the two sets differ in nothing but
having been trained on. Two measures on the pretraining cohort itself: how well a recording finds its own report (needs
no labels, measures memory of pairs), and how well a linear head, trained on other seen patients, scores them (needs
labels). N records, R distinct reports, C classes, D and d widths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from merit.config import ProbeConfig, replace
from merit.evaluate import linear_probe, metrics
from merit.evaluate.splits import NotEnoughData, Split

NEAREST = 10
"""A report is found when it is among this many nearest."""
N_DRAWS = 100
"""Sets of seen patients, each as large as the held-out set, that the seen value is the mean over."""
CHUNK = 1024
MIN_PATIENTS = 8
"""Fewer held-out patients say nothing."""


@dataclass(frozen=True)
class Sides:
    """Which records of the pretraining store were trained on and which were held out, by row, and whose they are."""

    seen: np.ndarray
    held_out: np.ndarray
    patients: np.ndarray
    """str, one for each row of the store."""

    def share(self, rows: np.ndarray, n_patients: int) -> float:
        """How many patients a draw takes, as a share of those that `rows` belong to."""
        return n_patients / len(np.unique(self.patients[rows]))

    def draws(self, rows: np.ndarray, n_patients: int, seed: int) -> list[np.ndarray]:
        """N_DRAWS sets of rows: all those of n_patients patients drawn from `rows` without replacement."""
        _, patient = np.unique(self.patients[rows], return_inverse=True)
        n = int(patient.max()) + 1
        if n < 2 * n_patients:
            raise NotEnoughData(f"expected at least {2 * n_patients} seen patients, twice those held out; got {n}")
        generator = np.random.default_rng([seed, 2])
        return [rows[np.isin(patient, generator.choice(n, size=n_patients, replace=False))] for _ in range(N_DRAWS)]


def retrieval(ecg: np.ndarray, text: np.ndarray, text_row: np.ndarray, sides: Sides, seed: int = 0) -> list[dict]:
    """Rows of rule "seen" for finding the own report: recall at 10, and AUROC (own report above another's).

    ecg float32 [N, d] and text float32 [R, d], length 1, in the shared space; text_row int [N], -1 for no report. The
    gallery is the distinct reports of the scored set itself, so that both sets search among about as many.
    """
    with_report = text_row >= 0
    held_out, seen = (rows[with_report[rows]] for rows in (sides.held_out, sides.seen))
    n_patients = _enough(sides.patients[held_out], "with a report")
    proper = _found(ecg[held_out], text, text_row[held_out])
    drawn = [_found(ecg[rows], text, text_row[rows]) for rows in sides.draws(seen, n_patients, seed)]
    known = np.isin(text_row[held_out], text_row[seen])
    about = {
        "n_held_out": len(held_out), "n_held_out_patients": n_patients, "n_seen": len(seen),
        "n_reports": proper["n_reports"], "chance": proper["chance"], "share_known_reports": float(known.mean()),
    }  # fmt: skip
    return [
        _row(name, [one[key] for one in drawn], proper[key], sides.share(seen, n_patients), **about)
        for name, key in ((f"recall@{NEAREST}", "recall"), ("retrieval_auroc", "auroc"))
    ]


def _found(ecg: np.ndarray, text: np.ndarray, own_report: np.ndarray) -> dict[str, float]:
    """How the own report ranks among the distinct reports of the set; a tie costs half a place.

    ecg [n, d], text [R, d], own_report int [n]: row in text of each ECG's own report. Similarities are computed `CHUNK`
    ECGs at a time: of all of MIMIC-IV-ECG at once they would take a terabyte.
    """
    gallery, own = np.unique(own_report, return_inverse=True)
    if len(gallery) < 2:
        return {"recall": np.nan, "auroc": np.nan, "n_reports": len(gallery), "chance": np.nan}
    texts, rank = text[gallery].T.astype(np.float64), np.zeros(len(own))
    for start in range(0, len(own), CHUNK):
        at = slice(start, start + CHUNK)
        among = ecg[at].astype(np.float64) @ texts
        mine = np.take_along_axis(among, own[at, None], axis=1)
        rank[at] = (among > mine).sum(axis=1) + 0.5 * ((among == mine).sum(axis=1) - 1)
    return {
        "recall": float((rank < NEAREST).mean()),
        "auroc": float((1 - rank / (len(gallery) - 1)).mean()),
        "n_reports": len(gallery),
        "chance": min(1.0, NEAREST / len(gallery)),
    }


def probing(
    features: np.ndarray, labels: np.ndarray, sides: Sides, config: ProbeConfig, *, variant: str, device: str = "cpu"
) -> dict[str, Any]:
    """The row of rule "seen" for a linear head: macro AUROC on seen patients it was not trained on, and on held-out.

    features float32 [N, D], labels bool [N, C] of the store's rows; a recording without any label has no part. The head
    is trained on half of the seen patients. Raises NotEnoughData where no class has positives and negatives enough.
    """
    labelled = labels.any(axis=1)
    held_out, seen = (rows[labelled[rows]] for rows in (sides.held_out, sides.seen))
    n_patients = _enough(sides.patients[held_out], "with a label")
    names, patient = np.unique(sides.patients[seen], return_inverse=True)
    trains = np.random.default_rng([config.seed, 3]).permutation(len(names)) < len(names) // 2
    train, others = seen[trains[patient]], seen[~trains[patient]]
    classes = _common(labels, [train, held_out], config.min_positives)
    if not classes.any():
        raise NotEnoughData(
            f"no class has {config.min_positives} positives among {len(sides.held_out)} held-out records"
        )
    split = Split(1, train, held_out, held_out)
    plain = replace(config, select="last")
    heads = linear_probe.train(features, labels, [split], plain, variants=(variant,), device=device)
    logits = heads.logits(features, 0, 0)

    def macro(rows: np.ndarray) -> float:
        """A class that the rows hold no positive or no negative of has no part."""
        scored = classes & _common(labels, [rows], 1)
        return metrics.macro(metrics.auroc(labels[rows], logits[rows]), scored)

    drawn = [macro(rows) for rows in sides.draws(others, n_patients, config.seed)]
    about = {"n_held_out": len(held_out), "n_held_out_patients": n_patients, "n_seen": len(others)}
    share = sides.share(others, n_patients)
    return _row(
        "auroc", drawn, macro(held_out), share, **about, n_train=len(train), n_scored_classes=int(classes.sum())
    )


def _common(labels: np.ndarray, parts: list[np.ndarray], least: int) -> np.ndarray:
    """bool [C]: classes with at least so many positives and negatives in each part."""
    positives = np.stack([labels[rows].sum(axis=0) for rows in parts])
    n = np.array([[len(rows)] for rows in parts])
    return ((positives >= least) & (n - positives >= least)).all(axis=0)


def _enough(patients: np.ndarray, what: str) -> int:
    n = len(np.unique(patients))
    if n < MIN_PATIENTS:
        raise NotEnoughData(f"expected at least {MIN_PATIENTS} patients {what} held out of pretraining; got {n}")
    return n


def _row(metric: str, seen: list[float], held_out: float, share: float, **about: Any) -> dict[str, Any]:
    """published: mean over the draws of seen patients; spread: what chance alone would move their difference.

    That is the sd over draws, put right for their overlap: n of S patients without replacement vary by 1 - n / S of the
    variance of n new ones, and the mean over all S varies too, by n / S of it.
    """
    drawn = np.array(seen)
    drawn = drawn[~np.isnan(drawn)]
    values = {"rule": "seen", "metric": metric, "n_folds": 1}
    if not len(drawn) or np.isnan(held_out):
        return values | {"reason": "nothing could be scored on one of the two sides"}
    worth = float(drawn.mean() - held_out)
    means = {"published": float(drawn.mean()), "proper": float(held_out), "worth": worth}
    spread = float(drawn.std(ddof=1) * np.sqrt((1 + share) / (1 - share))) if len(drawn) > 1 else None
    lower = float((drawn <= held_out).mean())
    return values | means | {"spread": spread, "spread_over": "draws of seen patients", "share_lower": lower} | about
