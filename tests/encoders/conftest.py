"""What the tests of several adapters need: recordings, and the form that a refusal has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture(scope="session")
def recordings() -> Callable[..., np.ndarray]:
    """float32 [2, 12, n_samples] mV, ten seconds at 500 Hz unless told otherwise: the same for the same length."""

    def draw(n_samples: int = 5000) -> np.ndarray:
        return np.random.default_rng(0).normal(0, 0.3, (2, 12, n_samples)).astype(np.float32)

    return draw


@pytest.fixture(scope="session")
def refused() -> Callable[..., None]:
    """Whether a call raises ValueError with this message, in one line."""

    def check(message: str, call: Callable, *given, **named) -> None:
        with pytest.raises(ValueError, match=message) as error:
            call(*given, **named)
        assert "\n" not in str(error.value)

    return check
