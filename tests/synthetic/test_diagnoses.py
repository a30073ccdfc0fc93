"""Fifty recordings a diagnosis, as the PTB-XL-like site shows them, measured as real ones are.

Real values are medians [10 %, 90 %]: PTB-XL 1.0.3's official recordings at 100 Hz with the statement (NORM 242, LVH 26,
ASMI 25, IMI 24, AFIB 88 with rescaled ones, CLBBB 7, CRBBB 4), CPSC2018's seven LBBB, LUDB 1.0.1's manual delineations.
"""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
from scipy.signal import butter, find_peaks, sosfiltfilt

from merit.data.recording import LEADS
from merit.synthetic import realism
from merit.synthetic.heart import EIGHT_TO_TWELVE
from merit.synthetic.labels import Order, vocabulary
from merit.synthetic.recordings import SITES, cardiac_signal, fibrillation, make_case, render

N, FS_HZ, SITE = 50, 100, SITES["ptb-xl"]
BEFORE, AFTER = 40, 60  # samples at 100 Hz about R


@functools.cache
def orders(code: str) -> list[Order]:
    findings = frozenset({code} if "rhythm" in vocabulary()["slots"][code] else {code, "SR"})
    ages = np.clip(np.random.default_rng(0).normal(50 if code == "NORM" else 66, 14, N).round(), 18, 89)
    return [
        Order(site="ptb-xl", index=k, patient=k, age=float(ages[k]), female=k % 2 == 0, findings=findings,
              patient_seed=500 + k, record_seed=9000 + k)
        for k in range(N)
    ]  # fmt: skip


@functools.cache
def measured(code: str) -> pd.DataFrame:
    """One row per recording: hidden truth, amplitudes measured on the signal (`r_mv_V5`), P, q and T rise by lead."""
    rows = []
    for order in orders(code):
        made, signal, _ = render(order)
        row = {"findings": sorted(order.findings)} | made.truth | realism.beat_amplitudes(signal, FS_HZ)
        case = make_case(order.findings, SITE, order.age, order.female, order.patient_seed, order.record_seed)
        r_s = np.array([t for t, _ in cardiac_signal(case, FS_HZ, 1000, SITE.guard_s)[1].ventricular])
        at = [k for k in np.rint(r_s * FS_HZ).astype(int) if BEFORE <= k < 1000 - AFTER]
        beat = np.median([signal[:, k - BEFORE : k + AFTER] for k in at], axis=0)
        beat -= np.median(beat[:, BEFORE - 10 : BEFORE - 6], axis=1, keepdims=True)
        for lead, y in zip(LEADS, beat):
            qrs, p, late = y[BEFORE - 6 : BEFORE + 7], y[BEFORE - 28 : BEFORE - 7], y[BEFORE + 12 : BEFORE + 42]
            row[f"p_{lead}"], row[f"q_{lead}"] = p.max(), max(-qrs[: qrs.argmax() + 1].min(), 0)
            below = np.flatnonzero(late[: late.argmax()] < 0.25 * late.max())
            row[f"rise_{lead}"] = 10 * (12 + (below[-1] if len(below) else 0)) / np.sqrt(60 / row["heart_rate_bpm"])
        rows.append(row)
    return pd.DataFrame(rows)


