"""What `merit evaluate` prints."""

from __future__ import annotations

from merit import scores
from merit.studies.probing import lines


def test_a_line_per_variant_or_the_reason() -> None:
    front = {"task": "form", "encoder": "merit"}
    means = {"auroc": (0.9, 0.01), "f1": (None, None)}
    rows = [
        {**front, "variant": v, "scored": "by fold", "metric": m, "value": value, "sd": sd, "n": 480}
        for v in ("as_published", "standardised")
        for m, (value, sd) in means.items()
    ]
    found = lines(scores.frame([*rows, {**rows[0], "scored": "pooled"}]))
    assert found[0] == "form               as_published  merit   AUROC 90.0 ± 1.0   F1 none   (480 recordings)"
    assert len(found) == 2
    assert lines(scores.frame([{**front, "reason": "form: too few"}]))[0].endswith(" merit   form: too few")
