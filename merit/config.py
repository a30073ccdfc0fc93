"""Every setting of every stage, the three profiles, and the names of encoders that are pretrained here.

Frozen dataclasses: the docstring under a field gives its unit and its source, its type what it may be. A profile is one
`Profile`; what a user changes of it is any field by its dotted path (`resolve`).
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, NamedTuple, Union, get_args, get_origin, get_type_hints

from merit.runs import digest

COHORTS = ("mimic-iv-ecg", "ptb-xl", "cpsc2018", "csn")
"""The data sets of the paper, by the names of their folders. The first is the one that is pretrained on."""
OBJECTIVE_NAMES = ("merit", "cma", "ib", "mse")
"""Eq. 7, Eq. 3, Eq. 9 and Eq. 5: the four pretraining objectives of the paper's ablation."""
RECONSTRUCTING = ("merit", "mse")
"""Objectives that predict hidden patches, and so need some."""
WITHOUT_TEXT = ("mse", "simclr", "clocs")
"""Objectives that read no reports."""
PEER_OBJECTIVES = ("merl", "simclr", "clocs")
"""Objectives of peers, trained in place of the paper's; a fourth peer, ST-MEM, is the objective mse with other settings
(`PEERS`)."""

# -- what a value may be: in the type of its field, checked when a configuration is made -------------------------------

RANGES: dict[str, Callable[[Any], bool]] = {
    "a number": lambda value: abs(value) < float("inf"),
    "a number from 0": lambda value: 0 <= value < float("inf"),
    "a number above 0": lambda value: 0 < value < float("inf"),
    "a number from 0 to 1": lambda value: 0 <= value <= 1,
    "a number from 0 and below 1": lambda value: 0 <= value < 1,
    "a number above 0, at most 1": lambda value: 0 < value <= 1,
    "a number above 0 and below 1": lambda value: 0 < value < 1,
    "two numbers from 0 and below 1": lambda values: all(0 <= value < 1 for value in values),
    "a whole number of Hz, 50 to 1000": lambda value: 50 <= value <= 1000,
    "seconds, 1 to 60": lambda value: 1 <= value <= 60,
    'a hub name, a folder, or "trained"': bool,
}
"""What is expected of a setting, as its error says it -> whether a value is that; nan is not."""
From0 = Annotated[float, "a number from 0"]
Above0 = Annotated[float, "a number above 0"]
Below1 = Annotated[float, "a number from 0 and below 1"]
Betas = Annotated[tuple[float, float], "two numbers from 0 and below 1"]
Count = Annotated[int, 1]
"""A whole number, from 1."""
Seed = Annotated[int, 0]
Source = Annotated[str, 'a hub name, a folder, or "trained"']


