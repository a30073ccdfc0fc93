"""The trees are genuine: wfdb and this package's readers take them, Einthoven holds, and nothing depends on chance."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from merit.config import HospitalConfig, replace
from merit.data.cohorts import open_cohort
from merit.data.recording import LEADS
from merit.data.wfdb_io import wfdb
from merit.synthetic import hospitals, labels
from merit.synthetic.hospitals import write_hospitals

CONFIG = HospitalConfig(
    recordings={"mimic-iv-ecg": 12, "ptb-xl": 60, "cpsc2018": 14, "csn": 12}, workers=1, min_positives=2
)


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    return write_hospitals(tmp_path_factory.mktemp("hospitals"), CONFIG, progress=False)


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("site", list(CONFIG.recordings))
def test_wfdb_reads_every_record_and_the_laws_of_the_leads_hold(roots, site):
    headers = sorted(roots[site].rglob("*.hea"))
    assert len(headers) == CONFIG.recordings[site] + (40 if site == "ptb-xl" else 0)
    for path in headers[::3]:
        record = wfdb.rdrecord(str(path.with_suffix("")), physical=False)
        assert [int(c) for c in record.checksum] == [int(c) % 65536 for c in record.calc_checksum()]
        assert record.init_value == record.d_signal[0].tolist()
        lead = {name.casefold(): column.astype(int) for name, column in zip(record.sig_name, record.d_signal.T)}
        assert set(lead) == {name.casefold() for name in LEADS}
        assert np.abs(lead["i"] + lead["iii"] - lead["ii"]).max() <= 1
        assert np.abs(lead["avr"] + lead["avl"] + lead["avf"]).max() <= 1
        assert np.abs(2 * lead["avf"] + lead["i"] - 2 * lead["ii"]).max() <= 2
        physical = wfdb.rdrecord(str(path.with_suffix(""))).p_signal
        assert np.isfinite(physical).all()
        assert 0.05 < physical.std() < 2


def test_sites_differ(roots):
    def first(site: str) -> wfdb.Record:
        return wfdb.rdheader(str(min(roots[site].rglob("*.hea")).with_suffix("")))

    found = {site: first(site) for site in roots}
    assert {site: (r.fs, r.adc_gain[0]) for site, r in found.items()} == {
        "mimic-iv-ecg": (500, 200),
        "ptb-xl": (100, 1000),
        "cpsc2018": (500, 1000),
        "csn": (500, 1000),
    }
    assert found["mimic-iv-ecg"].sig_name[4:6] == ["aVF", "aVL"]
    lengths = {wfdb.rdheader(str(p.with_suffix(""))).sig_len / 500 for p in roots["cpsc2018"].rglob("*.hea")}
    assert len(lengths) > 3
    assert all(6 <= length <= 60 for length in lengths)


@pytest.mark.parametrize("site", list(CONFIG.recordings))
def test_readers_find_what_the_truth_says(roots, site):
    cohort = open_cohort(site, roots[site])
    truth = pd.read_parquet(roots[site] / "truth.parquet").set_index("record_id")
    refs = cohort.refs()
    assert cohort.synthetic
    assert cohort.strays() == []
    assert sorted(refs["record_id"]) == sorted(truth.index)
    for ref in refs.itertuples():
        row = truth.loc[ref.record_id]
        assert ref.patient_id == row["patient_id"]
        if site != "mimic-iv-ecg":
            published = labels.published(site, frozenset(row["findings"]))
            assert sorted(ref.labels) == sorted(published[:3] if site == "cpsc2018" else published)
        assert set(row["named"]) <= set(row["findings"])
    one = cohort.read(next(refs.itertuples()))
    assert one.signal_mv.shape[0] == 12
    if site != "mimic-iv-ecg":  # which publishes neither here
        assert one.age == truth.loc[one.record_id, "age"]
        assert one.sex == truth.loc[one.record_id, "sex"]


def test_the_slow_copy_of_a_fast_recording_is_the_same_recording(roots):
    fast = wfdb.rdrecord(str(roots["ptb-xl"] / "records500/00000/00001_hr")).p_signal
    slow = wfdb.rdrecord(str(roots["ptb-xl"] / "records100/00000/00001_lr")).p_signal
    assert fast.shape == (5000, 12)
    assert np.corrcoef(fast[::5].ravel(), slow.ravel())[0, 1] > 0.98


def test_truth_is_complete(roots):
    truth = pd.read_parquet(roots["mimic-iv-ecg"] / "truth.parquet")
    wanted = {"heart_rate_bpm", "rr_sd_ms", "rr_rmssd_ms", "pr_ms", "qrs_ms", "qt_ms", "axis_deg"}
    wanted |= {f"{wave}_mv_{lead}" for wave in ("r", "s", "t", "st") for lead in LEADS}
    assert wanted <= set(truth.columns)
    assert truth["noise_share"].between(0, 0.9).all()
    assert 0.005 < truth["noise_share"].median() < 0.2
    assert np.isfinite(truth[sorted(wanted - {"pr_ms"})].to_numpy()).all()


def test_output_does_not_depend_on_the_number_of_workers(roots, tmp_path):
    config = replace(CONFIG, workers=2, recordings={"ptb-xl": CONFIG.recordings["ptb-xl"]})
    again = write_hospitals(tmp_path, config, progress=False)
    assert contents(again["ptb-xl"]) == contents(roots["ptb-xl"])


def test_a_complete_tree_is_kept_and_another_seed_replaces_it(tmp_path, monkeypatch):
    config = replace(CONFIG, recordings={"csn": 3})
    root = write_hospitals(tmp_path, config, progress=False)["csn"]
    before = contents(root)
    (root / "mark").touch()
    write_hospitals(tmp_path, replace(config, workers=2), progress=False)
    assert (root / "mark").exists()
    write_hospitals(tmp_path, replace(config, seed=1), progress=False)
    assert not (root / "mark").exists()
    assert contents(root) != before

    def fail(*_: object) -> None:
        raise OSError("disk full")

    after = contents(root)
    monkeypatch.setattr(hospitals, "about", fail)
    with pytest.raises(OSError, match="disk full"):
        write_hospitals(tmp_path, config, progress=False)
    assert contents(root) == after
    assert sorted(p.name for p in tmp_path.iterdir()) == [".locks", "csn"]


def test_unknown_sites_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown site 'ptbxl'.*known: \['cpsc2018'"):
        write_hospitals(tmp_path, HospitalConfig(recordings={"ptbxl": 3}))
