"""Groups of several processes, for the tests of this folder, which share `pretrain_runs`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def of_several(request, tmp_path):
    """Call it with a number of processes, a function of the test's module and arguments; what the first returned."""

    def run(n: int, function: str, *arguments):
        from pretrain_runs import ENVIRONMENT

        out = tmp_path / "returned.pt"
        call = [sys.executable, str(Path(__file__).with_name("forked.py")), str(request.path), function]
        call += [json.dumps(arguments), str(n), str(out)]
        how = {"env": ENVIRONMENT, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        with subprocess.Popen(call, **how) as running:
            try:
                _, errors = running.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                raise
        assert running.returncode == 0, errors[-3000:]
        return torch.load(out, weights_only=True)

    return run
