"""Filling hidden patches: baselines against loops, errors against the loss, held-out patients, and one tiny run."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from merit.config import DecoderConfig, EncoderConfig, ModelConfig, SignalConfig, replace
from merit.model.vit import hidden_from, random_visible
from merit.objectives import masked_mse
from merit.pipeline import reconstructions as filling
from merit.pipeline.recordings import NoCohort
from merit.pretrain import checkpoint, loop
from merit.profiles import profile

MODEL = ModelConfig(
    encoder=EncoderConfig(n_samples=120, patch=20, width=8, depth=1, heads=2),
    decoder=DecoderConfig(width=8, depth=1, heads=2),
    text_width=6,
    shared_width=4,
    mask_ratio=0.5,
)
"""6 patches a lead, 3 of them visible."""


@pytest.fixture
def patches() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 4, 5, 6))


@pytest.fixture
def hidden() -> np.ndarray:
    """[3, 4, 5], with a lead that is all hidden and one that is all visible."""
    found = np.random.default_rng(1).random((3, 4, 5)) < 0.6
    found[0, 0], found[0, 1] = True, False
    return found


def test_interpolation_is_a_loop_over_neighbours(patches, hidden):
    found = filling.interpolated(patches, hidden)
    for r, lead in np.ndindex(3, 4):
        flat, gone = patches[r, lead].ravel(), np.repeat(hidden[r, lead], 6)
        for t, one in enumerate(found[r, lead].ravel()):
            left = [u for u in range(t, -1, -1) if not gone[u]]
            right = [u for u in range(t, len(flat)) if not gone[u]]
            if not left and not right:
                expected = 0.0
            elif not left or not right:
                expected = flat[(left or right)[0]]
            else:
                (a, *_), (b, *_) = left, right
                expected = flat[t] if a == b else flat[a] + (flat[b] - flat[a]) * (t - a) / (b - a)
            assert one == pytest.approx(expected)


def test_a_linear_course_is_interpolated_without_error():
    course = np.arange(30.0).reshape(1, 1, 5, 6)
    hidden = np.array([[[False, True, True, False, False]]])
    np.testing.assert_allclose(filling.interpolated(course, hidden), course)


def test_the_linear_map_is_a_loop_over_instants(patches, hidden):
    mixing = np.random.default_rng(2).normal(size=(4, 4))
    covariance = mixing @ mixing.T
    found = filling.from_other_leads(patches, hidden, covariance)
    for r, n in np.ndindex(3, 5):
        gone = hidden[r, :, n]
        for p in range(6):
            expected = np.where(gone, 0.0, patches[r, :, n, p])
            seen = np.flatnonzero(~gone)
            if len(seen):
                ridge = filling.RIDGE * np.trace(covariance) * np.eye(len(seen))
                for lead in np.flatnonzero(gone):
                    weights = np.linalg.inv(covariance[np.ix_(seen, seen)] + ridge) @ covariance[seen, lead]
                    expected[lead] = weights @ patches[r, seen, n, p]
            np.testing.assert_allclose(found[r, :, n, p], expected, atol=1e-9)


def test_the_linear_map_knows_einthovens_law(patches):
    patches = patches.copy()
    patches[:, 2] = patches[:, 1] - patches[:, 0]
    covariance = np.array([[1.0, 0.2, -0.8, 0], [0.2, 1, 0.8, 0], [-0.8, 0.8, 1.6, 0], [0, 0, 0, 1]])
    hidden = np.zeros((3, 4, 5), dtype=bool)
    hidden[:, 2:] = True
    found = filling.from_other_leads(patches, hidden, covariance)
    np.testing.assert_allclose(found[:, 2], patches[:, 2], atol=1e-4)
    np.testing.assert_allclose(found[:, 3], 0, atol=1e-12)


def test_masked_errors_average_to_the_training_loss(patches):
    hidden = np.tile([True, False, True, True, False], (3, 4, 1))
    prediction = patches + np.random.default_rng(3).normal(size=patches.shape)
    found = filling.masked_errors(prediction, patches, hidden)
    loss = masked_mse(*(torch.from_numpy(one) for one in (prediction, patches, hidden)))
    assert found.mean() == pytest.approx(loss.item())
    assert found[1] == pytest.approx(np.square(prediction - patches)[1][hidden[1]].mean())
    assert np.isnan(filling.masked_errors(prediction, patches, np.zeros_like(hidden))).all()


@pytest.mark.parametrize(
    ("errors", "place"), [([3, 1, 2], 2), ([4, 1, 3, 2], 3), ([2, 2, 2], 0), ([5], 0), ([1, 2, 2, 2, 9], 1)]
)
def test_middle_is_the_lower_median_and_the_first_of_ties(errors, place):
    assert filling.middle(np.array(errors, dtype=float)) == place


def test_summary_of_what_does_not_vary_has_no_width():
    assert set(filling.summary(np.full(7, 0.25), 0).values()) == {0.25}
    spread = filling.summary(np.arange(100.0), 0)
    assert spread["low"] < spread["mean"] == 49.5 < spread["high"]
    assert spread["high"] - spread["low"] == pytest.approx(2 * 1.96 * np.arange(100).std() / 10, rel=0.1)


def records(patients: list[str]) -> pd.DataFrame:
    ids = [f"r{k}" for k in range(len(patients))]
    return pd.DataFrame({"record_id": ids, "patient_id": patients, "labels": [["SR"]] * len(ids)})


def workspace(folder, stores: dict[str, pd.DataFrame], seen: dict[str, list[str]], **model) -> SimpleNamespace:
    """A workspace on stores of noise; `seen`: patients of the pretraining cohort by encoder, whose checkpoints are
    untrained networks in `folder`."""
    chosen = dataclasses.replace(profile("smoke"), signal=SignalConfig(duration_s=1.2), model=replace(MODEL, **model))
    generator = np.random.default_rng(0)
    found = {
        name: SimpleNamespace(
            records=table, fs_hz=100.0, identity=name,
            signal_uv=generator.integers(-900, 900, size=(len(table), 12, 120)).astype(np.int16),
        )
        for name, table in stores.items()
    }  # fmt: skip

    def store(cohort: str):
        if cohort not in found:
            raise NoCohort(f"no {cohort}")
        return found[cohort]

    def saved(name: str, seed: int = 0):
        pretrain = replace(chosen.pretrain, objective=name)
        settings = {"model": dataclasses.asdict(chosen.model), "pretrain": dataclasses.asdict(pretrain)}
        where = folder / name
        where.mkdir(exist_ok=True)
        table = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": ["p"], "record_id": ["r"]})
        checkpoint.finish(where, loop.build(chosen.model, pretrain), {**settings, "total_updates": 1}, table, 0.0)
        return where

    def seen_by(name: str, seed: int = 0) -> pd.DataFrame:
        return pd.DataFrame([("ptb-xl", one, "r") for one in seen[name]], columns=["cohort", "patient_id", "record_id"])

    return SimpleNamespace(
        profile=chosen, store=store, pretraining_cohort="ptb-xl", seen=seen_by, checkpoint=saved,
        pretraining_rows=np.arange(3), checkpoints=lambda names, seeds: None, encoder_identity=lambda name, seed: name,
        result=lambda stage, compute, *_, **__: {"stage": stage, "values": compute()},
    )  # fmt: skip


def test_held_out_are_unseen_patients_once_each(tmp_path):
    ws = workspace(tmp_path, {"ptb-xl": records(list("aabbccdd"))}, {"merit": ["a"], "mse": ["c"]})
    cohort, rows = filling.held_out(ws, ("merit", "mse"), 0, 0, 10)
    assert (cohort, rows.tolist()) == ("ptb-xl", [2, 6])
    assert len(filling.held_out(ws, ("merit", "mse"), 0, 0, 1)[1]) == 1


def test_where_all_were_seen_another_cohort_is_taken(tmp_path):
    stores = {"ptb-xl": records(list("ab")), "csn": records(list("abc"))}
    ws = workspace(tmp_path, stores, {"merit": ["a", "b"]})
    assert filling.held_out(ws, ("merit",), 0, 0, 10)[0] == "csn"
    del stores["csn"]
    ws = workspace(tmp_path, stores, {"merit": ["a", "b"]})
    with pytest.raises(NoCohort, match="none of merit has seen"):
        filling.held_out(ws, ("merit",), 0, 0, 10)
    assert "has seen" in filling.reconstructions(ws, ("merit",))["values"]["reason"]


@pytest.fixture(scope="module")
def values(tmp_path_factory) -> dict:
    stores = {"ptb-xl": records([f"p{k}" for k in range(9)])}
    seen = {name: ["p0", "p1"] for name in ("merit", "mse", "cma")}
    ws = workspace(tmp_path_factory.mktemp("run"), stores, seen)
    return {"ws": ws, **filling.reconstructions(ws, ("merit", "mse", "cma"), ("V1", "II"), seed=3)["values"]}


def test_errors_are_those_of_each_network_by_itself(values):
    ws = values["ws"]
    _, rows = filling.held_out(ws, ("merit",), 0, 3, 200)
    visible = random_visible((len(rows), 12, 6), 0.5, torch.Generator().manual_seed(3))
    signal = torch.from_numpy(ws.store("ptb-xl").signal_uv[rows].astype(np.float32) / 1000)
    for name in ("merit", "mse"):
        model, _ = checkpoint.load_model(ws.checkpoint(name))
        with torch.inference_mode():
            for k in range(len(rows)):
                out = model(signal[k : k + 1], torch.ones(1, 6), visible[k : k + 1])
                expected = masked_mse(out.prediction, out.target, out.hidden).item()
                assert values["errors"][name][k] == pytest.approx(expected, abs=1e-4)
    hidden = hidden_from(visible, 6).numpy()
    place = filling.middle(np.array(values["errors"]["merit"]))
    assert values["example"]["record_id"] == f"r{rows[place]}"
    np.testing.assert_array_equal(values["example"]["hidden"], hidden[place][[6, 1]])


def test_values_are_plain_and_whole(values):
    plain = {name: value for name, value in values.items() if name != "ws"}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["n_recordings"] == plain["n_patients"] == 7
    assert (plain["decoders"], plain["without_decoder"]) == (["merit", "mse"], ["cma"])
    assert set(plain["errors"]) == {"merit", "mse", *filling.BASELINES}
    example = plain["example"]
    assert np.array(example["target"]).shape == (2, 120) == np.array(example["filled"]["mse"]).shape
    difference = np.subtract(*(plain["errors"][name] for name in ("merit", "mse")))
    assert plain["difference"]["mean"] == pytest.approx(difference.mean(), abs=1e-4)
    signal_mv = 0.01 * np.array(example["target"]) * example["unit_mv"]
    assert np.ptp(signal_mv) == pytest.approx(1.8, abs=0.2)


def test_what_cannot_be_drawn_has_a_reason(tmp_path):
    stores, seen = {"ptb-xl": records(list("abcd"))}, {"cma": [], "merit": []}
    reason = filling.reconstructions(workspace(tmp_path, stores, seen), ("cma",))["values"]["reason"]
    assert "none of cma was trained with a decoder" in reason
    normalised = workspace(tmp_path, stores, seen, patch_target=True)
    assert "reason" in filling.reconstructions(normalised, ("merit",))["values"]
    with pytest.raises(ValueError, match="expected some of I, II"):
        filling.reconstructions(normalised, leads=("V9",))
