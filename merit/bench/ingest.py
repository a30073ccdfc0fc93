"""What ingest costs beside what wfdb alone needs to read the same files, and its memory at two sizes.

Each measurement runs in a fresh process, so that caches, imports and peak memory of one do not enter another.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from merit.data.cohorts import open_cohort
from merit.pool import peak_memory

SIZES = (500, 2000)
"""Recordings at which the peak memory of ingest is taken."""


def measure(root: str | Path, name: str, folder: str | Path) -> dict[str, float]:
    """Seconds of wfdb alone and of ingest with one worker over the same recordings, their ratio, rate, peak memory.

    folder: where the stores are written; removed afterwards. Keys ending in `_s` are wall seconds, `_cpu_s` seconds
    of processor time; `ratio` compares processor times, which other work on the machine disturbs least. Each is the
    better of two, taken in turns.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _fresh("wfdb", root, name, folder, 0)  # the files enter the page cache, for both alike
        pairs = [(_fresh("wfdb", root, name, folder, 0), _fresh("ingest", root, name, folder, 0)) for _ in range(2)]
        alone, ours = (min(runs, key=lambda run: run["cpu_s"]) for runs in zip(*pairs))
        peaks = [_fresh("ingest", root, name, folder, size) for size in SIZES]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {
        "recordings": ours["recordings"],
        "wfdb_s": alone["wall_s"],
        "wfdb_cpu_s": alone["cpu_s"],
        "ingest_s": ours["wall_s"],
        "ingest_cpu_s": ours["cpu_s"],
        "ratio": ours["cpu_s"] / alone["cpu_s"],
        "recordings_per_s": ours["recordings"] / ours["wall_s"],
    }
    for size, peak in zip(SIZES, peaks):
        result[f"peak_mb_{size}"] = peak["peak_mb"]
    return result


def rate(root: str | Path, name: str, folder: str | Path, limit: int) -> float:
    """Recordings a second of ingest with one worker over the first `limit` recordings; the files are read once before.

    folder: where the stores are written; removed afterwards. RuntimeError where a process fails.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _fresh("wfdb", root, name, folder, limit)
        found = _fresh("ingest", root, name, folder, limit)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found["recordings"] / found["wall_s"]


def _fresh(what: str, root: str | Path, name: str, folder: Path, limit: int) -> dict[str, float]:
    call = [sys.executable, "-m", "merit.bench.ingest", what, str(root), name, str(folder), str(limit)]
    done = subprocess.run(call, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(f"measuring {what} on {root} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout)


def _main(what: str, root: str, name: str, folder: str, limit: str) -> None:
    from merit.data.ingest import find_candidates, ingest
    from merit.data.wfdb_io import read_plainly

    cohort = open_cohort(name, root)
    candidates = find_candidates(cohort, int(limit) or None)
    files = [cohort.readable_path(ref, 100) for ref in candidates.refs.iloc[candidates.rows].itertuples(index=False)]
    wall, cpu = time.perf_counter(), time.process_time()
    if what == "wfdb":
        n = read_plainly(str(cohort.root), files)
    else:
        out = Path(folder) / f"store-{os.getpid()}"
        n = len(ingest(name, root, out, workers=1, limit=int(limit) or None, progress=False))
    print(
        json.dumps(
            {
                "recordings": n,
                "wall_s": time.perf_counter() - wall,
                "cpu_s": time.process_time() - cpu,
                "peak_mb": peak_memory() / 2**20,
            }
        )
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
