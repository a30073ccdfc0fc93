"""What `make bench` says of what is kept at PTB-XL's size; no test asserts on time."""

from __future__ import annotations

import pytest

from merit.evaluate.kept import bench
from merit.evaluate.kept.decode import NEVER


def test_the_made_up_question_has_the_sizes_asked_for():
    asked, said, embedding = bench.made_up(300, 40, 5, 6)
    assert (said.shape, said.dtype, embedding.shape) == ((300, 45), "uint8", (300, 6))
    assert set(said.ravel()) == {0, 1}
    assert (asked.folds == 0).sum() == 30
    assert (asked.folds == NEVER).sum() == 270
    assert len(asked.stated) == 5


def test_a_fresh_process_gives_seconds_and_its_own_peak():
    found = bench.in_fresh_process(records=700, words=30, statements=3, width=4)
    assert {name: found[name] for name in bench.SIZES} == {"records": 700, "words": 30, "statements": 3, "width": 4}
    assert found["report_s"] > 0
    assert found["embedding_s"] > 0
    assert 30 < found["peak_mb"] < 1000
    with pytest.raises(RuntimeError, match=r"measuring what_is_kept failed: .*at least 60 scored recordings; got 20"):
        bench.in_fresh_process(records=200, words=30, statements=3, width=4)
