"""Reports name some of what is there, in words, never a measurement; read back they are what they were written from."""

from __future__ import annotations

import numpy as np
from merit.synthetic.reports import MAX_STATEMENTS, code_of, named_findings, phrases, statements, write_report

from merit.data.recording import clean
from merit.synthetic.labels import sample_findings

TRUTH = {"axis_deg": 40.0, "heart_rate_bpm": 72.0}


def left_out(omission: float) -> tuple[float, float]:
    """Share of findings left out, and share of recordings that name nothing."""
    rng = np.random.default_rng(0)
    found = sample_findings("mimic-iv-ecg", 600, 0, np.random.default_rng(1))
    named = [named_findings(f, omission, rng) for f in found]
    assert all(set(n) <= f for n, f in zip(named, found))
    return 1 - sum(map(len, named)) / sum(map(len, found)), np.mean([not n for n in named])


def test_omission_is_the_share_asked_for():
    for omission in (0.1, 0.2, 0.3):
        share, nothing = left_out(omission)
        assert abs(share - omission) < 0.04, (omission, share)
        assert nothing == 0
    assert left_out(0.0)[0] == 0


def test_wording_varies_and_some_reports_are_missing():
    rng = np.random.default_rng(2)
    reports = [tuple(write_report(["SR", "IMI"], TRUTH, rng)) for _ in range(600)]
    assert len(set(reports)) > 10
    assert 0 < sum(not r for r in reports) < 40
    assert max(len(r) for r in reports) <= MAX_STATEMENTS


def test_no_phrase_carries_a_measurement():
    for options in phrases().values():
        for phrase in options:
            assert "," not in phrase[-1]
            assert not any(unit in phrase.split() for unit in ("ms", "mV", "bpm", "degrees"))


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
