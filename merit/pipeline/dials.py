"""What is kept, as pretraining's recordings change and the evaluation does not: how much reports leave out, and hearts
that were made instead of recorded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from merit.config import replace
from merit.methods import without_text
from merit.pipeline.kept import kept
from merit.profiles import folder_name

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace

SHARES = (0.0, 0.3, 0.6, 1.0)
"""Shares of a recording's findings that its report leaves out (`HospitalConfig.report_omission`)."""
PRETRAINED_ON = "mimic-iv-ecg"
"""The site whose reports change."""
MADE, RECORDED = "synthetic hearts", "real hearts"


def left_out(ws: Workspace, encoders: Sequence[str], *, encoder_seed: int = 0) -> list[dict[str, Any]]:
    """Results of `kept`, one per share of `SHARES` and encoder that reads reports, the others once, with `share`.

    The same hearts are pretrained on at every share, with reports that leave out more of their findings, and the same
    recordings with their usual reports are evaluated. Recordings that are brought along have no such dial: [].
    """
    if ws.data is not None:
        return []
    usual = ws.profile.hospitals.report_omission
    readers = [name for name in encoders if name != "random" and not without_text(name)]
    others = [name for name in encoders if name not in readers]
    results = [_with(result, share=usual) for result in kept(ws, others, encoder_seed=encoder_seed)]
    for share in SHARES:
        where = ws if share == usual else _with_reports(ws, share)
        where.checkpoints(readers, (encoder_seed,))
        results += [_with(result, share=share) for result in kept(where, readers, encoder_seed=encoder_seed)]
    return results


def _with_reports(ws: Workspace, share: float) -> Workspace:
    """The workspace with encoders pretrained where reports leave out `share`; those hospitals lie beside its folder."""
    from merit.pipeline.transferred import transfer

    hospitals = ws.profile.hospitals
    only = {PRETRAINED_ON: hospitals.recordings[PRETRAINED_ON]}
    profile = replace(ws.profile, hospitals=replace(hospitals, recordings=only, report_omission=share))
    folder = ws.folder.with_name(f"{ws.folder.name}-left-out-{share:g}")
    return transfer(dataclasses.replace(ws, profile=profile, data=None, folder=folder, used={}), ws)


def carried_over(ws: Workspace, encoders: Sequence[str], *, encoder_seed: int = 0) -> list[dict[str, Any]]:
    """Results of `kept` on real recordings, of encoders pretrained on them and on synthetic hospitals, with `hearts`.

    Both are scored on the same recordings, which neither has seen. Synthetic recordings have nothing to carry over to:
    [].
    """
    if ws.synthetic:
        return []
    from merit.pipeline.transferred import transfer

    folder = ws.folder.with_name(folder_name(ws.profile, None))
    made = dataclasses.replace(ws, data=None, folder=folder, used={})
    trained = [name for name in encoders if name != "random"]
    made.checkpoints(trained, (encoder_seed,))
    both = ((RECORDED, ws, encoders), (MADE, transfer(made, ws), trained))
    return [
        _with(result, hearts=hearts)
        for hearts, where, names in both
        for result in kept(where, names, encoder_seed=encoder_seed)
    ]


def _with(result: dict[str, Any], **about: Any) -> dict[str, Any]:
    """A result whose values say, too, what the encoder was pretrained on."""
    return {**result, "values": {**about, **result["values"]}}
