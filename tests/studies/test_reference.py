"""The committed scores of several seeds: what is written, when, and that no machine's folders are in it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from merit import scores
from merit.studies import reference
from merit.studies.workspace import NoCohort

LEVELS = {"merit": 0.9, "cma": 0.85, "ib": 0.8, "mse": 0.7, "ib-0.1": 0.84, "ib-1": 0.75, "cma-whole": 0.86,
          "random": 0.6, "st-mem-ours": 0.65, "merl-ours": 0.82, "simclr": 0.72, "clocs": 0.71, "merl": 0.7,
          "st-mem": 0.7}  # fmt: skip
PAPER = ("objectives",)


def scored(study: str):
    """A study that answers at once: a score per encoder, the last encoder with a reason alone."""

    def run(ws: Any, encoders: list[str], seed: int) -> pd.DataFrame:
        about = {"study": study, "encoder_seed": seed, "metric": "auroc"}
        rows = [{**about, "encoder": name, "value": LEVELS[name] + seed / 3, "draws": [1.0]} for name in encoders]
        reason = f"no such data set under {ws.data}; see {ws.folder}/stores"
        return scores.frame([*rows, {**about, "encoder": encoders[-1], "reason": reason}])

    return run


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A workspace whose studies answer at once; `asked` holds what was pretrained."""
    for study in reference.STUDIES:
        monkeypatch.setitem(reference.STUDIES, study, scored(study))
    monkeypatch.setitem(reference.STUDIES, "left_out", lambda ws, encoders, seed: scores.frame([]))
    monkeypatch.setattr(reference, "costs", lambda ws, names, seeds: [{"encoder": n, "seconds": 2 / 3} for n in names])
    asked: list[tuple] = []
    return SimpleNamespace(
        profile=SimpleNamespace(name="demo", limit=None, epochs=None), synthetic=False, data=Path("/secret/place"),
        folder=tmp_path / "demo-x", torch_device=lambda: "cpu", asked=asked,
        checkpoints=lambda names, seeds: asked.append((tuple(names), tuple(seeds))),
    )  # fmt: skip


def test_every_study_gives_a_file_named_by_profile_and_kind(workspace: SimpleNamespace, tmp_path: Path) -> None:
    said: list[str] = []
    paths = reference.make_reference(workspace, 2, tmp_path / "out", said.append, PAPER)
    studies = ("linear_probe", "zero_shot", "shift", "information", "clusters", "kept")
    assert [path.name for path in paths] == [f"{name}-demo-real.json" for name in studies]
    assert workspace.asked == [(("merit", "cma", "ib", "mse", "ib-0.1", "ib-1", "cma-whole"), (0, 1))]
    assert len(said) == 12
    about, found = scores.read(paths[0])
    wanted = {"study": "linear_probe", "profile": "demo", "synthetic": False, "seeds": 2, "device": "cpu"}
    assert about.items() >= {**wanted, "suffix": None}.items()
    assert len(scores.scored(found)) == 2 * 8
    assert found["value"][8 + 1] == 1.23333  # the ninth row is a reason; MERIT at the second seed
    for path in paths:  # reasons travel without folders, and draws stay out
        assert "no such data set under DATA; see artifacts/stores" in path.read_text()
        for left_out in ("/secret", str(workspace.folder), "draws"):
            assert left_out not in path.read_text()
    workspace.synthetic = True
    assert reference.run_name(workspace) == "demo"


def test_a_limited_run_is_no_reference_and_one_without_pretraining_is(workspace, tmp_path) -> None:
    workspace.checkpoints = lambda names, seeds: (_ for _ in ()).throw(NoCohort("expected mimic-iv-ecg"))
    assert len(reference.make_reference(workspace, 1, tmp_path, groups=PAPER)) == 6
    for limit, epochs in ((64, None), (None, 1)):
        workspace.profile = SimpleNamespace(limit=limit, epochs=epochs)
        with pytest.raises(ValueError, match=r"^reference: expected a whole run; leave LIMIT and EPOCHS"):
            reference.make_reference(workspace, 1, tmp_path)


def test_a_stopped_run_leaves_its_seeds_and_goes_on(workspace, tmp_path, monkeypatch) -> None:
    def stop_at(ws: Any, encoders: list[str], seed: int) -> pd.DataFrame:
        if seed == 2:
            raise KeyboardInterrupt
        return scored("linear_probe")(ws, encoders, seed)

    monkeypatch.setitem(reference.STUDIES, "linear_probe", stop_at)
    with pytest.raises(KeyboardInterrupt):
        reference.make_reference(workspace, 3, tmp_path, groups=PAPER)
    path = tmp_path / "linear_probe-demo-real.json"
    assert scores.read(path)[0]["seeds"] == 2
    monkeypatch.setitem(reference.STUDIES, "linear_probe", scored("linear_probe"))
    reference.make_reference(workspace, 3, tmp_path, groups=PAPER)
    whole, written = path.read_text(), path.stat().st_mtime_ns
    assert json.loads(whole)["about"]["seeds"] == 3
    reference.make_reference(workspace, 2, tmp_path, groups=PAPER)
    assert (path.read_text(), path.stat().st_mtime_ns) == (whole, written)
    monkeypatch.setitem(LEVELS, "merit", 0.5)
    reference.make_reference(workspace, 1, tmp_path, groups=PAPER)  # other numbers replace the file
    assert (scores.read(path)[0]["seeds"], scores.read(path)[1]["value"][0]) == (1, 0.5)


