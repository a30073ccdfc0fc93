"""Names of encoders: what each stands for, and which read reports."""

from __future__ import annotations

import pytest

from merit.config import OBJECTIVE_NAMES, RECONSTRUCTING, replace
from merit.methods import PEERS, TRAINED_NAMES, WITHOUT_TEXT, method, without_text
from merit.objectives import OBJECTIVES
from merit.profiles import demo, paper, smoke


def test_objectives_without_text_are_those_without_an_aligned_term():
    assert set(WITHOUT_TEXT) == {name for name, terms in OBJECTIVES.items() if "info_nce" not in terms}
    assert [name for name in TRAINED_NAMES if without_text(name)] == ["mse", "st-mem-ours", "simclr", "clocs"]
    assert not without_text("random")
    assert not without_text("ib-0.1")
    assert set(RECONSTRUCTING) == {name for name, terms in OBJECTIVES.items() if "masked_mse" in terms}


def test_names_stand_for_objectives():
    for name in OBJECTIVE_NAMES:
        assert method(name) == (name, method(name).model, None)
        assert method(name).model(demo().model) == demo().model
    assert (method("ib-0.1").objective, method("ib-0.1").strength) == ("ib", 0.1)
    for unknown in ("ib-x", "st-mem", "random", "merit-2"):
        with pytest.raises(ValueError, match=r"expected one of merit, .* clocs, random, or ib-STRENGTH such as ib-0.1"):
            method(unknown)


@pytest.mark.parametrize("profile", [smoke, demo, paper])
def test_cma_whole_is_cma_without_a_mask_and_nothing_else(profile):
    ours = profile().model
    found = method("cma-whole")
    assert (found.objective, found.strength, without_text("cma-whole")) == ("cma", None, False)
    assert not found.model(ours).hides
    assert replace(found.model(ours), mask_ratio=ours.mask_ratio) == ours


@pytest.mark.parametrize("profile", [smoke, demo, paper])
def test_a_peer_changes_what_is_its_own_and_nothing_else(profile):
    ours = profile().model
    st_mem, merl = PEERS["st-mem-ours"].model(ours), PEERS["merl-ours"].model(ours)
    assert (st_mem.decoder.attention, st_mem.patch_target, st_mem.encoder.bias_start) == ("lead", True, None)
    sizes = ("width", "depth", "heads")
    assert [getattr(st_mem.encoder, s) for s in sizes] == [getattr(ours.encoder, s) for s in sizes]
    assert [getattr(st_mem.decoder, s) for s in sizes] == [getattr(ours.decoder, s) for s in sizes]
    assert (merl.encoder.kind, merl.encoder.embedding_width) == ("resnet18", 8 * ours.encoder.resnet_width)
    assert PEERS["simclr"].model(ours) == PEERS["clocs"].model(ours) == ours
