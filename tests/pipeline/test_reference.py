"""The committed numbers of several seeds: what is written, when, and that no machine's folders are in it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from merit import scores
from merit.pipeline import reference, reference_stages
from merit.pipeline.recordings import NoCohort

LEVELS = {"merit": 0.9, "cma": 0.85, "ib": 0.8, "mse": 0.7, "ib-0.1": 0.84, "ib-1": 0.75, "cma-whole": 0.86,
          "random": 0.6, "st-mem-ours": 0.65, "merl-ours": 0.82, "simclr": 0.72, "clocs": 0.71}  # fmt: skip
PAPER = ("objectives",)
"""The group of the paper's own encoders."""


def a_result(values: dict, seed: int) -> dict:
    """A result as the workspace gives it."""
    key = f"{values['encoder']}-{seed}"
    return {"id": key, "seconds": 1.5, "device": "cpu", "commit": "abc", "finished": "2026-01-02T03:04:05Z",
            "values": values}  # fmt: skip


def linear_probe(encoders, tasks, encoder_seed):
    scores = {name: LEVELS[name] + 0.01 * encoder_seed * (1 + LEVELS[name]) for name in encoders}
    return [
        a_result(
            {
                "task": "form", "variant": "standardised", "encoder": name, "protocol": "ten folds", "n_records": 50,
                "mean": {"auroc": score, "f1": None}, "sd": {"auroc": 0.012345678, "f1": None},
                "folds": [{"auroc": 0.5}], "per_class": {"A": 1},
            },
            encoder_seed,
        )
        for name, score in scores.items()
    ]  # fmt: skip


def zero_shot(ws, encoders, tasks, *, encoder_seed):
    return [
        a_result({"task": "csn", "encoder": name, "prompts": "enriched", "ensemble": True, "scope": "unseen",
                  "reason": f"csn: no such data set under {ws.data}; see {ws.folder}/stores"}, encoder_seed)
        for name in encoders
    ]  # fmt: skip


def shift(ws, encoders, seed):
    rows = [{"study": "shift", "encoder": name, "encoder_seed": seed, "transfer": "superclass>csn", "metric": "auroc",
             "value": LEVELS[name], "low": 0.1, "high": 0.9, "draws": [1.0]} for name in encoders]  # fmt: skip
    return scores.frame([*rows, {**rows[0], "value": None, "reason": f"too few under {ws.data}"}])


def information(ws, encoders, *, encoder_seed):
    value = {"value": 0.5, "low": 0.4, "high": 0.6, "draws": [1.0]}
    return [
        a_result({"scope": "unseen", "encoder": name, "cohort": "ptb-xl", "n": 9, "picture": {"ecg": [[0, 0]]},
                  "estimates": {"ksg": {**value, "value": LEVELS[name]}}, "geometry": {"gap": value}}, encoder_seed)
        for name in encoders
    ]  # fmt: skip


def rhythm_clusters(ws, encoders, *, encoder_seed):
    one = {"macro": {"value": 0.3, "resamples": [1.0]}, "per_class": [{"value": 0.2}]}
    return [
        a_result({"task": "rhythm", "encoder": name, "classes": ["PACE"], "points": [[0, 0]],
                  "spaces": {"encoder": {"purity": one}}}, encoder_seed)
        for name in encoders
    ]  # fmt: skip


def retention(ws, encoders, *, encoder_seed, **about):
    """Scores beside and beyond the report, with draws of half of the patients."""
    drawn = {"auroc_stated": [0.0, 0.02], "r2_partial": [0.01, 0.03]}
    rows = [
        {"study": "retention", "encoder": name, "encoder_seed": encoder_seed, "cohort": "ptb-xl", "kind": "summary",
         "decoder": "linear", "metric": metric, "value": LEVELS[name], "low": 0.1, "high": 0.9, "n": 9,
         "draws": [LEVELS[name] * (1 + d) for d in draws], **about}
        for name in encoders for metric, draws in drawn.items()
    ]  # fmt: skip
    return scores.frame(rows)


def reliability(ws):
    return scores.frame([{"study": "reliability", "factor": "qrs", "metric": "r2", "value": 0.5, "draws": [1.0]}])


