"""What retention takes at PTB-XL's size: memory of one embedding's measurement, and seconds of a fold.

Reports, factors and embedding are made up; only their sizes are real. A fresh process measures, so that its peak memory
is that of this alone. Folds and blocks are decoded one after another, so one fold of one block has the peak of all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np

from merit.evaluate.retention import TRAINING_ONLY, Question, RetentionConfig, blocks, measure

SIZES = {"records": 21_799, "words": 2_923, "statements": 71, "width": 192}
"""PTB-XL's recordings; words and pairs that five of its reports have, its statements; the paper's embedding."""
FOLDS = 10


def in_fresh_process(**sizes: int) -> dict[str, float]:
    """The sizes asked for (else `SIZES`), seconds of one fold of ten in one block (`report_s`: the report alone;
    `embedding_s`: one embedding, by both decoders, with its intervals) and `peak_mb` of the whole process. RuntimeError
    where that fails.
    """
    sizes = SIZES | sizes
    call = [sys.executable, "-m", __name__, *map(str, sizes.values())]
    done = subprocess.run(call, capture_output=True, text=True, env=dict(os.environ))
    if done.returncode:
        raise RuntimeError(f"measuring what_is_kept failed: {done.stderr.strip().splitlines()[-1:]}")
    return sizes | json.loads(done.stdout)


def made_up(records: int, words: int, statements: int, width: int) -> tuple[Question, np.ndarray, np.ndarray]:
    """The question with one fold of ten scored, statements uint8 [N, words + statements], embedding float32 [N, W]."""
    rng = np.random.default_rng(0)
    share = np.exp(rng.uniform(np.log(5 / records), np.log(0.5), words + statements))
    report = np.empty((records, words + statements), dtype=np.uint8)
    for k, frequency in enumerate(share):
        report[:, k] = rng.random(records) < frequency
    embedding = rng.normal(size=(records, width)).astype(np.float32)
    factors = {f"factor {k}": embedding[:, [k % width]] + rng.normal(size=(records, 1)) for k in range(9)}
    stated = {f"statement {k}": report[:, words + k].astype(bool) for k in range(statements)}
    folds = np.where(np.arange(records) % FOLDS == 0, 0, TRAINING_ONLY)
    return Question(factors, {}, {}, stated, np.arange(records), folds), report, embedding


def main(*sizes: str) -> None:
    """Print the figures of this process as JSON."""
    from merit.parallel import peak_memory

    question, report, embedding = made_up(*map(int, sizes))
    began = time.perf_counter()
    by_report = blocks(question, report)
    between = time.perf_counter()
    measure(embedding, question, by_report, RetentionConfig())
    seconds = {"report_s": between - began, "embedding_s": time.perf_counter() - between}
    print(json.dumps(seconds | {"peak_mb": peak_memory() / 2**20}))


if __name__ == "__main__":
    main(*sys.argv[1:])
