"""What is not as it was written is noticed before anything is computed from it, and made again once it is deleted."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merit import runs, scores
from merit.pretrain import checkpoint
from merit.studies import Workspace
from merit.studies.probing import linear_probe
from merit.studies.retention import measured_factors

DAMAGES = {
    "a byte flipped": lambda b: b[: len(b) // 2] + bytes([b[len(b) // 2] ^ 1]) + b[len(b) // 2 + 1 :],
    "emptied": lambda b: b"",
    "cut": lambda b: b[: len(b) // 2],
    "of another kind": lambda b: b"version https://git-lfs.github.com/spec/v1\n",
}

ECG = np.sin(np.arange(12 * 1000, dtype=np.float32)).reshape(1, 12, 1000)


def probe(ws: Workspace) -> list[dict[str, Any]]:
    return scores.records(linear_probe(ws, "random", "superclass"))


USES: dict[str, tuple[str, Callable[[Workspace], Any]]] = {
    "signals": ("stores/ptb-xl/signal_uv.npy", lambda ws: np.array(ws.store("ptb-xl").signal_uv)),
    "records": ("stores/ptb-xl/records.parquet", lambda ws: ws.store("ptb-xl").records.to_dict("list")),
    "rejections": ("stores/ptb-xl/rejected.csv", lambda ws: ws.store("ptb-xl").rejected.to_dict("list")),
    "manifest": ("stores/ptb-xl/manifest.json", lambda ws: ws.store("ptb-xl").identity),
    "digests of a store": ("stores/ptb-xl/SHA256SUMS", lambda ws: ws.store("ptb-xl").identity),
    "embedding": ("embeddings/random-seed0-csn-*.npy", lambda ws: ws.embedding("random", "csn")),
    "weights": ("checkpoints/merit-*/model.safetensors", lambda ws: ws.encoder("merit").embed(ECG, 100)),
    "settings": ("checkpoints/merit-*/config.json", lambda ws: ws.checkpoint("merit").name),
    "history": ("checkpoints/merit-*/history.jsonl", lambda ws: ws.histories(["merit"])["value"].to_numpy()),
    "seen": ("checkpoints/merit-*/seen.parquet", lambda ws: ws.seen("merit").to_dict("list")),
    "digests of a checkpoint": ("checkpoints/merit-*/SHA256SUMS", lambda ws: ws.seen("merit").to_dict("list")),
    "text encoder": ("text/*/model.safetensors", lambda ws: ws.text_embeddings(["sinus rhythm"])),
    "its words": ("text/*/tokenizer.json", lambda ws: ws.text_embeddings(["sinus rhythm"])),
    "embedded reports": ("text/reports-*.npy", lambda ws: ws.report_embeddings()),
    "result": ("results/linear_probe-*.json", probe),
    "truth": ("raw/ptb-xl/truth.parquet", lambda ws: ws.truth("ptb-xl").read_bytes()),
    "measured factors": (
        "measured/csn-*.parquet",
        lambda ws: measured_factors(ws, "csn", progress=False).drop(columns="record_id").to_numpy(float),
    ),
}
"""Kind of file -> where it lies, and what is computed from it."""


@pytest.fixture(scope="module")
def used(workspace) -> tuple[Workspace, dict[str, Any]]:
    """A workspace with an artifact of every kind, and what comes out of each."""
    return workspace, {kind: use(workspace) for kind, (_, use) in USES.items()}


@pytest.fixture
def ws(used, tmp_path, again) -> Workspace:
    """A session on a copy."""
    shutil.copytree(used[0].folder, tmp_path / "smoke")
    return again(used[0], folder=tmp_path / "smoke")


def delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", USES)
def test_damage_is_noticed_by_name_and_what_is_deleted_is_made_again(used, ws, kind, damage, again):
    where, use = USES[kind]
    file = sorted(ws.folder.glob(where))[0]
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(runs.Damaged, match="damaged; delete it, and the same command makes it again") as told:
        use(again(ws))
    assert "\n" not in str(told.value)
    named = Path(str(told.value).partition(": ")[0])
    assert file == named or file.is_relative_to(named)
    if kind == "truth" or damage != "emptied":
        return  # made again once a kind is enough
    delete(named)
    np.testing.assert_equal(use(again(ws)), used[1][kind])


def test_an_emptied_list_of_what_was_seen_does_not_let_it_be_scored(used, ws, again):
    """Also one that reads well, without a row; nor one that is not there."""
    file = next(ws.folder.glob("checkpoints/merit-*/seen.parquet"))
    ws.seen("merit").head(0).to_parquet(file, index=False)
    for change in (lambda: None, file.unlink):
        change()
        with pytest.raises(runs.Damaged, match=r"seen\.parquet is not as it was written"):
            linear_probe(again(ws), "merit", "superclass")


def test_weights_without_digests_are_not_trained_over_and_a_result_without_is_computed_again(used, ws):
    folder = next(ws.folder.glob("checkpoints/merit-*"))
    (folder / runs.SUMS).unlink()
    with pytest.raises(runs.Damaged, match="SHA256SUMS is missing"):
        ws.checkpoint("merit")
    from merit import load

    with pytest.raises(ValueError, match="a checkpoint of an earlier edition has none"):
        load(folder)
    file = next(ws.folder.glob("results/linear_probe-*.json"))
    edited = {**runs.read_json(file), "values": {"mean": {"auroc": 0.99}}}
    edited.pop("digest")
    runs.write_json(file, edited)
    np.testing.assert_equal(probe(ws), used[1]["result"])
    assert "digest" in runs.read_json(file)


@pytest.mark.parametrize("damage", DAMAGES)
def test_synthetic_recordings_are_looked_at_before_they_are_read(used, ws, damage, again):
    file = sorted((ws.folder / "raw" / "csn").rglob("*.mat"))[3]
    before = again(ws).store("csn").identity
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    shutil.rmtree(ws.folder / "stores" / "csn")
    with pytest.raises(runs.Damaged, match="raw/csn: damaged") as told:
        again(ws).store("csn")
    delete(Path(str(told.value).partition(": ")[0]))
    assert again(ws).store("csn").identity == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_not_gone_on_from(used, ws, damage, monkeypatch):
    whole = checkpoint.load_file(ws.checkpoint("cma") / "model.safetensors")
    shutil.rmtree(ws.checkpoint("cma"))
    monkeypatch.setattr(checkpoint, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ws.checkpoint("cma")
    monkeypatch.undo()
    file = next(ws.folder.glob("checkpoints/cma-*/training_state.pt"))
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(runs.Damaged, match=r"training_state\.pt: damaged; delete it"):
        ws.checkpoint("cma")
    file.unlink()
    resumed = checkpoint.load_file(ws.checkpoint("cma") / "model.safetensors")
    assert all((resumed[name] == whole[name]).all() for name in whole)


def test_what_is_whole_is_read_without_writing_anything(used, ws, monkeypatch, again):
    again(ws).cohorts()  # where the recordings now lie
    for folder in ws.folder.rglob(".locks"):
        shutil.rmtree(folder)
    before = {path: path.stat().st_mtime_ns for path in ws.folder.rglob("*")}

    def fail(path: Path) -> None:
        raise AssertionError(f"a lock for {path}")

    monkeypatch.setattr(runs, "claimed", fail)
    for kind, (_, use) in USES.items():
        np.testing.assert_equal(use(ws), used[1][kind])
    assert {path: path.stat().st_mtime_ns for path in ws.folder.rglob("*")} == before


def edited(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Let these modules read as edited."""
    parse, files = runs.parsed, {runs.module_file(name) for name in modules}
    monkeypatch.setattr(runs, "parsed", lambda path: ("edited", parse(path)[1]) if path in files else parse(path))