def generation(ws, encoders, *, encoder_seed):
    scores = {"meteor": {"value": 0.2, "low": 0.1, "high": 0.3}}
    condition = {"scores": scores, "per_statement": {"AFIB": 1}}
    return [
        a_result({"source": "composed", "encoder": name, "n_test": 3, "texts": [{"text": "a"}],
                  "conditions": {"model": condition, "shuffled": condition}}, encoder_seed)
        for name in encoders
    ]  # fmt: skip


def synthetic_to_real(ws, encoders, *, encoder_seed):
    hearts = ("real hearts", "synthetic hearts")
    return pd.concat([retention(ws, encoders, encoder_seed=encoder_seed, hearts=of) for of in hearts])


@pytest.fixture
def workspace(monkeypatch, tmp_path):
    """A workspace whose stages answer at once; `asked` holds what was pretrained."""
    monkeypatch.setattr(reference_stages, "zero_shot", zero_shot)
    monkeypatch.setitem(reference_stages.STUDIES, "shift", shift)
    monkeypatch.setattr(reference_stages, "information", information)
    monkeypatch.setattr(reference_stages, "rhythm_clusters", rhythm_clusters)
    monkeypatch.setattr(reference_stages, "retention", retention)
    monkeypatch.setattr(reference_stages, "reliability", reliability)
    monkeypatch.setattr(reference_stages, "generation", generation)
    monkeypatch.setattr(reference_stages, "report_omission", lambda ws, encoders, *, encoder_seed: scores.frame([]))
    monkeypatch.setattr(reference_stages, "synthetic_to_real", synthetic_to_real)
    monkeypatch.setattr(reference, "costs", lambda ws, names, seeds: [{"encoder": n, "seconds": 2.0} for n in names])
    asked = []
    return SimpleNamespace(
        profile=SimpleNamespace(name="demo", limit=None, epochs=None), synthetic=False, data=Path("/secret/place"),
        folder=tmp_path / "demo-x",
        linear_probe=linear_probe, torch_device=lambda: "cpu", asked=asked,
        checkpoints=lambda names, seeds: asked.append((tuple(names), tuple(seeds))),
    )  # fmt: skip


def read(path: Path) -> dict:
    file = json.loads(path.read_text())
    return {**file["about"], "results": scores.unpack(file)} if "about" in file else file


def test_every_stage_gives_a_file_named_by_profile_and_kind(workspace, tmp_path):
    said = []
    paths = reference.make_reference(workspace, 2, tmp_path / "out", said.append, PAPER)
    assert [path.name for path in paths] == [
        f"{name}-demo-real.json" for name in ("linear_probe", "zero_shot", "shift", "information", "clusters", "kept")
    ]
    assert workspace.asked == [(("merit", "cma", "ib", "mse", "ib-0.1", "ib-1", "cma-whole"), (0, 1))]
    assert len(said) == 12
    file = read(paths[0])
    about = {name: file[name] for name in ("stage", "profile", "synthetic", "seeds", "device", "finished", "commit")}
    assert about == {
        "stage": "linear_probe", "profile": "demo", "synthetic": False, "seeds": 2, "device": "cpu",
        "finished": "2026-01-02", "commit": "abc",
    }  # fmt: skip
    assert len(file["results"]) == 2 * 8
    row = file["results"][0]
    assert (row["encoder_seed"], row["encoder"], row["id"], row["seconds"]) == (0, "merit", "merit-0", 1.5)
    assert row["sd"]["auroc"] == 0.0123457
    assert not {"folds", "per_class"} & set(row)
    workspace.synthetic = True
    assert reference.run_name(workspace) == "demo"


def test_means_and_differences_over_seeds(workspace, tmp_path):
    path = reference.make_reference(workspace, 3, tmp_path, groups=PAPER)[0]
    file = read(path)
    merit = [LEVELS["merit"] + 0.01 * seed * 1.9 for seed in range(3)]
    cma = [LEVELS["cma"] + 0.01 * seed * 1.85 for seed in range(3)]
    (over,) = [one for one in file["over_seeds"] if (one["encoder"], one["metric"]) == ("merit", "auroc")]
    assert (over["mean"], over["sd"], over["n"]) == pytest.approx((np.mean(merit), np.std(merit, ddof=1), 3))
    (row,) = [one for one in file["differences"] if (one["other"], one["metric"]) == ("cma", "auroc")]
    assert row["mean"] == pytest.approx(np.mean(np.subtract(merit, cma)), abs=1e-5)
    assert (row["n"], row["n_comparisons"]) == (3, 7)
    assert row["p"] > 0


