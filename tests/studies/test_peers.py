"""Published encoders from file to table: seeded weights at a small size, in each published form, on recordings."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from merit import scores
from merit.data.store import Store
from merit.encoders import golden, registry
from merit.encoders.registry import PUBLISHED
from merit.studies import Workspace
from merit.studies import workspace as provides
from merit.studies.peers import peers
from merit.studies.probing import linear_probe
from merit.studies.shift import shift
from merit.studies.workspace import NoCohort
from merit.studies.zero_shot import _texts, zero_shot

NAMES = tuple(PUBLISHED)
WITH_TEXT = tuple(name for name in NAMES if PUBLISHED[name].shares_space)


@pytest.fixture
def weights(tmp_path, monkeypatch, small_peer):
    """Weights of every peer at its small size, which its adapter takes for the published one."""
    monkeypatch.setenv("MERIT_WEIGHTS", str(tmp_path / "weights"))
    for name in NAMES:
        peer = small_peer(name)
        peer.write(tmp_path / "weights" / name)
        monkeypatch.setattr(peer.adapter, "published", peer.small)
        if peer.has_text:
            peer.write_text(tmp_path / "weights" / name / "text")
    return tmp_path / "weights"


def test_every_peer_gives_rows_on_synthetic_hospitals(workspace, weights):
    assert workspace.rows("", "all") == (list(NAMES), [])
    found = linear_probe(workspace, NAMES, "superclass", variant="standardised", scored="by fold")
    assert found["reason"].isna().all()
    assert dict(zip(found["encoder"], found["overlap"])) == {
        name: "ptb-xl" in registry.entry(name).pretraining_cohorts() for name in NAMES
    }
    named, _ = workspace.rows("", "all", text=True)
    assert list(dict.fromkeys(scores.scored(zero_shot(workspace, named, "superclass"))["encoder"])) == list(named)
    assert len(named) == len(WITH_TEXT)
    moved = scores.scored(shift(workspace, ["medtvt-r1"]))
    assert set(moved["n_band_limited"]) <= {0}


@pytest.mark.skipif("MERIT_REAL_DATA" not in os.environ, reason="real recordings: set MERIT_REAL_DATA")
def test_every_peer_gives_rows_on_real_recordings(workspace, weights, tmp_path):
    probe = dataclasses.replace(workspace.profile.probe, min_positives=2)
    profile = dataclasses.replace(workspace.profile, limit=150, probe=probe)
    real = Workspace(profile, Path(os.environ["MERIT_REAL_DATA"]), "cpu", tmp_path / "real")
    probed = linear_probe(real, NAMES, "superclass", variant="standardised", scored="by fold")
    auroc = scores.scored(probed, metric="auroc").set_index("encoder")
    assert tuple(auroc.index) == NAMES
    for name, row in auroc.iterrows():
        rates = real.signals(name, "ptb-xl").records["source_fs_hz"]
        assert row["n_band_limited"] == (rates < registry.entry(name).fs_hz).sum()
    assert set(scores.scored(zero_shot(real, WITH_TEXT, "superclass", n_resamples=5))["encoder"]) == set(WITH_TEXT)


def test_missing_weights_or_tokenizer_are_a_reason(workspace, weights, monkeypatch, tmp_path):
    shutil.rmtree(weights / "merl" / "text")
    _texts.cache_clear()
    (reason,) = zero_shot(workspace, "merl", "superclass")["reason"]
    assert "no folder weights/merl/text" in reason
    assert linear_probe(workspace, "merl", "superclass")["reason"].isna().all()
    monkeypatch.setenv("MERIT_WEIGHTS", str(tmp_path / "nothing"))
    names, absent = workspace.rows("merit,random", "all")
    assert names == ["merit", "random"]
    assert [one.name for one in absent] == list(NAMES)
    assert "no weights in weights/merl" in linear_probe(workspace, "merl", "superclass")["reason"].item()


def test_of_a_large_cohort_the_rows_asked_for_alone_are_read_and_embedded(workspace, weights, monkeypatch, tmp_path):
    """As for MIMIC-IV-ECG's 800,035 recordings, all of which at 500 Hz would be a store of 96 GB."""
    rows = np.array([7, 2, 2, 11])
    expected = {name: workspace.embedding(name, "csn")[rows] for name in ("merl", "medtvt-r1", "merit")}
    again = Workspace(workspace.profile, None, "cpu", tmp_path / "again")
    shutil.copytree(workspace.folder, again.folder, ignore=shutil.ignore_patterns("*500hz*", "embeddings", "results"))
    monkeypatch.setattr(provides, "WHOLE", 5)
    for name, whole in expected.items():
        assert again.embedding(name, "csn", rows=rows) == pytest.approx(whole, abs=1e-5)
    (made,) = (again.folder / "stores").glob("csn-500hz*")
    records = again.store("csn").records.iloc[[2, 7, 11]]
    assert Store.open(made).records["record_id"].tolist() == records["record_id"].tolist()
    assert sorted(len(np.load(path)) for path in (again.folder / "embeddings").glob("*.npy")) == [4, 4, 4]


def test_a_peer_reads_its_own_rate_and_rows_at_another_are_found_by_record(workspace, weights, monkeypatch):
    store, records = workspace.signals("merl", "csn"), workspace.store("csn").records
    assert (store.fs_hz, workspace.signals("medtvt-r1", "csn").fs_hz) == (500, 100)
    assert list(store.records["record_id"]) == list(records["record_id"])
    assert workspace.remarks("merl", "csn") == {"overlap": False, "n_band_limited": 0}
    assert workspace.remarks("st-mem", "csn") == {"overlap": True, "n_band_limited": 0, "n_seen": None}
    assert workspace.remarks("merit", "csn") == {}
    monkeypatch.setattr(workspace, "signals", lambda *_: SimpleNamespace(records=records[::-1]))
    assert workspace._rows_of_signals("merl", "csn").tolist() == list(range(len(records)))[::-1]
    monkeypatch.setattr(workspace, "signals", lambda *_: SimpleNamespace(records=records[1:]))
    with pytest.raises(NoCohort, match="1 recordings that can be read at 100 Hz cannot at 500 Hz"):
        workspace._rows_of_signals("merl", "csn")


def test_each_output_agrees_with_the_originals_and_facts_hold_together(workspace):
    found = peers(workspace, NAMES)
    assert set(found["encoder"]) == set(NAMES)
    assert (found["value"] <= found["tolerance"]).all()
    assert set(found["tolerance"]) == {golden.TOLERANCE}
    for row in found.to_dict("records"):
        assert row["fs_hz"] == PUBLISHED[row["encoder"]].fs_hz
        _, leads, samples = PUBLISHED[row["encoder"]].input_shape
        assert leads == len(row["leads"])
        assert samples <= row["fs_hz"] * 10
        assert row["flops"] > 1e8
        assert row["parameters"] > 1e6


def test_a_readers_own_encoder_has_rows_in_tables_1_and_7(workspace, monkeypatch):
    from merit import runs
    from merit.report import show

    example = runs.PACKAGE_ROOT.parent / "book" / "examples" / "band_power.py"
    monkeypatch.setenv("MERIT_ENCODER", str(example))
    names, _ = workspace.rows("random", "none")
    assert names == ["random", "band-power"]
    probed = linear_probe(workspace, names, "superclass", variant="standardised", scored="by fold")
    assert ">band-power<" in show.by_task(probed, "probed")
    moved = shift(workspace, names)
    whole = scores.scored(moved, **{"scored": "target", "class": "macro"})
    assert "band-power" in set(whole["encoder"])
    assert ">band-power<" in show.table(whole, "transfer", "shift")
