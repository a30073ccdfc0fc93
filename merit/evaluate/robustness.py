"""Corrupted recordings, and a probe that was trained on clean ones and is scored on them, over the same patients.

What goes wrong between a heart and a file is a pure function of one recording at the rate it was published at. What is
added arises at the nine electrodes, so that Einthoven's law survives it, and is made at 500 Hz and brought to the
recording's rate by the filter that ingest uses: a 100 Hz file gets what a recorder would have kept of it. What is drawn
depends on seed, kind and record id alone: neither on the order of the records nor on the strength, so that a stronger
corruption is the same one, larger.

Legend: L = 12 leads in the order of `merit.data.recording.LEADS`, E electrodes, T samples, N recordings, D width of an
embedding, C classes, R resamples of the patients. Signals are finite.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.fft

from merit import intervals
from merit.config import ProbeConfig, SignalConfig, one_of
from merit.data.preprocess import DERIVED, MARGIN_S, derive, process, repair_gaps, resample
from merit.data.recording import LEADS, Recording, RejectedRecording
from merit.evaluate import metrics
from merit.evaluate.probing import STANDARDISED
from merit.evaluate.shift import train_head
from merit.evaluate.tasks import OFFICIAL_SPLIT, TaskData, make_splits, scored_classes

CLEAN = "clean"
"""The kind of a recording that nothing was done to."""
CHANCE = 0.5
"""AUROC of what knows nothing."""

# -- corruptions of one recording --------------------------------------------------------------------------------------

STRENGTHS: dict[str, tuple[float | str, ...]] = {
    "lost": (1, 2, 4, 6),
    "kept": ("limb", "I"),
    "swap": ("V1-V3", "LA-LL", "RA-LL", "arms"),
    "gain": (0.25, 0.5, 2, 4),
    "gain_error": (0.05, 0.1, 0.2, 0.4),
    "duration": (8, 5, 2.5),
    "hum_50": (0.1, 0.3, 1),
    "hum_60": (0.1, 0.3, 1),
    "wander": (0.1, 0.3, 1),
    "white": (20, 10, 0),
    "muscle": (20, 10, 0),
    "rate": (500, 250, 125, 50),
}
"""Kind of corruption -> its levels, from mild to strong (gain: rising); `corrupt` has the units."""

INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The leads that a machine records; the four others follow from I and II."""
SETS = {"limb": ("I", "II"), "I": ("I",)}
"""Name of a set of leads -> the independent ones among them. Lead I alone leaves nothing to derive from."""
SWAPS = {
    "V1-V3": {"V1": ("V3", 1), "V3": ("V1", 1)},
    "LA-LL": {"I": ("II", 1), "II": ("I", 1), "III": ("III", -1), "aVL": ("aVF", 1), "aVF": ("aVL", 1)},
    "RA-LL": {"I": ("III", -1), "II": ("II", -1), "III": ("I", -1), "aVR": ("aVF", 1), "aVF": ("aVR", 1)},
    "arms": {"I": ("I", -1), "II": ("III", 1), "III": ("II", 1), "aVR": ("aVL", 1), "aVL": ("aVR", 1)},
}
"""Two electrodes exchanged -> lead: which one it then shows, and with which sign. arms: RA and LA. The chest leads'
reference, the mean of the limbs, stays."""

GRID_HZ = 500.0
"""Rate at which hum and noise are made."""
HARMONICS = ((1, 1.0), (2, 0.1), (3, 0.3))
"""Multiple of the mains' frequency, and its amplitude as a share of the fundamental's."""
MAINS_DRIFT_HZ = 0.1
"""Half the range in which a recording's mains frequency lies."""
WANDER_HZ = (0.05, 0.5)
N_WANDER = 8
"""Sinusoids that a wandering baseline is the sum of."""
BANDS_HZ = {"white": (0.0, GRID_HZ / 2), "muscle": (20.0, 150.0)}


def _electrodes_to_leads() -> np.ndarray:
    """[L, E] from the potentials of RA, LA, LL, V1..V6 (Einthoven, Wilson, Goldberger)."""
    ra, la, ll, *chest = np.eye(9)
    lead_i, lead_ii = la - ra, ll - ra
    wilson = (ra + la + ll) / 3
    return np.stack([lead_i, lead_ii, *(derive(n, lead_i, lead_ii) for n in DERIVED), *(v - wilson for v in chest)])


ELECTRODES_TO_LEADS = _electrodes_to_leads()


def generator(record_id: str, kind: str, seed: int) -> np.random.Generator:
    """The source of all that is drawn for one record and kind."""
    name = hashlib.blake2b(f"{kind}\0{record_id}".encode(), digest_size=16).digest()
    return np.random.default_rng([seed, int.from_bytes(name, "big")])