def test_reasons_travel_without_the_folders_of_this_machine(workspace, tmp_path):
    _, path, transfers, *_ = reference.make_reference(workspace, 1, tmp_path / "out", groups=PAPER)
    assert read(transfers)["results"][-1]["reason"] == "too few under DATA"
    text = path.read_text()
    assert "/secret" not in text
    assert str(workspace.folder) not in text
    file = json.loads(text)
    assert file["results"][0]["reason"] == "csn: no such data set under DATA; see artifacts/stores"
    assert (file["over_seeds"], file["differences"]) == ([], [])


def test_what_an_interval_was_computed_from_stays_out(workspace, tmp_path):
    for path in reference.make_reference(workspace, 1, tmp_path / "out", groups=PAPER):
        assert not {"draws", "resamples", "points", "picture"} & set(path.read_text().split('"'))


@pytest.mark.parametrize("trial", [{"limit": 64}, {"epochs": 1}])
def test_a_limited_run_is_no_reference(workspace, tmp_path, trial):
    workspace.profile = SimpleNamespace(**{"limit": None, "epochs": None, **trial})
    with pytest.raises(ValueError, match=r"^reference: expected a whole run; leave LIMIT and EPOCHS"):
        reference.make_reference(workspace, 1, tmp_path)


def test_a_stopped_run_leaves_its_seeds_and_goes_on(workspace, tmp_path, monkeypatch):
    whole = reference.make_reference(workspace, 3, tmp_path / "whole", groups=PAPER)[0].read_text()

    def stop_at(encoders, tasks, encoder_seed):
        if encoder_seed == 2:
            raise KeyboardInterrupt
        return linear_probe(encoders, tasks, encoder_seed)

    workspace.linear_probe = stop_at
    with pytest.raises(KeyboardInterrupt):
        reference.make_reference(workspace, 3, tmp_path / "out", groups=PAPER)
    path = tmp_path / "out" / "linear_probe-demo-real.json"
    assert (read(path)["seeds"], len(read(path)["results"])) == (2, 16)
    workspace.linear_probe = linear_probe
    assert reference.make_reference(workspace, 3, tmp_path / "out", groups=PAPER)[0].read_text() == whole
    written = path.stat().st_mtime_ns
    reference.make_reference(workspace, 2, tmp_path / "out", groups=PAPER)
    assert (path.read_text(), path.stat().st_mtime_ns) == (whole, written)


def test_other_numbers_replace_the_file(workspace, tmp_path, monkeypatch):
    path = reference.make_reference(workspace, 2, tmp_path, groups=PAPER)[0]
    monkeypatch.setitem(LEVELS, "merit", 0.5)
    reference.make_reference(workspace, 1, tmp_path, groups=PAPER)
    assert (read(path)["seeds"], read(path)["results"][0]["mean"]["auroc"]) == (1, 0.5)


def test_without_anything_to_pretrain_on_the_stages_still_run(workspace, tmp_path):
    def nothing(names, seeds):
        raise NoCohort("pretraining: expected mimic-iv-ecg")

    workspace.checkpoints = nothing
    assert read(reference.make_reference(workspace, 1, tmp_path, groups=PAPER)[2])["results"]


def test_peers_methods_are_a_group_of_their_own_in_files_of_their_own(workspace, tmp_path):
    paths = reference.make_reference(workspace, 2, tmp_path, groups=("objectives", "equal-budget"))
    own, peers = paths[:6], paths[6:]
    assert [path.name for path in peers] == [
        f"{name}-demo-real-equal-budget.json" for name in ("linear_probe", "zero_shot", "shift", "kept", "generation")
    ]
    names = ("merit", "cma", "mse", "st-mem-ours", "merl-ours", "simclr", "clocs")
    assert workspace.asked[1] == (names, (0, 1))
    probed, prompted, moved, known, written = map(read, peers)
    assert probed["group"] == "equal-budget"
    for file in (probed, moved, known):
        assert {row["encoder"] for row in file["results"]} == {*names, "random"}
        assert [row["encoder"] for row in file["costs"]] == [*names, "random"]
    assert {row["encoder"] for row in prompted["results"]} == {"merit", "cma", "merl-ours", "random"}
    assert [row["encoder"] for row in written["results"]] == ["merit", "merl-ours", "random"] * 2
    assert set(written["results"][0]["conditions"]["model"]) == {"scores"}
    assert "texts" not in written["results"][0]
    assert {row["metric"] for row in written["over_seeds"]} == {"meteor"}
    (row,) = [one for one in probed["differences"] if (one["other"], one["metric"]) == ("simclr", "auroc")]
    assert row["n_comparisons"] == 7
    assert (read(own[0])["group"], read(own[0])["costs"]) == ("objectives", [])
    assert {row["encoder"] for row in read(own[0])["results"]}.isdisjoint({"simclr", "merl-ours"})


