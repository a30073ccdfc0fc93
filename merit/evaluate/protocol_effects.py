"""What the rules of the published protocols do to a score: the same embeddings scored in two ways, one rule at a time.

A rule has a published and a corrected form; its effect is the published score minus the corrected one. Everything else
is held at what this book does: folds by patient, the last epoch, the threshold from the validation fold, score >= t,
corrected labels. `all` sets every rule as published at once. Scores are fractions.

N records, C classes, F folds, E epochs, M forms, R resamples, D and d widths.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from merit.config import ProbeConfig
from merit.data.store import N_FOLDS, assign_folds
from merit.evaluate import metrics
from merit.evaluate.probing import AS_PUBLISHED, Heads, checked_features, train
from merit.evaluate.tasks import (
    OFFICIAL_SPLIT,
    TEN_FOLDS,
    NotEnoughData,
    Split,
    TaskData,
    countable,
    make_splits,
    scored_classes,
)

N_RESAMPLES = 50
"""Resamples of the test patients where there is one split and so no spread over folds."""

Way = tuple[str, str]
"""A form of a metric, and the epoch after which it is taken (see `pick`)."""

ON_SAME_HEADS: tuple[tuple[str, str, Way, Way], ...] = (
    ("threshold", "f1", ("f1_oracle", "last"), ("f1", "last")),
    ("threshold", "accuracy", ("accuracy_oracle", "last"), ("accuracy", "last")),
    ("sign_oracle", "f1", ("f1_oracle_strict", "last"), ("f1_oracle", "last")),
    ("sign_oracle", "accuracy", ("accuracy_oracle_strict", "last"), ("accuracy_oracle", "last")),
    ("sign", "f1", ("f1_strict", "last"), ("f1", "last")),
    ("sign", "accuracy", ("accuracy_strict", "last"), ("accuracy", "last")),
    ("epoch", "auroc", ("auroc", "test"), ("auroc", "last")),
    ("epoch", "f1", ("f1", "test"), ("f1", "last")),
    ("epoch_validation", "auroc", ("auroc", "test"), ("auroc", "validation")),
    ("epoch_validation", "f1", ("f1", "test"), ("f1", "validation")),
)
"""Rule, metric, published way, corrected way, for the rules that one set of heads answers."""

HONEST = (("auroc", ("auroc", "last")), ("f1", ("f1", "last")), ("accuracy", ("accuracy", "last")))
"""Every metric as this book takes it."""

PUBLISHED = {"auroc": ("auroc", "test"), "f1": ("f1_oracle", "test"), "accuracy": ("accuracy_oracle_strict", "test")}
"""Every metric as MERL's code prints it: F1 at >= t, accuracy at > t, t and epoch from the scored fold."""


# -- every form of a metric, on the scores of one fold and after every epoch ------------------------------------------

FORMS = (
    "auroc_validation", "auroc", "f1", "f1_strict", "f1_oracle", "f1_oracle_strict",
    "accuracy", "accuracy_strict", "accuracy_oracle", "accuracy_oracle_strict",
)  # fmt: skip
"""Columns of M. `oracle`: threshold chosen on the scored records; without: on the validation fold. `strict`: positive
at score > t; without: at score >= t. `metrics.oracle`, as published, mixes f1_oracle and accuracy_oracle_strict."""

PLACE = {name: place for place, name in enumerate(FORMS)}


