"""Published encoders, whose weights a user brings: what they are, where a file is looked for, where it comes from."""

from __future__ import annotations

import importlib
import os
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from merit import runs
from merit.data.recording import shown, something_else
from merit.encoders.base import Encoder


class NoWeights(runs.Unavailable):
    """The weights of an encoder are not there; the message says where they belong and where they come from."""


@dataclass(frozen=True, kw_only=True)
class Outside:
    """An encoder of others; nothing of it is loaded before it is asked for."""

    label: str
    """How tables write it."""
    module: str
    """The module of this package that builds it: `load(path, device, name)`, `spec(name)`,
    `network(name)`, `golden(name)`."""
    published: str
    """Where the authors publish the weights."""
    terms: str
    """Licence of the authors' code, and what a user may do with the weights."""
    fs_hz: float = 500
    """The rate that it reads, Hz, as its `input_spec` says."""
    pretrained_on: tuple[str, ...] = ()
    """Data sets of ours that its authors pretrained on: which patients of them it has seen is not known."""
    trained_further: tuple[str, tuple[str, ...]] | None = None
    """What the names in another published file begin with (safetensors), whose weights were trained on from these, and
    the data sets of ours that they have seen besides; `pretrained_on(name)` looks which file is there."""
    input_shape: tuple[int, int, int] = (1, 12, 5000)
    """What its network is fed for one recording: crops, leads, samples."""
    feature: str = ""
    """What is probed."""
    text: str | None = None
    """What belongs into `weights/<name>/text` for zero-shot classification; None: no space shared with texts."""
    remark: str = ""
    """What of the original is reproduced, or differs, that a reader of a table should know."""


