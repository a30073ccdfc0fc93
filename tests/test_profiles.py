from __future__ import annotations

from merit.profiles import limited, profile


def test_a_limited_paper_profile_keeps_its_network_and_shrinks_its_batch() -> None:
    small, whole = limited(profile("paper"), limit=64, epochs=1), profile("paper")
    assert small.model == whole.model
    assert small.text == whole.text
    assert (small.limit, small.pretrain.batch, small.pretrain.epochs, small.probe.epochs) == (64, 16, 1.0, 1)


def test_epochs_take_the_place_of_updates() -> None:
    small = limited(profile("demo"), epochs=2)
    assert (small.pretrain.epochs, small.pretrain.updates, small.pretrain.batch) == (2.0, None, 32)


def test_without_limits_nothing_changes() -> None:
    assert limited(profile("smoke")) == profile("smoke")
