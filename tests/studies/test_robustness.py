"""Corrupted recordings from a workspace on tiny hospitals: files read again, a cached result for each strength."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from merit import scores
from merit.evaluate.robustness import CLEAN, STRENGTHS, stored_rows
from merit.evaluate.tasks import SeenInPretraining
from merit.studies import Workspace
from merit.studies import robustness as module
from merit.studies.robustness import FEW, corrupted_example, robustness, strengths
from merit.studies.workspace import NoCohort

SETTINGS = {"epochs": 1, "n_resamples": 10, "min_positives": 1}


def one(found: pd.DataFrame, encoder: str, strength: str, metric: str = "auroc") -> dict:
    """One row of the scores."""
    own = found[(found["encoder"] == encoder) & (found["strength"] == strength) & (found["metric"] == metric)]
    (row,) = own.to_dict("records")
    return row


def test_every_strength_is_a_result_and_adding_one_computes_that_alone(workspace, monkeypatch):
    few = robustness(workspace, ["cma", "random"], ["clean", "lost:2", "gain:0.5"], **SETTINGS)
    assert few["reason"].isna().all(), few["reason"]
    assert list(dict.fromkeys(zip(few["corruption"], few["encoder"]))) == [
        (kind, encoder) for kind in ("clean", "lost", "gain") for encoder in ("cma", "random")
    ]
    assert len(list((workspace.folder / "results").glob("robustness-*.json"))) == 6
    read, rates = module._recordings, []
    monkeypatch.setattr(module, "_recordings", lambda *args: rates.append(args[-1]) or read(*args))
    more = robustness(workspace, ["cma", "random"], ["clean", "lost:2", "rate:500", "gain:0.5"], **SETTINGS)
    assert rates == [500.0]  # the added strength alone read files, once for both encoders
    pd.testing.assert_frame_equal(more[more["corruption"] != "rate"].reset_index(drop=True)[few.columns], few)
    n = one(more, "cma", "clean")["n"]
    assert one(more, "cma", "lost:2")["n_changed"] == n
    moved = [one(more, "random", strength, "moved")["value"] for strength in ("gain:0.5", "lost:2")]
    assert moved[0] < 0.02 < moved[1]


def test_the_source_read_again_is_the_stores_row_and_what_nothing_was_done_to_keeps_its_score(workspace):
    store, task = workspace.store("ptb-xl"), module._task(workspace, "superclass", 1)
    tested = task.rows[task.folds == 10]
    recordings = module._recordings(workspace, "superclass", 1, store.fs_hz)
    rows = stored_rows(recordings, CLEAN, None, 0, workspace.profile.signal, 0.2)
    assert len(rows.signal_uv) > 3
    np.testing.assert_array_equal(rows.signal_uv, store.signal_uv[tested])
    assert rows.records["record_id"].tolist() == store.records["record_id"].iloc[tested].tolist()
    found = robustness(workspace, "cma", ["clean", "duration:10"], **SETTINGS)
    clean, same = one(found, "cma", "clean"), one(found, "cma", "duration:10")
    assert same["n_changed"] == one(found, "cma", "duration:10", "signal_mv")["value"] == 0
    assert all(same[name] == clean[name] for name in ("value", "low", "high", "draws"))


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
    found = robustness(workspace, [name, "random"], ["clean", "duration:10", "lost:2"], **SETTINGS)
    assert [one(found, encoder, "duration:10")["n_changed"] for encoder in (name, "random")] == [0, 0]
    clean = one(found, name, "clean")
    assert clean["scaling"] == "none"
    assert one(found, name, "lost:2")["n_changed"] == clean["n"]
    signal = [one(found, encoder, "lost:2", "signal_mv")["value"] for encoder in (name, "random")]
    assert signal[0] == pytest.approx(signal[1], rel=0.05)


def test_missing_short_and_seen_data_are_reasons_or_rejected(workspace, monkeypatch):
    store = workspace.store("ptb-xl")
    patient = store.records.loc[store.records["fold"] == 10, "patient_id"].iloc[0]
    seen = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": [patient], "record_id": ["x"]})
    monkeypatch.setattr(workspace, "seen", lambda *_: seen)
    with pytest.raises(SeenInPretraining, match=f"patient {patient} of ptb-xl"):
        robustness(workspace, "cma", "gain:4", **SETTINGS)
    assert set(robustness(workspace, "cma", "gain:4", allow_seen=True, **SETTINGS)["n_seen"]) == {1}
    monkeypatch.undo()
    short = robustness(workspace, "random", ["clean", "gain:2"], "cpsc2018", **{**SETTINGS, "min_positives": 50})
    assert short["reason"].str.contains("cpsc2018").all()
    monkeypatch.setattr(workspace, "store", lambda cohort: (_ for _ in ()).throw(NoCohort(f"{cohort}: none")))
    for found in (robustness(workspace, "random", "gain:2", "csn"), corrupted_example(workspace, "clean", "csn")):
        assert list(found["reason"]) == ["csn: none"]


def test_pictures_hold_one_lead_of_one_recording(workspace):
    found = scores.scored(corrupted_example(workspace, ["clean", "lost:4", "duration:2.5"]))
    traces = {strength: part["value"].to_numpy() for strength, part in found.groupby("strength", sort=False)}
    assert list(traces) == ["clean", "lost:4", "duration:2.5"]
    clean, short = traces["clean"], traces["duration:2.5"]
    assert len(clean) == 300
    assert not short[250:].any()
    np.testing.assert_allclose(short[:240], clean[:240], atol=1)


def test_a_user_names_corruptions_with_and_without_levels_or_is_rejected(workspace: Workspace):
    every = ["clean", *(f"{kind}:{level}" for kind, levels in STRENGTHS.items() for level in levels)]
    assert strengths(workspace) == strengths(workspace, FEW)
    assert set(strengths(workspace)) < set(every) == set(strengths(workspace, ",".join(STRENGTHS)))
    assert strengths(workspace, "lost:1:4, wander,swap:arms,gain:0.5") == [
        "clean", "lost:1", "lost:4", "wander:0.1", "wander:0.3", "wander:1", "swap:arms", "gain:0.5",
    ]  # fmt: skip
    for text, match in (("fog", "expected one of lost"), ("lost:few", "lost takes numbers; got 'few'"), ("", "got ''")):
        with pytest.raises(ValueError, match=match):
            strengths(workspace, text)
    with pytest.raises(ValueError, match="expected one of lost"):
        robustness(workspace, "random", "fog:few")