OUTSIDE = {
    "ecg-fm": Outside(
        label="ECG-FM",
        module="merit.encoders.ecg_fm",
        published="Hugging Face, wanglab/ecg-fm: mimic_iv_ecg_physionet_pretrained.pt",
        terms="code MIT; for the weights see their model card",
        pretrained_on=("mimic-iv-ecg", "ptb-xl", "cpsc2018", "csn"),
        feature="mean of the transformer's 312 positions, 768 wide: of two segments of 5 s, each encoded alone",
        remark="the authors probe segments of 5 s, each with its recording's labels; here a recording is the mean of "
        "its two; leads standardised over the recording before it is cut, as the original; it resamples linearly, "
        "which stretches 100 Hz by 8 ms in 10 s, here it is polyphase; pretrained on PhysioNet 2021 too, which has "
        "PTB-XL, CPSC2018, Chapman, Ningbo and Georgia",
    ),
    "st-mem": Outside(
        label="ST-MEM",
        module="merit.encoders.st_mem",
        published="Google Drive, two files that the README of github.com/bakqui/ST-MEM links: the encoder alone "
        "(encoder.pth) or encoder and decoder; either will do",
        terms="CC BY-NC 4.0, under a notice of VUNO Inc. that reserves all else; none of it here; no licence stated "
        "for the weights alone: non-commercial use at most",
        fs_hz=250,
        pretrained_on=("csn",),
        input_shape=(3, 12, 2250),
        feature="mean over leads and time, then layer-normalised, 768 wide; mean over three crops of 9 s",
        remark="ten seconds become three crops of 9 s (from 0, 0.5 and 1 s), each filtered and scaled alone, as the "
        "authors evaluate; they average logits over the crops, which for a linear probe is the same, and train on "
        "random crops; they resample by Fourier, here it is polyphase; pretrained on Chapman, Ningbo and CODE-15",
    ),
    "st-mem-s": Outside(
        label="ST-MEM, ViT-S",
        module="merit.encoders.st_mem",
        published="no place known: the authors publish the ViT-B alone; their code pretrains a ViT-S "
        "(st_mem_vit_small_dec256d4b) and writes encoder.pth",
        terms="as ST-MEM",
        fs_hz=250,
        pretrained_on=("csn",),
        input_shape=(3, 12, 2250),
        feature="as ST-MEM, 384 wide",
        remark="as ST-MEM; pretrained_on supposes the authors' own data: Chapman, Ningbo and CODE-15",
    ),
    "merl": Outside(
        label="MERL",
        module="merit.encoders.merl",
        published="Google Drive, the folder that the README of github.com/cheliu-computation/MERL-ICML2024 links: "
        "res18_best_ckpt.pth, or res18_best_encoder.pth, which has no texts",
        terms="code MIT; no licence stated for the weights",
        pretrained_on=("mimic-iv-ecg",),
        feature="mean of the last stage's 313 columns, 512 wide",
        text="config.json and the tokenizer's files of ncbi/MedCPT-Query-Encoder (the checkpoint holds its weights)",
        remark="min-max over the whole recording, leads in MIMIC-IV-ECG's order (aVF before aVL), as the original; of "
        "CPSC2018 the original takes 5 s and as many of zeros, here it is 10 s; texts by BERT's pooler; the checkpoint "
        "was chosen by zero-shot AUROC on validation parts of PTB-XL, CPSC2018 and CSN, says the training code",
    ),
    "merl-vit": Outside(
        label="MERL, ViT-Tiny",
        module="merit.encoders.merl",
        published="as MERL: vit_tiny_best_ckpt.pth, or vit_tiny_best_encoder.pth, which has no texts",
        terms="as MERL",
        pretrained_on=("mimic-iv-ecg",),
        feature="normalised mean over 100 patches of 0.1 s, 192 wide",
        text="as MERL: config.json and the tokenizer's files of ncbi/MedCPT-Query-Encoder",
        remark="as MERL",
    ),
    "esi": Outside(
        label="ESI",
        module="merit.encoders.esi",
        published="Google Drive, the folder that the README of github.com/comp-well-org/ESI links",
        terms="code GPL-3.0, none of it here; no licence stated for the weights",
        fs_hz=500,
        pretrained_on=("mimic-iv-ecg",),
        feature="mean over time of the last stage, layer-normalised, 1024 wide",
        text="config.json and the tokenizer's files of michiyasunaga/BioLinkBERT-base",
        remark="normalises channels over time where ConvNeXt normalises over channels, as the original; leads in "
        "MIMIC-IV-ECG's order (aVF before aVL), in which it was pretrained; its paper speaks of diverse databases, its "
        "code prepares MIMIC-IV-ECG alone: whether it has seen other data sets of these could not be verified, and no "
        "number is marked for that; no zero-shot code is published: the path is its contrastive loss's, with "
        "[SEP] kept",
    ),
    "d-beta": Outside(
        label="D-BETA",
        module="merit.encoders.d_beta",
        published="Hugging Face, Manhph2211/D-BETA: sample.pt",
        terms="code CC BY-NC 4.0, none of it here: non-commercial use; no other licence stated for the weights",
        fs_hz=500,
        pretrained_on=("mimic-iv-ecg",),
        feature="class token, projected and pooled (dense, tanh), 768 wide",
        text="the tokenizer's files of google/flan-t5-base",
        remark="zero-shot ranks by plain products of pooled vectors, kept exactly; texts lower-cased and each without "
        "padding, as in its notebook, though pretraining pads without a mask; leads in the order that its code lists, "
        "though MIMIC-IV-ECG's files have aVF before aVL",
    ),
    "melp": Outside(
        label="MELP",
        module="merit.encoders.melp",
        published="Hugging Face, fuyingw/MELP_Encoder: model.safetensors, the ECG side alone; a checkpoint of the "
        "authors' training, which texts take, is not published, and is read where there is one",
        terms="code MIT; weights Apache-2.0, by their model card",
        pretrained_on=("mimic-iv-ecg",),
        feature="mean of the attention-pooled and normalised queries, before the shared space's matrix, 256 wide",
        text="config.json and the tokenizer's files of the text encoder that the checkpoint was trained from, "
        "fuyingw/heart_bert or ncbi/MedCPT-Query-Encoder (the checkpoint holds its weights)",
        remark="min-max over the whole recording, leads in MIMIC-IV-ECG's order (aVF before aVL), as the original; of "
        "CPSC2018 the original takes 5 s and as many of zeros, here it is 10 s; its zero-shot script cannot run (an "
        "anonymised name, and an output that its model lacks): texts take training's path, a causal BERT's last token",
    ),
    "qoq": Outside(
        label="QoQ (JEPA)",
        module="merit.encoders.qoq",
        published="Google Drive, a file that the README of github.com/sehunfromdaegu/ECG_JEPA links: "
        "multiblock_epoch100.pth; QoQ-Med's own weights of the tower: Hugging Face, ddvd233/QoQ-Med-VL-7B, "
        "model-00004-of-00004.safetensors",
        terms="code of both MIT; no licence stated for ECG-JEPA's weights; for QoQ-Med's, see its model card",
        fs_hz=250,
        pretrained_on=("csn",),
        trained_further=("time_series_embedding.", ("ptb-xl", "cpsc2018")),
        input_shape=(1, 8, 2500),
        feature="mean over all tokens, 768 wide",
        remark="QoQ-Med's ECG tower is ECG-JEPA's encoder, pretrained on Chapman, Ningbo and CODE-15; QoQ-Med trained "
        "it on inside its 7B model, with CLIMB, which holds PTB-XL, CPSC and Chapman-Shaoxing: with those weights "
        "PTB-XL and CPSC2018 are seen and marked too; bfloat16 there, float32 here; resampled polyphase, there by "
        "Fourier",
    ),
    "ecg-chat": Outside(
        label="ECG-Chat",
        module="merit.encoders.ecg_chat",
        published="nowhere by its authors (github.com/YubaoZhao/ECG-Chat, issues 8 and 10); what is read is a "
        "checkpoint of their training code, epoch_20.pt",
        terms="no licence stated for the code: all rights reserved, none of it here",
        pretrained_on=("mimic-iv-ecg", "csn"),
        feature="class token, projected into the space of texts, length 1, 512 wide",
        text="config.json and the tokenizer's files of ncbi/MedCPT-Query-Encoder (the checkpoint holds its weights)",
        remark="millivolts as they are, each data set in its own order of leads, as the original: mostly pretrained on "
        "MIMIC-IV-ECG's (aVF before aVL), evaluated on the usual one; MedCPT is locked, its projection is not; "
        "texts by the mean over tokens; half precision there, float32 here; pretrained on SPH too",
    ),
    "medtvt-r1": Outside(
        label="MedTVT-R1",
        module="merit.encoders.xresnet",
        published="Hugging Face, kekeYeah/Checkpoints: best_valid_all_increase_with_augment_epoch_3.pt",
        terms="no licence stated for code or weights: all rights reserved",
        fs_hz=100,
        pretrained_on=("mimic-iv-ecg",),
        input_shape=(1, 12, 1000),
        feature="mean of the last block's 32 columns",
        remark="the encoder of ECGFM-KED, an xresnet1d101",
    ),
}
"""Name in a table -> encoder, in the order of tables."""
NOT_WHOLE = "was not downloaded whole, or is no file of weights"
ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


