"""A synthetic report read back is what it was written from."""

from __future__ import annotations

import numpy as np

from merit.data.reports import clean
from merit.synthetic.reports import phrases, write_report
from merit.synthetic.statements import code_of, statements


def test_every_wording_belongs_to_one_finding():
    assert len(code_of()) == sum(len(wordings) for wordings in phrases().values())


def test_statements_that_hold_a_comma_are_taken_whole():
    report = clean("Sinus rhythm\nRSR' pattern in V1, incomplete RBBB\nLBBB\nAbnormal ECG")
    assert statements(report) == ("SR", "IRBBB", "CLBBB", "abnormal ecg")
    assert statements("") == ()


def test_a_fast_fibrillation_is_a_fibrillation():
    report = clean("Atrial fibrillation with rapid ventricular response")
    assert statements(report) == ("AFIB", "atrial fibrillation with rapid ventricular response")


def test_whatever_is_named_is_read_back():
    rng = np.random.default_rng(0)
    codes = sorted(phrases())
    for _ in range(200):
        named = [str(code) for code in rng.choice(codes, 4, replace=False)]
        written = write_report(named, {"axis_deg": 60.0, "heart_rate_bpm": 80.0}, rng)
        if len(written) > 2:
            assert set(named) <= set(statements(clean("\n".join(written))))