def test_peers_methods_are_a_group_of_their_own_in_files_of_their_own(workspace, tmp_path) -> None:
    paths = reference.make_reference(workspace, 2, tmp_path, groups=("objectives", "equal-budget"))
    own, peers = paths[:6], paths[6:]
    assert [path.name for path in peers] == [
        f"{name}-demo-real-equal-budget.json" for name in ("linear_probe", "zero_shot", "shift", "kept", "generation")
    ]
    names = ("merit", "cma", "mse", "st-mem-ours", "merl-ours", "simclr", "clocs")
    assert workspace.asked[1] == (names, (0, 1))
    about, found = scores.read(peers[0])
    assert (about["group"], about["suffix"]) == ("equal-budget", "equal-budget")
    assert set(found["encoder"]) == {*names, "random"}
    assert about["costs"] == [{"encoder": name, "seconds": 0.666667} for name in (*names, "random")]
    assert scores.read(own[0])[0]["costs"] == []
    assert set(scores.read(own[0])[1]["encoder"]).isdisjoint({"simclr", "merl-ours"})


def test_published_encoders_have_one_seed_and_a_study_without_scores_no_file(workspace, tmp_path, monkeypatch):
    paths = reference.make_reference(workspace, 1, tmp_path, groups=("dials",), encoders=("mse", "random"))
    assert [path.name for path in tmp_path.iterdir()] == ["carried_over-demo-real.json"] == [paths[0].name]
    assert workspace.asked == [(("mse",), (0,))]
    assert set(scores.read(paths[0])[1]["encoder"]) == {"mse", "random"}
    monkeypatch.setenv("MERIT_WEIGHTS", str(tmp_path / "weights"))
    assert reference.make_reference(workspace, 2, tmp_path, groups=("published",)) == []
    workspace.asked.clear()
    for name, file in (("merl", "res18_best_ckpt.pth"), ("st-mem", "encoder.pth")):
        (tmp_path / "weights" / name).mkdir(parents=True)
        (tmp_path / "weights" / name / file).write_bytes(b"\x80")  # as a pickle begins
    paths = reference.make_reference(workspace, 2, tmp_path, groups=("published",), studies=("shift",))
    assert [path.name for path in paths] == ["shift-demo-real-published.json"]
    assert workspace.asked == [(("merit",), (0, 1))]
    found = scores.scored(scores.read(paths[0])[1])
    assert list(found["encoder"] + found["encoder_seed"].astype(str)) == ["merit0", "st-mem0", "merl0", "merit1"]


def test_real_recordings_are_cross_fitted(workspace: SimpleNamespace, monkeypatch, tmp_path: Path) -> None:
    """Every rotation is pretrained and scored; files hold means over rotations and differences from merit."""
    for name, by in reference.ROTATED.items():
        answer = lambda *given, n=name, by=by: scored(n)(*given).assign(**dict.fromkeys(by, "x"))  # noqa: E731
        monkeypatch.setitem(reference.STUDIES, name, answer)
    turns = []

    def rotated(rotation: int) -> SimpleNamespace:
        turns.append(SimpleNamespace(**{**vars(workspace), "rotation": rotation}))
        return turns[-1]

    workspace.pretraining_cohort, workspace.rotated = "ptb-xl", rotated
    said: list[str] = []
    paths = reference.make_reference(workspace, 2, tmp_path / "out", said.append, ("real",))
    assert [path.name for path in paths] == [f"{study}-demo-real-rotations.json" for study in reference.ROTATED]
    assert [turn.rotation for turn in turns] == [1, 2, 3, 4, 5]
    names = ("merit", "cma", "cma-whole", "mse", "ib-0.1", "ib", "ib-1")
    assert workspace.asked == [(names, (seed,)) for seed in (0, 1) for _ in turns]
    assert len(said) == 2 * 5 * len(reference.ROTATED)
    assert "linear_probe, seed 1 of 2, rotation 3 of 5" in said[12]
    about, found = scores.read(paths[0])
    assert (about["group"], about["seeds"]) == ("real", 2)
    merit = found[(found["encoder"] == "merit") & found["other"].isna()].iloc[0]
    assert (merit["n"], merit["n_seeds"]) == (5, 2)
    assert merit["value"] == pytest.approx(0.9 + 1 / 6, abs=1e-5)
    assert set(found["other"].dropna()) == {*names, "random"} - {"merit", *found.loc[found["value"].isna(), "encoder"]}
    workspace.pretraining_cohort = "mimic-iv-ecg"
    assert reference.make_reference(workspace, 1, tmp_path / "none", groups=("real",)) == []
