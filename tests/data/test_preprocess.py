"""Leads by name, gaps, rates and scale, each against a slow or closed form; names and reports of unknown origin."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from merit.data import preprocess
from merit.data.preprocess import arrange, hardness, masked_bound, repair_gaps, resample, to_microvolts, to_millivolts
from merit.data.recording import LEADS, MAX_CHARACTERS, RejectedRecording, clean, inside, name_problem

NAN = np.nan

# -- leads and units --------------------------------------------------------------------------------------------------


def test_leads_are_found_by_name_in_any_order_and_case():
    signal = np.arange(30, dtype=np.float32).reshape(15, 2)
    order = [5, 4, 11, 0, 3, 2, 1, 10, 9, 8, 7, 6]
    names = [LEADS[i].upper() if i % 2 else f" {LEADS[i].lower()} " for i in order]
    assert np.array_equal(arrange(signal[order], names), signal[:12])
    names = ["vx", *(name.lower() for name in LEADS[::-1]), "vy", "MCL1"]  # PTB Diagnostic has Frank's leads too
    assert np.array_equal(arrange(signal, names), signal[12:0:-1])


def test_eight_leads_give_twelve_by_einthoven_and_goldberger():
    eight = np.random.default_rng(0).normal(size=(8, 50)).astype(np.float32)
    twelve = arrange(eight, ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"])
    i, ii, iii, avr, avl, avf = twelve[:6].astype(float)
    assert np.allclose(i + iii, ii, atol=1e-6)
    assert np.allclose(avr + avl + avf, 0, atol=1e-6)
    assert np.allclose(avl, i - ii / 2, atol=1e-6)
    assert np.array_equal(twelve[6:], eight[2:])
    assert twelve.dtype == np.float32
    recorded = np.ones((12, 3), np.float32)  # a derived lead does not replace a recorded one
    assert np.array_equal(arrange(recorded, LEADS), recorded)


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


# -- gaps, rate, length, scale ----------------------------------------------------------------------------------------


def slow_repair(values: list[float]) -> list[float]:
    """One lead, sample by sample."""
    good = [i for i, v in enumerate(values) if np.isfinite(v)]
    out = []
    for i, v in enumerate(values):
        before, after = [g for g in good if g <= i], [g for g in good if g >= i]
        if np.isfinite(v):
            out.append(v)
        elif before and after:
            a, b = before[-1], after[0]
            out.append(values[a] + (values[b] - values[a]) * (i - a) / (b - a))
        else:
            out.append(values[(before or after[:1])[-1]])
    return out


def test_a_gap_is_bridged_from_its_own_lead():
    values = [NAN, 1.0, 2.0, NAN, np.inf, *[8.0] * 14, -np.inf]
    whole = np.tile(np.arange(20, dtype=np.float32), (12, 1))
    assert repair_gaps(whole)[0] is whole
    signal = whole.copy()
    signal[3] = values
    repaired, count = repair_gaps(signal, max_fraction=0.5)
    assert repaired[3] == pytest.approx(slow_repair(values))
    assert repaired[3, :6] == pytest.approx([1, 1, 2, 4, 6, 8])
    assert count == 4
    assert np.array_equal(np.delete(repaired, 3, axis=0), np.delete(whole, 3, axis=0))
    assert np.isnan(signal[3, 0]), "the input is left as it is"


def test_too_long_a_gap_is_derived_or_refused():
    signal = np.random.default_rng(0).normal(size=(12, 20)).astype(np.float32)
    signal[4] = NAN
    assert repair_gaps(signal)[0][4] == pytest.approx(signal[0] - signal[1] / 2, abs=1e-6)
    signal[7, :6] = NAN
    with pytest.raises(RejectedRecording, match=r"^not finite: V2 30% of the samples, at most 20%"):
        repair_gaps(signal)
    assert repair_gaps(signal, max_fraction=0.3)[1] == 26
    signal[6] = NAN
    with pytest.raises(RejectedRecording, match=r"^not finite: V1 100%"):
        repair_gaps(signal, max_fraction=0.3)
    with pytest.raises(RejectedRecording, match="no sample of any lead"):
        repair_gaps(np.full((12, 5), NAN))


@pytest.mark.parametrize("fs_hz", [500.0, 257.0, 360.0, 128.0, 99.5, 1000.0, 250.0, 60.0, 99.9999])
def test_resampling_keeps_sines_offsets_and_drifts_and_their_timing(fs_hz):
    t, wanted = np.arange(round(10 * fs_hz)) / fs_hz, np.arange(1000) / 100
    out = resample(np.stack([np.sin(14 * np.pi * t) + 0.3 * np.cos(2 * np.pi * t), 1 + 0.5 * t]), fs_hz, 100.0)
    assert out.shape == (2, 1000)
    expected = np.sin(14 * np.pi * wanted) + 0.3 * np.cos(2 * np.pi * wanted)
    assert np.abs(out[0] - expected)[100:-100].max() < 5e-3
    if fs_hz in (500.0, 257.0):
        assert np.abs(out[1] - (1 + 0.5 * wanted)).max() < 5e-3, "no transient at the ends"


def test_rates_that_are_equal_too_low_or_absurd():
    out = resample(np.sin(2 * np.pi * 90 * np.arange(5000) / 500)[None], 500.0, 100.0)
    assert np.abs(out[:, 100:-100]).max() < 0.01, "what the new rate cannot carry is removed"
    signal = np.ones((12, 5))
    assert resample(signal, 100.0, 100) is signal
    for rate in (1e9, 1e-6):
        with pytest.raises(RejectedRecording, match=r"^invalid rate: "):
            resample(signal, rate, 100.0)


def test_length_is_fixed_at_the_end():
    signal = np.arange(8).reshape(2, 4)
    assert preprocess.fix_length(signal, 3).tolist() == [[0, 1, 2], [4, 5, 6]]
    assert preprocess.fix_length(signal, 6).tolist() == [[0, 1, 2, 3, 0, 0], [4, 5, 6, 7, 0, 0]]


def test_microvolts_round_trip_and_are_clipped_and_counted_never_wrapped():
    digital = np.arange(-32767, 32768)
    for dtype in (np.float32, np.float64):
        stored, saturated = to_microvolts((digital / 1000.0).astype(dtype)[None])
        assert np.array_equal(stored[0], digital)
        assert saturated == 0
    stored, saturated = to_microvolts(np.array([[40.0, -40.0, 32.7674, 0.0006, -32.768]]))
    assert stored.tolist() == [[32767, -32767, 32767, 1, -32767]]
    assert saturated == 3


# -- what follows from other leads ------------------------------------------------------------------------------------


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
    ours = hardness(np.einsum("lk,nkt->nlt", rng.normal(size=(12, 3)), rng.normal(size=(5, 3, 200))))
    assert min(ours["own_three"], ours["common_three"]) > 0.999  # z-scoring adds one common offset
    assert ours["three_lead_bound"] < 0.03


def test_masked_bound_in_closed_form():
    assert masked_bound(np.eye(4), 0.75) == pytest.approx(1, abs=1e-4)
    alike = np.ones((3, 3)) + 1e-9 * np.eye(3)
    # Three equal leads: a hidden one is lost only if the two others are hidden too.
    assert masked_bound(alike, 0.5) == pytest.approx(0.25, abs=1e-3)


# -- names and reports ------------------------------------------------------------------------------------------------

OUTSIDE = ["../x", "a/../../x", "/etc/passwd", "a\\..\\x", "http://a/b", "x::http://a", "a\nb", "a\x00b", "..", "c:/x"]


@pytest.mark.parametrize("name", [*OUTSIDE, "  ", "C:x"])
def test_names_that_lead_outside_are_refused_by_their_text(name, tmp_path):
    with pytest.raises(RejectedRecording):
        inside(str(tmp_path), name)
    assert name_problem("files/p1000/s..1/x.y") == ""
    assert inside(str(tmp_path), "a/b.hea") == str(tmp_path / "a" / "b.hea")


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("Sinus rhythm\nBorderline ECG", "sinus rhythm, borderline ecg"),
        ("Normal EKG ***", "normal ecg"),
        ("*** Unconfirmed ***\n\n=- Abnormal  ekg =", "unconfirmed, abnormal ecg"),
        ("rate = 205/min", "rate = 205/min"),
        ("tab\there\r and\x00 null\x1b[31m\u202e", "tab here and null [31m"),
        ("Vorhof\u00dcberbelastung", "vorhofüberbelastung"),
        ("  ", ""),
        ("***\n= -\n", ""),
    ],
)
def test_reports_are_cleaned_and_cut(raw, cleaned):
    assert clean(raw) == cleaned
    assert clean(cleaned) == cleaned
    assert len(clean("sinus " * 100_000)) <= MAX_CHARACTERS
