"""Whether this machine can run a profile on the recordings at hand, before anything long begins: `merit doctor`.

Nothing is written or downloaded; the network is asked once for each hub model that is not at hand, with a time limit.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import psutil

from merit import runs
from merit.config import Profile
from merit.data.doctor import CohortStatus
from merit.encoders import registry
from merit.parallel import usable_cores
from merit.report import cost
from merit.studies import Workspace
from merit.studies.workspace import WHOLE

GATED_HELP = "ask for access on its page, log in (`hf auth login`) and run this again"
OFFLINE_HELP = "fetch it where there is a network (`hf download {name}`) or name its folder ({setting}=folder)"
SETTINGS = {"text encoder": "TEXT", "language model, Table 3": "LM", "BERTScore's model, Table 3": "BERT"}
"""What a model is for -> the setting of `make` that names another."""
WEIGHTS = ("*.safetensors", "*.bin")
TIMEOUT_S = 5.0
FAST_HZ = 500
"""Rate of the second stores that encoders of others want."""
OBJECTIVES = 4
"""Of the paper: as many pretrainings."""
STATES = 4
"""Copies of the weights that a checkpoint holds: the model, and for resuming it again with two moments of AdamW."""
GB = 1e9
CHECKOUT = runs.PACKAGE_ROOT.parent
"""Where committed measurements lie, whatever MERIT_HOME says."""


def describe(statuses: Sequence[CohortStatus], profile: str, data: Path | None, device: str = "auto") -> str:
    """One line each on device, memory, disk, hub models and hours. Synthetic hospitals where `data` is None."""
    workspace = Workspace.open(profile, data, device)
    chosen, kind = workspace.profile, workspace.torch_device()
    counts = {}
    for status in statuses:  # recordings that can be read, as far as they were counted
        if status.usable:
            n = status.waveforms if status.counted_all else max(status.rows, status.waveforms)
            counts[status.name] = n if chosen.limit is None else min(n, chosen.limit)
    recording_gb = chosen.model.encoder.n_leads * chosen.signal.n_samples * 2 / GB
    lines = {"device": f"cpu, {usable_cores()} cores; no GPU is seen or asked for"}
    if kind != "cpu":
        import torch

        free, total = (n / GB for n in torch.cuda.mem_get_info(torch.device(kind)))
        lines["device"] = f"{kind}, {torch.cuda.get_device_name(kind)}: {free:.0f} of {total:.0f} GB free"

    # -- memory: what pretraining and the language model take, beside what is free
    free, needed = psutil.virtual_memory().available / GB, _pretrained(counts) * recording_gb
    text = f"{free:.1f} GB free; recordings to pretrain on take {needed:.1f} GB"
    if kind == "cpu":
        text += " (read from disk as they are needed, which is slower)" if needed > free else ""
    else:
        text += " of the GPU's (read from disk where they do not fit)"
    measured = CHECKOUT / "book" / "reference" / "llama_1b.json"
    if chosen.generation.language_model != "trained" and measured.exists():
        peak = json.loads(measured.read_text(encoding="utf-8"))["peak_bytes"] / GB
        text += f"; the language model of Table 3 at least {peak:.1f} GB"
        text += ": too little is free" if kind == "cpu" and peak > free else ""
    lines["memory"] = text

    # -- disk: what stores and checkpoints will take at least, beside what is free where they go
    import torch

    from merit.pretrain.checkpoint import network

    with torch.device("meta"):  # shapes without numbers
        parameters = sum(weight.numel() for weight in network(chosen.model, "merit").parameters())
    needed = sum(counts.values()) * recording_gb + OBJECTIVES * STATES * 4 * parameters / GB
    if any(registry.entry(name).fs_hz > chosen.signal.fs_hz for name in registry.choose("all")[0]):
        whole = sum(n for n in counts.values() if n <= WHOLE)  # of larger ones the rows asked for alone
        needed += whole * recording_gb * FAST_HZ / chosen.signal.fs_hz
    there = next(path for path in (workspace.folder, *workspace.folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / GB
    where = f": too little; MERIT_HOME={os.environ.get('MERIT_HOME') or 'folder'} decides where"
    lines["disk"] = f"{free:.1f} GB free at {there}; stores and checkpoints take at least {needed:.1f} GB"
    lines["disk"] += "" if needed < free else where

    sources = (chosen.text.source, chosen.generation.language_model, chosen.generation.bert)
    for (what, setting), source in zip(SETTINGS.items(), sources):
        lines[what] = "trained here" if source == "trained" else f"{source}: {hub_access(source, setting)}"
    lines["hours"] = hours(chosen, counts, kind.partition(":")[0])
    return "\n".join([f"This machine, for profile {profile}", *(f"  {name:<28}{text}" for name, text in lines.items())])


def _pretrained(counts: dict[str, int]) -> int:
    """Recordings that are pretrained on: MIMIC-IV-ECG's, or those of PTB-XL's folds 1 to 8."""
    return counts.get("mimic-iv-ecg") or round(0.8 * counts.get("ptb-xl", 0))


def hub_access(source: str, setting: str) -> str:
    """Whether a model can be read, and what to do where not. Asks the hub at most once.

    source: a folder, or a name on the hub, alone or as name@revision.
    """

    def has_weights(folder: Path) -> bool:
        return any(path for pattern in WEIGHTS for path in folder.glob(pattern))

    folder = Path(source)
    if folder.is_dir():
        return "a folder" if has_weights(folder) else f"no weights ({', '.join(WEIGHTS)}) in this folder"
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, HTTPError, RepositoryNotFoundError

    name, _, revision = source.partition("@")
    try:
        if has_weights(Path(snapshot_download(name, revision=revision or None, local_files_only=True))):
            return "in the local cache"
    except HFValidationError:
        return f"neither a folder nor a name on the hub; {setting}= names another"
    except OSError:  # not in the cache
        pass
    help_offline = OFFLINE_HELP.format(name=name, setting=setting)
    if constants.HF_HUB_OFFLINE:
        return f"not at hand, and HF_HUB_OFFLINE is set: {help_offline}"
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json", revision=revision or None), timeout=TIMEOUT_S)
    except GatedRepoError:
        return f"gated, and this account has no access: {GATED_HELP}, or {setting}=folder"
    except RepositoryNotFoundError:
        return f"the hub has no such model, or hides it; {setting}= names another"
    except (OSError, HTTPError) as error:
        return f"not at hand, and the hub does not answer ({type(error).__name__}): {help_offline}"
    return "can be downloaded"


def hours(profile: Profile, counts: dict[str, int], kind: str, columns: Sequence[cost.Column] | None = None) -> str:
    """A projection: the four pretrainings at a measured rate, and what the budget allows the other pages.

    kind: cpu or cuda. columns: measurements, of which the last counts; default: committed ones, and the reader's own.
    """
    from merit.publish.execute import budget

    allowed = budget(profile.name, CHECKOUT)
    others = sum(seconds for step, seconds in allowed.items() if step != "pretraining") / 3600
    others = f"{others:.1f} h budgeted for all other pages"
    n = _pretrained(counts)
    if not n:
        return f"nothing to pretrain on (it needs mimic-iv-ecg or ptb-xl); {others}"
    config, rated = profile.pretrain, None
    samples = config.updates * config.batch if config.epochs is None else config.epochs * n
    for column in columns or cost.load(CHECKOUT / "book" / "reference"):
        found = column.found
        if not found or found["about"]["kind"] != kind:
            continue
        updates = found.get("updates", {})
        if profile.name == "paper" and (full := found.get("full")):
            rated = max(path["samples_per_s"] for path in full["paths"].values()), column
        elif network := updates.get("networks", {}).get(profile.name):
            rated = network["paths"]["resident"]["samples_per_s"], column
        elif profile.name == "paper" and updates.get("published"):
            rated = updates["published"][0]["samples_per_s"], column
    if rated is None:
        allowance = f"{allowed['pretraining'] / 3600:.1f} h budgeted for pretraining"
        return f"no {kind} has been measured (`make bench` does): {allowance}, {others}"
    rate, measured = rated
    whole = OBJECTIVES * samples / rate / 3600
    return (
        f"about {cost.hours(whole)} for {OBJECTIVES} pretrainings of {samples:,.0f} recordings each, a "
        f"projection at {rate:,.1f} recordings a second, measured on {measured.head}; {others}"
    )
