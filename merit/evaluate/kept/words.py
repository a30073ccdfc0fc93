"""What a real report says, without a parser for it: which words and pairs of neighbouring words it has.

Reports of PTB-XL are free text in German, English and Swedish; nothing is translated. Legend: N reports, F features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PATTERN = r"(?u)\b\w+\b"
"""Words, those of one letter or digit too: leads and grades are among them."""


def words(reports: Sequence[str], fewest: int) -> np.ndarray:
    """uint8 [N, F] of 0 and 1: lower-cased words and pairs that at least `fewest` reports have, and not all.

    Of several that the very same reports have, one stands for all. No such words: F is 0.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(ngram_range=(1, 2), binary=True, min_df=fewest, token_pattern=PATTERN, dtype=np.uint8)
    try:
        found = counter.fit_transform(reports).toarray()
    except ValueError:  # nothing is frequent enough
        return np.zeros((len(reports), 0), dtype=np.uint8)
    packed = np.packbits(found, axis=0).T
    place = {column.tobytes(): k for k, column in enumerate(packed)}
    distinct = found[:, [place[key] for key in sorted(place)]]
    return distinct[:, distinct.min(axis=0) < 1]
