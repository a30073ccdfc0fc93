"""What notebooks display, and what they hand over to the runner."""

from __future__ import annotations

import json

from merit.report.prose import PROVENANCE_MIME, Provenance, banner, listing


def test_provenance_hands_over_plain_json_and_escapes_its_text():
    rows = [
        {"what": "store ptb-xl", "id": "a", "seconds": float("nan"), "device": None},
        {"what": "linear_probe merit form", "id": "b", "seed": 0, "device": "cpu"},
        {"what": "linear_probe cma form", "id": "c", "seed": 2, "device": "cpu"},
    ]
    bundle = Provenance(rows, "From <b>.", True)._repr_mimebundle_()
    details = bundle[PROVENANCE_MIME]
    json.dumps(details, allow_nan=False)
    assert details["device"] == "cpu"
    assert details["inputs"][0]["seconds"] is None
    assert "Inputs: store (1) and linear probe (2). Pretraining seeds: 0 and 2." in bundle["text/html"]
    assert "<b>" not in bundle["text/html"]


def test_banner_warns_of_synthetic_recordings_alone():
    assert "admonition warning" in banner("x", True).text
    assert "admonition" not in banner("x", False).text


def test_listing():
    assert [listing(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
