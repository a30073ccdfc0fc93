"""From a heart vector to twelve leads: a lead field that varies from patient to patient, and electrodes.

Axes of the heart vector: x to the patient's left, y to the feet, z to the front. L is always the eight independent
leads I, II, V1..V6 here; the four others follow from I and II. E is the nine electrodes RA, LA, LL, V1..V6.
"""

from __future__ import annotations

import numpy as np

LEAD_FIELD = np.array(
    [
        [0.632, -0.235, -0.059],
        [0.235, 1.066, 0.132],
        [-0.515, 0.157, 0.917],
        [0.044, 0.164, 1.387],
        [0.882, 0.098, 1.277],
        [1.213, 0.127, 0.601],
        [1.125, 0.127, 0.086],
        [0.831, 0.076, -0.230],
    ]
)
"""Nominal lead field [L, 3], mV of lead per mV of heart vector: Dower's coefficients, with z turned to the front."""

ELECTRODES_TO_LEADS = np.zeros((8, 9))
"""[L, E]: I = LA - RA, II = LL - RA, and each chest electrode against Wilson's terminal (RA + LA + LL) / 3."""
ELECTRODES_TO_LEADS[0, :2] = -1, 1
ELECTRODES_TO_LEADS[1, [0, 2]] = -1, 1
ELECTRODES_TO_LEADS[2:, :3] = -1 / 3
ELECTRODES_TO_LEADS[2:, 3:] = np.eye(6)

EIGHT_TO_TWELVE = np.zeros((12, 8))
"""[12, L]: the order I, II, III, aVR, aVL, aVF, V1..V6, by Einthoven's and Goldberger's laws."""
EIGHT_TO_TWELVE[:6, :2] = [[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]]
EIGHT_TO_TWELVE[6:, 2:] = np.eye(6)


def twelve_leads(eight: np.ndarray) -> np.ndarray:
    """Twelve leads [12, T] from the independent eight [L, T], any unit."""
    derived = np.empty((12, eight.shape[1]), eight.dtype)
    lead_i, lead_ii = eight[0], eight[1]
    derived[0], derived[1], derived[2] = lead_i, lead_ii, lead_ii - lead_i
    derived[3] = -(lead_i + lead_ii) / 2
    derived[4], derived[5] = lead_i - lead_ii / 2, lead_ii - lead_i / 2
    derived[6:] = eight[2:]
    return derived


def rotation(yaw: float, roll: float, pitch: float) -> np.ndarray:
    """Rotation [3, 3]: roll in the frontal plane (positive turns the axis clockwise, to the feet), yaw seen from the
    feet (positive turns forces to the front), pitch in the sagittal plane; radians."""
    c, s = np.cos(roll), np.sin(roll)
    frontal = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    c, s = np.cos(yaw), np.sin(yaw)
    horizontal = np.array([[c, 0, -s], [0, 1.0, 0], [s, 0, c]])
    c, s = np.cos(pitch), np.sin(pitch)
    sagittal = np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])
    return frontal @ horizontal @ sagittal


def smooth_chest(rng: np.random.Generator, rows: int, correlation: float) -> np.ndarray:
    """Unit-variance random values [rows, 6] over V1..V6, neighbours correlated: near electrodes see near sources."""
    distance = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    return rng.standard_normal((rows, 6)) @ np.linalg.cholesky(correlation**distance).T


CLOSENESS = np.array([[0.82], [1.16], [1.02], [1.0], [0.97], [0.95]])
"""V1..V6: what the nominal field leaves out of how near the heart lies, set so that R and S match PTB-XL's medians."""


def patient_field(rng: np.random.Generator, spread: float) -> np.ndarray:
    """One patient's lead field [L, 3]: body shape, the heart's position and where the chest electrodes were put.

    `spread` 0 gives the nominal field in everybody, 1 the variation that the generator is tuned for.
    """
    limb = LEAD_FIELD[:2] * np.exp(rng.normal(0, 0.10 * spread, (2, 1))) + rng.normal(0, 0.06 * spread, (2, 3))
    moved = np.arange(6) + rng.normal(0, 0.35 * spread) + rng.normal(0, 0.22 * spread, 6)
    chest = np.stack([np.interp(moved, np.arange(6), column) for column in LEAD_FIELD[2:].T], axis=1)
    chest = chest * CLOSENESS
    size = np.exp(rng.normal(0, 0.12 * spread) + 0.16 * spread * smooth_chest(rng, 1, 0.5).T)
    chest = chest * size + 0.10 * spread * smooth_chest(rng, 3, 0.6).T
    return np.concatenate([limb, chest]) @ rotation(*rng.normal(0, (0.14 * spread, 0.16 * spread, 0.10 * spread)))