def corrupt(
    signal_mv: np.ndarray, fs_hz: float, kind: str, level: float | str, record_id: str, seed: int
) -> tuple[np.ndarray, float]:
    """The recording [12, T] with a corruption of one kind and strength, float32 [12, T'], and its rate then.

    kind, and the unit of its level: lost (of the eight independent leads), kept (a name of `SETS`), swap (a name of
    `SWAPS`), gain (factor), gain_error (standard deviation of a lead's log gain), duration (seconds that are left),
    rate (Hz), hum_50 and hum_60 (amplitude of the fundamental, mV, root mean square over leads), wander (mV, root mean
    square over leads), white and muscle (signal-to-noise ratio, dB, of the mean power of the leads). ValueError for
    another kind or level.
    """
    one_of("corruption", kind, tuple(STRENGTHS))
    rng, out, n_samples = generator(record_id, kind, seed), signal_mv.copy(), signal_mv.shape[1]
    if kind in ("kept", "swap"):
        one_of(kind, level, tuple(SETS if kind == "kept" else SWAPS))
    elif kind in ("gain", "duration", "rate") and not 0 < float(level) < np.inf:
        raise ValueError(f"{kind}: expected a number above 0; got {level}")
    elif kind in ("hum_50", "hum_60", "wander") and not 0 <= float(level) < np.inf:
        raise ValueError(f"{kind}: expected a number from 0; got {level}")

    if kind in ("lost", "kept"):
        if kind == "kept":
            lost = set(INDEPENDENT) - set(SETS[str(level)])
        else:  # the first so many of a random order: what is lost at 2 is lost at 4 too
            n = int(level)
            if not 0 <= n < len(INDEPENDENT) or n != float(level):
                raise ValueError(f"lost: expected 0 to {len(INDEPENDENT) - 1} leads; got {level}")
            lost = {INDEPENDENT[k] for k in rng.permutation(len(INDEPENDENT))[:n]}
        lost |= set(DERIVED) if {"I", "II"} & lost else set()  # what follows from a lost lead is lost with it
        out[[k for k, name in enumerate(LEADS) if name in lost]] = 0

    elif kind == "swap":
        for name, (shown, sign) in SWAPS[str(level)].items():
            out[LEADS.index(name)] = sign * signal_mv[LEADS.index(shown)]

    elif kind == "gain":
        out = signal_mv * float(level)

    elif kind == "gain_error":  # each independent lead by a factor of its own; the derived leads follow I and II
        if not 0 <= float(level) < 2:
            raise ValueError(f"gain_error: expected a standard deviation from 0 to below 2; got {level}")
        factors = np.exp(float(level) * rng.standard_normal(len(INDEPENDENT)))
        own = {name: signal_mv[LEADS.index(name)] * factor for name, factor in zip(INDEPENDENT, factors)}
        own |= {name: derive(name, own["I"], own["II"]) for name in DERIVED}
        out = np.stack([own[name] for name in LEADS]) if float(level) else signal_mv

    elif kind == "duration":  # the first seconds; the store pads what is missing with zeros
        out = signal_mv[:, : max(1, round(float(level) * fs_hz))]

    elif kind == "rate":
        out, fs_hz = resample(signal_mv, fs_hz, min(float(level), fs_hz)), min(float(level), fs_hz)

    elif kind == "wander":  # breath and movement: a sum of slow sinusoids, each electrode with its own weights
        frequency_hz = np.exp(rng.uniform(*np.log(WANDER_HZ), N_WANDER))
        weights = ELECTRODES_TO_LEADS @ (rng.standard_normal((9, N_WANDER)) + 1j * rng.standard_normal((9, N_WANDER)))
        weights *= float(level) / np.sqrt((np.abs(weights) ** 2 / 2).sum(axis=1).mean())
        time_s = np.arange(n_samples) / fs_hz
        out = signal_mv + (weights @ np.exp(2j * np.pi * frequency_hz[:, None] * time_s)).real

    else:  # made at 500 Hz, of as many samples as cover the recording, and brought to its rate
        n_grid = int(np.ceil(n_samples * GRID_HZ / fs_hz)) + 2
        if kind.startswith("hum"):  # the mains with harmonics, as strong and as late as each electrode picks them up
            frequency_hz = float(kind.removeprefix("hum_")) + rng.uniform(-MAINS_DRIFT_HZ, MAINS_DRIFT_HZ)
            phasor = ELECTRODES_TO_LEADS @ np.exp(rng.normal(0, 0.5, 9) + 1j * rng.normal(0, 0.6, 9))
            phasor *= float(level) / np.sqrt((np.abs(phasor) ** 2).mean())
            phases = rng.uniform(0, 2 * np.pi, len(HARMONICS))
            turns = frequency_hz * np.arange(n_grid) / GRID_HZ
            wave = sum(w * np.exp(1j * (2 * np.pi * k * turns + phase)) for (k, w), phase in zip(HARMONICS, phases))
            added = (phasor[:, None] * wave).real
        else:  # Gaussian noise of even density within a band; the ratio holds for the whole band, before any filter
            spectrum = scipy.fft.rfft(rng.standard_normal((9, n_grid)), axis=1)
            f, (low_hz, high_hz) = scipy.fft.rfftfreq(n_grid, 1 / GRID_HZ), BANDS_HZ[kind]
            spectrum[:, (f < low_hz) | (f > high_hz)] = 0
            leads = ELECTRODES_TO_LEADS @ scipy.fft.irfft(spectrum, n_grid, axis=1)
            wanted = signal_mv.astype(np.float64).var(axis=1).mean() / 10 ** (float(level) / 10)
            added = leads * np.sqrt(wanted / (leads**2).mean())
        out = signal_mv + resample(added, GRID_HZ, fs_hz)[:, :n_samples]
    return out.astype(np.float32), fs_hz


