"""The page on the recordings: counts beside the published ones, refusals by reason, the recording that is drawn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from merit.report import recordings

MANIFEST = {
    "counts": {"rows": 21_799, "stored": 2000, "refused": 0, "rows_without_waveform": 19_799, "patients": 1900},
    "rejected": {"no waveform file": 19_799, "<b>": 2},
}


@pytest.fixture
def store() -> SimpleNamespace:
    """Three recordings, the second of which carries AFIB alone."""
    labels = [["AFIB", "LVH"], ["AFIB"], ["NORM"]]
    records = pd.DataFrame({"record_id": ["a", "b", "c"], "labels": labels})
    signal_uv = np.arange(3, dtype=np.int16)[:, None, None] * np.full((1, 12, 5), 1000, dtype=np.int16)
    return SimpleNamespace(cohort="csn", fs_hz=100.0, records=records, signal_uv=signal_uv)


def test_counts_stand_beside_the_published_ones_and_reasons_in_their_place():
    text = recordings.counts({"ptb-xl": MANIFEST, "csn": "no csn under <b>"}).text
    assert "19,799" in text
    assert "21,837 recordings (paper, A.2.1)" in text
    assert "no csn under &lt;b&gt;" in text
    assert ">refused<" not in text


def test_refusals_are_ordered_and_escaped():
    text = recordings.refusals({"ptb-xl": MANIFEST, "csn": "not here"}).text
    assert text.index("no waveform file") < text.index("&lt;b&gt;")
    assert "Every recording" in recordings.refusals({"csn": {"rejected": {}, "counts": {}}}).text


def test_label_shares_count_recordings(store):
    assert recordings.label_shares(store).to_dict() == pytest.approx({"AFIB": 2 / 3, "LVH": 1 / 3, "NORM": 1 / 3})


def test_example_is_the_purest_in_millivolts(store):
    signal_mv, title = recordings.example(store, "AFIB")
    assert title == "CSN b: AFIB"
    assert signal_mv.max() == pytest.approx(1.0)
    assert recordings.example(store, "PACE") is None
    assert [title for *_, title in recordings.examples([store, store], ["PACE", "NORM"])] == ["CSN c: NORM"]


def test_reference_holds_what_the_page_compares():
    real = recordings.reference()
    truth = pd.DataFrame({name: [100.0, 200.0, 300.0] for name in recordings.QUANTITIES})
    text = recordings.compared(truth, real["intervals"], recordings.QUANTITIES).text
    assert "200 (110 to 290)" in text
    assert recordings.amplitude_title("r_mv_V5") == "R in V5, mV"
    assert {"own_three", "common_three", "three_lead_bound"} <= set(real["hardness"])


def test_ptb_xls_two_rates_committed_or_the_readers_own():
    committed = recordings.two_rates().text
    assert "20 recordings of PTB-XL (1 to 20; committed numbers)" in committed
    assert "the published files are 1.25 ms earlier" in committed
    band = {"from_hz": 45, "to_hz": 48, "published_uv": 1.41, "resampled_uv": 4.7, "ratio_db": -10.44}
    own = {
        "n_recordings": 2, "records": "<b>1 to 2", "correlation": {"median": 0.99, "worst": 0.9}, "earlier_ms": 1.0,
        "rms_uv": {"median": 10.0, "worst": 20.0}, "rms_shifted_uv": 2.0, "bands": [band],
    }  # fmt: skip
    shown = recordings.two_rates(own).text
    assert "(&lt;b&gt;1 to 2; yours)" in shown
    for text in ("45 to 48 Hz", "1.4", "4.7", "−10.4"):
        assert text in shown
