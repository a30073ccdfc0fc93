"""What the published encoders are, read off the adapters: input, size, cost, agreement with the originals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from merit import runs
from merit.encoders.registry import PUBLISHED
from merit.studies.core import study

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace


def _inputs(ws: Workspace, encoder: str) -> dict[str, str]:
    from merit.encoders.golden import FOLDER

    adapter = PUBLISHED[encoder].adapter.partition(":")[0]
    return {
        "entry": runs.digest(PUBLISHED[encoder]),
        "adapter": runs.digest(runs.source_closure([adapter])),
        "golden": runs.digest({path.name: runs.file_digest(path) for path in sorted(FOLDER.glob("*.npz"))}),
    }


@study(over={"encoder": tuple(PUBLISHED)}, needs=_inputs)
def peers(ws: Workspace, encoder: str) -> pd.DataFrame:
    """A row per output of a published encoder: the largest difference from the authors' own network on the same
    weights, relative to the largest output (value), what it may be (tolerance), and what the encoder reads and costs.

    Whether weights are at hand is no part of it: see `registry.choose`.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from merit.encoders import golden
    from merit.parallel import one_thread_an_operation

    entry = PUBLISHED[encoder]
    adapter = entry.adapter_class()
    spec, original = adapter.input_spec, golden.read(encoder)["about"]
    with torch.device("meta"):
        network, x = adapter.ecg_network().eval(), torch.empty(entry.input_shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    flops = counter.get_total_flops()
    with one_thread_an_operation():  # so that sums do not depend on the cores
        agreement = golden.agreement(adapter)
    rows = [{"metric": output, "value": value, "tolerance": golden.TOLERANCE} for output, value in agreement.items()]
    return pd.DataFrame(rows).assign(
        fs_hz=spec.fs_hz, duration_s=spec.duration_s, leads=[list(spec.leads)] * len(rows), scaling=spec.scaling,
        filtering=spec.filtering, feature=entry.feature, parameters=sum(p.numel() for p in network.parameters()),
        flops=flops, repository=original["repository"], commit=original["commit"], terms=entry.terms,
        published=entry.published, text=entry.text, pretrained_on=[list(entry.pretrained_on)] * len(rows),
        remark=entry.remark,
    )  # fmt: skip
