"""From the name of an objective to the network that it trains."""

from __future__ import annotations

from merit.config import ModelConfig, require_hidden
from merit.model.merit import Merit
from merit.objectives import OBJECTIVES


def network(config: ModelConfig, objective: str) -> Merit:
    """The network with the branches that the objective needs, its weights from torch's own random state.

    ValueError for an objective that reconstructs hidden patches where the mask hides none.
    """
    terms = OBJECTIVES[objective].keys()
    require_hidden(config, objective)
    return Merit(
        config,
        reconstructs="masked_mse" in terms,
        aligns="info_nce" in terms,
        contrasts=bool(terms & {"nt_xent", "segments"}),
        drops="dropout_views" in terms,
    )