def one_of(name: str, value: object, allowed: tuple) -> None:
    """ValueError, which lists what is allowed, for another value."""
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(map(str, allowed))}; got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A part of the configuration: every value is checked against the type of its field. ValueError, one line that
    begins with the setting's name. What JSON has in place of a part or a tuple becomes one. A width is a multiple of
    the heads, and a run lasts epochs or updates.
    """

    sine_cosine: ClassVar[bool] = False
    """Whether places are coded by sines and cosines, of which there are as many."""

    def __post_init__(self) -> None:
        for name, kind, expected in _expectations(type(self)):
            value = getattr(self, name)
            if isinstance(value, dict) and dataclasses.is_dataclass(kind):
                object.__setattr__(self, name, kind(**value))
            elif isinstance(value, list) and get_origin(kind) is tuple:
                object.__setattr__(self, name, tuple(value))
            if value is None or expected is None:
                continue
            if isinstance(expected, tuple):
                one_of(name, value, expected)
            elif isinstance(expected, int) and not value >= expected:
                raise ValueError(f"{name}: expected a whole number from {expected}; got {value!r}")
            elif isinstance(expected, str) and not RANGES[expected](value):
                raise ValueError(f"{name}: expected {expected}; got {value!r}")
        names = {part.name for part in fields(self)}
        if {"width", "heads"} <= names and (self.width % self.heads or (self.sine_cosine and self.width % 2)):
            kind = "an even multiple" if self.sine_cosine else "a multiple"
            raise ValueError(f"width: expected {kind} of heads = {self.heads}; got {self.width}")
        if {"epochs", "updates"} <= names and (self.epochs is None) == (self.updates is None):
            given = f"epochs {self.epochs} and updates {self.updates}"
            raise ValueError(f"epochs: expected epochs or updates, the other none; got {given}")


@functools.cache
def _expectations(kind: type) -> list[tuple[str, Any, Any]]:
    """Name, type without None, and what is expected (a key of `RANGES`, the least, or all that is allowed)."""
    found = []
    hints = get_type_hints(kind, include_extras=True)
    for name in (part.name for part in fields(kind)):
        (hint,) = [part for part in _kinds(hints[name]) if part is not type(None)]
        annotated = get_origin(hint) is Annotated
        found.append((name, get_args(hint)[0] if annotated else hint, hint.__metadata__[0] if annotated else None))
    return found


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The types that a hint allows."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


# -- recordings -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SignalConfig(Config):
    """What a recording looks like in a store and to the encoder (App. A.1: all signals at 100 Hz, 10 s)."""

    fs_hz: Annotated[int, "a whole number of Hz, 50 to 1000"] = 100
    """Sampling rate of the store, Hz."""
    duration_s: Annotated[float, "seconds, 1 to 60"] = 10.0
    """Length of a stored recording, seconds; longer ones are cut, shorter ones padded with zeros at the end."""
    min_report_words: Annotated[int, 0] = 4
    """A report with fewer words takes no part in alignment (MERL's rule, which the paper follows)."""
    ptb_xl_from_hz: Annotated[int, (100, 500)] = 100
    """Which of PTB-XL's two publications a store at 100 Hz or less is read from: 100, resampled and filtered by its
    publishers; or 500, resampled here as the other data sets are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not float(self.fs_hz * self.duration_s).is_integer():
            raise ValueError(f"duration_s: expected whole samples at {self.fs_hz} Hz; got {self.duration_s}")

    @property
    def n_samples(self) -> int:
        """Samples of a stored recording."""
        return round(self.fs_hz * self.duration_s)


@dataclass(frozen=True, kw_only=True)
class HospitalConfig(Config):
    """The synthetic hospitals: how many recordings per site, and what reports leave out."""

    recordings: dict[str, int] = field(
        default_factory=lambda: {"mimic-iv-ecg": 4000, "ptb-xl": 2000, "cpsc2018": 600, "csn": 1000}
    )
    """Recordings per site, by the name of the data set whose layout the site writes."""
    seed: Seed = 0
    report_omission: Annotated[float, "a number from 0 to 1"] = 0.3
    """Share of the findings of a recording that its report leaves out, 0 to 1."""
    min_positives: Annotated[int, 0] = 30
    """Positives that every scored class of a labelled site has at least, where the site's size allows."""
    workers: Count = 2
    """Processes that generate; the output does not depend on it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for site, number in self.recordings.items():
            if number < 1:
                raise ValueError(f"recordings.{site}: expected a whole number from 1; got {number!r}")


# -- network ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TinyVitConfig(Config):
    """The hierarchical encoder, one value per stage; the defaults are TinyViT-5M's (Wu et al., 2022)."""

    widths: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    """Blocks: convolutional ones in the first stage, transformer blocks in the others."""
    heads: tuple[int, ...] = (2, 4, 5, 10)
    """The first stage, which does not attend, has no use for its own; nor for its window."""
    windows: tuple[int, ...] = (7, 7, 14, 7)
    """Tokens that attend to each other."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("widths", "depths", "heads", "windows"):
            values = getattr(self, name)
            if len(values) != len(self.widths) or min(values, default=0) < 1:
                raise ValueError(f"{name}: expected {len(self.widths)} numbers above 0, one a stage; got {values}")
        for width, heads in zip(self.widths[1:], self.heads[1:]):
            if width % heads:
                raise ValueError(f"widths: expected a multiple of the stage's heads = {heads}; got {width}")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Config):
    """The ECG encoder. Kind vit: isotropic, on ST-MEM tokens: patches of one lead, a SEP token at both ends of each
    lead (Sec. 3.3). Kind tiny_vit: sizes in `tiny_vit`; it has no use for width, depth, heads, bias_start and
    `DecoderConfig`, and patches are what is hidden, not its tokens. Kind resnet18: size in `resnet_width`; the same.
    """

    kind: Annotated[str, ("vit", "tiny_vit", "resnet18")] = "vit"
    """vit; tiny_vit: strided convolutions over all leads at once, then attention in windows of time; or resnet18."""
    n_leads: Count = 12
    fs_hz: Count = 100
    n_samples: Count = 1000
    patch: Count = 25
    """Samples per patch; divides n_samples (0.25 s at 100 Hz; ST-MEM: 0.30 s)."""
    width: Count = 192
    depth: Count = 12
    heads: Count = 3
    bias_start: Annotated[float, "a number"] | None = 4.0
    """Value at which the attention bias of time offset 0 starts; None: no attention biases (plain ST-MEM)."""
    tiny_vit: TinyVitConfig = field(default_factory=TinyVitConfig)
    sine_cosine: ClassVar[bool] = True
    resnet_width: Count = 64
    """Channels of ResNet18's first stage; every later one has twice as many (MERL: 64 to 512). Smaller profiles take so
    many that a recording costs no more FLOPs than in an update of merit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_samples % self.patch:
            raise ValueError(f"patch: expected a divisor of n_samples = {self.n_samples}; got {self.patch}")

    @property
    def n_patches(self) -> int:
        """Patches of one lead."""
        return self.n_samples // self.patch

    @property
    def embedding_width(self) -> int:
        """Width of the encoder's tokens and of the embedding, whatever its kind."""
        return {"vit": self.width, "tiny_vit": self.tiny_vit.widths[-1], "resnet18": 8 * self.resnet_width}[self.kind]


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(Config):
    """The auxiliary decoder that predicts hidden patches (Sec. 3.3; sizes after ST-MEM)."""

    width: Count = 256
    depth: Count = 4
    heads: Count = 4
    attention: Annotated[str, ("joint", "lead", "axial", "cross")] = "joint"
    """joint: all tokens attend to all; lead: to those of their own lead (ST-MEM); axial: blocks take turns, over a
    lead's time and over an instant's leads; cross: hidden patches attend to what is visible alone (CrossMAE)."""
    decode_share: Annotated[float, "a number above 0, at most 1"] = 1.0
    """Share of the hidden patches that an update predicts, drawn at random: the same loss in expectation."""
    sine_cosine: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention == "axial" and self.decode_share < 1:
            raise ValueError(
                f"decode_share: expected 1 with axial attention, which needs whole leads; got {self.decode_share:g}"
            )


@dataclass(frozen=True, kw_only=True)
class TextConfig(Config):
    """The frozen text encoder (Sec. 3.3: MedCPT), or the size of the small one that the smaller profiles train."""

    source: Source = "trained"
    """A hub name, a local folder, or "trained": a small BERT trained by masked language modelling on the reports."""
    pooling: Annotated[str, ("mean", "cls")] = "mean"
    """mean of the tokens' states ("similarly pooled", Sec. 3.3), or cls."""
    max_tokens: Annotated[int, 3] = 64
    width: Count = 128
    depth: Count = 2
    heads: Count = 4
    vocabulary: Annotated[int, 50] = 2000
    updates: Count = 300
    """Updates of masked language modelling."""
    batch: Count = 64
    learning_rate: Above0 = 1e-3
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class TextTowerConfig(Config):
    """The last layers of the text encoder, where they are trained with the network; all is read from that encoder."""

    layers: int
    """How many of its layers, from the last one; those below stay frozen."""
    width: int
    heads: int
    hidden: int
    """Width inside a layer's MLP."""
    eps: float = 1e-12
    """Of its layer norms."""
    pooling: str = "mean"
    """As `TextConfig.pooling`."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """The whole network of Fig. 1 but for the text encoder's frozen layers, which run once per distinct report."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    text_width: Count = 768
    """Width of the text encoder's embedding."""
    shared_width: Count = 256
    """Width d of the shared space (MERL)."""
    mask_ratio: Below1 = 0.75
    """Share of the patches of each lead that is hidden (ST-MEM, D-BETA); 0: none, for objectives that do not
    reconstruct.
    """
    scaling: Annotated[str, ("zscore", "minmax", "mv")] = "zscore"
    """What the encoder is fed and the decoder predicts: zscore or minmax per recording, or mv (a fixed scale)."""
    patch_target: bool = False
    """True: the target of each patch is normalised by its own mean and sd (ST-MEM's code)."""
    temperature: Above0 = 0.07
    learn_temperature: bool = False
    text_tower: TextTowerConfig | None = None
    """The text encoder's last layers where they are trained (`PretrainConfig.text_layers`); None: it is frozen."""

    @property
    def hides(self) -> bool:
        """Whether at least one patch of a lead is hidden at this mask ratio."""
        return round(self.encoder.n_patches * (1 - self.mask_ratio)) < self.encoder.n_patches


# -- training and evaluation ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ViewsConfig(Config):
    """How the objectives that contrast two views of one recording make and compare them."""

    temperature: Above0 = 0.1
    """Of simclr and clocs (Chen et al., 2020, on ImageNet; Kiyasseh et al., 2021). merl has the model's."""
    crop_least: Annotated[float, "a number above 0, at most 1"] = 0.5
    """simclr: a view is a crop of this share of the recording, up to all of it, stretched to full length."""
    gain: From0 = 0.2
    """simclr: a view is multiplied by 1 plus or minus up to this, before the noise, whose share it so changes."""
    noise_mv: From0 = 0.05
    """simclr: standard deviation of the white noise that a view gets, millivolts."""
    lead_drop: Below1 = 0.1
    """simclr: probability that a view lacks a lead (zeros); at least one lead stays."""
    dropout: Below1 = 0.1
    """merl: probability that a number of a pooled and mapped latent is dropped (MERL's code)."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(Config):
    """The optimisation of one objective (App. A.1: AdamW, cosine, batch 128, 200 epochs; rate and decay are lost)."""

    objective: Annotated[str, (*OBJECTIVE_NAMES, *PEER_OBJECTIVES)] = "merit"
    bottleneck_strength: From0 = 0.5
    """β of Eq. 9; used by the objective ib alone."""
    masked_mse_scale: From0 = 1.0
    """Weight of the masked error in merit, which Eq. 7 leaves out; 0: alignment of masked recordings alone."""
    view_scale: From0 = 0.0
    """Weight of MERL's contrast between two dropout views of a recording, added to merit, cma, ib or mse; the objective
    merl has it in any case."""
    info_nce_scale: Above0 = 1.0
    """1: the mean of the two directions of Eq. 3; 2: their sum, as in MERL's code."""
    seed: Seed = 0
    batch: Annotated[int, 2] = 128
    epochs: Above0 | None = 200.0
    """Passes over the training recordings; or None, and `updates` is given."""
    updates: Count | None = None
    learning_rate: Above0 = 5e-4
    weight_decay: From0 = 0.05
    betas: Betas = (0.9, 0.95)
    bias_rate_scale: Above0 = 10.0
    """The attention biases learn this many times faster than the rest, without decay."""
    text_layers: Annotated[int, 0] = 0
    """Layers of the text encoder that are trained too, from the last one; 0: it is frozen (Sec. 3.3: "pretrained")."""
    text_rate_scale: Above0 = 0.1
    """They learn at this multiple of the rate, since they start pretrained (5e-5 at 5e-4, as BERT is fine-tuned)."""
    warmup_share: Below1 = 0.05
    """Share of the updates with linear warm-up; cosine to 0 follows."""
    clip_norm: Above0 = 1.0
    validation_share: Annotated[float, "a number above 0 and below 1"] = 0.02
    """Share of the patients held out for validation (App. A.1: 15,223 of 761,139 recordings)."""
    validate_every: Count = 1000
    """Updates between two validations."""
    save_every: Count = 1000
    """Updates between two checkpoints."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """What the peers' objectives merl, simclr and clocs contrast."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.view_scale and self.objective in PEER_OBJECTIVES:
            raise ValueError(
                f"view_scale: expected 0 for {self.objective}, whose views are its own; got {self.view_scale:g}"
            )
        if self.save_every % self.validate_every:
            raise ValueError(
                f"save_every: expected a multiple of validate_every = {self.validate_every}, so that a resumed run's "
                f"means are whole; got {self.save_every}"
            )


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(Config):
    """A linear head on a frozen encoder (App. A.2.2): what the paper states, and what it leaves open."""

    learning_rate: Above0 = 1e-3
    """AdamW's step size, fixed (App. A.2.2)."""
    weight_decay: From0 = 0.01
    """Decoupled decay of weights and bias; the paper gives none, so torch's default."""
    batch_size: Count = 64
    """Recordings a step (App. A.2.2)."""
    epochs: Count = 100
    """Passes over the training folds (App. A.2.2)."""
    folds: Annotated[int, 3] = 10
    """Folds of the cross-validation; each is the test fold once (App. A.2.2), another validates."""
    min_positives: Count = 2
    """A class is scored only with this many positives, and negatives, in train, validation and test."""
    n_resamples: Count = 500
    """Resamples of the patients for the 95 % intervals of the pooled values."""
    seed: Seed = 0
    """Seed of initial weights, shuffles and resamples."""
    select: Annotated[str, ("last", "best_validation")] = "last"
    """Epoch that is scored: the last, or the one with the best macro AUROC on the validation fold."""


@dataclass(frozen=True, kw_only=True)
class GenerationConfig(Config):
    """A language model conditioned on a frozen encoder (App. A.2.2, after stage 1 of MedTVT-R1)."""

    language_model: Source = "trained"
    """A hub name, a local folder, or "trained": a tiny Llama trained in full on the training answers, without ECGs."""
    lm_width: Count = 96
    lm_depth: Count = 2
    lm_heads: Count = 4
    lm_kv_heads: Count = 2
    lm_vocabulary: Annotated[int, 50] = 1000
    lm_updates: Count = 400
    """Updates of the tiny language model's own training."""
    lm_learning_rate: Above0 = 3e-3
    ecg_input: Annotated[str, ("tokens", "embedding")] = "tokens"
    """What the projector reads: an encoder's "tokens", one a stretch of time (MedTVT-R1), or its "embedding"."""
    standardise: bool = False
    """Whether that is centred and scaled by the training ECGs first, a feature at a time."""
    ecg_tokens: Count = 1
    """Tokens that take the place of <ecg> (MedTVT-R1: one, by attention pooling)."""
    projector_width: Count = 1024
    """Width inside the projector (MedTVT-R1's code)."""
    lora_rank: Count = 16
    max_tokens: Annotated[int, 16] = 600
    """Question, ECG tokens and answer together (App. A.2.2)."""
    epochs: Above0 | None = 20.0
    """Passes over the training pairs (App. A.2.2); or None, and `updates` is given."""
    updates: Count | None = None
    batch: Count = 16
    learning_rate: Above0 = 1e-4
    """At the first update (App. A.2.2 lost the number; MedTVT-R1's code)."""
    min_learning_rate: From0 = 1e-6
    """At the end of the cosine."""
    weight_decay: From0 = 0.05
    """Not on biases, norms and embeddings."""
    betas: Betas = (0.9, 0.95)
    clip_norm: Above0 = 1.0
    train_on_padding: bool = False
    """True: the padding after an answer is a target too, as in MedTVT-R1's code."""
    gradient_checkpointing: bool = False
    save_every: Count = 200
    """Updates between two checkpoints."""
    decoding: Annotated[str, ("greedy", "sampling")] = "greedy"
    """greedy, or sampling (MedTVT-R1's code)."""
    temperature: Above0 = 0.6
    top_p: Annotated[float, "a number above 0, at most 1"] = 0.9
    max_new_tokens: Count = 600
    test_pairs: Count | None = None
    """At most so many held-out ECGs are decoded, spread evenly over their file; None: all."""
    bert: Source = "trained"
    """What BERTScore compares with: a folder or hub name, or "trained": the profile's frozen text encoder."""
    bert_layers: Count | None = None
    """Its layer that BERTScore reads; None: the last."""
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for parts, whole in (("lm_heads", "lm_width"), ("lm_kv_heads", "lm_heads")):
            n, total = getattr(self, parts), getattr(self, whole)
            if total % n:
                raise ValueError(f"{parts}: expected a divisor of {whole} = {total}; got {n}")


@dataclass(frozen=True, kw_only=True)
class Profile(Config):
    """Everything that a profile fixes; `PROFILES` holds the three."""

    name: str
    signal: SignalConfig = field(default_factory=SignalConfig)
    hospitals: HospitalConfig = field(default_factory=HospitalConfig)
    text: TextConfig = field(default_factory=TextConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    embed_batch: Count = 64
    limit: Annotated[int, 8] | None = None
    """Recordings read of each data set, the first so many; None: all."""
    epochs: Count | None = None
    """Passes of pretraining, probing and adaptation that take the place of each one's own, to try a profile; None."""

    @property
    def trial(self) -> bool:
        """Whether the run only shows that everything runs (smoke, or a limit): what costs much is tried on less."""
        return self.name == "smoke" or self.limit is not None

    def __post_init__(self) -> None:
        super().__post_init__()
        signal, encoder = self.signal, self.model.encoder
        for name in ("fs_hz", "n_samples"):
            if getattr(signal, name) != getattr(encoder, name):
                raise ValueError(
                    f"model.encoder.{name}: expected {getattr(signal, name)}, as the recordings have "
                    f"(signal.fs_hz, signal.duration_s); got {getattr(encoder, name)}"
                )


# -- the three profiles, a recipe card under each; `make book` prints actual against budget ---------------------------

SMOKE = Profile(
    name="smoke",
    hospitals=HospitalConfig(recordings={"mimic-iv-ecg": 240, "ptb-xl": 400, "cpsc2018": 120, "csn": 160}),
    text=TextConfig(width=32, depth=1, heads=2, vocabulary=600, updates=20, batch=32),
    model=ModelConfig(
        encoder=EncoderConfig(patch=100, width=32, depth=1, heads=2, resnet_width=8),
        decoder=DecoderConfig(width=32, depth=1, heads=2), text_width=32, shared_width=32,
    ),
    pretrain=PretrainConfig(
        epochs=None, updates=30, batch=16, learning_rate=3e-3, validate_every=10, save_every=10, validation_share=0.1
    ),
    probe=ProbeConfig(epochs=5, n_resamples=50),
    generation=GenerationConfig(
        lm_width=32, lm_depth=1, lm_heads=2, lm_kv_heads=1, lm_vocabulary=400, lm_updates=10, projector_width=16,
        lora_rank=4, max_tokens=160, epochs=None, updates=10, batch=8, learning_rate=3e-3, min_learning_rate=3e-5,
        max_new_tokens=24, test_pairs=8,
    ),
)  # fmt: skip
"""Minutes on 2 cores: every stage runs, no number means anything."""

DEMO = Profile(
    name="demo",
    model=ModelConfig(
        encoder=EncoderConfig(patch=50, width=64, depth=3, heads=4, resnet_width=24),
        decoder=DecoderConfig(width=48, depth=1, heads=4), text_width=128,
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
"""Ten minutes on 2 cores: a narrow ViT on 4,000 synthetic pairs, big enough for the objectives to differ."""

PAPER = Profile(
    name="paper",
    text=TextConfig(source="ncbi/MedCPT-Query-Encoder", max_tokens=128),
    pretrain=PretrainConfig(validate_every=2000, save_every=2000),
    generation=GenerationConfig(
        language_model="meta-llama/Llama-3.2-1B-Instruct", bert="roberta-large", bert_layers=17
    ),
)  # fmt: skip
"""The paper's own scale: ViT-Tiny, 200 epochs of MIMIC-IV-ECG at batch 128, MedCPT; for a GPU and the real data."""

PROFILES = {"smoke": SMOKE, "demo": DEMO, "paper": PAPER}
PROFILE_NAMES = tuple(PROFILES)


def profile(name: str) -> Profile:
    """The profile of that name; a ValueError lists the three."""
    one_of("profile", name, PROFILE_NAMES)
    return PROFILES[name]


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


# -- encoders that are pretrained here: what each name stands for ------------------------------------------------------


class Method(NamedTuple):
    """What a name of an encoder stands for."""

    objective: str
    """One of `objectives.OBJECTIVES`."""
    changes: Mapping[str, Any] = {}
    """Of the profile's network, by their paths in `ModelConfig`."""
    training: Mapping[str, float] = {}
    """Of the profile's `PretrainConfig`."""

    def model(self, profiles: ModelConfig) -> ModelConfig:
        """Its network in place of the profile's."""
        return changed(profiles, self.changes)


ABLATIONS = {"cma-whole": Method("cma", {"mask_ratio": 0.0})}
"""Encoder -> an objective of the paper with one more part taken away: alignment alone, without the mask that only
reconstruction needs, so that the encoder is trained on whole recordings, as it is used.
"""
ST_MEM = {"encoder.kind": "vit", "encoder.bias_start": None, "decoder.attention": "lead", "patch_target": True}
"""Na et al. (2024): no attention biases, a decoder lead by lead, each patch normalised by itself."""
PEERS = {
    "st-mem-ours": Method("mse", ST_MEM),
    "merl-ours": Method("merl", {"encoder.kind": "resnet18"}),
    "simclr": Method("simclr"),
    "clocs": Method("clocs"),
}
"""Encoder -> a peer's method, trained here on the same recordings, with the same updates, optimiser and evaluation: our
implementation of their objectives, not their systems. merl-ours has MERL's backbone (Liu et al., 2024).
"""
TRAINED_NAMES = (*OBJECTIVE_NAMES, *ABLATIONS, *PEERS)
"""Encoders that `merit pretrain --objective` trains, without the bottleneck's other strengths (ib-0.1)."""


VARIANT = re.compile(r"(merit|cma|ib|mse)(?:-(\d+\.?\d*))?((?:@\w+(?:\.\d+)?)*)(\+views)?")
"""ib-0.1, merit-10: another strength of the bottleneck, another weight of the masked error. merit@resnet18,
cma@mask0.9: another network, another mask ratio. merit+views: with MERL's contrast of dropout views. All together:
merit-10@resnet18@mask0.5+views."""


def method(encoder: str) -> Method:
    """What an encoder's name stands for; a ValueError lists the names that are pretrained here."""
    if found := _method(encoder):
        return found
    raise ValueError(
        f"encoder: expected one of {', '.join((*TRAINED_NAMES, 'random'))}, or a variant such as ib-0.1, merit-10, "
        f"merit@resnet18, cma@mask0.9 or merit+views; got {encoder!r}"
    )


def _method(encoder: str) -> Method | None:
    if named := {**ABLATIONS, **PEERS}.get(encoder):
        return named
    if not (match := VARIANT.fullmatch(encoder)):
        return None
    objective, number, network, views = match.groups()
    training = {"view_scale": 1.0} if views else {}
    if number:
        if objective not in ("ib", "merit"):
            return None
        training |= {"bottleneck_strength" if objective == "ib" else "masked_mse_scale": float(number)}
    changes: dict[str, Any] = {}
    for part in network.split("@")[1:]:
        if part in ("vit", "tiny_vit", "resnet18"):
            changes["encoder.kind"] = part
        elif re.fullmatch(r"mask0(\.\d+)?", part):
            changes["mask_ratio"] = float(part.removeprefix("mask"))
        else:
            return None
    return Method(objective, changes, training)


def without_text(encoder: str) -> bool:
    """Whether an encoder was pretrained here without reports, so that it shares no space with texts."""
    found = _method(encoder)
    return found is not None and found.objective in WITHOUT_TEXT


def require_hidden(model: ModelConfig, objective: str) -> None:
    """ValueError for an objective that reconstructs hidden patches, of a network whose mask hides none."""
    if objective in RECONSTRUCTING and not model.hides:
        raise ValueError(
            f"model.mask_ratio: {objective} reconstructs hidden patches, so a ratio that hides at least one of "
            f"{model.encoder.n_patches} a lead was expected; got {model.mask_ratio:g}; cma and ib take 0"
        )


# -- settings by their dotted paths ------------------------------------------------------------------------------------

FIXED = {
    "name": "the profile is chosen by PROFILE (--profile)",
    "model.text_width": "it follows from the text encoder",
    "model.text_tower": "it follows from the text encoder and pretrain.text_layers",
    "model.encoder.n_leads": "every recording has twelve",
    "pretrain.objective": "it follows from an encoder's name",
}
"""Fields that no setting changes -> why."""
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
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


def parts_of(config: Any) -> dict[str, Any]:
    """Name -> value of the fields of a dataclass, or of a mapping."""
    return dict(config) if isinstance(config, Mapping) else {f.name: getattr(config, f.name) for f in fields(config)}


def settable(config: Any, within: str = "") -> dict[str, Any]:
    """Path -> value of every field that a setting may change, those of its parts by their dotted paths."""
    every: dict[str, Any] = {}
    for name, value in parts_of(config).items():
        path = f"{within}{name}"
        if path not in FIXED:
            inner = dataclasses.is_dataclass(value) or isinstance(value, Mapping)
            every |= settable(value, f"{path}.") if inner else {path: value}
    return every


def replace(config: Any, **changes: Any) -> Any:
    """`dataclasses.replace` that names the unknown field and the known ones."""
    known = list(parts_of(config))
    if unknown := sorted(set(changes) - set(known)):
        raise ValueError(f"unknown settings {unknown} of {type(config).__name__}; known: {known}")
    return dataclasses.replace(config, **changes)


def changed(config: Any, changes: Mapping[str, Any], names: Mapping[str, str] | None = None, within: str = "") -> Any:
    """`config` with fields changed by their dotted paths, all at once; a text is read as the field's type.

    names: path -> what the user calls it. ValueError, in one line that begins with that, for a path that is none of
    `settable` (with those that are near), another type, or a value that the configuration rejects.
    """
    names, known = names or {}, settable(config, within)
    typed, inner = {}, {}
    for path, value in changes.items():
        full = f"{within}{path}"
        if full in FIXED:
            raise ValueError(f"{names.get(full, full)}: cannot be set: {FIXED[full]}")
        if full not in known:
            # Those of that name or part, or spelt alike.
            ends = {name: name.rpartition(".")[2] for name in known}
            last = full.rpartition(".")[2]
            alike = difflib.get_close_matches(last, set(ends.values()), cutoff=0.75)
            near = [name for name in known if ends[name] == last or name.startswith(f"{full}.")]
            near += [name for name in known if ends[name] in alike] + difflib.get_close_matches(full, known, 3)
            text = f"near it: {', '.join(list(dict.fromkeys(near))[:5])}"
            if not near:
                text = "every setting is a field in merit/config.py, such as model.mask_ratio or pretrain.learning_rate"
            raise ValueError(f"{names.get(full, full)}: no such setting; {text}")
        name, _, rest = path.partition(".")
        if rest:
            inner.setdefault(name, {})[rest] = value
            continue
        hint = int if isinstance(config, Mapping) else get_type_hints(type(config))[name]
        try:
            typed[name] = converted(value, hint)
        except TypeError:
            kinds = _kinds(hint)
            several = [KINDS[get_args(kind)[0]].removeprefix("a ") for kind in kinds if get_origin(kind) is tuple]
            words = [f"{word}s with commas between" for word in several] + [KINDS[k] for k in kinds if k in KINDS]
            raise ValueError(f"{names.get(full, full)}: expected {' or '.join(words)}; got {value!r}") from None
    for name, more in inner.items():
        typed[name] = changed(parts_of(config)[name], more, names, f"{within}{name}.")
    if isinstance(config, Mapping):
        return {**config, **typed}
    try:
        return dataclasses.replace(config, **typed)
    except ValueError as error:
        name, _, rest = str(error).partition(": ")
        path = f"{within}{name}"
        raise ValueError(f"{names.get(path, path)}: {rest}") from None


def converted(value: Any, hint: Any) -> Any:
    """A value as the type of a field or parameter, else TypeError; text becomes numbers, true or false, none and, with
    commas, several, whole numbers become numbers, and nothing else is converted.
    """
    kinds = _kinds(hint)
    if type(None) in kinds and (value is None or (isinstance(value, str) and value.lower() in ("", "none"))):
        return None
    for kind in kinds:
        try:
            if get_origin(kind) in (list, tuple):
                items, inner = value.split(",") if isinstance(value, str) else value, get_args(kind)
                if get_origin(kind) is list or inner[-1] is Ellipsis or len(items) == len(inner):
                    several = (converted(x.strip() if isinstance(x, str) else x, inner[0]) for x in items)
                    return get_origin(kind)(several)
            elif kind is bool and isinstance(value, str):
                return BOOLEANS[value.lower()]
            elif kind in (int, float) and isinstance(value, str) and value.isascii() and "_" not in value:
                return kind(value)
            elif kind is float and type(value) is int:
                return float(value)
            elif type(value) is kind:
                return value
        except (ValueError, TypeError, KeyError):
            continue
    raise TypeError


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

    def written(value: Any) -> str:
        if isinstance(value, tuple | list):
            return ",".join(map(written, value))
        return str(value).lower() if value is None or isinstance(value, bool) else str(value)

    base = settable(limited(replace(profile(chosen.name), limit=chosen.limit, epochs=chosen.epochs)))
    other = {path: value for path, value in settable(chosen).items() if value != base.get(path)}
    trial = {path: value for path in ("limit", "epochs") if (value := getattr(chosen, path)) is not None}
    return " ".join(f"{path}={shlex.quote(written(value))}" for path, value in {**trial, **other}.items())


# -- folders: what one run has beside another's ------------------------------------------------------------------------


def folder_name(chosen: Profile, data: str | Path | None) -> str:
    """Name of the folder of recordings and of all that is made of them under an identity: the profile, for real data a
    key of where they lie, a limit, and a key where recordings are other ones. All other settings share it.
    """
    here, usual = ([p.signal, p.hospitals if data is None else None] for p in (chosen, profile(chosen.name)))
    return _run_of(chosen, data) + ("" if here == usual else f"-recordings-{digest(here)[:6]}")


def run_name(chosen: Profile, data: str | Path | None) -> str:
    """Name of the folders of a run's pages, executed and built: other settings have one beside the profile's own."""
    same = limited(replace(profile(chosen.name), limit=chosen.limit, epochs=chosen.epochs))
    epochs = "" if chosen.epochs is None else f"-epochs{chosen.epochs}"
    return _run_of(chosen, data) + epochs + ("" if chosen == same else f"-set-{digest(settings_of(chosen))[:6]}")


def _run_of(chosen: Profile, data: str | Path | None) -> str:
    where = "" if data is None else f"-data-{digest(str(Path(data).resolve()))[:6]}"
    return f"{chosen.name}{where}{'' if chosen.limit is None else f'-limit{chosen.limit}'}"
