"""Every setting of every stage: frozen dataclasses (`profiles` holds the values of each profile).

Imports nothing of ours, so that anything may read it. The docstring under a field gives its unit and its source.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

COHORTS = ("mimic-iv-ecg", "ptb-xl", "cpsc2018", "csn")
"""The data sets of the paper, by the names of their folders. The first is the one that is pretrained on."""

PROFILE_NAMES = ("smoke", "demo", "paper")
OBJECTIVE_NAMES = ("merit", "cma", "ib", "mse")
"""Eq. 7, Eq. 3, Eq. 9 and Eq. 5: the four pretraining objectives of the paper's ablation."""
RECONSTRUCTING = ("merit", "mse")
"""Objectives that predict hidden patches, and so need some."""


PEER_OBJECTIVES = ("merl", "simclr", "clocs")
"""Objectives of peers, trained in place of the paper's; a fourth peer, ST-MEM, is the objective mse with other settings
(`merit.methods`)."""

# -- checks: each raises a ValueError, one line that begins with the setting's name -----------------------------------

RANGES: dict[str, Callable[[float], bool]] = {
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
"""What is expected of a setting, as its error says it -> whether a value is that."""


def require(config: Any, expected: str, *names: str) -> None:
    """The fields are what `RANGES` says; None passes, a number that is none (nan) does not."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not RANGES[expected](value):
            raise ValueError(f"{name}: expected {expected}; got {value!r}")


def require_least(config: Any, least: int, *names: str) -> None:
    """The fields are whole numbers from `least`, or None."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not value >= least:
            raise ValueError(f"{name}: expected a whole number from {least}; got {value!r}")


def one_of(name: str, value: object, allowed: tuple) -> None:
    """A value is among `allowed`, which the error lists."""
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(map(str, allowed))}; got {value!r}")


def require_one_duration(config: Any) -> None:
    """A run lasts epochs or updates."""
    if (config.epochs is None) == (config.updates is None):
        raise ValueError(
            f"epochs: expected epochs or updates, the other none; got epochs {config.epochs} and updates "
            f"{config.updates}"
        )


def require_multiple(config: Any, *, even: bool = False) -> None:
    """The width is a (for sine-cosine codes even) multiple of the heads."""
    if config.width % config.heads or (even and config.width % 2):
        kind = "an even multiple" if even else "a multiple"
        raise ValueError(f"width: expected {kind} of heads = {config.heads}; got {config.width}")


def from_json(config: Any, name: str, kind: type) -> None:
    """Turn a part that a checkpoint's config.json holds as a dict into its dataclass."""
    if isinstance(value := getattr(config, name), dict):
        object.__setattr__(config, name, kind(**value))


# -- recordings -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SignalConfig:
    """What a recording looks like in a store and to the encoder (App. A.1: all signals at 100 Hz, 10 s)."""

    fs_hz: int = 100
    """Sampling rate of the store, Hz."""
    duration_s: float = 10.0
    """Length of a stored recording, seconds; longer ones are cut, shorter ones padded with zeros at the end."""
    min_report_words: int = 4
    """A report with fewer words takes no part in alignment (MERL's rule, which the paper follows)."""
    ptb_xl_from_hz: int = 100
    """Which of PTB-XL's two publications a store at 100 Hz or less is read from: 100, resampled and filtered by its
    publishers; or 500, resampled here as the other data sets are."""

    def __post_init__(self) -> None:
        one_of("ptb_xl_from_hz", self.ptb_xl_from_hz, (100, 500))
        require(self, "a whole number of Hz, 50 to 1000", "fs_hz")
        require(self, "seconds, 1 to 60", "duration_s")
        require_least(self, 0, "min_report_words")
        if not float(self.fs_hz * self.duration_s).is_integer():
            raise ValueError(f"duration_s: expected whole samples at {self.fs_hz} Hz; got {self.duration_s}")

    @property
    def n_samples(self) -> int:
        """Samples of a stored recording."""
        return round(self.fs_hz * self.duration_s)


