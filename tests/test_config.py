from __future__ import annotations

import pytest

from merit.config import ProbeConfig


def test_defaults_are_the_papers() -> None:
    config = ProbeConfig()
    assert (config.learning_rate, config.batch_size, config.epochs, config.folds) == (1e-3, 64, 100, 10)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"folds": 2}, {"learning_rate": 0.0}, {"weight_decay": -1.0}, {"select": "best"}]
)
def test_senseless_settings_are_refused_by_name(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ProbeConfig(**wrong)
