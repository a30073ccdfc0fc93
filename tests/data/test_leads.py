from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from merit.data.preprocess import arrange, hardness, masked_bound, to_millivolts
from merit.data.recording import LEADS, RejectedRecording


def test_leads_are_found_by_name_in_any_order_and_case():
    signal = np.arange(24, dtype=np.float32).reshape(12, 2)
    order = [5, 4, 11, 0, 3, 2, 1, 10, 9, 8, 7, 6]
    names = [LEADS[i].upper() if i % 2 else f" {LEADS[i].lower()} " for i in order]
    assert np.array_equal(arrange(signal[order], names), signal)


def test_eight_leads_give_twelve_by_einthoven_and_goldberger():
    eight = np.random.default_rng(0).normal(size=(8, 50)).astype(np.float32)
    twelve = arrange(eight, ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"])
    i, ii, iii, avr, avl, avf = twelve[:6].astype(float)
    assert np.allclose(i + iii, ii, atol=1e-6)
    assert np.allclose(avr + avl + avf, 0, atol=1e-6)
    assert np.allclose(avl, i - ii / 2, atol=1e-6)
    assert np.array_equal(twelve[6:], eight[2:])
    assert twelve.dtype == np.float32


def test_a_derived_lead_does_not_replace_a_recorded_one():
    signal = np.ones((12, 3), np.float32)
    assert np.array_equal(arrange(signal, LEADS), signal)


def test_other_leads_are_left_out():
    """PTB Diagnostic has Frank's vx, vy, vz beside the twelve."""
    signal = np.arange(30, dtype=np.float32).reshape(15, 2)
    names = ["vx", *(name.lower() for name in LEADS[::-1]), "vy", "MCL1"]
    assert np.array_equal(arrange(signal, names), signal[12:0:-1])


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("MLII", *LEADS[1:]), "unknown lead: 'MLII'"),
        (("I", "I", *LEADS[2:]), "repeated lead: I"),
        (LEADS[:-1], "missing lead: V6"),
        (LEADS[1:], "missing lead: I"),
        (("", *LEADS[1:-1], "Vx"), "unknown lead: '', 'Vx'"),
        (("",) * 12, "missing lead: none of 12 signals has a name"),
    ],
)
def test_other_leads_are_refused(names, reason):
    with pytest.raises(RejectedRecording, match=rf"^{reason}"):
        arrange(np.zeros((len(names), 4), np.float32), names)


@pytest.mark.parametrize(
    ("unit", "factor"), [("mV", 1), ("MV", 1), ("uV", 1e-3), ("µV", 1e-3), ("μv", 1e-3), ("V", 1e3)]
)
def test_voltages_become_millivolts(unit, factor):
    assert to_millivolts(np.full((2, 3), 8.0), [unit, "mV"])[:, 0] == pytest.approx([8 * factor, 8])


@pytest.mark.parametrize("unit", ["mmHg", "NU", "", "mA"])
def test_a_unit_that_is_no_voltage_is_refused(unit):
    with pytest.raises(RejectedRecording, match=r"^foreign unit"):
        to_millivolts(np.zeros((1, 3)), [unit])


def test_hardness_agrees_with_its_definition():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(3, 4, 50)) * np.array([1, 2, 3, 4])[:, None]
    signal[:, 3] += signal[:, 0]
    z = [(x - x.mean()) / x.std() for x in signal]
    covariances = [x @ x.T / 50 for x in z]
    own = np.mean([np.sort(np.linalg.eigvalsh(c))[-3:].sum() / np.trace(c) for c in covariances])
    everything = np.concatenate(z, axis=1)
    bounds = []
    for seen in combinations(range(4), 3):
        hidden = [k for k in range(4) if k not in seen]
        weights, *_ = np.linalg.lstsq(everything[list(seen)].T, everything[hidden].T, rcond=None)
        left = everything[hidden].T - everything[list(seen)].T @ weights
        bounds.append((left**2).sum() / (everything[hidden] ** 2).sum())
    ours = hardness(signal)
    assert ours["own_three"] == pytest.approx(own, rel=1e-6)
    assert ours["three_lead_bound"] == pytest.approx(np.mean(bounds), rel=1e-3)
    assert ours["own_three"] > ours["common_three"]


def test_a_fixed_lead_field_would_be_trivial():
    rng = np.random.default_rng(1)
    signal = np.einsum("lk,nkt->nlt", rng.normal(size=(12, 3)), rng.normal(size=(5, 3, 200)))
    ours = hardness(signal)
    assert ours["own_three"] > 0.999  # z-scoring adds one common offset
    assert ours["common_three"] > 0.999
    assert ours["three_lead_bound"] < 0.03


def test_masked_bound_in_closed_form():
    assert masked_bound(np.eye(4), 0.75) == pytest.approx(1, abs=1e-4)
    alike = np.ones((3, 3)) + 1e-9 * np.eye(3)
    # Three equal leads: a hidden one is lost only if the two others are hidden too.
    assert masked_bound(alike, 0.5) == pytest.approx(0.25, abs=1e-3)
