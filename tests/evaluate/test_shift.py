"""Transfers against loops over pairs of records, on hand-made domains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from merit.config import ProbeConfig
from merit.data import taxonomy
from merit.evaluate import probing, tasks
from merit.evaluate.shift import Domain, train_head, transfer
from merit.evaluate.tasks import OFFICIAL_SPLIT, Alignment, NotEnoughData, TaskData, align, make_splits

CONFIG = ProbeConfig(epochs=4, learning_rate=3e-2, n_resamples=40, select="best_validation")
WIDTH = 6
DIRECTION = align("cpsc2018", "superclass", tasks.read_table())


def domain(space: str, seed: int = 0, absent: tuple[str, ...] = (), variant: str = "as_published", **changes) -> Domain:
    """160 records with random labels, one or two each, two a patient, features that show some of them, and a head."""
    n, names = np.arange(160), taxonomy.classes(space)
    generator, labels = np.random.default_rng([seed, len(n)]), np.zeros((len(n), len(names)), dtype=bool)
    present = [k for k, name in enumerate(names) if name not in absent]
    for row in labels:
        row[generator.choice(present, size=generator.integers(1, 3), replace=False)] = True
    patients, folds = np.array([f"{space}{i // 2:03d}" for i in n], dtype=object), n // 2 % 10 + 1
    front = {"task": space, "cohort": taxonomy.TASK_COHORT[space], "classes": names, "n_left_out": 0}
    task = TaskData(**front, rows=n, labels=labels, folds=folds, patients=patients, groups=patients)
    features = labels @ generator.normal(size=(len(names), WIDTH)) + generator.normal(size=(len(n), WIDTH))
    features = np.round(features, 1).astype(np.float32)
    (split,) = make_splits(folds, OFFICIAL_SPLIT)
    head = train_head(task, features, split, replace(CONFIG, **changes), variant)
    return Domain(task, features, np.ones(len(n), dtype=bool), split, head)


def slow_macro(alignment: Alignment, trained: Domain, target: Domain, rows: np.ndarray, said: str = "source") -> float:
    """Macro AUROC by loops: any-of of the target's labels, the highest of the head's logits."""
    logits, side, values = trained.head[0].logits(target.features), getattr(alignment, said), []
    for name in side.merged:
        truth = [any(target.task.labels[n, c] for c in alignment.target.columns(name)) for n in rows]
        values.append(roc_auc_score(truth, [max(float(logits[n, c]) for c in side.columns(name)) for n in rows]))
    return sum(values) / len(values)


def of(frame: pd.DataFrame, scored: str, name: str = "macro") -> dict[str, Any]:
    """The one row on what was scored, of a class or the macro average."""
    (row,) = frame[(frame["scored"] == scored) & (frame["class"] == name)].to_dict("records")
    return row


@pytest.fixture(scope="module")
def both() -> tuple[Domain, Domain]:
    return domain("cpsc2018"), domain("superclass", seed=1)


def test_the_whole_target_is_scored_as_loops_say(both) -> None:
    source, target = both
    found = transfer(source, target, DIRECTION, CONFIG)
    macro, rows = of(found, "target"), np.arange(len(target.task.labels))
    assert macro["value"] == pytest.approx(slow_macro(DIRECTION, source, target, rows))
    assert macro["low"] < macro["value"] < macro["high"]
    assert (macro["n"], macro["n_patients"], macro["n_classes"]) == (160, 80, 3)
    assert (macro["dropped_source"], set(macro["dropped_target"])) == (["AFIB", "PAC", "VPC"], {"HYP", "MI"})
    merged = DIRECTION.target.any_of(target.task.labels)
    assert macro["n_without_class"] == int((~merged.any(axis=1)).sum()) > 0
    only = np.flatnonzero(merged.any(axis=1))
    assert of(found, "with a class")["value"] == pytest.approx(slow_macro(DIRECTION, source, target, only))
    again = transfer(source, target, DIRECTION, CONFIG)
    pd.testing.assert_frame_equal(again.drop(columns="draws"), found.drop(columns="draws"))
    unseen = replace(target, scored=np.isin(target.task.folds, (9, 10)))
    macro = of(transfer(source, unseen, DIRECTION, CONFIG), "target")
    assert macro["n"] == 32
    assert macro["value"] == pytest.approx(slow_macro(DIRECTION, source, target, np.flatnonzero(unseen.scored)))


def test_in_domain_numbers_are_over_the_test_parts_alone(both) -> None:
    source, target = both
    found = transfer(source, target, DIRECTION, CONFIG)
    home, there, moved, cost = (of(found, name) for name in ("home", "own", "transferred", "cost"))
    test = target.split.test
    assert home["classes"] == ["NORM", "CD", "STTC"]
    assert (home["n"], there["n"]) == (16, 16)
    assert moved["value"] == pytest.approx(slow_macro(DIRECTION, source, target, test))
    assert there["value"] == pytest.approx(slow_macro(DIRECTION, target, target, test, "target"))
    back = replace(DIRECTION, target=DIRECTION.source)
    assert home["value"] == pytest.approx(slow_macro(back, source, source, source.split.test))
    assert cost["value"] == pytest.approx(there["value"] - moved["value"])
    same = of(transfer(target, target, replace(DIRECTION, source=DIRECTION.target), CONFIG), "cost")
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0)
    heads, usable = target.head
    unlearnt = usable & (np.array(target.task.classes) != "CD")
    found = transfer(source, replace(target, head=(heads, unlearnt)), DIRECTION, CONFIG)
    assert of(found, "own")["classes"] == ["NORM", "STTC"], "what either head could not learn is left out"


def test_the_epoch_is_the_best_on_the_sources_validation_part() -> None:
    source = domain("cpsc2018", seed=4, variant="standardised")
    figures, rows = [], source.split.validation
    for epoch in range(1, CONFIG.epochs + 1):
        last = replace(CONFIG, epochs=epoch, select="last")
        heads = probing.train(source.features, source.task.labels, [source.split], last, variants=("standardised",))
        logits, labels = heads.logits(source.features[rows]), source.task.labels[rows]
        counted = np.flatnonzero(tasks.countable(labels, 2))
        figures.append(np.mean([roc_auc_score(labels[:, c], logits[:, c]) for c in counted]))
    assert len(set(figures)) > 1
    assert source.head[0].epoch[0, 0] == np.argmax(figures) + 1
    assert domain("cpsc2018", seed=4, select="last").head[0].epoch[0, 0] == CONFIG.epochs


def test_classes_that_cannot_be_scored_are_named_with_the_reason(both):
    # No STE and STD to learn in the source; no NORM to find in the target.
    source, target = domain("cpsc2018", absent=("STE", "STD")), domain("superclass", seed=1, absent=("NORM",))
    found = transfer(source, target, DIRECTION, CONFIG)
    assert of(found, "target")["n_classes"] == 1
    assert sorted(of(found, "target")["not_learnt"]) == ["STD", "STE"]
    normal, repolarisation = of(found, "target", "NORM"), of(found, "target", "STTC")
    assert normal["reason"] == "0 positives, 160 negatives in superclass"
    assert (normal["n_positive"], np.isnan(normal["value"])) == (0, True)
    assert repolarisation["reason"] == "fewer than 2 positives or negatives to train on in cpsc2018"
    assert of(found, "own")["classes"] == ["CD"]
    source = domain("cpsc2018", absent=("STE", "STD", "NORM"))
    target = domain("superclass", seed=1, absent=("CD",))
    with pytest.raises(NotEnoughData, match=r"cpsc2018 to superclass: no class can be scored .*CD: 0 pos") as error:
        transfer(source, target, DIRECTION, CONFIG)
    assert "\n" not in str(error.value)
    with pytest.raises(NotEnoughData, match="cpsc2018: no head, since training, validation or test part is empty"):
        train_head(source.task, source.features, None, CONFIG, "as_published")
    empty = replace(source.task, labels=np.zeros_like(source.task.labels))
    with pytest.raises(NotEnoughData, match="no class has 2 positives and negatives among the 128 training recordings"):
        train_head(empty, source.features, source.split, CONFIG, "as_published")
    found = transfer(both[0], replace(both[1], split=None, head=NotEnoughData("")), DIRECTION, CONFIG)
    assert "too few recordings" in of(found, "own")["reason"]
    assert of(found, "target")["value"] > 0