@dataclass(frozen=True, kw_only=True)
class HospitalConfig:
    """The synthetic hospitals: how many recordings per site, and what reports leave out."""

    recordings: dict[str, int] = field(
        default_factory=lambda: {"mimic-iv-ecg": 4000, "ptb-xl": 2000, "cpsc2018": 600, "csn": 1000}
    )
    """Recordings per site, by the name of the data set whose layout the site writes."""
    seed: int = 0
    report_omission: float = 0.3
    """Share of the findings of a recording that its report leaves out, 0 to 1."""
    min_positives: int = 30
    """Positives that every scored class of a labelled site has at least, where the site's size allows."""
    workers: int = 2
    """Processes that generate; the output does not depend on it."""

    def __post_init__(self) -> None:
        for site, number in self.recordings.items():
            if number < 1:
                raise ValueError(f"recordings.{site}: expected a whole number from 1; got {number!r}")
        require_least(self, 0, "seed", "min_positives")
        require(self, "a number from 0 to 1", "report_omission")
        require_least(self, 1, "workers")


# -- network ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TinyVitConfig:
    """The hierarchical encoder, one value per stage; the defaults are TinyViT-5M's (Wu et al., 2022)."""

    widths: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    """Blocks: convolutional ones in the first stage, transformer blocks in the others."""
    heads: tuple[int, ...] = (2, 4, 5, 10)
    """The first stage, which does not attend, has no use for its own; nor for its window."""
    windows: tuple[int, ...] = (7, 7, 14, 7)
    """Tokens that attend to each other."""

    def __post_init__(self) -> None:
        for name in ("widths", "depths", "heads", "windows"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)  # JSON has lists
            if len(values) != len(self.widths) or min(values, default=0) < 1:
                raise ValueError(f"{name}: expected {len(self.widths)} numbers above 0, one a stage; got {values}")
        for width, heads in zip(self.widths[1:], self.heads[1:]):
            if width % heads:
                raise ValueError(f"widths: expected a multiple of the stage's heads = {heads}; got {width}")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The ECG encoder. Kind vit: isotropic, on ST-MEM tokens: patches of one lead, a SEP token at both ends of each
    lead (Sec. 3.3). Kind tiny_vit: sizes in `tiny_vit`; it has no use for width, depth, heads, bias_start and
    `DecoderConfig`, and patches are what is hidden, not its tokens. Kind resnet18: size in `resnet_width`; it sees
    whole recordings alone.
    """

    kind: str = "vit"
    """vit; tiny_vit: strided convolutions over all leads at once, then attention in windows of time; or resnet18."""
    n_leads: int = 12
    fs_hz: int = 100
    n_samples: int = 1000
    patch: int = 25
    """Samples per patch; divides n_samples (0.25 s at 100 Hz; ST-MEM: 0.30 s)."""
    width: int = 192
    depth: int = 12
    heads: int = 3
    bias_start: float | None = 4.0
    """Value at which the attention bias of time offset 0 starts; None: no attention biases (plain ST-MEM)."""
    tiny_vit: TinyVitConfig = field(default_factory=TinyVitConfig)
    resnet_width: int = 64
    """Channels of ResNet18's first stage; every later one has twice as many (MERL: 64 to 512). Smaller profiles take so
    many that a recording costs no more FLOPs than in an update of merit."""

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("vit", "tiny_vit", "resnet18"))
        from_json(self, "tiny_vit", TinyVitConfig)
        require_least(self, 1, "n_leads", "fs_hz", "n_samples", "patch", "width", "depth", "heads", "resnet_width")
        require(self, "a number", "bias_start")
        if self.n_samples % self.patch:
            raise ValueError(f"patch: expected a divisor of n_samples = {self.n_samples}; got {self.patch}")
        require_multiple(self, even=True)

    @property
    def n_patches(self) -> int:
        """Patches of one lead."""
        return self.n_samples // self.patch

    @property
    def embedding_width(self) -> int:
        """Width of the encoder's tokens and of the embedding, whatever its kind."""
        return {"vit": self.width, "tiny_vit": self.tiny_vit.widths[-1], "resnet18": 8 * self.resnet_width}[self.kind]


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The auxiliary decoder that predicts hidden patches (Sec. 3.3; sizes after ST-MEM)."""

    width: int = 256
    depth: int = 4
    heads: int = 4
    attention: str = "joint"
    """joint: all tokens attend to all; lead: to those of their own lead (ST-MEM); axial: blocks take turns, over a
    lead's time and over an instant's leads; cross: hidden patches attend to what is visible alone (CrossMAE)."""
    decode_share: float = 1.0
    """Share of the hidden patches that an update predicts, drawn at random: the same loss in expectation."""

    def __post_init__(self) -> None:
        one_of("attention", self.attention, ("joint", "lead", "axial", "cross"))
        require(self, "a number above 0, at most 1", "decode_share")
        if self.attention == "axial" and self.decode_share < 1:
            raise ValueError(
                f"decode_share: expected 1 with axial attention, which needs whole leads; got {self.decode_share:g}"
            )
        require_least(self, 1, "width", "depth", "heads")
        require_multiple(self, even=True)


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The frozen text encoder (Sec. 3.3: MedCPT), or the size of the small one that the smaller profiles train."""

    source: str = "trained"
    """A hub name, a local folder, or "trained": a small BERT trained by masked language modelling on the reports."""
    pooling: str = "mean"
    """mean of the tokens' states ("similarly pooled", Sec. 3.3), or cls."""
    max_tokens: int = 64
    width: int = 128
    depth: int = 2
    heads: int = 4
    vocabulary: int = 2000
    updates: int = 300
    """Updates of masked language modelling."""
    batch: int = 64
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("pooling", self.pooling, ("mean", "cls"))
        require(self, 'a hub name, a folder, or "trained"', "source")
        require_least(self, 3, "max_tokens")
        require_least(self, 1, "width", "depth", "heads", "updates", "batch")
        require_least(self, 50, "vocabulary")
        require(self, "a number above 0", "learning_rate")
        require_least(self, 0, "seed")
        require_multiple(self)