def test_the_source_of_the_network_is_no_part_of_a_checkpoint_and_of_results_it_is(used, ws, monkeypatch, again):
    def identity(ws: Workspace) -> str:
        probe(ws)
        return ws.used["linear_probe random superclass"]["id"]

    before, stage = ws.checkpoint_identity("merit"), identity(ws)
    edited(monkeypatch, "merit.model.resnet18", "merit.model.vit", "merit.model.merit")
    assert again(ws).checkpoint_identity("merit") == before
    assert identity(again(ws)) != stage
    often = dataclasses.replace(ws.profile, pretrain=dataclasses.replace(ws.profile.pretrain, save_every=4))
    assert again(ws, profile=often).checkpoint_identity("merit") == before  # nor is how often it saves


def test_a_reader_that_reads_the_same_keeps_checkpoints_and_copied_artifacts_are_the_same(used, ws, again, monkeypatch):
    for path in ws.folder.rglob("*"):
        os.utime(path, (1, 1))
    manifest = ws.folder / "stores/ptb-xl/manifest.json"
    before = manifest.stat().st_ino
    again(ws).store("ptb-xl")
    assert manifest.stat().st_ino == before
    # An edit of the code that reads files ingests again, and where no sample changes nothing else does.
    before, manifest = ws.checkpoint_identity("merit"), ws.folder / "stores/mimic-iv-ecg/manifest.json"
    written = manifest.stat().st_mtime_ns
    edited(monkeypatch, "merit.data.wfdb_io")
    assert again(ws).checkpoint_identity("merit") == before
    assert manifest.stat().st_mtime_ns != written
