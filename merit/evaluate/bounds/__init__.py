"""The bounds of the paper's Section 3 where both sides are known: closed forms, exact sums, and draws under them."""
