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
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.fft

from merit import intervals
from merit.config import ProbeConfig, SignalConfig
from merit.data.preprocess import DERIVED, MARGIN_S, derive, process, repair_gaps, resample
from merit.data.recording import LEADS, Recording, RejectedRecording
from merit.evaluate import bootstrap, metrics
from merit.evaluate.probing import STANDARDISED
from merit.evaluate.shift import Domain, Head, train_head
from merit.evaluate.tasks import OFFICIAL_SPLIT, Split, TaskData, make_splits, scored_classes

CLEAN = "clean"
"""The kind of a recording that nothing was done to."""
CHANCE = 0.5
"""AUROC of what knows nothing."""

# -- corruptions of one recording --------------------------------------------------------------------------------------

INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The leads that a machine records; the four others follow from I and II."""

SETS = {"limb": ("I", "II"), "I": ("I",)}
"""Name of a set of leads -> the independent ones among them."""

SWAPS = {
    "V1-V3": {"V1": ("V3", 1), "V3": ("V1", 1)},
    "LA-LL": {"I": ("II", 1), "II": ("I", 1), "III": ("III", -1), "aVL": ("aVF", 1), "aVF": ("aVL", 1)},
    "RA-LL": {"I": ("III", -1), "II": ("II", -1), "III": ("I", -1), "aVR": ("aVF", 1), "aVF": ("aVR", 1)},
    "arms": {"I": ("I", -1), "II": ("III", 1), "III": ("II", 1), "aVR": ("aVL", 1), "aVL": ("aVR", 1)},
}
"""Two electrodes exchanged -> lead: which one it then shows, and with which sign. arms: RA and LA."""

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
    if kind not in KINDS:
        raise ValueError(f"corruption: expected one of {', '.join(KINDS)}; got {kind!r}")
    rng = generator(record_id, kind, seed)
    if kind == "rate":
        fs_to = min(_positive(kind, level), fs_hz)
        return resample(signal_mv, fs_hz, fs_to).astype(np.float32), fs_to
    return KINDS[kind](signal_mv, fs_hz, level, rng).astype(np.float32), fs_hz


def generator(record_id: str, kind: str, seed: int) -> np.random.Generator:
    """The source of all that is drawn for one record and kind."""
    name = hashlib.blake2b(f"{kind}\0{record_id}".encode(), digest_size=16).digest()
    return np.random.default_rng([seed, int.from_bytes(name, "big")])


def lose(signal_mv: np.ndarray, lost: Collection[str]) -> np.ndarray:
    """Zero in the leads of these names and, where I or II is among them, in the four that are derived from those."""
    gone = set(lost) | (set(DERIVED) if {"I", "II"} & set(lost) else set())
    out = signal_mv.copy()
    out[[k for k, name in enumerate(LEADS) if name in gone]] = 0
    return out


def _lose_some(signal_mv: np.ndarray, fs_hz: float, level: float | str, rng: np.random.Generator) -> np.ndarray:
    """The first so many of a random order of the independent leads: what is lost at 2 is lost at 4 too."""
    n = int(level)
    if not 0 <= n < len(INDEPENDENT) or n != float(level):
        raise ValueError(f"lost: expected 0 to {len(INDEPENDENT) - 1} leads; got {level}")
    order = rng.permutation(len(INDEPENDENT))
    return lose(signal_mv, [INDEPENDENT[k] for k in order[:n]])


def _keep(signal_mv: np.ndarray, fs_hz: float, level: float | str, rng: np.random.Generator) -> np.ndarray:
    """A named set alone. Lead I alone leaves nothing to derive from."""
    return lose(signal_mv, set(INDEPENDENT) - set(SETS[_named("kept", level, SETS)]))


def _swap(signal_mv: np.ndarray, fs_hz: float, level: float | str, rng: np.random.Generator) -> np.ndarray:
    """Two electrodes exchanged; the chest leads' reference, the mean of the limbs, stays."""
    out = signal_mv.copy()
    for name, (shown, sign) in SWAPS[_named("swap", level, SWAPS)].items():
        out[LEADS.index(name)] = sign * signal_mv[LEADS.index(shown)]
    return out


