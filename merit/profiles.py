"""The three profiles: smoke for tests and CI, demo for a newcomer's laptop, paper for the published scale.

Recipe cards (machine, time, what to expect) stand beside each one; `make book` prints actual against budget.
"""

from __future__ import annotations

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
            encoder=EncoderConfig(patch=100, width=32, depth=1, heads=2, resnet_width=8),
            decoder=DecoderConfig(width=32, depth=1, heads=2),
            text_width=32,
            shared_width=32,
        ),
        pretrain=PretrainConfig(
            epochs=None, updates=30, batch=16, learning_rate=3e-3, validate_every=10, save_every=10,
            validation_share=0.1,
        ),
        probe=ProbeConfig(epochs=5, n_resamples=50),
        generation=GenerationConfig(
            lm_width=32, lm_depth=1, lm_heads=2, lm_kv_heads=1, lm_vocabulary=400, lm_updates=10, projector_width=16,
            lora_rank=4, max_tokens=160, epochs=None, updates=10, batch=8, learning_rate=3e-3, min_learning_rate=3e-5,
            max_new_tokens=24, test_pairs=8,
        ),
    )  # fmt: skip


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
            epochs=None, updates=1200, batch=32, learning_rate=3e-3, validate_every=100, save_every=100,
            validation_share=0.05,
        ),
        generation=GenerationConfig(
            lm_updates=200, ecg_input="embedding", standardise=True, projector_width=128, max_tokens=160, epochs=None,
            updates=800, learning_rate=3e-3, min_learning_rate=3e-5, max_new_tokens=120,
        ),
    )  # fmt: skip


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


def limited(profile: Profile, limit: int | None = None, epochs: int | None = None) -> Profile:
    """The same profile on the first `limit` recordings of each data set, with `epochs` passes: does it run at all?

    The batch shrinks to a quarter of the recordings where that is less, since pretraining needs two batches.
    """
    pretrain, probe, generation = profile.pretrain, profile.probe, profile.generation
    if limit is not None:
        pretrain = replace(pretrain, batch=max(2, min(pretrain.batch, limit // 4)))
    if epochs is not None:
        pretrain, probe = replace(pretrain, epochs=float(epochs), updates=None), replace(probe, epochs=epochs)
        generation = replace(generation, epochs=float(epochs), updates=None)
    return replace(profile, pretrain=pretrain, probe=probe, generation=generation, limit=limit)


def profile(name: str) -> Profile:
    """The profile of that name; a ValueError lists the three."""
    recipes = {"smoke": smoke, "demo": demo, "paper": paper}
    one_of("profile", name, tuple(recipes))
    return recipes[name]()