# -- corrupted rows of a store, and the probe that is scored on them ---------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """Corrupted recordings as a store would hold them, for `embeddings.embed_store`."""

    signal_uv: np.ndarray
    """int16 [N, 12, T]."""
    fs_hz: float
    records: pd.DataFrame
    """With record_id, in the order of the signals."""
    n_rejected: int
    """Recordings that preprocessing rejects; flat lines stand in their place."""


def stored_row(
    recording: Recording, kind: str, level: float | str | None, seed: int, signal: SignalConfig, max_gap_fraction: float
) -> np.ndarray | None:
    """int16 [12, n_samples] in µV: the recording corrupted at its own rate, then preprocessed as ingest does.

    kind `CLEAN` gives the store's own row. None where preprocessing rejects what is left of it.
    """
    needed = math.ceil((signal.duration_s + MARGIN_S) * recording.fs_hz)
    signal_mv, _ = repair_gaps(recording.signal_mv[:, :needed], max_gap_fraction)
    fs_hz = recording.fs_hz
    if kind != CLEAN:
        signal_mv, fs_hz = corrupt(signal_mv, fs_hz, kind, level, recording.record_id, seed)
    try:
        return process(replace(recording, signal_mv=signal_mv, fs_hz=fs_hz), signal, max_gap_fraction)[0]
    except RejectedRecording:
        return None


def stored_rows(
    recordings: list[Recording], kind: str, level: float | str | None, seed: int, signal: SignalConfig,
    max_gap_fraction: float,
) -> Rows:  # fmt: skip
    """`stored_row` of each, in their order."""
    rows = [stored_row(recording, kind, level, seed, signal, max_gap_fraction) for recording in recordings]
    flat = np.zeros((len(LEADS), signal.n_samples), dtype=np.int16)
    names = pd.DataFrame({"record_id": [recording.record_id for recording in recordings]})
    signal_uv = np.stack([flat if row is None else row for row in rows])
    return Rows(signal_uv, float(signal.fs_hz), names, sum(row is None for row in rows))