def _gain(signal_mv: np.ndarray, fs_hz: float, level: float | str, rng: np.random.Generator) -> np.ndarray:
    """All leads times one factor."""
    return signal_mv * _positive("gain", level)


def _gain_error(signal_mv: np.ndarray, fs_hz: float, level: float | str, rng: np.random.Generator) -> np.ndarray:
    """Each independent lead times a factor of its own, exp of a normal number; the derived leads follow I and II."""
    spread = float(level)
    if not 0 <= spread < 2:
        raise ValueError(f"gain_error: expected a standard deviation from 0 to below 2; got {level}")
    factors = dict(zip(INDEPENDENT, np.exp(spread * rng.standard_normal(len(INDEPENDENT)))))
    own = {name: signal_mv[LEADS.index(name)] * factors[name] for name in INDEPENDENT}
    follow = {name: derive(name, own["I"], own["II"]) for name in DERIVED}
    return np.stack([(own | follow)[name] for name in LEADS]) if spread else signal_mv


def _shorten(signal_mv: np.ndarray, fs_hz: float, level: float | str, rng: np.random.Generator) -> np.ndarray:
    """The first seconds; the store pads what is missing with zeros."""
    return signal_mv[:, : max(1, round(_positive("duration", level) * fs_hz))]


def hum(
    signal_mv: np.ndarray, fs_hz: float, amplitude_mv: float, rng: np.random.Generator, mains_hz: float
) -> np.ndarray:
    """The mains with harmonics, as strong and as late as each electrode picks them up."""
    frequency_hz = mains_hz + rng.uniform(-MAINS_DRIFT_HZ, MAINS_DRIFT_HZ)
    electrodes = np.exp(rng.normal(0, 0.5, 9) + 1j * rng.normal(0, 0.6, 9))
    phasor = ELECTRODES_TO_LEADS @ electrodes
    phasor *= amplitude_mv / np.sqrt((np.abs(phasor) ** 2).mean())
    phases = rng.uniform(0, 2 * np.pi, len(HARMONICS))
    turns = frequency_hz * np.arange(_grid_samples(signal_mv, fs_hz)) / GRID_HZ
    wave = sum(w * np.exp(1j * (2 * np.pi * k * turns + phase)) for (k, w), phase in zip(HARMONICS, phases))
    return _added(signal_mv, fs_hz, (phasor[:, None] * wave).real)


def wander(signal_mv: np.ndarray, fs_hz: float, rms_mv: float, rng: np.random.Generator) -> np.ndarray:
    """A baseline that drifts with breath and movement: a sum of slow sinusoids, each electrode with its own weights."""
    low, high = np.log(WANDER_HZ)
    frequency_hz = np.exp(rng.uniform(low, high, N_WANDER))
    weights = ELECTRODES_TO_LEADS @ (rng.standard_normal((9, N_WANDER)) + 1j * rng.standard_normal((9, N_WANDER)))
    weights *= rms_mv / np.sqrt((np.abs(weights) ** 2 / 2).sum(axis=1).mean())
    time_s = np.arange(signal_mv.shape[1]) / fs_hz
    return signal_mv + (weights @ np.exp(2j * np.pi * frequency_hz[:, None] * time_s)).real