def forms(labels: np.ndarray, scores: np.ndarray, chosen: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """float64 [M]: macro means over `classes` (bool [C]) of every form; "auroc_validation" stays NaN.

    labels bool [N, C], scores [N, C]; chosen [C]: thresholds from the validation fold. NaN where `classes` has none.
    """
    labels, scores, chosen = labels[:, classes], scores[:, classes], chosen[classes]
    values = np.full(len(FORMS), np.nan)
    if not classes.any():
        return values
    _, own = metrics.best_f1(labels, scores)
    values[PLACE["auroc"]] = metrics.auroc(labels, scores).mean()
    for rule, threshold in (("", chosen), ("_oracle", own)):
        for sign, predicted in (("", scores >= threshold), ("_strict", scores > threshold)):
            values[PLACE[f"f1{rule}{sign}"]] = metrics.f1(labels, predicted).mean()
            values[PLACE[f"accuracy{rule}{sign}"]] = metrics.accuracy(labels, predicted).mean()
    return values


Trace = tuple[np.ndarray, np.ndarray]
"""What probes of all folds would have printed after each epoch: float64 [E, F, M], and [E, R, M], the one test fold
under resamples of its patients; R = 0 where there are several folds."""


def pick(values: np.ndarray, form: str, epoch: str) -> np.ndarray:
    """float64 [F] from [E, F, M]: a form after the "last" epoch, after the one with the best AUROC on the "validation"
    fold, or after that epoch of each fold where the form itself is best on the "test" fold (MERL's rule).
    """
    column = values[:, :, PLACE[form]]
    if epoch == "test":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a fold that scores no class is all NaN
            return np.nanmax(column, axis=0)
    if epoch == "validation":
        best = np.nan_to_num(values[:, :, PLACE["auroc_validation"]], nan=-np.inf).argmax(axis=0)
        return column[best, np.arange(column.shape[1])]
    return column[-1]


def trace(
    features: np.ndarray,
    task: TaskData,
    splits: list[Split],
    scored: np.ndarray,
    config: ProbeConfig,
    *,
    variant: str,
    device: str = "cpu",
    every_epoch: bool = True,
) -> Trace:
    """Train the heads of all splits once and note every form after each epoch (or after the last alone).

    features float32 [N, D] of the task's records, scored bool [F, C]. Where there is one split, its test fold is also
    scored under N_RESAMPLES resamples of its groups.
    """
    labels = task.labels
    draws: list[np.ndarray] = []  # rows of the test fold
    if len(splits) == 1:
        names, group = np.unique(task.groups[splits[0].test], return_inverse=True)
        of_group = [np.flatnonzero(group == g) for g in range(len(names))]
        generator = np.random.default_rng([config.seed, 1])
        for _ in range(N_RESAMPLES):
            draws.append(np.concatenate([of_group[g] for g in generator.integers(len(names), size=len(names))]))
    folds: list[np.ndarray] = []
    resamples: list[np.ndarray] = []

    def note(heads: Heads) -> None:
        """Every form of every fold as the heads stand, and of every resample."""
        folds.append(np.empty((len(splits), len(FORMS))))
        drawn = np.empty((len(draws), len(FORMS)))
        for f, (split, classes) in enumerate(zip(splits, scored)):
            validation, test = (heads.logits(features[rows], f, 0) for rows in (split.validation, split.test))
            known, own = labels[split.validation], labels[split.test]
            _, chosen = metrics.best_f1(known, validation)
            reached = metrics.auroc(known[:, classes], validation[:, classes]).mean() if classes.any() else np.nan
            for place, rows in ((folds[-1][f], np.arange(len(own))), *zip(drawn, draws)):
                # A class that the rows leave without positives or negatives has no part in the means.
                place[:] = forms(own[rows], test[rows], chosen, classes & countable(own[rows], 1))
                place[PLACE["auroc_validation"]] = reached  # the validation fold is not resampled
        resamples.append(drawn)

    after_epoch = note if every_epoch else None
    heads = train(features, labels, splits, config, variants=(variant,), device=device, after_epoch=after_epoch)
    if not every_epoch:
        note(heads)
    return np.stack(folds), np.stack(resamples)


# -- folds by recording -----------------------------------------------------------------------------------------------


def recording_splits(task: TaskData, seed: int = 0) -> tuple[list[Split], list[Split], dict[str, int]]:
    """Ten folds stratified on labels with every recording a group of its own: splits in which a test patient's other
    recordings may be trained or validated on, the same splits without them, and counts.

    Taking them out makes the training part smaller; from the first form as many others are taken at random, so that the
    two differ in nothing but whose recordings they are. Counts: n_several patients (groups) with several recordings,
    n_several_records of theirs, n_leaking recordings that are tested, over all folds, by a head trained on another of
    the patient. Raises NotEnoughData where no patient has two recordings.
    """
    _, group, counts = np.unique(task.groups, return_inverse=True, return_counts=True)
    several = counts[group] > 1
    if not several.any():
        raise NotEnoughData(
            f"no patient has two of its {len(group)} recordings (where no patient id is published, each counts as one)"
        )
    names = [[task.classes[c] for c in np.flatnonzero(row)] for row in task.labels]
    folds = assign_folds([f"{row:09d}" for row in range(len(group))], names, seed)
    by_recording, by_patient, leaking = [], [], 0
    for split in make_splits(folds, n_folds=N_FOLDS):
        tested, generator = np.unique(group[split.test]), np.random.default_rng([seed, split.fold])
        parts = []
        for rows in (split.train, split.validation):
            of_tested = np.isin(group[rows], tested)
            others = np.flatnonzero(~of_tested)
            dropped = generator.choice(others, size=min(int(of_tested.sum()), len(others)), replace=False)
            parts.append((np.delete(rows, dropped), rows[~of_tested]))
        (kept, pure), (kept_validation, pure_validation) = parts
        by_recording.append(Split(split.fold, kept, kept_validation, split.test))
        by_patient.append(Split(split.fold, pure, pure_validation, split.test))
        leaking += int(np.isin(group[split.test], group[kept]).sum())
    found = {"n_several": int((counts > 1).sum()), "n_several_records": int(several.sum()), "n_leaking": leaking}
    return by_recording, by_patient, found


# -- rule by rule -----------------------------------------------------------------------------------------------------


def protocol_effects(
    features: np.ndarray,
    task: TaskData,
    config: ProbeConfig,
    *,
    variant: str = AS_PUBLISHED,
    protocol: str = TEN_FOLDS,
    device: str = "cpu",
    released: tuple[np.ndarray, TaskData] | None = None,
    unseen: bool = True,
) -> pd.DataFrame:
    """Scores by rule, metric and `scored`: `published`, `corrected` and their difference `effect`, or a reason.

    The effect has its sd over folds, or with one split over resamples of its test patients (`sd_over`), and one value
    per fold (`folds`, with the `test_share` that the corrected t-test needs).

    features float32 [N, D] of the task's records. released: features and task with the labels as distributed (CSN).
    unseen: no patient of the task was seen in pretraining; otherwise folds by recording are not drawn, since they
    would score them.
    """
    rows: list[dict[str, Any]] = []
    features = checked_features(features, len(task.rows))
    options, least = {"variant": variant, "device": device}, config.min_positives

    def add(rule: str, metric: str, published: tuple[Trace, Way], corrected: tuple[Trace, Way], **about: Any) -> None:
        """Rows of the means over folds under both ways and of their difference."""
        (there, way), (here, own) = published, corrected
        a, b = pick(there[0], *way), pick(here[0], *own)
        difference = a - b
        both = ~np.isnan(difference)
        base = {"rule": rule, "metric": metric, "n_folds": int(both.sum())}
        if not both.any():
            rows.append({**base, "scored": "effect", "reason": "no fold scores a class under both ways"})
            return
        several = both.sum() > 1
        drawn = difference if several else pick(there[1], *way) - pick(here[1], *own)
        drawn = drawn[~np.isnan(drawn)]
        effect = {
            "value": float(difference[both].mean()),
            "sd": float(drawn.std(ddof=1)) if len(drawn) > 1 else None,
            "sd_over": "folds" if several else "resamples of the test patients",
            "folds": [metrics.number(value) for value in difference],
            # Folds share training recordings: one fold of F tests, one validates and F - 2 train.
            "test_share": 1 / (both.sum() - 2) if both.sum() > 2 else 0.0,
        }
        rows.append({**base, "scored": "published", "value": float(a[both].mean())})
        rows.append({**base, "scored": "corrected", "value": float(b[both].mean())})
        rows.append({**base, "scored": "effect", **effect, **about})

    splits = make_splits(task.folds, protocol, config.folds)
    honest = trace(features, task, splits, scored_classes(task.labels, splits, least), config, **options)
    for rule, metric, published, corrected in ON_SAME_HEADS:
        add(rule, metric, (honest, published), (honest, corrected))
    flawed, pure, combined = honest, honest, ["threshold", "sign_oracle", "epoch"]

    if released is not None:  # trained and scored on the labels as released, each class that those make scorable
        x, data = checked_features(released[0], len(released[1].rows)), released[1]
        there = make_splits(data.folds, protocol, config.folds)
        flawed = trace(x, data, there, scored_classes(data.labels, there, least), config, **options)
        # What the correction changes: recordings (one that only one side has counts its labels), and positives a class.
        nothing = np.zeros(len(task.classes), dtype=bool)
        ours, theirs = (dict(zip(one.rows.tolist(), one.labels)) for one in (task, data))
        changed = sum((ours.get(k, nothing) != theirs.get(k, nothing)).any() for k in set(ours) | set(theirs))
        counts = zip(task.classes, data.labels.sum(axis=0).tolist(), task.labels.sum(axis=0).tolist())
        classes = {name: [before, after] for name, before, after in counts if before != after}
        for metric, way in HONEST:
            about = {"n_changed": int(changed), "changed_classes": classes}
            add("labels", metric, (flawed, way), (honest, way), **about)
        combined.append("labels")

    try:
        if not unseen:
            raise NotEnoughData("folds by recording would score patients that this encoder was pretrained on")
        by_recording, by_patient, about = recording_splits(task, config.seed)
        both = (scored_classes(task.labels, splits, least) for splits in (by_recording, by_patient))
        scored = np.logical_and(*both)
        leaking = trace(features, task, by_recording, scored, config, **options)
        purged = trace(features, task, by_patient, scored, config, **options, every_epoch=False)
        for metric, way in HONEST:
            add("by_recording", metric, (leaking, way), (purged, way), **about)
        if protocol != OFFICIAL_SPLIT and released is None:
            flawed, pure = leaking, purged
            combined.append("by_recording")
    except NotEnoughData as reason:
        rows.append({"rule": "by_recording", "scored": "effect", "reason": str(reason)})

    for metric, way in HONEST:
        add("all", metric, (flawed, PUBLISHED[metric]), (pure, way), combined=combined)
    return pd.DataFrame(rows).assign(
        protocol=protocol, n=len(task.rows), n_patients=len(np.unique(task.patients)), n_classes=len(task.classes)
    )


# -- patients seen in pretraining against patients held out at random -------------------------------------------------
#
# Pretraining holds out a random share of its patients and chooses nothing by them, so the two sets differ in nothing
# but having been trained on. Two measures on the pretraining cohort itself: how well a recording finds its own report
# (needs no labels, measures memory of pairs), and how well a linear head, trained on other seen patients, scores them.

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

    def usable(self, there: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray, int]:
        """Held-out rows and seen rows where `there`, bool [N], is True, and the number of the held-out patients;
        NotEnoughData, which says `what` was needed, for too few."""
        held_out, seen = (rows[there[rows]] for rows in (self.held_out, self.seen))
        n = len(np.unique(self.patients[held_out]))
        if n < MIN_PATIENTS:
            raise NotEnoughData(f"expected at least {MIN_PATIENTS} patients {what} held out of pretraining; got {n}")
        return held_out, seen, n

    def draws(self, rows: np.ndarray, n_patients: int, seed: int) -> list[np.ndarray]:
        """N_DRAWS sets of rows: all those of n_patients patients drawn from `rows` without replacement."""
        _, patient = np.unique(self.patients[rows], return_inverse=True)
        n = int(patient.max()) + 1
        if n < 2 * n_patients:
            raise NotEnoughData(f"expected at least {2 * n_patients} seen patients, twice those held out; got {n}")
        generator = np.random.default_rng([seed, 2])
        return [rows[np.isin(patient, generator.choice(n, size=n_patients, replace=False))] for _ in range(N_DRAWS)]


def retrieval(
    ecg: np.ndarray, text: np.ndarray, text_row: np.ndarray, sides: Sides, seed: int = 0
) -> list[dict[str, Any]]:
    """Rows of finding the own report, seen and held out: recall at 10, and AUROC (own report above another's).

    ecg float32 [N, d] and text float32 [reports, d], length 1, in the shared space; text_row int [N], -1 for no report.
    The gallery is the distinct reports of the scored set itself, so that both sets search among about as many.
    """
    held_out, seen, n_patients = sides.usable(text_row >= 0, "with a report")
    corrected = own_report_found(ecg[held_out], text, text_row[held_out])
    drawn = [own_report_found(ecg[rows], text, text_row[rows]) for rows in sides.draws(seen, n_patients, seed)]
    share = n_patients / len(np.unique(sides.patients[seen]))
    about = {"n_held_out_patients": n_patients, "chance": metrics.number(corrected["chance"])}
    return [
        row
        for name, key in ((f"recall@{NEAREST}", "recall"), ("retrieval_auroc", "auroc"))
        for row in seen_effect(name, [draw[key] for draw in drawn], corrected[key], share, **about)
    ]


def own_report_found(ecg: np.ndarray, text: np.ndarray, own_report: np.ndarray) -> dict[str, float]:
    """How the own report ranks among the distinct reports of the set; a tie costs half a place.

    ecg [n, d], text [reports, d], own_report int [n]: row in text of each ECG's own report. Similarities are computed
    `CHUNK` ECGs at a time: of all of MIMIC-IV-ECG at once they would take a terabyte.
    """
    gallery, own = np.unique(own_report, return_inverse=True)
    if len(gallery) < 2:
        return {"recall": np.nan, "auroc": np.nan, "chance": np.nan}
    texts, rank = text[gallery].T.astype(np.float64), np.zeros(len(own))
    for start in range(0, len(own), CHUNK):
        at = slice(start, start + CHUNK)
        among = ecg[at].astype(np.float64) @ texts
        mine = np.take_along_axis(among, own[at, None], axis=1)
        rank[at] = (among > mine).sum(axis=1) + 0.5 * ((among == mine).sum(axis=1) - 1)
    return {
        "recall": float((rank < NEAREST).mean()),
        "auroc": float((1 - rank / (len(gallery) - 1)).mean()),
        "chance": min(1.0, NEAREST / len(gallery)),
    }


def held_out_probe(
    features: np.ndarray, labels: np.ndarray, sides: Sides, config: ProbeConfig, *, variant: str, device: str = "cpu"
) -> list[dict[str, Any]]:
    """Rows of a linear head: macro AUROC on seen patients that it was not trained on, and on held-out ones.

    features float32 [N, D], labels bool [N, C] of the store's rows; a recording without any label has no part. The head
    is trained on half of the seen patients. Raises NotEnoughData where no class has positives and negatives enough.
    """
    held_out, seen, n_patients = sides.usable(labels.any(axis=1), "with a label")
    names, patient = np.unique(sides.patients[seen], return_inverse=True)
    trains = np.random.default_rng([config.seed, 3]).permutation(len(names)) < len(names) // 2
    training, others = seen[trains[patient]], seen[~trains[patient]]

    classes = countable(labels[training], config.min_positives) & countable(labels[held_out], config.min_positives)
    if not classes.any():
        raise NotEnoughData(
            f"no class has {config.min_positives} positives among {len(sides.held_out)} held-out records"
        )
    split = Split(1, training, held_out, held_out)
    logits = train(features, labels, [split], config, variants=(variant,), device=device).logits(features)

    def macro(rows: np.ndarray) -> float:
        """A class that the rows hold no positive or no negative of has no part."""
        return metrics.macro(metrics.auroc(labels[rows], logits[rows]), classes & countable(labels[rows], 1))

    drawn = [macro(rows) for rows in sides.draws(others, n_patients, config.seed)]
    share = n_patients / len(np.unique(sides.patients[others]))
    return seen_effect("auroc", drawn, macro(held_out), share, n_held_out_patients=n_patients)


def seen_effect(metric: str, seen: list[float], held_out: float, share: float, **about: Any) -> list[dict[str, Any]]:
    """The mean over draws of seen patients, the held-out value, and their difference with what chance would move it.

    Its sd is that over draws, corrected for their overlap: n of S patients without replacement vary by 1 - n / S of
    the variance of n new ones, and the mean over all S varies too, by n / S of it. share: n / S.
    """
    drawn = np.array(seen)
    drawn = drawn[~np.isnan(drawn)]
    base = {"rule": "seen", "metric": metric}
    if not len(drawn) or np.isnan(held_out):
        return [{**base, "scored": "effect", "reason": "nothing could be scored on one of the two sides"}]
    sd = float(drawn.std(ddof=1) * np.sqrt((1 + share) / (1 - share))) if len(drawn) > 1 else None
    return [
        {**base, "scored": "seen", "value": float(drawn.mean())},
        {**base, "scored": "held out", "value": float(held_out)},
        {
            **base, "scored": "effect", "value": float(drawn.mean() - held_out), "sd": sd,
            "sd_over": "draws of seen patients", **about,
        },
    ]  # fmt: skip