class Probe:
    """One encoder's head with what its test part gives when nothing is wrong."""

    def __init__(self, task: TaskData, features: np.ndarray, config: ProbeConfig, device: str = "cpu") -> None:
        """A head on folds 1 to 8, features standardised there, 9 to validate, 10 to test.

        features: float32 [records of the task, D]. Raises NotEnoughData.
        """
        (self.split,) = make_splits(task.folds, OFFICIAL_SPLIT)
        self.task, self.config = task, config
        self.heads, _ = train_head(task, features, self.split, config, STANDARDISED, device)
        self.features = np.ascontiguousarray(features[self.split.test], dtype=np.float32)  # clean, of the test part
        (self.scored,) = scored_classes(task.labels, [self.split], config.min_positives)
        self.groups = task.groups[self.split.test]
        self.resampled = {"n_resamples": config.n_resamples, "seed": config.seed}
        self.pooled = self.pool(self.features)

    def pool(self, features: np.ndarray) -> intervals.Pooled:
        """AUROC of embeddings of the test part over the classes that every part of the split can score."""
        labels = self.task.labels[self.split.test]
        return intervals.pool(labels, self.heads.logits(features), self.scored, self.groups, **self.resampled)

    def clean(self) -> pd.DataFrame:
        """Macro AUROC of the clean test part, what it is over, and its resamples."""
        test, names = self.split.test, np.array(self.task.classes, dtype=object)
        return pd.DataFrame([{
            **_auroc(self.pooled), "n": len(test), "n_patients": len(np.unique(self.task.patients[test])),
            "n_train": len(self.split.train), "classes": names[self.scored].tolist(),
            "n_positive": self.task.labels[test].sum(axis=0)[self.scored].tolist(),
            "unscored": names[~self.scored].tolist(),
        }])  # fmt: skip

    def corrupted(self, features: np.ndarray) -> pd.DataFrame:
        """Scores of embeddings [N, D] of the corrupted test part, in the order of the clean one.

        auroc. change: corrupted less clean AUROC, on the same resamples of patients. moved: mean distance between the
        clean and the corrupted embedding of a recording, in standardised features, as a share of the distance between
        two recordings (root mean square over pairs); no value where all clean embeddings are one.
        """
        now = self.pool(features)
        scale = self.heads.scale[0, 0].astype(np.float64)
        apart = np.sqrt(2 * ((self.features * scale).var(axis=0)).sum())
        moved: dict[str, float | None] = {"value": None}
        if apart > 0:
            distance = np.sqrt((((features - self.features) * scale) ** 2).sum(axis=1)) / apart
            weights = intervals.weights_of(self.groups, **self.resampled).astype(np.float64)
            means = distance @ weights / weights.sum(axis=0)
            moved = intervals.around(means[0], means[1:])
        change = now.minus(self.pooled)
        return pd.DataFrame([_auroc(now), {"metric": "change", **change}, {"metric": "moved", **moved}])


def _auroc(pooled: intervals.Pooled) -> dict[str, Any]:
    """A row with the resamples to seven digits: they serve intervals of what is computed from them."""
    draws = [metrics.number(round(float(value), 7)) for value in pooled.resamples["auroc"]]
    return {"metric": "auroc", **pooled.triple(), "draws": draws}


# -- means over corruptions -------------------------------------------------------------------------------------------


def mean_changes(found: pd.DataFrame) -> pd.DataFrame:
    """Change of AUROC from clean, a mean over strengths with its resamples; one row per encoder and corruption."""
    rows = []
    for encoder, (clean, corrupted) in _levels(found).items():
        for kind, level in corrupted.items():
            rows.append({"encoder": encoder, "corruption": kind, **_row("change", level - clean)})
    return pd.DataFrame(rows, columns=["encoder", "corruption", "metric", "value", "low", "high", "draws"])


def overall(found: pd.DataFrame) -> pd.DataFrame:
    """Means over corruptions, each of which counts once, whatever its strengths; one row per encoder and metric.

    clean: AUROC. left: corrupted AUROC. change: corrupted less clean. share: what is lost of what the clean level has
    above chance, without a value where its interval reaches chance. All from the same resamples of patients.
    """
    rows = []
    for encoder, (clean, corrupted) in _levels(found).items():
        if not corrupted:
            continue
        after = np.mean(list(corrupted.values()), axis=0)
        level, above = _row("clean", clean, share=True), clean - CHANCE
        if (level["low"] or 0) <= CHANCE:  # no share of what cannot be told from nothing
            above = np.full_like(clean, np.nan)
        share = np.divide(clean - after, above, out=np.full_like(clean, np.nan), where=above > 0)
        scores = [level, _row("change", after - clean), _row("left", after, share=True), _row("share", share)]
        rows += [{"encoder": encoder, **row} for row in scores]
    return pd.DataFrame(rows, columns=["encoder", "metric", "value", "low", "high", "draws"])


def _levels(found: pd.DataFrame) -> dict[str, tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Encoder -> AUROC when clean, and its mean over the strengths of each corruption; value and resamples, [1 + R]."""
    auroc = found[(found["metric"] == "auroc") & found["value"].notna()]
    levels = {}
    for encoder, own in auroc.groupby("encoder", sort=False):
        drawn = {}
        for kind, part in own.groupby("corruption", sort=False):
            drawn[kind] = np.array([[row.value, *row.draws] for row in part.itertuples()], dtype=float).mean(axis=0)
        levels[encoder] = drawn.pop(CLEAN), drawn
    return levels


def _row(metric: str, drawn: np.ndarray, share: bool = False) -> dict[str, Any]:
    """value, low and high from a value and its resamples [1 + R]; share: it lies between 0 and 1."""
    return {"metric": metric, **intervals.around(drawn[0], drawn[1:], share=share), "draws": drawn[1:].tolist()}
