"""The three profiles: smoke for tests and CI, demo for a newcomer's laptop, paper for the published scale; and what a
user changes of them.

Recipe cards (machine, time, what to expect) stand beside each one; `make book` prints actual against budget.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from merit.config import (
    DecoderConfig,
    EncoderConfig,
    GenerationConfig,
    HospitalConfig,
    ModelConfig,
    PretrainConfig,
    ProbeConfig,
    Profile,
    TextConfig,
    changed,
    one_of,
    replace,
    settable,
)
from merit.runs import digest

SHORT = {
    "MERIT_LIMIT": "limit",
    "MERIT_EPOCHS": "epochs",
    "MERIT_TEXT": "text.source",
    "MERIT_BACKBONE": "model.encoder.kind",
    "MERIT_TEXT_LAYERS": "pretrain.text_layers",
    "MERIT_LM": "generation.language_model",
    "MERIT_BERT": "generation.bert",
}
"""Variable of the environment -> the setting that it is short for; also an option, `--text`, and `make`'s TEXT."""


def smoke() -> Profile:
    """Minutes on 2 cores: every stage runs, no number means anything."""
    return Profile(
        name="smoke",
        hospitals=HospitalConfig(recordings={"mimic-iv-ecg": 240, "ptb-xl": 400, "cpsc2018": 120, "csn": 160}),
        text=TextConfig(width=32, depth=1, heads=2, vocabulary=600, updates=20, batch=32),
        model=ModelConfig(
            encoder=EncoderConfig(patch=100, width=32, depth=1, heads=2, resnet_width=8),
            decoder=DecoderConfig(width=32, depth=1, heads=2),
            text_width=32,
            shared_width=32,
        ),
        pretrain=PretrainConfig(
            epochs=None,
            updates=30,
            batch=16,
            learning_rate=3e-3,
            validate_every=10,
            save_every=10,
            validation_share=0.1,
        ),
        probe=ProbeConfig(epochs=5, n_resamples=50),
        generation=GenerationConfig(
            lm_width=32,
            lm_depth=1,
            lm_heads=2,
            lm_kv_heads=1,
            lm_vocabulary=400,
            lm_updates=10,
            projector_width=16,
            lora_rank=4,
            max_tokens=160,
            epochs=None,
            updates=10,
            batch=8,
            learning_rate=3e-3,
            min_learning_rate=3e-5,
            max_new_tokens=24,
            test_pairs=8,
        ),
    )


def demo() -> Profile:
    """Ten minutes on 2 cores: a narrow ViT on 4,000 synthetic pairs, big enough for the objectives to differ."""
    return Profile(
        name="demo",
        model=ModelConfig(
            encoder=EncoderConfig(patch=50, width=64, depth=3, heads=4, resnet_width=24),
            decoder=DecoderConfig(width=48, depth=1, heads=4),
            text_width=128,
        ),
        pretrain=PretrainConfig(
            epochs=None,
            updates=1200,
            batch=32,
            learning_rate=3e-3,
            validate_every=100,
            save_every=100,
            validation_share=0.05,
        ),
        generation=GenerationConfig(
            lm_updates=200,
            ecg_input="embedding",
            standardise=True,
            projector_width=128,
            max_tokens=160,
            epochs=None,
            updates=800,
            learning_rate=3e-3,
            min_learning_rate=3e-5,
            max_new_tokens=120,
        ),
    )


def paper() -> Profile:
    """The paper's own scale: ViT-Tiny, 200 epochs of MIMIC-IV-ECG at batch 128, MedCPT; for a GPU and the real data."""
    return Profile(
        name="paper",
        text=TextConfig(source="ncbi/MedCPT-Query-Encoder", max_tokens=128),
        pretrain=PretrainConfig(validate_every=2000, save_every=2000),
        generation=GenerationConfig(
            language_model="meta-llama/Llama-3.2-1B-Instruct", bert="roberta-large", bert_layers=17
        ),
    )


