"""What a declaration does for every study, on one that only counts."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from merit import runs
from merit.config import ProbeConfig, profile
from merit.evaluate.tasks import NotEnoughData
from merit.studies import core
from merit.studies.workspace import Workspace

computed: list[tuple] = []


def needs(ws: Any, encoder: str, **_: Any) -> dict[str, str]:
    if encoder == "away":
        raise runs.Unavailable("away: no weights here")
    return {"embedding": f"{encoder} {ws.version}"}


@core.study(over={"encoder": ("merit", "random"), "task": ("form",)}, needs=needs, config="probe")
def counted(ws: Any, encoder: str, task: str, encoder_seed: int = 0, *, config: ProbeConfig) -> dict[str, pd.DataFrame]:
    computed.append((encoder, task, encoder_seed, config.epochs))
    if task == "rhythm":
        raise NotEnoughData("rhythm: too few")
    rows = [{"metric": "auroc", "value": 0.1 + 0.2, "draws": [0.3, float("nan")]}, {"metric": "f1", "reason": "none"}]
    return {"scores": pd.DataFrame(rows), "texts": pd.DataFrame([{"text": f"<{encoder}>"}])}


@dataclass(eq=False)
class MadeUp:
    folder: Path
    version: int = 0
    synthetic: bool = True
    rotation: None = None

    def __post_init__(self) -> None:
        self.profile, self.used = profile("smoke"), {}
        self.result = functools.partial(Workspace.result, self)

    def torch_device(self) -> str:
        return "cpu"


@pytest.fixture
def ws(tmp_path: Path) -> MadeUp:
    computed.clear()
    return MadeUp(tmp_path)


def test_the_grid_is_computed_once_and_read_to_the_last_digit(ws: MadeUp) -> None:
    found = counted(ws)
    assert computed == [("merit", "form", 0, ws.profile.probe.epochs), ("random", "form", 0, ws.profile.probe.epochs)]
    assert list(found["encoder"]) == ["merit", "merit", "random", "random"]
    assert list(found.columns[:4]) == ["study", "encoder", "task", "encoder_seed"]
    assert found["value"][0] == 0.1 + 0.2
    assert found["draws"][0] == [0.3, None]
    pd.testing.assert_frame_equal(counted(ws), found)
    assert len(computed) == 2
    assert list(counted(ws, ["merit"], part="texts")["text"]) == ["<merit>"]
    assert len(ws.used) == 2
    with pytest.raises(ValueError, match="part: expected one of scores, texts of counted; got 'text'"):
        counted(ws, ["merit"], part="text")
    assert list(counted(ws, ["away"], part="texts")["reason"]) == ["away: no weights here"]


def test_arguments_settings_inputs_and_source_make_results_of_their_own(ws: MadeUp, monkeypatch) -> None:
    counted(ws, "merit")
    counted(ws, "merit", epochs=None)
    assert len(computed) == 1
    counted(ws, "merit", epochs=99)
    counted(ws, "merit", encoder_seed=1)
    ws.version = 1
    counted(ws, "merit")
    assert [one[2:] for one in computed[1:]] == [(0, 99), (1, computed[0][3]), (0, computed[0][3])]
    monkeypatch.setattr(runs, "reached", lambda function: {"test_core.counted": "edited"})
    counted(ws, "merit")
    assert len(computed) == 5
    path = max((ws.folder / "results").glob("counted-*.json"), key=lambda path: path.stat().st_mtime_ns)
    path.write_text(path.read_text().replace("0.30000000000000004", "0.31"))
    with pytest.raises(runs.Damaged, match=path.name):
        counted(ws, "merit")
    with pytest.raises(ValueError, match=r"task: expected one of superclass.*got 'forms'"):
        counted(ws, "merit", "forms")
    with pytest.raises(ValueError, match="epoch"):
        counted(ws, "merit", epoch=3)


def test_what_is_not_there_is_a_row_with_its_reason(ws: MadeUp) -> None:
    found = counted(ws, ["away", "merit"], ["form", "rhythm"])
    rows = found[found["value"].isna() & found["metric"].isna()]
    assert list(rows["task"]) == ["form", "rhythm", "rhythm"]
    assert list(rows["reason"]) == ["away: no weights here"] * 2 + ["rhythm: too few"]
    counted(ws, ["away", "merit"], ["form", "rhythm"])
    assert len(computed) == 2  # too few recordings stay too few; what was not there may be there tomorrow


@core.study(over={"task": ("form", "rhythm")}, needs=lambda ws, **_: {}, columns=("variant", "sd"))
def divided(ws: Any, task: str) -> pd.DataFrame:
    if task == "rhythm":
        raise NotEnoughData("rhythm: too few")
    return pd.DataFrame([{"variant": v, "metric": "auroc", "value": 0.5} for v in ("as_published", "standardised")])


def test_values_of_a_column_may_be_chosen_and_a_reason_stands_for_all(ws: MadeUp) -> None:
    found = divided(ws, variant="standardised")
    assert list(found["variant"].fillna("any")) == ["standardised", "any"]
    assert list(found["reason"].fillna("")) == ["", "rhythm: too few"]
    assert len(divided(ws)) == 3
    with pytest.raises(ValueError, match="variant: expected one of as_published, standardised; got 'raw'"):
        divided(ws, variant=["raw"])
    assert list(divided(ws, "rhythm")[["variant", "sd"]].isna().all()) == [True, True]


def test_a_study_knows_the_source_that_it_reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
from merit.evaluate import metrics
from merit.studies.workspace import Workspace
LIMIT = 3
def compute(ws: Workspace):
    from merit.evaluate.tasks import make_splits
    return helper(LIMIT)
def helper(x):
    return metrics.auroc
def unrelated():
    return 1
"""

    def reached(changed: str) -> dict[str, str]:
        path = tmp_path / "module.py"
        path.write_text(changed)
        monkeypatch.setitem(sys.modules, "made_up", SimpleNamespace(__file__=str(path)))
        return runs.reached(SimpleNamespace(__module__="made_up", __name__="compute"))

    first = reached(text)
    assert {"made_up.compute", "made_up.helper", "made_up.LIMIT", "merit.evaluate.metrics"} <= first.keys()
    assert "merit.evaluate.tasks" in first
    assert not any(name.startswith("merit.studies") for name in first)
    assert reached(text.replace("return 1", "return 2")) == first
    assert reached(text.replace("def helper", "# why\ndef helper")) == first
    assert reached(text.replace("LIMIT = 3", "LIMIT = 4")) != first
    assert reached(text.replace("return metrics.auroc", "return metrics.f1")) != first
