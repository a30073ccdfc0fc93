"""The page that lies in every synthetic tree and says what it is."""

from __future__ import annotations

import json
from typing import Any

from merit.data import taxonomy
from merit.synthetic.labels import vocabulary

PTB_XL_LEFT_OUT: tuple[str, ...] = ()
"""Statements of PTB-XL that no synthetic recording has: none, all 71 are made."""


def csn_left_out() -> list[str]:
    """Conditions of the Chapman-Shaoxing-Ningbo table that no synthetic recording has."""
    made = set(vocabulary()["csn"])
    return [label for label in taxonomy.csn_conditions()["label"] if label not in made]


def left_out() -> str:
    """One sentence that names what no synthetic recording has."""
    return (
        f"Left out of the synthetic hospitals: of PTB-XL's statements {', '.join(PTB_XL_LEFT_OUT) or 'none'}; of the "
        f"conditions in CSN's table, beyond the 38 that are scored, {', '.join(csn_left_out()) or 'none'}."
    )


def about_page(site: str, identity: dict[str, Any]) -> str:
    """Text of SYNTHETIC.md."""
    return f"""# Synthetic recordings in the layout of {site}

None of these is a recording of a person. A model of the heart's electric vector made them, to show that the programs
around it work and to test a theory where the truth is known. Numbers obtained here say nothing about real hearts.

Made from: `{json.dumps(identity, sort_keys=True)}`

- `truth.parquet` holds what no report says: findings, those that the report names, heart rate, intervals (ms), axis
  (degrees, 0 left, 90 feet), amplitudes and ST level of each lead (mV, noise-free).
- Reports are in English everywhere; the real PTB-XL's are mostly German.
- Labels are what the generator was asked for. Severity varies, so some findings are borderline and cannot be seen, and
  some mild changes carry no label, as in real data.
- PTB-XL statements left out: {", ".join(PTB_XL_LEFT_OUT) or "none"}. Conditions of the Chapman-Shaoxing-Ningbo table
  left out: {", ".join(csn_left_out())}.
"""
