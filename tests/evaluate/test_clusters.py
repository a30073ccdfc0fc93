"""Purity, silhouette and UMAP on points that lie as they should, against loops, and the same twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from merit.evaluate import clusters as module
from merit.evaluate.clusters import ClusterConfig, by_class, neighbours, purity, silhouette, single_class
from merit.evaluate.tasks import NotEnoughData

ROOT = Path(__file__).parents[2]


def drawn(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three clusters apart in five dimensions, bool labels [n, 4] (the last class without records), two a patient."""
    generator = np.random.default_rng(seed)
    classes = np.arange(n) % 3
    x = generator.normal(size=(n, 5)) + 6 * np.eye(5)[classes]
    return x.astype(np.float32), np.eye(4, dtype=bool)[classes], np.arange(n) // 2


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_purity_equals_loops_and_leaves_out_the_own_patient(metric, monkeypatch):
    x, labels, groups = drawn(30)
    x[:, 0] += 1
    classes, slow = labels.argmax(axis=1), []
    for a, group, own in zip(x.astype(float), groups, classes):
        far = np.linalg.norm(x - a, axis=1)
        if metric == "cosine":
            far = 1 - x @ a / np.linalg.norm(a) / np.linalg.norm(x.astype(float), axis=1)
        others = sorted(np.flatnonzero(groups != group), key=lambda j: far[j])[:4]
        slow.append(np.mean(classes[others] == own))
    np.testing.assert_allclose(purity(x, classes, groups, 4, metric), slow)
    monkeypatch.setattr(module, "BLOCK", 7)
    np.testing.assert_allclose(purity(x, classes, groups, 4, metric), slow)


def test_purity_with_ties_and_without_enough_others_and_the_rarest_class_of_a_record():
    labels = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [0, 0, 0], [0, 1, 1]], dtype=bool)
    assert single_class(labels).tolist() == [0, 1, 2, -1, 1]
    same_place = np.zeros((6, 2))
    classes, groups = np.array([0, 0, 0, 1, 1, 1]), np.arange(6)
    assert purity(same_place, classes, groups, 2, "euclidean").tolist() == [1, 1, 1, 0, 0, 0]  # ties by row
    assert purity(same_place, classes, groups // 3, 5, "euclidean").tolist() == [0] * 6
    assert np.isnan(purity(same_place, classes, groups * 0, 2, "euclidean")).all()
    index, distance = neighbours(np.array([[0.0], [1.0], [5.0]]), 2, "euclidean")
    assert index.tolist() == [[0, 1], [1, 0], [2, 1]]
    assert distance.tolist() == [[0, 1], [0, 1], [0, 4]]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_silhouette_without_repeated_patients_is_the_usual_one(metric):
    from sklearn.metrics import silhouette_samples

    rng = np.random.default_rng(0)
    x, classes = rng.normal(size=(60, 4)), np.arange(60) % 3
    np.testing.assert_allclose(
        silhouette(x, classes, np.arange(60), metric), silhouette_samples(x, classes, metric=metric)
    )


def test_recordings_of_one_patient_do_not_make_a_cluster():
    rng = np.random.default_rng(1)
    groups, classes = np.repeat(np.arange(40), 5), np.repeat(rng.integers(0, 2, 40), 5)
    x = rng.normal(size=(40, 8))[groups] + 0.01 * rng.normal(size=(200, 8))
    apart, together = (silhouette(x, classes, one, "euclidean").mean() for one in (groups, np.arange(200)))
    assert apart < 0
    assert together > 0.03
    alone = np.where(groups == 0, 2, classes)
    assert np.isnan(silhouette(x, alone, groups, "euclidean")[:5]).all()


def test_by_class_equals_resampling_patient_by_patient():
    generator = np.random.default_rng(0)
    values, classes, groups = generator.random(40), np.arange(40) % 2, np.arange(40) // 4
    first, _, empty, macro = by_class(values, classes, groups, 3, ClusterConfig(n_resamples=50, seed=7), share=False)
    assert first["value"] == pytest.approx(values[::2].mean())
    assert empty == {"value": None, "low": None, "high": None}
    draws, slow = np.random.default_rng(7), []
    for _ in range(50):
        rows = np.flatnonzero(np.isin(groups, draws.permutation(10)[:5]))
        slow.append(np.mean([values[rows][classes[rows] == c].mean() for c in (0, 1)]))
    np.testing.assert_allclose(macro["draws"], slow, atol=1e-5)
    value = np.mean([values[classes == c].mean() for c in (0, 1)])
    reach = 1.959964 * np.sqrt(np.mean((np.array(slow) - value) ** 2))
    assert [macro["value"], macro["low"]] == pytest.approx([value, value - reach], abs=1e-5)
    # A class of few resampled patients never leaves the mean undefined.
    values, classes, groups = np.array([1.0, 0.0, np.nan, 0.5]), np.array([0, 1, 1, 1]), np.arange(4)
    _, second, macro = by_class(values, classes, groups, 2, ClusterConfig(n_resamples=30), share=False)
    assert second["value"] == pytest.approx(0.25)
    assert len(macro["draws"]) == 30


def test_scores_and_points_without_umap(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "umap_plane", lambda x, config, cache: np.asarray(x[:, 3:], dtype=float))
    x, labels, groups = drawn()
    scores, points = module.clusters(x, labels, groups, list("ABCD"), ClusterConfig(n_resamples=20), tmp_path)
    purity_of = scores[scores["metric"] == "purity"].set_index(["space", "class"])
    assert purity_of.loc["encoder", "n"].tolist() == [30, 30, 30, 0, 90]
    assert purity_of.loc[("umap", "D"), "reason"] == "fewer than 2 patients"
    assert purity_of.loc[("encoder", "macro"), "value"] > 0.95
    assert purity_of.loc[("umap", "macro"), "value"] < purity_of.loc[("encoder", "macro"), "value"]
    assert purity_of.loc[("encoder", "A"), "chance"] == pytest.approx(1 / 3, abs=0.02)
    assert points["class"].value_counts().to_dict() == {"A": 30, "B": 30, "C": 30}
    with pytest.raises(NotEnoughData, match="got 1 such classes"):
        module.clusters(x, labels[:, :1] | True, groups, ["A"], ClusterConfig(), tmp_path)
    with pytest.raises(NotEnoughData, match="12 records"):
        module.clusters(x[:12], labels[:12], groups[:12], list("ABCD"), ClusterConfig(), tmp_path)
    with pytest.raises(ValueError, match="metric: expected one of"):
        ClusterConfig(metric="manhattan")


@pytest.mark.slow
def test_umap_gives_the_same_in_two_processes_whatever_the_threads(tmp_path):
    code = (
        "import sys; sys.path.insert(0, 'tests/evaluate'); import hashlib; from pathlib import Path\n"
        "from test_clusters import drawn; from merit.evaluate.clusters import ClusterConfig, umap_plane\n"
        f"z = umap_plane(drawn()[0], ClusterConfig(), Path({str(tmp_path)!r})); assert z.shape == (90, 2)\n"
        "print(hashlib.sha256(z.tobytes()).hexdigest())"
    )
    seen = set()
    for threads in ("1", "2"):
        env = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", code]
        seen.add(subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, check=True).stdout)
    assert len(seen) == 1