def weights_folder(name: str) -> Path:
    """`weights/<name>`, or `$MERIT_WEIGHTS/<name>`, there or not."""
    return Path(os.environ.get("MERIT_WEIGHTS") or runs.home() / "weights") / name


def weights_file(name: str) -> Path:
    """The one weights file in `weights_folder`; NoWeights where there is none, or a damaged one; ValueError where there
    are several.
    """
    folder = weights_folder(name)
    names = folder.iterdir() if folder.is_dir() else ()
    found = sorted(path for path in names if path.suffix in ENDINGS and not path.name.startswith("._"))
    if not found:
        raise NoWeights(f"{name}: no weights in weights/{name}; published: {OUTSIDE[name].published}")
    if len(found) > 1:
        raise ValueError(f"{folder}: expected one weights file; got {', '.join(path.name for path in found)}")
    if why := not_whole(found[0]):
        raise NoWeights(f"{name}: weights/{name}/{found[0].name} {why}")
    return found[0]


def not_whole(path: Path) -> str:
    """Why a file is no weights: what a failed download leaves in their place; "" where nothing speaks against it.

    Looks at the file's beginning and end alone, whatever its size.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return "is no ordinary file"
    with path.open("rb") as file:
        head = file.read(512)
    got = something_else(head) or ("" if head else "it is empty")
    if not got and path.suffix == ".safetensors":
        try:
            safe_open(path, framework="np").__exit__(None, None, None)
        except SafetensorError as error:
            got = shown(str(error))
    elif not got and head.startswith(b"PK"):
        try:
            got = "" if zipfile.is_zipfile(path) else "the end of its archive is missing"
        except zipfile.BadZipFile as error:
            got = str(error)
    elif not got and not head.startswith(b"\x80") and not tarfile.is_tarfile(path):
        got = "it holds something else"
    return got and f"{NOT_WHOLE} ({got}); delete it and download it again"


def text_folder(name: str, weights: Path) -> Path:
    """The folder `text` beside the weights; NoWeights where it is not there."""
    folder = weights.parent / "text"
    if not folder.is_dir():
        raise NoWeights(f"{name}: no folder weights/{name}/text; it takes {OUTSIDE[name].text}")
    return folder


def pretrained_on(name: str) -> tuple[str, ...]:
    """Data sets of ours that the weights at hand were pretrained on; those of the first file where none are."""
    entry = OUTSIDE[name]
    try:
        further = entry.trained_further is not None and _holds(weights_file(name), entry.trained_further[0])
    except NoWeights:
        further = False
    return entry.pretrained_on + (entry.trained_further[1] if further else ())


def _holds(path: Path, prefix: str) -> bool:
    """Whether a file of safetensors has names that begin so; the weights are not read."""
    if path.suffix != ".safetensors":
        return False
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        return any(key.startswith(prefix) for key in file.keys())  # noqa: SIM118 - it is no mapping


def identity(name: str) -> str:
    """Identity of an encoder: its files and the code that reads them. NoWeights where there is no file."""
    path = weights_file(name)
    text = path.parent / "text"
    files = [path, *(sorted(p for p in text.rglob("*") if p.is_file()) if text.is_dir() else [])]
    digests = {file.relative_to(path.parent).as_posix(): runs.file_digest(file) for file in files}
    return runs.identity("outside", {"encoder": name}, digests, [OUTSIDE[name].module])


def load(name: str, device: str) -> Encoder:
    """The encoder itself. NoWeights where there is no file."""
    return importlib.import_module(OUTSIDE[name].module).load(weights_file(name), device, name)