MEDIANS = [  # diagnosis, measurement, lowest and highest median
    # NORM. P .08 [.05, .12] and .13 [.06, .20]; R .15 .42 .81 1.20 1.24 1.04; S .80 1.22; T .22 .29 .42 .34 .27
    ("NORM", "p_I", 0.06, 0.11), ("NORM", "p_II", 0.09, 0.17),
    ("NORM", "r_mv_V1", 0.10, 0.24), ("NORM", "r_mv_V2", 0.30, 0.60), ("NORM", "r_mv_V3", 0.60, 1.05),
    ("NORM", "r_mv_V4", 0.95, 1.50), ("NORM", "r_mv_V5", 1.00, 1.50), ("NORM", "r_mv_V6", 0.90, 1.25),
    ("NORM", "s_mv_V1", -1.0, -0.6), ("NORM", "s_mv_V2", -1.5, -0.9), ("NORM", "t_mv_I", 0.16, 0.30),
    ("NORM", "t_mv_II", 0.22, 0.38), ("NORM", "t_mv_V4", 0.30, 0.55), ("NORM", "t_mv_V5", 0.25, 0.45),
    # a quarter of T is reached 168 ms after R at 60 a minute in II, 169 ms in V5: an ST segment of about 110 ms
    ("NORM", "rise_II", 145, 200), ("NORM", "rise_V5", 145, 200),
    # PTB-XL NORM with SR 69 a minute; LUDB PR 160, QRS 96, P 102 ms, QTc (Fridericia) 407 where QRS is narrow
    ("NORM", "heart_rate_bpm", 64, 74), ("NORM", "pr_ms", 148, 172), ("NORM", "qrs_ms", 84, 104),
    ("NORM", "p_ms", 94, 110), ("NORM", "qtc_ms", 397, 417), ("NORM", "axis_deg", 25, 60),  # 38 [-12, 76]
    # CLBBB. S 1.45 3.05 3.12 (CPSC 2.24 2.96 1.83), R in I .64, aVL .90, V6 .76, T in V2 1.13, V6 -.17
    ("CLBBB", "s_mv_V1", -2.0, -1.1), ("CLBBB", "s_mv_V2", -3.1, -2.0), ("CLBBB", "s_mv_V3", -3.1, -1.7),
    ("CLBBB", "r_mv_I", 0.4, 0.9), ("CLBBB", "r_mv_aVL", 0.4, 1.0), ("CLBBB", "r_mv_V6", 0.5, 1.0),
    ("CLBBB", "t_mv_V2", 0.6, 1.4), ("CLBBB", "t_mv_V6", -0.4, -0.1), ("CLBBB", "axis_deg", -45, 0),  # -33 [-57, 22]
    ("CLBBB", "qrs_ms", 130, 155),
    # CRBBB. R' in V1 .90, S in I .27 and V6 .21 (.33 with rescaled ones), T in V1 -.30
    ("CRBBB", "r_mv_V1", 0.5, 1.1), ("CRBBB", "s_mv_I", -0.45, -0.15), ("CRBBB", "s_mv_V6", -0.5, -0.15),
    ("CRBBB", "t_mv_V1", -0.5, -0.15), ("CRBBB", "qrs_ms", 120, 140),
    # LVH. R in V5 2.14, V6 1.71, S in V1 -1.26, T in V6 .04 (-.07 with rescaled ones), upright in V3 .38
    ("LVH", "r_mv_V5", 1.5, 2.4), ("LVH", "r_mv_V6", 1.2, 2.0), ("LVH", "s_mv_V1", -1.8, -0.9),
    ("LVH", "t_mv_V6", -0.3, 0.1), ("LVH", "t_mv_V3", 0.1, 0.6),
    # IMI. Q in III .37, aVF .10; axis -5 [-80, 50]. ASMI. R .09 .16 .21 .35 in V1..V4. LAFB. Axis -50 [-87, -31]
    ("IMI", "q_III", 0.2, 0.6), ("IMI", "q_aVF", 0.08, 0.4), ("IMI", "axis_deg", -40, 15),
    ("ASMI", "r_mv_V1", 0.0, 0.15), ("ASMI", "r_mv_V2", 0.0, 0.25), ("ASMI", "r_mv_V3", 0.05, 0.35),
    ("ASMI", "r_mv_V4", 0.2, 0.65), ("LAFB", "axis_deg", -65, -40),
]  # fmt: skip


@pytest.mark.parametrize(("code", "name", "low", "high"), MEDIANS)
def test_medians_are_near_the_real_ones(code, name, low, high):
    table = measured(code)
    values = table["qt_ms"] * np.cbrt(table["heart_rate_bpm"] / 60) if name == "qtc_ms" else table[name]
    assert low <= values.median() <= high


def test_normal_recordings_show_p_st_and_upright_t():
    norm = measured("NORM")
    assert (norm["p_I"] > 0.03).mean() >= 0.9  # real: .95 above .045
    assert (norm["p_II"] > 0.05).mean() >= 0.9
    assert (norm["rise_II"] > 110).mean() >= 0.85  # real: .93
    assert (norm[[f"t_mv_{lead}" for lead in ("I", "II", "V4", "V5", "V6")]] > 0).all(axis=1).mean() >= 0.9
    r = norm[[f"r_mv_V{k}" for k in range(1, 5)]].median()
    assert r.is_monotonic_increasing


def clean(code: str, k: int, fs_hz: int = 500):
    """Case, events and noise-free twelve leads of a recording."""
    o = orders(code)[k]
    case = make_case(o.findings, SITE, o.age, o.female, o.patient_seed, o.record_seed)
    eight, events = cardiac_signal(case, fs_hz, 10 * fs_hz, 0.1325 / 150)
    return case, events, EIGHT_TO_TWELVE @ eight