def noise(
    signal_mv: np.ndarray, fs_hz: float, snr_db: float, rng: np.random.Generator, band_hz: tuple[float, float]
) -> np.ndarray:
    """Gaussian noise of even density within a band. The ratio holds for the whole band, before any filter."""
    n_samples = _grid_samples(signal_mv, fs_hz)
    spectrum = scipy.fft.rfft(rng.standard_normal((9, n_samples)), axis=1)
    f = scipy.fft.rfftfreq(n_samples, 1 / GRID_HZ)
    spectrum[:, (f < band_hz[0]) | (f > band_hz[1])] = 0
    leads = ELECTRODES_TO_LEADS @ scipy.fft.irfft(spectrum, n_samples, axis=1)
    wanted = signal_mv.astype(np.float64).var(axis=1).mean() / 10 ** (snr_db / 10)
    return _added(signal_mv, fs_hz, leads * np.sqrt(wanted / (leads**2).mean()))


def _grid_samples(signal_mv: np.ndarray, fs_hz: float) -> int:
    """Samples at 500 Hz that cover the recording."""
    return int(np.ceil(signal_mv.shape[1] * GRID_HZ / fs_hz)) + 2


def _added(signal_mv: np.ndarray, fs_hz: float, at_grid_mv: np.ndarray) -> np.ndarray:
    """The recording and what was made at 500 Hz, brought to its rate."""
    return signal_mv + resample(at_grid_mv, GRID_HZ, fs_hz)[:, : signal_mv.shape[1]]


def _positive(kind: str, level: float | str) -> float:
    if not 0 < float(level) < np.inf:
        raise ValueError(f"{kind}: expected a number above 0; got {level}")
    return float(level)


def _amount(kind: str, level: float | str) -> float:
    if not 0 <= float(level) < np.inf:
        raise ValueError(f"{kind}: expected a number from 0; got {level}")
    return float(level)


def _named(kind: str, level: float | str, known: Collection[str]) -> str:
    if level not in known:
        raise ValueError(f"{kind}: expected one of {', '.join(known)}; got {level!r}")
    return str(level)


KINDS: dict[str, Callable[[np.ndarray, float, float | str, np.random.Generator], np.ndarray]] = {
    "lost": _lose_some,
    "kept": _keep,
    "swap": _swap,
    "gain": _gain,
    "gain_error": _gain_error,
    "duration": _shorten,
    "rate": lambda signal, *_: signal,  # the one that changes the rate: see `corrupt`
    "hum_50": lambda signal, fs, level, rng: hum(signal, fs, _amount("hum_50", level), rng, 50.0),
    "hum_60": lambda signal, fs, level, rng: hum(signal, fs, _amount("hum_60", level), rng, 60.0),
    "wander": lambda signal, fs, level, rng: wander(signal, fs, _amount("wander", level), rng),
    "white": lambda signal, fs, level, rng: noise(signal, fs, float(level), rng, BANDS_HZ["white"]),
    "muscle": lambda signal, fs, level, rng: noise(signal, fs, float(level), rng, BANDS_HZ["muscle"]),
}
"""Kind -> what it does to a recording at a rate, at a level, with a generator of its own."""


# -- corrupted rows of a store, and the probe that is scored on them ---------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """Corrupted recordings as a store would hold them, for `embeddings.embed_store`."""

    signal_uv: np.ndarray
    """int16 [N, 12, T]."""
    fs_hz: float
    records: pd.DataFrame
    """With record_id, in the order of the signals."""
    n_rejected: int = 0
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
    out = np.zeros((len(recordings), len(LEADS), signal.n_samples), dtype=np.int16)
    n_rejected = 0
    for place, recording in zip(out, recordings):
        row = stored_row(recording, kind, level, seed, signal, max_gap_fraction)
        if row is None:
            n_rejected += 1
        else:
            place[:] = row
    names = pd.DataFrame({"record_id": [recording.record_id for recording in recordings]})
    return Rows(out, float(signal.fs_hz), names, n_rejected)


