"""Pretraining: `train` holds the loop.

RECIPE stands for what the loop does with recordings, texts and settings: order and masks of updates, terms, optimiser,
initial weights, what a checkpoint holds. Raise it by hand when any of that changes the numbers, a setting's default
included; `tests/pretrain/test_golden.py` tells when. Checkpoints are kept by this number, not by the source.
"""

RECIPE = 1
NOT_OF_TRAINING = ("save_every",)
"""Settings of pretraining that change no number."""
TEXT_SETTINGS = ("pooling", "max_tokens")
"""Settings of a text encoder that still matter once it is trained."""