def test_left_bundle_branch_block_is_broad_notched_and_discordant():
    table = measured("CLBBB")
    assert (table["s_mv_V2"] < -3).mean() < 0.45  # real: 7 of 14
    assert (table["s_mv_V2"] < -4.5).mean() <= 0.1
    assert (table["qrs_ms"] >= 119).mean() >= 0.98
    assert (table["r_mv_V5"] > -table["s_mv_V5"]).mean() >= 0.75
    assert (table[["q_I", "q_V5", "q_V6"]] < 0.06).all(axis=1).mean() >= 0.9
    assert table["axis_deg"].between(-75, 75).mean() >= 0.95
    assert (table[["t_mv_I", "t_mv_V6"]] < 0.05).all(axis=1).mean() >= 0.8
    assert (table[["t_mv_V1", "t_mv_V2"]] > 0).all(axis=1).mean() >= 0.95
    notched = []
    for k in range(N):
        _, events, signal = clean("CLBBB", k)
        at = [round(500 * t) for t, _ in events.ventricular if 0.5 < t < 9.3]
        beat = np.median([signal[:, t - 60 : t + 60] for t in at], axis=0)
        leads = [beat[LEADS.index(lead)] for lead in ("I", "aVL", "V5", "V6")]
        notched.append(sum(len(find_peaks(y, prominence=0.03 * max(y.max(), 0.1))[0]) >= 2 for y in leads))
    assert np.mean(np.array(notched) >= 2) >= 0.75


def test_fibrillation_fills_every_pause_most_of_all_in_v1():
    size = {lead: [] for lead in ("I", "II", "V1")}
    for k in range(N):
        case, events, _signal = clean("AFIB", k)
        assert not events.atrial
        waves = EIGHT_TO_TWELVE @ fibrillation(case.heart, 10.0, 500, np.random.default_rng(k))
        v1 = sosfiltfilt(butter(2, (3, 12), "band", fs=500, output="sos"), waves[LEADS.index("V1")])
        per_second = v1.reshape(10, 500).std(axis=1)
        assert per_second.min() > 0.3 * per_second.mean()  # never gone
        peaks = find_peaks(v1, distance=40)[0]
        assert 3.5 < 5000 / 10 / np.diff(peaks).mean() < 10  # waves a second
        assert np.diff(peaks).std() > 0.12 * np.diff(peaks).mean()
        assert v1[peaks].std() > 0.2 * v1[peaks].mean()
        for lead in size:
            size[lead].append(waves[LEADS.index(lead)].std())
    size = {lead: np.array(values) for lead, values in size.items()}
    assert (size["V1"] > size["II"]).mean() >= 0.8  # real: 82 % in TQ, median ratio 1.46
    assert (size["V1"] > size["I"]).mean() >= 0.8
    assert 0.015 < np.median(size["V1"]) < 0.045  # real: .024 mV in TQ intervals, 3 to 12 Hz, .014 of it in NORM too
    assert 0.15 < (measured("AFIB")["rr_sd_ms"] * measured("AFIB")["heart_rate_bpm"] / 60_000).median() < 0.27  # .21


def test_fibrillation_is_the_same_at_every_rate():
    heart = clean("AFIB", 0)[0].heart
    fast, slow = (fibrillation(heart, 10.0, fs_hz, np.random.default_rng(0)) for fs_hz in (500, 100))
    assert fast[:, ::5] == pytest.approx(slow, abs=1e-6)


def test_complete_block_has_an_escape_and_p_waves_of_their_own():
    narrow = []
    for k in range(N):
        _, events, _ = clean("3AVB", k)
        name = events.ventricular[0][1]
        r, p = (np.diff([t for t, _ in part if 0 < t < 10]) for part in events[::-1])
        assert len({beat for _, beat in events.ventricular}) == 1
        assert (38 < 60 / r.mean() < 62) if name == "J" else (27 < 60 / r.mean() < 42)
        assert p.std() < 0.08 * p.mean()
        assert r.std() < 0.08 * r.mean()
        assert 60 / p.mean() > 1.2 * 60 / r.mean()
        narrow.append(name == "J")
    assert np.mean(narrow) > 0.6


def test_the_typical_recording_is_one_of_its_class_near_all_medians():
    table = pd.concat([measured("NORM"), measured("CLBBB")], ignore_index=True)
    table["findings"] = [[*found, "IMI"] if k < 10 or k > 90 else found for k, found in enumerate(table["findings"])]
    for code in ("NORM", "CLBBB"):
        row = table.loc[realism.typical(table, code)]
        assert code in row["findings"]
        assert "IMI" not in row["findings"]
        mine = measured(code)
        for name in ("qrs_ms", "axis_deg", "r_mv_V5"):
            assert mine[name].quantile(0.05) < row[name] < mine[name].quantile(0.95)
    with pytest.raises(ValueError, match="no recording has 'PACE'"):
        realism.typical(table, "PACE")
