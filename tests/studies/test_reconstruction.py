"""Reconstruction of held-out recordings: who is held out, and one tiny run."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from merit.config import DecoderConfig, EncoderConfig, ModelConfig, SignalConfig, profile, replace
from merit.model.vit import hidden_from, random_visible
from merit.objectives import masked_mse
from merit.pretrain import checkpoint, train
from merit.runs import Unavailable
from merit.studies.reconstruction import held_out, reconstruction
from merit.studies.workspace import NoCohort

MODEL = ModelConfig(
    encoder=EncoderConfig(n_samples=120, patch=20, width=8, depth=1, heads=2),
    decoder=DecoderConfig(width=8, depth=1, heads=2),
    text_width=6,
    shared_width=4,
    mask_ratio=0.5,
)
"""6 patches a lead, 3 of them visible."""


def records(patients: list[str]) -> pd.DataFrame:
    ids = [f"r{k}" for k in range(len(patients))]
    return pd.DataFrame({"record_id": ids, "patient_id": patients, "labels": [["SR"]] * len(ids)})


def workspace(folder, stores: dict[str, pd.DataFrame], seen: dict[str, list[str]], **model) -> SimpleNamespace:
    """A workspace on stores of noise; `seen`: patients of the pretraining cohort by encoder, whose checkpoints are
    untrained networks in `folder`."""
    chosen = dataclasses.replace(profile("smoke"), signal=SignalConfig(duration_s=1.2), model=replace(MODEL, **model))
    generator, found = np.random.default_rng(0), {}
    for name, table in stores.items():
        signal = generator.integers(-900, 900, size=(len(table), 12, 120)).astype(np.int16)
        found[name] = SimpleNamespace(records=table, fs_hz=100.0, identity=name, signal_uv=signal)

    def table(patients: list[str]) -> pd.DataFrame:
        return pd.DataFrame([("ptb-xl", one, "r") for one in patients], columns=["cohort", "patient_id", "record_id"])

    def store(cohort: str):
        if cohort not in found:
            raise NoCohort(f"no {cohort}")
        return found[cohort]

    def saved(name: str, seed: int = 0):
        pretrain, where = replace(chosen.pretrain, objective=name), folder / name
        settings = {"model": dataclasses.asdict(chosen.model), "pretrain": dataclasses.asdict(pretrain)}
        where.mkdir(exist_ok=True)
        built = train.build(chosen.model, pretrain)
        checkpoint.finish(where, built, {**settings, "total_updates": 1}, table(["p"]), 0.0)
        return where

    return SimpleNamespace(
        profile=chosen, store=store, pretraining_cohort="ptb-xl", seen=lambda name, seed=0: table(seen[name]),
        pretraining_rows=np.arange(3), checkpoints=lambda names, seeds: None, encoder_identity=lambda name, seed: name,
        checkpoint=saved, result=lambda study, compute, *_: {"values": compute()},
    )  # fmt: skip


def test_held_out_are_unseen_patients_once_each_of_another_cohort_where_all_were_seen(tmp_path):
    ws = workspace(tmp_path, {"ptb-xl": records(list("aabbccdd"))}, {"merit": ["a"], "mse": ["c"]})
    cohort, rows = held_out(ws, ("merit", "mse"), 0, 0, 10)
    assert (cohort, rows.tolist()) == ("ptb-xl", [2, 6])
    assert len(held_out(ws, ("merit", "mse"), 0, 0, 1)[1]) == 1
    stores = {"ptb-xl": records(list("ab")), "csn": records(list("abc"))}
    ws = workspace(tmp_path, stores, {"merit": ["a", "b"]})
    assert held_out(ws, ("merit",), 0, 0, 10)[0] == "csn"
    del stores["csn"]
    ws = workspace(tmp_path, stores, {"merit": ["a", "b"]})
    with pytest.raises(Unavailable, match="none of merit has seen"):
        held_out(ws, ("merit",), 0, 0, 10)
    assert "has seen" in reconstruction(ws, ("merit",))["reason"].iloc[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> SimpleNamespace:
    stores = {"ptb-xl": records([f"p{k}" for k in range(9)])}
    ws = workspace(tmp_path_factory.mktemp("run"), stores, {name: ["p0", "p1"] for name in ("merit", "mse", "cma")})
    scores, example = (
        reconstruction(ws, ("merit", "mse", "cma"), ("V1", "II"), seed=3, part=part) for part in ("scores", "example")
    )
    return SimpleNamespace(ws=ws, scores=scores, example=example)


def test_errors_are_those_of_each_network_by_itself(run):
    _, rows = held_out(run.ws, ("merit",), 0, 3, 200)
    visible = random_visible((len(rows), 12, 6), 0.5, torch.Generator().manual_seed(3))
    signal = torch.from_numpy(run.ws.store("ptb-xl").signal_uv[rows].astype(np.float32) / 1000)
    errors = run.scores[run.scores["metric"] == "masked_error"].set_index("encoder")["errors"]
    for name in ("merit", "mse"):
        model, _ = checkpoint.load_model(run.ws.checkpoint(name))
        with torch.inference_mode():
            for k in range(len(rows)):
                out = model(signal[k : k + 1], torch.ones(1, 6), visible[k : k + 1])
                expected = masked_mse(out.prediction, out.target, out.hidden).item()
                assert errors[name][k] == pytest.approx(expected, abs=1e-4)
    hidden = hidden_from(visible, 6).numpy()
    place = np.argsort(errors["merit"])[3]  # the median of seven
    assert set(run.example["record_id"]) == {f"r{rows[place]}"}
    np.testing.assert_array_equal(run.example["hidden"].tolist(), hidden[place][[6, 1]])


def test_every_encoder_and_baseline_has_a_row(run):
    own = run.scores[run.scores["metric"] == "masked_error"].set_index("encoder")
    assert own.index.tolist() == ["merit", "mse", "mean", "interpolation", "instant", "cma"]
    assert own.loc["cma", "reason"] == "no decoder"
    assert set(own["n"]) == set(own["n_patients"]) == {7}
    assert np.array(run.example["target"].tolist()).shape == (2, 120) == np.array(run.example["mse"].tolist()).shape
    (gap,) = run.scores[run.scores["metric"] == "difference"].to_dict("records")
    assert (gap["encoder"], gap["other"]) == ("merit", "mse")
    assert gap["value"] == pytest.approx(np.subtract(*own.loc[["merit", "mse"], "errors"]).mean(), abs=1e-4)
    signal_mv = 0.01 * np.array(run.example["target"].tolist()) * run.example["unit_mv"].iloc[0]
    assert np.ptp(signal_mv) == pytest.approx(1.8, abs=0.2)


def test_what_cannot_be_drawn_has_a_reason(tmp_path):
    stores, seen = {"ptb-xl": records(list("abcd"))}, {"cma": [], "merit": []}
    reason = reconstruction(workspace(tmp_path, stores, seen), ("cma",))["reason"].iloc[0]
    assert "none of cma was trained with a decoder" in reason
    normalised = workspace(tmp_path, stores, seen, patch_target=True)
    assert reconstruction(normalised, ("merit",))["reason"].notna().all()
    with pytest.raises(ValueError, match="expected some of I, II"):
        reconstruction(normalised, leads=("V9",))