@dataclass(frozen=True, kw_only=True)
class TextTowerConfig:
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
class ModelConfig:
    """The whole network of Fig. 1 but for the text encoder's frozen layers, which run once per distinct report."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    text_width: int = 768
    """Width of the text encoder's embedding."""
    shared_width: int = 256
    """Width d of the shared space (MERL)."""
    mask_ratio: float = 0.75
    """Share of the patches of each lead that is hidden (ST-MEM, D-BETA); 0: none, for objectives that do not
    reconstruct.
    """
    scaling: str = "zscore"
    """What the encoder is fed and the decoder predicts: zscore or minmax per recording, or mv (a fixed scale)."""
    patch_target: bool = False
    """True: the target of each patch is normalised by its own mean and sd (ST-MEM's code)."""
    temperature: float = 0.07
    learn_temperature: bool = False
    text_tower: TextTowerConfig | None = None
    """The text encoder's last layers where they are trained (`PretrainConfig.text_layers`); None: it is frozen."""

    def __post_init__(self) -> None:
        from_json(self, "text_tower", TextTowerConfig)
        one_of("scaling", self.scaling, ("zscore", "minmax", "mv"))
        require(self, "a number from 0 and below 1", "mask_ratio")
        require(self, "a number above 0", "temperature")
        require_least(self, 1, "text_width", "shared_width")

    @property
    def hides(self) -> bool:
        """Whether at least one patch of a lead is hidden at this mask ratio."""
        return round(self.encoder.n_patches * (1 - self.mask_ratio)) < self.encoder.n_patches


def require_hidden(model: ModelConfig, objective: str) -> None:
    """ValueError for an objective that reconstructs hidden patches, of a network whose mask hides none."""
    if objective in RECONSTRUCTING and not model.hides:
        raise ValueError(
            f"model.mask_ratio: {objective} reconstructs hidden patches, so a ratio that hides at least one of "
            f"{model.encoder.n_patches} a lead was expected; got {model.mask_ratio:g}; cma and ib take 0"
        )


