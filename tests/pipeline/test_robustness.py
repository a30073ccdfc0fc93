"""Corrupted recordings from a workspace on tiny hospitals: files read again, a cached result for each strength."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from merit.config import ProbeConfig
from merit.evaluate.tasks import SeenInPretraining
from merit.pipeline import robustness as module
from merit.pipeline.recordings import NoCohort
from merit.pipeline.robustness import examples, robustness

SETTINGS = {"epochs": 1, "n_resamples": 10, "min_positives": 1}


@pytest.fixture
def session(workspace):
    return module._Session(workspace, "superclass", ProbeConfig(**SETTINGS), 0, 0, False)


def test_the_source_read_again_is_the_stores_row_to_the_last_bit(session):
    from merit.evaluate.robustness import CLEAN, stored_rows

    store = session.store
    rows = stored_rows(session.recordings(store.fs_hz), CLEAN, None, 0, session.ws.profile.signal, 0.2)
    assert len(rows.signal_uv) > 3
    np.testing.assert_array_equal(rows.signal_uv, store.signal_uv[session.test_rows])
    assert rows.records["record_id"].tolist() == store.records["record_id"].iloc[session.test_rows].tolist()


def test_every_strength_is_a_result_and_adding_one_computes_that_alone(workspace, monkeypatch):
    few = robustness(workspace, ["cma", "random"], corruptions="lost:2,gain:0.5", **SETTINGS)
    assert [(one["values"]["kind"], one["values"]["encoder"]) for one in few] == [
        (kind, encoder) for kind in ("clean", "lost", "gain") for encoder in ("cma", "random")
    ]
    assert all("reason" not in one["values"] for one in few), few[0]["values"]
    assert len({one["id"] for one in few}) == 6
    read, kinds = module._Session._recordings, []
    monkeypatch.setattr(module._Session, "_recordings", lambda self, fs: kinds.append(fs) or read(self, fs))
    more = robustness(workspace, ["cma", "random"], corruptions="lost:2,rate:500,gain:0.5", **SETTINGS)
    assert kinds == [500.0]  # the added strength alone read files, once for both encoders
    assert [one for one in more if one["values"]["kind"] != "rate"] == few
    values = {(one["values"]["kind"], one["values"]["encoder"]): one["values"] for one in more}
    n = values["clean", "cma"]["n_records"]
    assert values["lost", "cma"]["n_changed"] == n
    faster = int((session_records(workspace, n)["path_500"] != "").sum())
    assert values["rate", "cma"]["n_changed"] <= faster  # others have no faster file
    assert values["gain", "random"]["moved"]["value"] < 0.02 < values["lost", "random"]["moved"]["value"]


def session_records(workspace, n: int) -> pd.DataFrame:
    """The rows of the source that are tested on."""
    from merit.data.cohorts import open_cohort

    one = module._Session(workspace, "superclass", ProbeConfig(**SETTINGS), 0, 0, False)
    refs = open_cohort("ptb-xl", workspace.sources["ptb-xl"]).refs()
    there = one.store.records["record_id"].iloc[one.test_rows]
    assert len(there) == n
    return refs[refs["record_id"].isin(there)]


def test_what_nothing_was_done_to_keeps_its_score_to_the_last_bit(workspace):
    clean, same = robustness(workspace, ["cma"], corruptions="duration:10", **SETTINGS)
    assert same["values"]["n_changed"] == 0
    assert same["values"]["seen_mv"] == 0
    assert same["values"]["auroc"] == clean["values"]["auroc"]
    assert same["values"]["resamples"] == clean["values"]["resamples"]


def test_the_same_call_gives_the_same_numbers_in_another_workspace(workspace):
    first = robustness(workspace, ["random"], corruptions="wander:1", **SETTINGS)
    other = dataclasses.replace(workspace, used={})
    for path in (workspace.folder / "results").glob("corruption-*.json"):
        path.unlink()
    again = robustness(other, ["random"], corruptions="wander:1", **SETTINGS)
    assert [one["values"] for one in again] == [one["values"] for one in first]


def test_a_readers_encoder_at_500_hz_is_given_what_its_own_store_holds(workspace, monkeypatch, tmp_path):
    (tmp_path / "mine.py").write_text("""
import merit
@merit.register("mine")
class Mine:
    input_spec = merit.InputSpec(fs_hz=500, duration_s=10, leads=("I",), scaling="none")
    def __init__(self, device): pass
    def embed(self, signal_mv, fs_hz):
        assert (fs_hz, signal_mv.shape[1:]) == (500, (12, 5000))
        return signal_mv.std(axis=2)
""")
    monkeypatch.setenv("MERIT_ENCODER", str(tmp_path / "mine.py"))
    (name,) = workspace.rows("", "none")[0]
    results = robustness(workspace, [name, "random"], corruptions="duration:10,lost:2", **SETTINGS)
    found = {(one["values"]["encoder"], one["values"]["kind"]): one["values"] for one in results}
    assert [found[encoder, "duration"]["n_changed"] for encoder in (name, "random")] == [0, 0]
    assert found[name, "clean"]["scaling"] == "none"
    n = found[name, "clean"]["n_records"]
    assert found[name, "lost"]["n_changed"] == n
    assert found[name, "lost"]["seen_mv"] == pytest.approx(found["random", "lost"]["seen_mv"], rel=0.05)


def test_a_missing_data_set_and_too_little_of_one_are_reasons(workspace, monkeypatch):
    short = robustness(workspace, ["random"], "cpsc2018", "gain:2", **{**SETTINGS, "min_positives": 50})
    assert all("cpsc2018" in one["values"]["reason"] for one in short)

    def missing(cohort):
        raise NoCohort(f"{cohort}: no such data set under /nowhere")

    monkeypatch.setattr(workspace, "store", missing)
    results = robustness(workspace, ["random"], "csn", "gain:2", **SETTINGS)
    assert {one["values"]["reason"] for one in results} == {"csn: no such data set under /nowhere"}
    assert "reason" in examples(workspace, "csn")


def test_what_was_seen_is_refused_unless_allowed(workspace, monkeypatch):
    store = workspace.store("ptb-xl")
    patient = store.records.loc[store.records["fold"] == 10, "patient_id"].iloc[0]
    seen = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": [patient], "record_id": ["x"]})
    monkeypatch.setattr(workspace, "seen", lambda *_: seen)
    with pytest.raises(SeenInPretraining, match=f"patient {patient} of ptb-xl"):
        robustness(workspace, ["cma"], corruptions="gain:4", **SETTINGS)
    marked = robustness(workspace, ["cma"], corruptions="gain:4", allow_seen=True, **SETTINGS)
    assert {one["values"]["n_seen"] for one in marked} == {1}


def test_pictures_hold_one_lead_of_one_recording(workspace):
    shown = examples(workspace, corruptions="lost:1:4,duration:2.5")
    assert list(shown["traces"]) == ["clean", "lost", "duration"]
    assert shown["traces"]["lost"]["level"] == 4
    clean, short = (np.array(shown["traces"][name]["uv"]) for name in ("clean", "duration"))
    assert len(clean) == 300
    assert not short[250:].any()
    np.testing.assert_allclose(short[:240], clean[:240], atol=1)
