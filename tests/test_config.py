"""Settings: what is wrong is one line under its own name, every field is set by its path, and what names stand for."""

from __future__ import annotations

import pytest

from merit.config import (
    OBJECTIVE_NAMES,
    PEERS,
    PROFILE_NAMES,
    RECONSTRUCTING,
    SHORT,
    TRAINED_NAMES,
    WITHOUT_TEXT,
    ModelConfig,
    ProbeConfig,
    folder_name,
    limited,
    method,
    profile,
    replace,
    resolve,
    run_name,
    settable,
    settings_of,
    without_text,
)
from merit.objectives import OBJECTIVES
from merit.runs import plain


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch) -> None:
    """No variable of the environment of whoever runs the tests."""
    for variable in SHORT:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"folds": 2}, {"learning_rate": 0.0}, {"weight_decay": -1.0}, {"select": "best"}]
)
def test_senseless_settings_are_refused_by_name(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ProbeConfig(**wrong)


@pytest.mark.parametrize("name", PROFILE_NAMES)
def test_a_configuration_is_read_back_from_json(name: str) -> None:
    assert ModelConfig(**plain(profile(name).model)) == profile(name).model


def test_a_limited_paper_profile_keeps_its_network_and_shrinks_its_batch() -> None:
    small, whole = limited(replace(profile("paper"), limit=64, epochs=1)), profile("paper")
    assert small.model == whole.model
    assert small.text == whole.text
    assert (small.limit, small.pretrain.batch, small.pretrain.epochs, small.probe.epochs) == (64, 16, 1.0, 1)
    passes = limited(replace(profile("demo"), epochs=2)).pretrain
    assert (passes.epochs, passes.updates, passes.batch) == (2.0, None, 32)


def test_any_field_is_set_by_its_path() -> None:
    chosen = resolve(
        "demo", "model.mask_ratio=0.5 pretrain.seed=1 pretrain.betas=0.8,0.99 model.encoder.bias_start=none"
    )
    assert (chosen.model.mask_ratio, chosen.pretrain.seed, chosen.pretrain.betas) == (0.5, 1, (0.8, 0.99))
    assert chosen.model.encoder.bias_start is None
    both = resolve("demo", "pretrain.epochs=5 pretrain.updates=none hospitals.recordings.ptb-xl=500")
    assert (both.pretrain.epochs, both.pretrain.updates, both.hospitals.recordings["ptb-xl"]) == (5.0, None, 500)
    assert both.hospitals.recordings["csn"] == profile("demo").hospitals.recordings["csn"]
    assert resolve("demo", "text.source='/My Drive/x'").text.source == "/My Drive/x"


@pytest.mark.parametrize("name", ["smoke", "demo", "paper"])
def test_every_setting_is_reachable_and_set_to_its_own_value_changes_nothing(name: str) -> None:
    named = profile(name)
    for path, value in settable(named).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert resolve(name, f"{path}={text}") == named, path


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("model.mask_ration=0.5", "model.mask_ration: no such setting; near it: model.mask_ratio"),
        ("mask_ratio=0.5", "mask_ratio: no such setting; near it: model.mask_ratio"),
        ("model=0.5", "model: no such setting; near it: model.encoder.kind"),
        ("model.mask_ratio.x=1", "model.mask_ratio.x: no such setting"),
        ("hospitals.recordings.ptbxl=9", "hospitals.recordings.ptbxl: no such setting; near it: hospitals.recordings."),
        ("model.mask_ratio=half", "model.mask_ratio: expected a number; got 'half'"),
        ("pretrain.seed=1.5", "pretrain.seed: expected a whole number; got '1.5'"),
        ("pretrain.updates=", "pretrain.epochs: expected epochs or updates"),
        ("model.learn_temperature=maybe", "model.learn_temperature: expected true or false; got 'maybe'"),
        ("pretrain.betas=0.9", "pretrain.betas: expected numbers with commas between; got '0.9'"),
        ("model.mask_ratio=1", "model.mask_ratio: expected a number from 0 and below 1; got 1.0"),
        ("model.temperature=0", "model.temperature: expected a number above 0; got 0.0"),
        ("model.temperature=nan", "model.temperature: expected a number above 0; got nan"),
        ("pretrain.learning_rate=-1", "pretrain.learning_rate: expected a number above 0"),
        ("pretrain.seed=-1", "pretrain.seed: expected a whole number from 0; got -1"),
        ("model.encoder.depth=0", "model.encoder.depth: expected a whole number from 1; got 0"),
        ("model.encoder.patch=7", "model.encoder.patch: expected a divisor of n_samples = 1000; got 7"),
        ("model.decoder.width=50", "model.decoder.width: expected an even multiple of heads = 4; got 50"),
        ("model.encoder.width=15 model.encoder.heads=3", "model.encoder.width: expected an even multiple of heads = 3"),
        ("model.encoder.kind=cnn", "model.encoder.kind: expected one of vit, tiny_vit, resnet18; got 'cnn'"),
        ("text.pooling=max", "text.pooling: expected one of mean, cls; got 'max'"),
        ("signal.fs_hz=200", "model.encoder.fs_hz: expected 200, as the recordings have"),
        ("probe.folds=2", "probe.folds: expected a whole number from 3; got 2"),
        ("generation.top_p=0", "generation.top_p: expected a number above 0, at most 1; got 0.0"),
        ("limit=7", "limit: expected a whole number from 8; got 7"),
        ("name=paper", "name: cannot be set: the profile is chosen by PROFILE"),
        ("pretrain.objective=cma", "pretrain.objective: cannot be set: it follows from an encoder's name"),
        ("model.text_width=3", "model.text_width: cannot be set"),
        ("model.mask_ratio", "settings: expected path=value"),
        ("=1", "settings: expected path=value"),
        ("text.source=/My Drive/x", "settings: expected path=value"),
        ("text.source='x", "settings: expected path=value, quotes closed"),
        ("probe.seed=1 probe.seed=2", "probe.seed: expected once among the settings; got it twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_of_a_setting_is_one_line_that_begins_with_its_name(settings: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        resolve("demo", settings)
    assert str(error.value).startswith(said)


def test_the_environments_short_forms_are_the_same_settings(monkeypatch) -> None:
    values = {"MERIT_TEXT": "/a b", "MERIT_BACKBONE": "tiny_vit", "MERIT_TEXT_LAYERS": "2", "MERIT_LM": "lm"}
    for variable, value in values.items():
        monkeypatch.setenv(variable, value)
    by_path = {SHORT[variable]: value for variable, value in values.items()}
    text = " ".join(f"'{path}={value}'" for path, value in by_path.items())
    found = resolve("demo")
    with pytest.raises(ValueError, match=r"^text\.source: expected once; got it among the settings and as MERIT_TEXT"):
        resolve("demo", text)
    for variable in values:
        monkeypatch.delenv(variable)
    assert found == resolve("demo", text) != profile("demo")
    monkeypatch.setenv("MERIT_BERT", "folder")
    assert (resolve("paper").generation.bert, resolve("paper").generation.bert_layers) == ("folder", None)
    for variable, bad in (
        *(("MERIT_LIMIT", bad) for bad in ("0", "7", "-8", "many", "1e3", "1_0", "٣٢")), ("MERIT_EPOCHS", "0"),
        ("MERIT_TEXT_LAYERS", "-1"), ("MERIT_BACKBONE", "foo"),
    ):  # fmt: skip
        monkeypatch.setenv(variable, bad)
        with pytest.raises(ValueError, match=f"^{variable}: expected .*; got '?{bad}'?$"):
            resolve("demo")
        monkeypatch.delenv(variable)


@pytest.mark.parametrize(
    "settings",
    ["", "model.mask_ratio=0.5", "limit=64 epochs=2", "limit=64 pretrain.batch=8", "text.source='/a b'",
     "probe.folds=5", "pretrain.betas=0.5,0.6", "model.encoder.bias_start=none", "model.learn_temperature=true"],
)  # fmt: skip
def test_what_was_set_is_said_as_it_is_read(settings: str) -> None:
    for name in ("smoke", "paper"):
        assert settings_of(resolve(name, settings)) == settings
        assert resolve(name, settings_of(resolve(name, settings))) == resolve(name, settings)


def test_other_settings_have_pages_beside_and_share_what_lies_under_an_identity(tmp_path, monkeypatch) -> None:
    plain, other = profile("demo"), resolve("demo", "model.mask_ratio=0.5")
    assert (folder_name(plain, None), run_name(plain, None)) == ("demo", "demo")
    assert folder_name(other, None) == "demo"
    assert run_name(other, None).startswith("demo-set-")
    assert run_name(other, None) != run_name(resolve("demo", "model.mask_ratio=0.25"), None)
    assert run_name(resolve("demo", "model.mask_ratio=0.75"), None) == "demo"
    assert folder_name(plain, tmp_path) == run_name(plain, tmp_path) != folder_name(plain, tmp_path / "x")
    monkeypatch.setenv("MERIT_LIMIT", "64")
    monkeypatch.setenv("MERIT_EPOCHS", "1")
    assert (folder_name(resolve("paper"), None), run_name(resolve("paper"), None)) == (
        "paper-limit64", "paper-limit64-epochs1",
    )  # fmt: skip


def test_other_recordings_have_a_folder_of_their_own(tmp_path) -> None:
    fewer, words = resolve("demo", "hospitals.recordings.csn=900"), resolve("demo", "signal.min_report_words=2")
    assert folder_name(fewer, None).startswith("demo-recordings-")
    assert folder_name(fewer, tmp_path) == folder_name(profile("demo"), tmp_path)  # real ones do not depend on it
    assert len({folder_name(one, None) for one in (fewer, words, profile("demo"))}) == 3
    assert folder_name(words, tmp_path) != folder_name(profile("demo"), tmp_path)
    assert len({run_name(one, None) for one in (fewer, words, profile("demo"))}) == 3


# -- names of encoders -------------------------------------------------------------------------------------------------


def test_objectives_without_text_are_those_without_an_aligned_term():
    assert set(WITHOUT_TEXT) == {name for name, terms in OBJECTIVES.items() if "info_nce" not in terms}
    assert [name for name in TRAINED_NAMES if without_text(name)] == ["mse", "st-mem-ours", "simclr", "clocs"]
    assert not without_text("random")
    assert not without_text("ib-0.1")
    assert set(RECONSTRUCTING) == {name for name, terms in OBJECTIVES.items() if "masked_mse" in terms}


def test_names_stand_for_objectives():
    for name in OBJECTIVE_NAMES:
        assert method(name) == (name, {}, {})
        assert method(name).model(profile("demo").model) == profile("demo").model
    assert method("ib-0.1") == ("ib", {}, {"bottleneck_strength": 0.1})
    everything = {"encoder.kind": "resnet18", "mask_ratio": 0.5}
    assert method("merit-10@resnet18@mask0.5+views") == ("merit", everything, {"view_scale": 1, "masked_mse_scale": 10})
    assert method("mse@tiny_vit") == ("mse", {"encoder.kind": "tiny_vit"}, {})
    assert without_text("mse@resnet18+views")
    assert not without_text("cma@mask0")
    for unknown in ("ib-x", "st-mem", "random", "cma-2", "merit@resnet", "merit@mask1", "merit-", "merit+view", "mse@"):
        with pytest.raises(ValueError, match=r"expected one of merit, .* clocs, random, or a variant such as ib-0.1"):
            method(unknown)


@pytest.mark.parametrize("name", PROFILE_NAMES)
def test_cma_whole_is_cma_without_a_mask_and_nothing_else(name):
    ours = profile(name).model
    found = method("cma-whole")
    assert (found.objective, found.training, without_text("cma-whole")) == ("cma", {}, False)
    assert not found.model(ours).hides
    assert replace(found.model(ours), mask_ratio=ours.mask_ratio) == ours


@pytest.mark.parametrize("name", PROFILE_NAMES)
def test_a_peer_changes_what_is_its_own_and_nothing_else(name):
    ours = profile(name).model
    st_mem, merl = PEERS["st-mem-ours"].model(ours), PEERS["merl-ours"].model(ours)
    assert (st_mem.decoder.attention, st_mem.patch_target, st_mem.encoder.bias_start) == ("lead", True, None)
    sizes = ("width", "depth", "heads")
    assert [getattr(st_mem.encoder, s) for s in sizes] == [getattr(ours.encoder, s) for s in sizes]
    assert [getattr(st_mem.decoder, s) for s in sizes] == [getattr(ours.decoder, s) for s in sizes]
    assert (merl.encoder.kind, merl.encoder.embedding_width) == ("resnet18", 8 * ours.encoder.resnet_width)
    assert PEERS["simclr"].model(ours) == PEERS["clocs"].model(ours) == ours