def test_published_encoders_with_weights_are_a_group_with_one_seed_of_their_own(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("MERIT_WEIGHTS", str(tmp_path / "weights"))
    assert reference.make_reference(workspace, 2, tmp_path, groups=("published",)) == []
    assert workspace.asked == []
    for name, file in (("merl", "res18_best_ckpt.pth"), ("st-mem", "encoder.pth")):
        (tmp_path / "weights" / name).mkdir(parents=True)
        (tmp_path / "weights" / name / file).write_bytes(b"\x80")  # as a pickle begins
    monkeypatch.setattr(reference_stages, "generation", lambda ws, encoders, *, encoder_seed: [])
    for name in ("merl", "st-mem"):
        monkeypatch.setitem(LEVELS, name, 0.7)
    paths = reference.make_reference(workspace, 2, tmp_path, groups=("published",))
    assert [path.name for path in paths] == [
        f"{name}-demo-real-published.json" for name in ("linear_probe", "zero_shot", "shift")
    ]
    assert workspace.asked == [(("merit",), (0, 1))]
    rows = [(row["encoder_seed"], row["encoder"]) for row in read(paths[0])["results"]]
    assert rows == [(0, "merit"), (0, "st-mem"), (0, "merl"), (1, "merit")]


def test_retention_is_written_with_its_reliability_and_its_paired_differences(workspace, tmp_path):
    names = ("merit", "cma")
    (path,) = reference.make_reference(workspace, 2, tmp_path, groups=PAPER, stages=("kept",), encoders=names)
    about, found = scores.read(path)
    assert (about["study"], about["seeds"]) == ("kept", 2)
    assert list(found["study"]) == ["retention"] * 6 + ["reliability"] + ["retention"] * 6
    pairs = found[found["kind"] == "difference"].astype({"encoder_seed": int})
    assert [tuple(row) for row in pairs[["encoder_seed", "encoder", "other", "metric"]].to_numpy()] == [
        (seed, "merit", "cma", metric) for seed in (0, 1) for metric in ("auroc_stated", "r2_partial")
    ]
    gap = 0.9 - 0.85
    half = 1.959964 * gap * np.sqrt(np.mean(np.square([0.0, 0.02])))  # around the value
    row = pairs.iloc[0]
    assert (row["value"], row["low"], row["high"]) == pytest.approx((gap, gap - half, gap + half), abs=1e-6)
    workspace.synthetic = True
    (path,) = reference.make_reference(workspace, 1, tmp_path, groups=PAPER, stages=("kept",), encoders=names)
    assert set(scores.read(path)[1]["study"]) == {"retention"}
    written = path.stat().st_mtime_ns
    reference.make_reference(workspace, 1, tmp_path, groups=PAPER, stages=("kept",), encoders=names)
    assert path.stat().st_mtime_ns == written


def test_a_stage_without_results_has_no_file(workspace, tmp_path):
    paths = reference.make_reference(workspace, 1, tmp_path, groups=("dials",))
    assert [path.name for path in paths] == ["carried_over-demo-real.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["carried_over-demo-real.json"]
    pairs = scores.read(paths[0])[1].query("kind == 'difference' and metric == 'r2_partial' and encoder == 'merit'")
    assert {(row.hearts, row.other) for row in pairs.itertuples()} == {
        (hearts, other) for hearts in ("real hearts", "synthetic hearts") for other in ("cma", "mse", "random")
    }


def test_some_encoders_of_a_group_can_be_asked_for(workspace, tmp_path):
    paths = reference.make_reference(workspace, 1, tmp_path, groups=PAPER, stages=("kept",), encoders=("mse", "random"))
    assert workspace.asked == [(("mse",), (0,))]
    assert set(scores.read(paths[0])[1]["encoder"].dropna()) == {"mse", "random"}
