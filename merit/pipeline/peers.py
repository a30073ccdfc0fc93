"""What the published encoders are, read off the adapters: input, size, cost, agreement with the originals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from merit.encoders.registry import PUBLISHED

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace


def peers(ws: Workspace) -> dict[str, Any]:
    """The result of stage `peers`: values hold `rows`, one a published encoder as `facts` gives it, and `tolerance`.

    Whether weights are at hand is no part of it: see `registry.choose`.
    """

    def compute() -> dict[str, Any]:
        """The values of the stage."""
        from merit.encoders.golden import TOLERANCE
        from merit.threads import one_thread_an_operation

        with one_thread_an_operation():  # so that sums do not depend on the cores
            return {"rows": [facts(name) for name in PUBLISHED], "tolerance": TOLERANCE}

    parameters = {"entries": PUBLISHED}
    adapters = {entry.adapter.partition(":")[0] for entry in PUBLISHED.values()}
    modules = [*sorted(adapters), "merit.encoders.golden", __name__]
    return ws.result("peers", compute, parameters, _golden_files(), modules)


def _golden_files() -> dict[str, str]:
    from merit import runs
    from merit.encoders.golden import FOLDER

    return {path.name: runs.file_digest(path) for path in sorted(FOLDER.glob("*.npz"))}


def facts(name: str) -> dict[str, Any]:
    """One published encoder: what it reads, its ECG side's parameters and FLOPs a recording, and `agreement`: output ->
    largest difference from the authors' own network on the same weights, relative to the largest output.
    """
    import torch

    from merit.encoders import golden
    from merit.evaluate.flops import total_flops

    entry = PUBLISHED[name]
    adapter = entry.adapter_class()
    spec = adapter.input_spec
    with torch.device("meta"):
        network, x = adapter.ecg_network().eval(), torch.empty(entry.input_shape)
    return {
        "name": name,
        "label": entry.label,
        "fs_hz": spec.fs_hz,
        "duration_s": spec.duration_s,
        "leads": list(spec.leads),
        "scaling": spec.scaling,
        "filtering": spec.filtering,
        "feature": entry.feature,
        "parameters": sum(one.numel() for one in network.parameters()),
        "flops": total_flops(lambda: network(x)),
        "agreement": golden.agreement(adapter),
        "original": golden.read(name)["about"],
        "terms": entry.terms,
        "published": entry.published,
        "text": entry.text,
        "pretrained_on": list(entry.pretrained_on),
        "remark": entry.remark,
    }