def limited(profile: Profile) -> Profile:
    """The same profile where its `limit` and `epochs` say so: does it run at all?

    The batch shrinks to a quarter of the recordings where that is less, since pretraining needs two batches.
    """
    pretrain, probe, generation = profile.pretrain, profile.probe, profile.generation
    if profile.limit is not None:
        pretrain = replace(pretrain, batch=max(2, min(pretrain.batch, profile.limit // 4)))
    if profile.epochs is not None:
        passes = {"epochs": float(profile.epochs), "updates": None}
        pretrain, probe = replace(pretrain, **passes), replace(probe, epochs=profile.epochs)
        generation = replace(generation, **passes)
    return replace(profile, pretrain=pretrain, probe=probe, generation=generation)


def profile(name: str) -> Profile:
    """The profile of that name; a ValueError lists the three."""
    recipes = {"smoke": smoke, "demo": demo, "paper": paper}
    one_of("profile", name, tuple(recipes))
    return recipes[name]()


def resolve(name: str, settings: str = "") -> Profile:
    """The profile of that name with what the user changes of it.

    settings: `path=value` after `path=value`, as "model.mask_ratio=0.5 pretrain.seed=1": any field of the
    configuration by its dotted path, quoted as in a shell where it holds spaces. The variables of `SHORT` count too.
    ValueError, one line that begins with what the user calls the setting, for what is wrong.
    """
    changes: dict[str, Any] = {}
    try:
        words = shlex.split(settings)
    except ValueError as error:
        raise ValueError(f"settings: expected path=value, quotes closed; got {settings!r} ({error})") from None
    for word in words:
        path, sign, value = word.partition("=")
        if not sign or not path:
            raise ValueError(
                f"settings: expected path=value, as model.mask_ratio=0.5, several with spaces between and quotes "
                f"around a value that holds one; got {word!r}"
            )
        if path in changes:
            raise ValueError(f"{path}: expected once among the settings; got it twice")
        changes[path] = value
    names = {path: variable for variable, path in SHORT.items() if os.environ.get(variable)}
    for path, variable in names.items():
        if path in changes:
            raise ValueError(f"{path}: expected once; got it among the settings and as {variable}")
        changes[path] = os.environ[variable]
    if "MERIT_BERT" in names.values():
        changes.setdefault("generation.bert_layers", None)  # the layer was the profile's own model's
    trial = {path: changes.pop(path) for path in ("limit", "epochs") if path in changes}
    return changed(limited(changed(profile(name), trial, names)), changes, names)


def settings_of(chosen: Profile) -> str:
    """What differs from the profile of that name, as `resolve` reads it; "" where nothing does."""
    named = profile(chosen.name)
    base = settable(limited(replace(named, limit=chosen.limit, epochs=chosen.epochs)))
    other = {path: value for path, value in settable(chosen).items() if value != base.get(path)}
    trial = {path: value for path in ("limit", "epochs") if (value := getattr(chosen, path)) is not None}
    return " ".join(f"{path}={shlex.quote(_written(value))}" for path, value in {**trial, **other}.items())


def _written(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(_written, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _named(chosen: Profile, data: str | Path | None) -> str:
    where = "" if data is None else f"-data-{digest(str(Path(data).resolve()))[:6]}"
    return f"{chosen.name}{where}{'' if chosen.limit is None else f'-limit{chosen.limit}'}"


def folder_name(chosen: Profile, data: str | Path | None) -> str:
    """Name of the folder of recordings and of all that is made of them under an identity: the profile, for real data a
    key of where they lie, a limit, and a key where recordings are other ones. All other settings share it.
    """
    named = profile(chosen.name)
    here, usual = ([p.signal, p.hospitals if data is None else None] for p in (chosen, named))
    return _named(chosen, data) + ("" if here == usual else f"-recordings-{digest(here)[:6]}")


def run_name(chosen: Profile, data: str | Path | None) -> str:
    """Name of the folders of a run's pages, executed and built: other settings have one beside the profile's own."""
    same = limited(replace(profile(chosen.name), limit=chosen.limit, epochs=chosen.epochs))
    epochs = "" if chosen.epochs is None else f"-epochs{chosen.epochs}"
    return _named(chosen, data) + epochs + ("" if chosen == same else f"-set-{digest(settings_of(chosen))[:6]}")
