from __future__ import annotations

import numpy as np
import pytest

from merit.data.leads import arrange, to_millivolts
from merit.data.recording import LEADS, RejectedRecording


def test_leads_are_found_by_name_in_any_order_and_case() -> None:
    signal = np.arange(24, dtype=np.float32).reshape(12, 2)
    order = [5, 4, 11, 0, 3, 2, 1, 10, 9, 8, 7, 6]
    names = [LEADS[i].upper() if i % 2 else f" {LEADS[i].lower()} " for i in order]
    assert np.array_equal(arrange(signal[order], names), signal)


def test_eight_leads_give_twelve_by_einthoven_and_goldberger() -> None:
    eight = np.random.default_rng(0).normal(size=(8, 50)).astype(np.float32)
    twelve = arrange(eight, ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"])
    i, ii, iii, avr, avl, avf = twelve[:6].astype(float)
    assert np.allclose(i + iii, ii, atol=1e-6)
    assert np.allclose(avr + avl + avf, 0, atol=1e-6)
    assert np.allclose(avl, i - ii / 2, atol=1e-6)
    assert np.array_equal(twelve[6:], eight[2:])
    assert twelve.dtype == np.float32


def test_a_derived_lead_does_not_replace_a_recorded_one() -> None:
    signal = np.ones((12, 3), np.float32)
    assert np.array_equal(arrange(signal, LEADS), signal)


def test_other_leads_are_left_out() -> None:
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
def test_other_leads_are_refused(names: tuple[str, ...], reason: str) -> None:
    with pytest.raises(RejectedRecording, match=rf"^{reason}"):
        arrange(np.zeros((len(names), 4), np.float32), names)


@pytest.mark.parametrize(
    ("unit", "factor"), [("mV", 1), ("MV", 1), ("uV", 1e-3), ("µV", 1e-3), ("μv", 1e-3), ("V", 1e3)]
)
def test_voltages_become_millivolts(unit: str, factor: float) -> None:
    assert to_millivolts(np.full((2, 3), 8.0), [unit, "mV"])[:, 0] == pytest.approx([8 * factor, 8])


@pytest.mark.parametrize("unit", ["mmHg", "NU", "", "mA"])
def test_a_unit_that_is_no_voltage_is_refused(unit: str) -> None:
    with pytest.raises(RejectedRecording, match=r"^foreign unit"):
        to_millivolts(np.zeros((1, 3)), [unit])
