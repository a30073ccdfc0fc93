"""What ingest costs beside what wfdb alone needs to read the same files, and its memory at two sizes.

Each measurement runs in a fresh process, so that caches, imports and peak memory of one do not enter another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from merit.data.cohorts import open_cohort
from merit.parallel import peak_memory

SIZES = (500, 2000)
"""Recordings at which the peak memory of ingest is taken."""
MIMIC, RATED = "mimic-iv-ecg", 1000
"""What is ingested to be pretrained on, and how many recordings its rate is taken on."""


def measure(sources: Mapping[str, Path], rated: int = RATED) -> dict[str, float]:
    """Seconds of wfdb alone and of ingest with one worker over PTB-XL, their ratio, rate, peak memory at `SIZES`; and
    `mimic_per_s`, the rate over MIMIC-IV-ECG's first recordings, where it is there.

    sources: cohort -> its folder. Keys ending in `_s` are wall seconds, `_cpu_s` seconds of processor time; `ratio`
    compares processor times, which other work on the machine disturbs least. Each is the better of two, taken in turns.
    RuntimeError where a process fails.
    """
    ptb_xl = ("ptb-xl", sources["ptb-xl"])
    in_fresh_process("wfdb", *ptb_xl)  # the files enter the page cache, for both alike
    pairs = [[in_fresh_process(what, *ptb_xl) for what in ("wfdb", "ingest")] for _ in range(2)]
    alone, ours = (min(runs, key=lambda run: run["cpu_s"]) for runs in zip(*pairs))
    result = {"recordings": ours["recordings"], "wfdb_s": alone["wall_s"], "wfdb_cpu_s": alone["cpu_s"]}
    result |= {"ingest_s": ours["wall_s"], "ingest_cpu_s": ours["cpu_s"], "ratio": ours["cpu_s"] / alone["cpu_s"]}
    result["recordings_per_s"] = ours["recordings"] / ours["wall_s"]
    for size in SIZES:
        result[f"peak_mb_{size}"] = in_fresh_process("ingest", *ptb_xl, size)["peak_mb"]
    if MIMIC in sources:
        _, mimic = (in_fresh_process(what, MIMIC, sources[MIMIC], rated) for what in ("wfdb", "ingest"))
        result["mimic_per_s"] = mimic["recordings"] / mimic["wall_s"]
    return result


def in_fresh_process(what: str, name: str, root: Path, limit: int = 0) -> dict[str, float]:
    """Wall and processor seconds, recordings and peak memory of reading (wfdb) or ingesting a cohort's first files."""
    call = [sys.executable, "-m", "merit.bench.ingest", what, name, str(root), str(limit)]
    done = subprocess.run(call, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(f"measuring {what} on {root} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout)


def _main(what: str, name: str, root: str, limit: str) -> None:
    from merit.data.ingest import find_candidates, ingest
    from merit.data.wfdb_io import read_plainly

    cohort, most = open_cohort(name, root), int(limit) or None
    candidates = find_candidates(cohort, most)
    files = [cohort.readable_path(ref, 100) for ref in candidates.refs.iloc[candidates.rows].itertuples(index=False)]
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        if what == "wfdb":
            n = read_plainly(str(cohort.root), files)
        else:
            n = len(ingest(name, root, Path(folder) / "store", workers=1, limit=most, progress=False))
        seconds = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    print(json.dumps({"recordings": n, **seconds, "peak_mb": peak_memory() / 2**20}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