# -- training and evaluation ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """How the objectives that contrast two views of one recording make and compare them."""

    temperature: float = 0.1
    """Of simclr and clocs (Chen et al., 2020, on ImageNet; Kiyasseh et al., 2021). merl has the model's."""
    crop_least: float = 0.5
    """simclr: a view is a crop of this share of the recording, up to all of it, stretched to full length."""
    gain: float = 0.2
    """simclr: a view is multiplied by 1 plus or minus up to this, before the noise, whose share it so changes."""
    noise_mv: float = 0.05
    """simclr: standard deviation of the white noise that a view gets, millivolts."""
    lead_drop: float = 0.1
    """simclr: probability that a view lacks a lead (zeros); at least one lead stays."""
    dropout: float = 0.1
    """merl: probability that a number of a pooled and mapped latent is dropped (MERL's code)."""

    def __post_init__(self) -> None:
        require(self, "a number above 0", "temperature")
        require(self, "a number above 0, at most 1", "crop_least")
        require(self, "a number from 0", "gain", "noise_mv")
        require(self, "a number from 0 and below 1", "lead_drop", "dropout")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """The optimisation of one objective (App. A.1: AdamW, cosine, batch 128, 200 epochs; rate and decay are lost)."""

    objective: str = "merit"
    bottleneck_strength: float = 0.5
    """β of Eq. 9; used by the objective ib alone."""
    masked_mse_scale: float = 1.0
    """Weight of the masked error in merit, which Eq. 7 leaves out; 0: alignment of masked recordings alone."""
    view_scale: float = 0.0
    """Weight of MERL's contrast between two dropout views of a recording, added to merit, cma, ib or mse; the objective
    merl has it in any case."""
    info_nce_scale: float = 1.0
    """1: the mean of the two directions of Eq. 3; 2: their sum, as in MERL's code."""
    seed: int = 0
    batch: int = 128
    epochs: float | None = 200.0
    """Passes over the training recordings; or None, and `updates` is given."""
    updates: int | None = None
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    bias_rate_scale: float = 10.0
    """The attention biases learn this many times faster than the rest, without decay."""
    text_layers: int = 0
    """Layers of the text encoder that are trained too, from the last one; 0: it is frozen (Sec. 3.3: "pretrained")."""
    text_rate_scale: float = 0.1
    """They learn at this multiple of the rate, since they start pretrained (5e-5 at 5e-4, as BERT is fine-tuned)."""
    warmup_share: float = 0.05
    """Share of the updates with linear warm-up; cosine to 0 follows."""
    clip_norm: float = 1.0
    validation_share: float = 0.02
    """Share of the patients held out for validation (App. A.1: 15,223 of 761,139 recordings)."""
    validate_every: int = 1000
    """Updates between two validations."""
    save_every: int = 1000
    """Updates between two checkpoints."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """What the peers' objectives merl, simclr and clocs contrast."""

    def __post_init__(self) -> None:
        one_of("objective", self.objective, (*OBJECTIVE_NAMES, *PEER_OBJECTIVES))
        require(self, "a number from 0", "bottleneck_strength", "weight_decay")
        require(self, "a number from 0", "masked_mse_scale", "view_scale")
        if self.view_scale and self.objective in PEER_OBJECTIVES:
            raise ValueError(
                f"view_scale: expected 0 for {self.objective}, whose views are its own; got {self.view_scale:g}"
            )
        require(self, "a number above 0", "info_nce_scale", "epochs", "learning_rate", "clip_norm", "bias_rate_scale")
        require(self, "a number above 0", "text_rate_scale")
        require_least(self, 0, "seed", "text_layers")
        require_least(self, 2, "batch")
        require_least(self, 1, "updates", "validate_every", "save_every")
        require(self, "a number from 0 and below 1", "warmup_share")
        require(self, "a number above 0 and below 1", "validation_share")
        require(self, "two numbers from 0 and below 1", "betas")
        require_one_duration(self)
        if self.save_every % self.validate_every:
            raise ValueError(
                f"save_every: expected a multiple of validate_every = {self.validate_every}, so that a resumed run's "
                f"means are whole; got {self.save_every}"
            )


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """A linear head on a frozen encoder (App. A.2.2): what the paper states, and what it leaves open."""

    learning_rate: float = 1e-3
    """AdamW's step size, fixed (App. A.2.2)."""
    weight_decay: float = 0.01
    """Decoupled decay of weights and bias; the paper gives none, so torch's default."""
    batch_size: int = 64
    """Recordings a step (App. A.2.2)."""
    epochs: int = 100
    """Passes over the training folds (App. A.2.2)."""
    folds: int = 10
    """Folds of the cross-validation; each is the test fold once (App. A.2.2)."""
    min_positives: int = 2
    """A class is scored only with this many positives, and negatives, in train, validation and test."""
    n_resamples: int = 500
    """Resamples of the patients for the 95 % intervals of the pooled values."""
    seed: int = 0
    """Seed of initial weights, shuffles and resamples."""
    select: str = "last"
    """Epoch that is scored: the last, or the one with the best macro AUROC on the validation fold."""

    def __post_init__(self) -> None:
        require_least(self, 1, "batch_size", "epochs", "min_positives", "n_resamples")
        require_least(self, 3, "folds")  # train, validation, test
        require_least(self, 0, "seed")
        require(self, "a number above 0", "learning_rate")
        require(self, "a number from 0", "weight_decay")
        one_of("select", self.select, ("last", "best_validation"))


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """A language model conditioned on a frozen encoder (App. A.2.2, after stage 1 of MedTVT-R1)."""

    language_model: str = "trained"
    """A hub name, a local folder, or "trained": a tiny Llama trained in full on the training answers, without ECGs."""
    lm_width: int = 96
    lm_depth: int = 2
    lm_heads: int = 4
    lm_kv_heads: int = 2
    lm_vocabulary: int = 1000
    lm_updates: int = 400
    """Updates of the tiny language model's own training."""
    lm_learning_rate: float = 3e-3
    ecg_input: str = "tokens"
    """What the projector reads: an encoder's "tokens", one a stretch of time (MedTVT-R1), or its "embedding"."""
    standardise: bool = False
    """Whether that is centred and scaled by the training ECGs first, a feature at a time."""
    ecg_tokens: int = 1
    """Tokens that take the place of <ecg> (MedTVT-R1: one, by attention pooling)."""
    projector_width: int = 1024
    """Width inside the projector (MedTVT-R1's code)."""
    lora_rank: int = 16
    max_tokens: int = 600
    """Question, ECG tokens and answer together (App. A.2.2)."""
    epochs: float | None = 20.0
    """Passes over the training pairs (App. A.2.2); or None, and `updates` is given."""
    updates: int | None = None
    batch: int = 16
    learning_rate: float = 1e-4
    """At the first update (App. A.2.2 lost the number; MedTVT-R1's code)."""
    min_learning_rate: float = 1e-6
    """At the end of the cosine."""
    weight_decay: float = 0.05
    """Not on biases, norms and embeddings."""
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float = 1.0
    train_on_padding: bool = False
    """True: the padding after an answer is a target too, as in MedTVT-R1's code."""
    gradient_checkpointing: bool = False
    save_every: int = 200
    """Updates between two checkpoints."""
    decoding: str = "greedy"
    """greedy, or sampling (MedTVT-R1's code)."""
    temperature: float = 0.6
    top_p: float = 0.9
    max_new_tokens: int = 600
    test_pairs: int | None = None
    """At most so many held-out ECGs are decoded, spread evenly over their file; None: all."""
    bert: str = "trained"
    """What BERTScore compares with: a folder or hub name, or "trained": the profile's frozen text encoder."""
    bert_layers: int | None = None
    """Its layer that BERTScore reads; None: the last."""
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("decoding", self.decoding, ("greedy", "sampling"))
        one_of("ecg_input", self.ecg_input, ("tokens", "embedding"))
        require(self, 'a hub name, a folder, or "trained"', "language_model", "bert")
        require_least(self, 1, "lm_width", "lm_depth", "lm_heads", "lm_kv_heads", "lm_updates", "ecg_tokens")
        require_least(self, 1, "projector_width", "lora_rank", "updates", "batch", "save_every", "max_new_tokens")
        require_least(self, 1, "test_pairs", "bert_layers")
        require_least(self, 50, "lm_vocabulary")
        require_least(self, 16, "max_tokens")
        require_least(self, 0, "seed")
        require(self, "a number above 0", "epochs", "lm_learning_rate", "learning_rate", "clip_norm", "temperature")
        require(self, "a number from 0", "min_learning_rate", "weight_decay")
        require(self, "a number above 0, at most 1", "top_p")
        require(self, "two numbers from 0 and below 1", "betas")
        require_one_duration(self)
        for parts in ("lm_heads", "lm_kv_heads"):
            whole = "lm_width" if parts == "lm_heads" else "lm_heads"
            if getattr(self, whole) % getattr(self, parts):
                raise ValueError(
                    f"{parts}: expected a divisor of {whole} = {getattr(self, whole)}; got {getattr(self, parts)}"
                )


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Everything that a profile fixes; `merit.profiles` holds the three."""

    name: str
    signal: SignalConfig = field(default_factory=SignalConfig)
    hospitals: HospitalConfig = field(default_factory=HospitalConfig)
    text: TextConfig = field(default_factory=TextConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    embed_batch: int = 64
    limit: int | None = None
    """Recordings read of each data set, the first so many; None: all."""
    epochs: int | None = None
    """Passes of pretraining, probing and adaptation that take the place of each one's own, to try a profile; None."""

    @property
    def trial(self) -> bool:
        """Whether the run only shows that everything runs (smoke, or a limit): what costs much is tried on less."""
        return self.name == "smoke" or self.limit is not None

    def __post_init__(self) -> None:
        require_least(self, 1, "embed_batch", "epochs")
        require_least(self, 8, "limit")
        signal, encoder = self.signal, self.model.encoder
        for name in ("fs_hz", "n_samples"):
            if getattr(signal, name) != getattr(encoder, name):
                raise ValueError(
                    f"model.encoder.{name}: expected {getattr(signal, name)}, as the recordings have "
                    f"(signal.fs_hz, signal.duration_s); got {getattr(encoder, name)}"
                )


