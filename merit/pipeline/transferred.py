"""Old address of `merit.studies.workspace`."""

import dataclasses

from merit.studies.workspace import Workspace


def transfer(origin: Workspace, to: Workspace) -> Workspace:
    """`to` with the encoders of `origin`; both of the same profile's network."""
    return dataclasses.replace(to, origin=origin, used={})
