"""Tables of texts: escaping, and the same bytes for the same texts."""

from __future__ import annotations

import pandas as pd

from merit.report import tables


def test_text_is_escaped_and_bytes_do_not_change():
    risky = "<script>x</script>"
    frame = pd.DataFrame([[risky, None]], index=[risky], columns=[risky, "b"])
    once, again = (tables.render(frame, risky, apart=[risky]).text for _ in range(2))
    assert "<script>" not in once
    assert once.count("&lt;script&gt;") == 3
    assert once.count("–") == 1
    assert once == again
    assert "<b>" not in tables.mapping({"<b>": {"<b>": "<b>"}}, "t").text