# -- settings by their dotted paths -----------------------------------------------------------------------------------

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
            raise ValueError(f"{names.get(full, full)}: no such setting; {_near(full, known)}")
        name, _, rest = path.partition(".")
        if rest:
            inner.setdefault(name, {})[rest] = value
            continue
        hint = int if isinstance(config, Mapping) else get_type_hints(type(config))[name]
        try:
            typed[name] = converted(value, hint)
        except TypeError:
            raise ValueError(f"{names.get(full, full)}: expected {_in_words(hint)}; got {value!r}") from None
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


def replace(config: Any, **changes: Any) -> Any:
    """`dataclasses.replace` that names the unknown field and the known ones."""
    known = list(parts_of(config))
    if unknown := sorted(set(changes) - set(known)):
        raise ValueError(f"unknown settings {unknown} of {type(config).__name__}; known: {known}")
    return dataclasses.replace(config, **changes)


def converted(value: Any, hint: Any) -> Any:
    """A value as the type of a field or parameter, else TypeError; text becomes numbers, true or false, none and, with
    commas, several, whole numbers become numbers, and nothing else is converted.
    """
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
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


def _in_words(hint: Any) -> str:
    """What a field takes."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    several = [KINDS[get_args(kind)[0]].removeprefix("a ") for kind in kinds if get_origin(kind) is tuple]
    words = [f"{word}s with commas between" for word in several] + [KINDS[kind] for kind in kinds if kind in KINDS]
    return " or ".join(words)


def _near(path: str, known: Mapping[str, Any]) -> str:
    """Which settings may have been meant: those of that name or part, or spelt alike."""
    end = {name: name.rpartition(".")[2] for name in known}
    last = path.rpartition(".")[2]
    near = [name for name in known if end[name] == last or name.startswith(f"{path}.")]
    alike = difflib.get_close_matches(last, set(end.values()), cutoff=0.75)
    near += [name for name in known if end[name] in alike] + difflib.get_close_matches(path, known, 3)
    if near:
        return f"near it: {', '.join(list(dict.fromkeys(near))[:5])}"
    return "every setting is a field in merit/config.py, such as model.mask_ratio or pretrain.learning_rate"