@dataclass(frozen=True)
class Probe:
    """One encoder's head with what its test part gives when nothing is wrong."""

    task: TaskData
    split: Split
    head: Head
    features: np.ndarray
    """float32 [N, D] of the clean test part."""
    pooled: bootstrap.Pooled
    config: ProbeConfig

    @classmethod
    def fit(cls, task: TaskData, features: np.ndarray, config: ProbeConfig, device: str = "cpu") -> Probe:
        """A head on folds 1 to 8, features standardised there, 9 to validate, 10 to test.

        features: float32 [records of the task, D]. Raises NotEnoughData.
        """
        (split,) = make_splits(task.folds, OFFICIAL_SPLIT)
        domain = Domain(task, features, split, np.ones(len(task.rows), dtype=bool))
        head = train_head(domain, config, STANDARDISED, device)
        test = np.ascontiguousarray(features[split.test], dtype=np.float32)
        return cls(task, split, head, test, _pool(task, split, head.logits(test), config), config)

    def clean(self) -> pd.DataFrame:
        """Macro AUROC of the clean test part, what it is over, and its resamples."""
        scored = scored_classes(self.task.labels, self.split, self.config.min_positives)
        names, positives = self.task.classes, self.task.labels[self.split.test].sum(axis=0)
        return pd.DataFrame([{
            "metric": "auroc", **self.pooled.triple(), "draws": _drawn(self.pooled), "n": len(self.split.test),
            "n_patients": len(np.unique(self.task.patients[self.split.test])), "n_train": len(self.split.train),
            "classes": [name for name, yes in zip(names, scored) if yes],
            "n_positive": [int(n) for n, yes in zip(positives, scored) if yes],
            "unscored": [name for name, yes in zip(names, scored) if not yes],
        }])  # fmt: skip

    def corrupted(self, features: np.ndarray) -> pd.DataFrame:
        """Scores of embeddings [N, D] of the corrupted test part, in the order of the clean one.

        auroc. change: corrupted less clean AUROC, on the same resamples of patients. moved: mean distance between the
        clean and the corrupted embedding of a recording, in standardised features, as a share of the distance between
        two recordings (root mean square over pairs); no value where all clean embeddings are one.
        """
        now = _pool(self.task, self.split, self.head.logits(features), self.config)
        scale = self.head.heads.scale[0, 0].astype(np.float64)
        apart = np.sqrt(2 * ((self.features * scale).var(axis=0)).sum())
        moved: dict[str, float | None] = {"value": None}
        if apart > 0:
            distance = np.sqrt((((features - self.features) * scale) ** 2).sum(axis=1)) / apart
            groups = self.task.groups[self.split.test]
            weights = bootstrap.weights_of(groups, self.config.n_resamples, self.config.seed).astype(np.float64)
            means = distance @ weights / weights.sum(axis=0)
            moved = intervals.around(means[0], means[1:])
        return pd.DataFrame([
            {"metric": "auroc", **now.triple(), "draws": _drawn(now)},
            {"metric": "change", **bootstrap.paired(now, self.pooled)}, {"metric": "moved", **moved},
        ])  # fmt: skip


def _pool(task: TaskData, split: Split, logits: np.ndarray, config: ProbeConfig) -> bootstrap.Pooled:
    """AUROC of the test part over the classes that every part of the split can score."""
    labels = task.labels[split.test]
    scored = scored_classes(task.labels, split, config.min_positives)
    return bootstrap.pool_ranks(labels, logits, scored, task.groups[split.test], config)


def _drawn(pooled: bootstrap.Pooled) -> list[float | None]:
    """The resampled AUROCs, to seven digits: they serve intervals of what is computed from them."""
    return [metrics.number(round(float(one), 7)) for one in pooled.resamples["auroc"]]


# -- means over corruptions -------------------------------------------------------------------------------------------


def mean_changes(found: pd.DataFrame) -> pd.DataFrame:
    """Change of AUROC from clean, a mean over strengths with its resamples; one row per encoder and corruption."""
    rows = []
    for encoder, (clean, corrupted) in _levels(found).items():
        rows += [
            {"encoder": encoder, "corruption": kind, **_row("change", level - clean)}
            for kind, level in corrupted.items()
        ]
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
