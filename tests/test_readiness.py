"""`merit doctor` on the machine: models of the hub without a network that could hang, disk, memory, hours."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError

from merit.bench import readiness
from merit.config import profile
from merit.data.doctor import CohortStatus
from merit.report.cost import Column

GATED = "meta-llama/Llama-3.2-1B-Instruct"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that answers as told; what it was asked, and with which time limit."""
    asked, answer = [], []

    def metadata(url: str, timeout: float) -> None:
        asked.append((url, timeout))
        if answer:
            raise answer[0]

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return asked, answer


def refusal(kind: type[Exception]) -> Exception:
    return kind("no", response=SimpleNamespace(headers={}, request=None))


class ConnectTimeout(HTTPError):
    """As the hub's client raises where nobody answers."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, "can be downloaded"),
        (refusal(GatedRepoError), "gated, and this account has no access: ask for access on its page, log in"),
        (refusal(RepositoryNotFoundError), "the hub has no such model, or hides it; LM= names another"),
        (ConnectTimeout("late"), r"the hub does not answer (ConnectTimeout): fetch it where there is a network"),
        (HTTPError("broken"), "the hub does not answer (HTTPError)"),
        (OSError("broken"), "the hub does not answer (OSError)"),
    ],
)
def test_a_hub_model_is_asked_for_once_with_a_time_limit(hub, error, said):
    asked, answer = hub
    answer += [error] if error else []
    assert said in readiness.hub_access(GATED, "LM")
    ((url, timeout),) = asked
    assert url.endswith(f"{GATED}/resolve/main/config.json")
    assert timeout == readiness.TIMEOUT_S
    assert said in readiness.hub_access(f"{GATED}@{'1' * 40}", "LM")
    assert asked[1][0].endswith(f"{GATED}/resolve/{'1' * 40}/config.json")


def test_offline_nobody_is_asked_and_a_folder_and_the_cache_need_no_network(hub, tmp_path, monkeypatch):
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        found = readiness.hub_access(GATED, "LM")
    assert found.startswith("not at hand, and HF_HUB_OFFLINE is set: fetch it where there is a network")
    assert "(LM=folder)" in found
    assert readiness.hub_access(str(tmp_path), "LM").startswith("no weights (*.safetensors, *.bin)")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert readiness.hub_access(str(tmp_path), "LM") == "a folder"
    assert "neither a folder nor a name on the hub; LM= names another" in readiness.hub_access("/no/such/folder", "LM")
    assert hub[0] == []
    cached = tmp_path / "cache" / "models--some--model"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    snapshot = cached / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    assert readiness.hub_access("some/model", "LM") == "can be downloaded"  # an empty snapshot is not the model
    (snapshot / "pytorch_model.bin").write_bytes(b"")
    assert readiness.hub_access("some/model", "LM") == "in the local cache"
    assert len(hub[0]) == 1


def column(kind: str, **found) -> Column:
    return Column(f"a {kind}", {"about": {"kind": kind}, **found}, None)


def test_hours_are_those_of_four_pretrainings_at_the_measured_rate():
    both, half = {"mimic-iv-ecg": 800_000, "ptb-xl": 20_000}, {"ptb-xl": 20_000}
    slow = column("cuda", updates={"networks": {}, "published": [{"samples_per_s": 1000.0}]})
    fast = column("cuda", full={"paths": {"eager": {"samples_per_s": 4000.0}, "graphs": {"samples_per_s": 8000.0}}})
    cpu = column("cpu", updates={"networks": {}, "published": [{"samples_per_s": 4.0}]})
    for counts, kind, columns, said in (
        (both, "cuda", [slow, cpu], "about 178 h"),  # 4 × 200 × 800,000 / 1,000 s
        (both, "cuda", [slow, fast, cpu], "about 22.2 h"),
        (both, "cuda", [slow, fast], "a projection at 8,000.0 recordings a second, measured on a cuda"),
        (half, "cpu", [cpu], "about 889 h"),  # of folds 1 to 8
        (both, "cuda", [cpu], "no cuda has been measured (`make bench` does): 16.0 h budgeted"),
        ({"csn": 10}, "cpu", [cpu], "nothing to pretrain on"),
    ):
        assert said in readiness.hours(profile("paper"), counts, kind, columns)


@pytest.fixture
def said(hub, monkeypatch, tmp_path):
    """What is said of the CPU for the paper's profile: name of a line -> its text. No hub is asked."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("MERIT_HOME", str(tmp_path / "home"))

    def call(**counts: int) -> dict[str, str]:
        statuses = [CohortStatus(name=name, root=Path("x"), rows=n, waveforms=n) for name, n in counts.items()]
        lines = readiness.describe(statuses, "paper", None, "cpu").splitlines()[1:]
        assert not (tmp_path / "home").exists()
        return {line[2:30].strip(): line[30:] for line in lines}

    return call


def test_little_memory_and_disk_are_said_and_nothing_is_written(said, monkeypatch, tmp_path):
    counts = {"mimic-iv-ecg": 800_000}
    monkeypatch.setattr(readiness.psutil, "virtual_memory", lambda: SimpleNamespace(available=2e9))
    monkeypatch.setattr(readiness.registry, "choose", lambda which: ([], []))
    monkeypatch.setattr(readiness.shutil, "disk_usage", lambda path: SimpleNamespace(free=5e9))
    lines = said(**counts)
    assert "2.0 GB free; recordings to pretrain on take 19.2 GB (read from disk" in lines["memory"]
    assert lines["memory"].endswith("too little is free")
    assert f"5.0 GB free at {tmp_path}; stores and checkpoints take at least 19.8 GB: too little" in lines["disk"]
    monkeypatch.setattr(readiness.registry, "choose", lambda which: (["merl"], []))
    counts |= {"ptb-xl": 20_000}  # 0.5 GB at 100 Hz and 2.4 GB at 500 Hz, which MIMIC-IV-ECG never is as a whole
    assert "at least 22.7 GB" in said(**counts)["disk"]
    lines = said(**{"ptb-xl": 50})
    assert list(lines) == ["device", "memory", "disk", *readiness.SETTINGS, "hours"]
    assert sum("HF_HUB_OFFLINE" in text for text in lines.values()) == 3
    assert "trained here" in readiness.describe([CohortStatus(name="csn", root=None)], "smoke", None, "cpu")
