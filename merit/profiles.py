"""The three profiles: smoke for tests and CI, demo for a newcomer's laptop, paper for the published scale.

Recipe cards (machine, time, what to expect) stand beside each one; `make book` prints actual against budget.
"""

from __future__ import annotations

from merit.config import (
    DecoderConfig,
    EncoderConfig,
    HospitalConfig,
    ModelConfig,
    PretrainConfig,
    ProbeConfig,
    Profile,
    TextConfig,
    one_of,
    replace,
)


def smoke() -> Profile:
    """Minutes on 2 cores: every stage runs, no number means anything."""
    return Profile(
        name="smoke",
        hospitals=HospitalConfig(recordings={"mimic-iv-ecg": 240, "ptb-xl": 400, "cpsc2018": 120, "csn": 160}),
        text=TextConfig(width=32, depth=1, heads=2, vocabulary=600, updates=20, batch=32),
        model=ModelConfig(
            encoder=EncoderConfig(patch=100, width=32, depth=1, heads=2),
            decoder=DecoderConfig(width=32, depth=1, heads=2),
            text_width=32,
            shared_width=32,
        ),
        pretrain=PretrainConfig(
            epochs=None, updates=30, batch=16, learning_rate=3e-3, validate_every=10, save_every=10,
            validation_share=0.1,
        ),
        probe=ProbeConfig(epochs=5, n_resamples=50),
    )  # fmt: skip


def demo() -> Profile:
    """Ten minutes on 2 cores: a narrow ViT on 4,000 synthetic pairs, big enough for the objectives to differ."""
    return Profile(
        name="demo",
        model=ModelConfig(
            encoder=EncoderConfig(patch=50, width=64, depth=3, heads=4),
            decoder=DecoderConfig(width=48, depth=1, heads=4),
            text_width=128,
        ),
        pretrain=PretrainConfig(
            epochs=None, updates=1200, batch=32, learning_rate=3e-3, validate_every=100, save_every=100,
            validation_share=0.05,
        ),
    )  # fmt: skip


def paper() -> Profile:
    """The paper's own scale: ViT-Tiny, 200 epochs of MIMIC-IV-ECG at batch 128, MedCPT; for a GPU and the real data."""
    return Profile(
        name="paper",
        text=TextConfig(source="ncbi/MedCPT-Query-Encoder", max_tokens=128),
        pretrain=PretrainConfig(validate_every=2000, save_every=2000),
    )


def limited(profile: Profile, limit: int | None = None, epochs: int | None = None) -> Profile:
    """The same profile on the first `limit` recordings of each data set, with `epochs` passes: does it run at all?

    The batch shrinks to a quarter of the recordings where that is less, since pretraining needs two batches.
    """
    pretrain, probe = profile.pretrain, profile.probe
    if limit is not None:
        pretrain = replace(pretrain, batch=max(2, min(pretrain.batch, limit // 4)))
    if epochs is not None:
        pretrain, probe = replace(pretrain, epochs=float(epochs), updates=None), replace(probe, epochs=epochs)
    return replace(profile, pretrain=pretrain, probe=probe, limit=limit)


def profile(name: str) -> Profile:
    """The profile of that name; a ValueError lists the three."""
    recipes = {"smoke": smoke, "demo": demo, "paper": paper}
    one_of("profile", name, tuple(recipes))
    return recipes[name]()
