"""Table 3: text from a frozen encoder's tokens through one language model, an encoder at a time, with controls."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from merit import runs
from merit.config import GenerationConfig, replace
from merit.encoders import others
from merit.evaluate.tasks import NotEnoughData
from merit.model.weights import downloaded, pinned, weights_identity
from merit.pipeline.questions import Questions, questions
from merit.pipeline.recordings import NoCohort
from merit.pipeline.training import ENCODER_NAMES

if TYPE_CHECKING:
    from merit.evaluate.generation.summary import Summary
    from merit.pipeline.workspace import Workspace

ROWS = (*ENCODER_NAMES, "medtvt-r1", "qoq", "ecg-chat")
TRAINED = "trained"
"""A language model, and a model for BERTScore, that are the workspace's own."""
MODULES = [
    f"merit.evaluate.generation.{name}" for name in ("training", "decoding", "summary", "controls", "language_model")
] + ["merit.evaluate.tasks"]
LANGUAGE_SETTINGS = (
    "lm_width", "lm_depth", "lm_heads", "lm_kv_heads", "lm_vocabulary", "lm_updates", "lm_learning_rate", "max_tokens",
    "seed",
)  # fmt: skip
"""What the tiny language model depends on."""


def generation(
    ws: Workspace, encoders: Sequence[str] = ROWS, *, encoder_seed: int = 0, allow_seen: bool = False, **settings: Any
) -> list[dict[str, Any]]:
    """Results, one an encoder: adapt the language model to the frozen encoder on the training pairs, write the answers
    of the test pairs, score them; `settings` change the profile's `GenerationConfig`.

    An encoder whose weights are missing, or a workspace without pairs, gives values with a reason in place of numbers.
    """
    config = _config(ws, settings)
    return [_one(ws, encoder, config, encoder_seed, allow_seen) for encoder in encoders]


def most_common(ws: Workspace, **settings: Any) -> dict[str, Any]:
    """The result of the baseline that looks at no ECG: the commonest training answer for every question."""
    config = _config(ws, settings)
    try:
        asked = _tested(questions(ws, config.seed), config)
    except (NoCohort, NotEnoughData) as reason:
        return _without(None, str(reason))

    def compute() -> dict[str, Any]:
        """The values of the baseline."""
        answer = _common_answer(asked)
        found = _scored(ws, asked, config, [answer] * len(asked.test.pairs))
        about = {"encoder": None, "answer": answer, "n_test": len(asked.test.pairs)}
        return about | {"conditions": {"most_common": found.values}}

    parameters = {"n_resamples": ws.profile.probe.n_resamples, "seed": config.seed, "test_pairs": config.test_pairs}
    parameters |= {"encoder": "none", "bert": config.bert}
    return ws.result("generation", compute, parameters, _inputs(ws, asked, config), MODULES, seed=config.seed)


def paper_example(ws: Workspace) -> dict[str, Any]:
    """The result of the one answer that the paper prints, scored against its reference as all texts are."""
    path = runs.PACKAGE_ROOT / "evaluate" / "generation" / "paper_example.json"
    config = ws.profile.generation

    def compute() -> dict[str, Any]:
        """Its scores, and both texts with their statements."""
        from merit.evaluate.generation.findings import contradictions, lexicon, mentions
        from merit.evaluate.generation.summary import summarise

        pair = json.loads(path.read_text(encoding="utf-8"))
        found = summarise(
            [pair["reference"]], [pair["response"]], ["paper"], bert=_bert(ws, config), bert_layers=config.bert_layers,
            device=ws.torch_device(), n_resamples=0, seed=0,
        )  # fmt: skip
        text = {"question": "not printed", "reference": pair["reference"], "text": pair["response"]}
        text |= {"reference_mentions": mentions(pair["reference"]), "mentions": mentions(pair["response"])}
        return {
            "source": pair["source"], "bert": _bert_name(ws, config), "conditions": {"model": found.values},
            "text": text, "contradictions": contradictions(pair["response"]),
            "names": {code: entry.phrases[0] for code, entry in lexicon().items()},
        }  # fmt: skip

    inputs = {"example": runs.file_digest(path)}
    with contextlib.suppress(NoCohort):
        inputs["bert"] = ws.text_identity if config.bert == TRAINED else weights_identity(config.bert)
    parameters = {"encoder": "paper's example", "bert": config.bert, "code": runs.own_source(__name__)}
    modules = ["merit.evaluate.generation.summary"]
    return ws.result("generation", compute, parameters, inputs, modules)


def generator_folder(ws: Workspace, encoder: str, asked: Questions, config: GenerationConfig, seed: int) -> Path:
    """Where the adapted model of an encoder lies, or will."""
    from merit.evaluate.generation.training import NOT_OF_TRAINING

    inputs = {"pairs": asked.identity, "language_model": _language_identity(asked, config)}
    inputs["embedding"] = ws.embedding_identity(encoder, asked.cohort, seed)
    trained = {name: value for name, value in runs.plain(config).items() if name not in NOT_OF_TRAINING}
    key = runs.identity("adapt", {"generation": trained}, inputs, ["merit.evaluate.generation.training"])
    return ws.folder / "generators" / f"{encoder}-seed{seed}-{key}"


def _config(ws: Workspace, settings: dict[str, Any]) -> GenerationConfig:
    """The profile's settings with those that are given; `updates` given takes the place of `epochs`."""
    given = {name: value for name, value in settings.items() if value is not None}
    if "updates" in given:
        given.setdefault("epochs", None)
    return replace(ws.profile.generation, **given)


def _one(ws: Workspace, encoder: str, config: GenerationConfig, seed: int, allow_seen: bool) -> dict[str, Any]:
    try:
        asked = _tested(questions(ws, config.seed), config)
        inputs = {**_inputs(ws, asked, config), "embedding": ws.embedding_identity(encoder, asked.cohort, seed)}
    except (runs.Unavailable, NotEnoughData) as reason:
        return _without(encoder, str(reason))
    parameters = {
        "encoder": encoder, "encoder_seed": seed, "generation": config, "allow_seen": allow_seen,
        "n_resamples": ws.profile.probe.n_resamples,
    }  # fmt: skip
    compute = functools.partial(_values, ws, encoder, asked, config, seed, allow_seen)
    try:
        return ws.result("generation", compute, parameters, inputs, MODULES, seed=config.seed)
    except NotEnoughData as reason:
        return _without(encoder, str(reason))


def _without(encoder: str | None, reason: str) -> dict[str, Any]:
    """A result in form alone; it is not written."""
    return {"stage": "generation", "id": None, "values": {"encoder": encoder, "reason": reason}, "parameters": {}}


def _inputs(ws: Workspace, asked: Questions, config: GenerationConfig) -> dict[str, str]:
    inputs = {"pairs": asked.identity, "store": ws.store(asked.cohort).identity}
    inputs["language_model"] = _language_identity(asked, config)
    inputs["bert"] = ws.text_identity if config.bert == TRAINED else weights_identity(config.bert)
    return inputs


def _tested(asked: Questions, config: GenerationConfig) -> Questions:
    """With `test_pairs` of the test pairs, spread evenly over their file; all where that is None."""
    n, wanted = len(asked.test.pairs), config.test_pairs
    if wanted is None or wanted >= n:
        return asked
    kept = np.unique(np.linspace(0, n - 1, wanted).round().astype(int))
    test = replace(asked.test, pairs=[asked.test.pairs[i] for i in kept], rows=asked.test.rows[kept])
    return replace(asked, test=test)


# -- the language model ------------------------------------------------------------------------------------------------


def _language_identity(asked: Questions, config: GenerationConfig) -> str:
    if config.language_model != TRAINED:
        return weights_identity(config.language_model)
    settings = {name: value for name, value in runs.plain(config).items() if name in LANGUAGE_SETTINGS}
    inputs = {"pairs": asked.identity}
    return runs.identity("language_model", settings, inputs, ["merit.evaluate.generation.language_model"])


def _language_model(ws: Workspace, asked: Questions, config: GenerationConfig) -> Path | str:
    """Folder or hub name; the tiny one is trained on the training answers where it is missing."""
    if config.language_model != TRAINED:
        return pinned(config.language_model)
    from merit.evaluate.generation.language_model import train_language_model

    folder = ws.folder / "language_models" / _language_identity(asked, config)
    answers, prompts = zip(*((pair.answer, pair.question) for pair in asked.train.pairs))
    return runs.once(folder, lambda: train_language_model(answers, config, folder, questions=prompts))


# -- one encoder -------------------------------------------------------------------------------------------------------


def _values(
    ws: Workspace, encoder: str, asked: Questions, config: GenerationConfig, seed: int, allow_seen: bool
) -> dict[str, Any]:
    from merit.evaluate.generation import controls
    from merit.evaluate.generation.decoding import generate
    from merit.evaluate.generation.summary import difference

    records = ws.store(asked.cohort).records
    n_seen = _refuse_seen(ws, encoder, asked, seed, allow_seen)
    model, about, test = _adapted(ws, encoder, asked, config, seed)
    prompts = [pair.question for pair in asked.test.pairs]
    names = [pair.record for pair in asked.test.pairs]
    patients = records["patient_id"].iloc[asked.test.rows].astype(str).to_numpy(dtype=object)
    texts = {"model": generate(model, prompts, test, config, records=names)}
    try:
        texts["shuffled"] = generate(
            model, prompts, test[controls.swapped(patients, config.seed)], config, records=names
        )  # fmt: skip
    except ValueError as reason:
        about["not_shuffled"] = str(reason)
    embedding = ws.embedding(encoder, asked.cohort, seed, _rows(asked))
    found = controls.nearest(*np.split(embedding, [len(asked.train.pairs)]))
    texts["nearest"] = [asked.train.pairs[i].answer for i in found]
    texts["most_common"] = [_common_answer(asked)] * len(prompts)
    summaries = {name: _scored(ws, asked, config, written) for name, written in texts.items()}
    own = summaries["model"]
    return {
        "encoder": encoder,
        **_about(asked, records),
        "n_seen": n_seen,
        **about,
        "bert": _bert_name(ws, config),
        "conditions": {name: summary.values for name, summary in summaries.items()},
        "differences": {name: difference(own, summary) for name, summary in summaries.items() if name != "model"},
        "resamples": {
            name: [None if np.isnan(x) else round(float(x), 6) for x in own.resamples[name]] for name in _KEPT
        },
        **_texts(asked, records, texts["model"]),
    }


_KEPT = ("f1", "meteor", "rouge_published", "bleu")


def _adapted(ws: Workspace, encoder: str, asked: Questions, config: GenerationConfig, seed: int) -> tuple:
    """The adapted model, facts about its training, and what it reads of the test ECGs."""
    from merit.evaluate.generation.conditioned import Conditioned
    from merit.evaluate.generation.generator import describe
    from merit.evaluate.generation.language_model import NoLanguageModel, load_language_model
    from merit.evaluate.generation.training import total_updates, train, truncated

    n_train = len(asked.train.pairs)
    ecg = _ecg(ws, encoder, asked, config, seed)
    source = _language_model(ws, asked, config)
    try:
        loaded = load_language_model(source, config, ws.torch_device())
    except NoLanguageModel as reason:
        raise NotEnoughData(str(reason)) from reason
    model = Conditioned(*loaded, ecg.shape[-1], config)
    folder = generator_folder(ws, encoder, asked, config, seed)
    pairs = asked.train.pairs
    with contextlib.nullcontext() if runs.sealed(folder) else runs.claimed(folder):
        train(
            model, [pair.question for pair in pairs], [pair.answer for pair in pairs], ecg[:n_train], config, folder,
            records=[pair.record for pair in pairs], source=source,
        )  # fmt: skip
    checkpoint = None if encoder == "random" or others.known(encoder) else ws.checkpoint(encoder, seed)
    describe(folder, encoder, checkpoint, config)
    about = {
        "updates": total_updates(config, n_train),
        "truncated": truncated(folder),
        "trained_parameters": sum(parameter.numel() for parameter in model.trained().values()),
        "language_model": {
            "name": "tiny Llama trained on the answers" if config.language_model == TRAINED else Path(source).name,
            "parameters": model.frozen_size,
        },
    }
    return model, about, ecg[n_train:]


def _ecg(ws: Workspace, encoder: str, asked: Questions, config: GenerationConfig, seed: int) -> np.ndarray:
    """float32 [pairs, tokens, D] or [pairs, D]: the encoder's part of the training pairs, then of the test pairs."""
    if config.ecg_input == "tokens":
        return ws.tokens(encoder, asked.cohort, _rows(asked), seed)
    return ws.embedding(encoder, asked.cohort, seed, _rows(asked))


def _rows(asked: Questions) -> np.ndarray:
    """Rows of the training pairs, then of the test pairs."""
    return np.concatenate([asked.train.rows, asked.test.rows])


def _refuse_seen(ws: Workspace, encoder: str, asked: Questions, seed: int, allow_seen: bool) -> int | None:
    """Test patients that the encoder was pretrained on; None where that is not known (an encoder of others)."""
    from merit.evaluate.tasks import refuse_seen

    if others.known(encoder) and asked.cohort in others.pretrained_on(encoder):
        return None
    patients = ws.store(asked.cohort).records["patient_id"].iloc[asked.test.rows]
    return refuse_seen([(asked.cohort, patient) for patient in patients], ws.seen(encoder, seed), allow_seen)


def _common_answer(asked: Questions) -> str:
    from merit.evaluate.generation.controls import most_common as commonest

    return commonest([pair.answer for pair in asked.train.pairs])


def _scored(ws: Workspace, asked: Questions, config: GenerationConfig, texts: Sequence[str]) -> Summary:
    from merit.evaluate.generation.summary import summarise

    groups = ws.store(asked.cohort).records["group"].iloc[asked.test.rows].astype(str).to_numpy()
    references = [pair.answer for pair in asked.test.pairs]
    return summarise(
        references, texts, groups, bert=_bert(ws, config), bert_layers=config.bert_layers, device=ws.torch_device(),
        n_resamples=ws.profile.probe.n_resamples, seed=config.seed,
    )  # fmt: skip


def _bert(ws: Workspace, config: GenerationConfig) -> Path | str | None:
    """What BERTScore compares with; None where it is not there, or nothing is pretrained on that it came from."""
    from merit.evaluate.generation.scores import available

    if config.bert != TRAINED:
        return downloaded(config.bert) if available(pinned(config.bert)) else None
    try:
        return ws.text_encoder()
    except NoCohort:
        return None


def _bert_name(ws: Workspace, config: GenerationConfig) -> str | None:
    if _bert(ws, config) is None:
        return None
    return "the profile's text encoder" if config.bert == TRAINED else Path(config.bert).name


def _about(asked: Questions, records: Any) -> dict[str, Any]:
    patients = [set(records["patient_id"].iloc[part.rows].astype(str)) for part in (asked.train, asked.test)]
    return {
        "source": asked.source,
        "cohort": asked.cohort,
        "n_train": len(asked.train.pairs),
        "n_test": len(asked.test.pairs),
        "n_test_patients": len(patients[1]),
        "missing": {"train": len(asked.train.missing), "test": len(asked.test.missing)},
        "shared_patients": len(patients[0] & patients[1]),
    }


def _texts(asked: Questions, records: Any, texts: Sequence[str]) -> dict[str, Any]:
    """Every test pair with the text that was written, and the statements of both as codes, states and characters."""
    from merit.evaluate.generation.findings import lexicon, mentions

    ids = records["record_id"].iloc[asked.test.rows].astype(str)
    rows = [
        {
            "record": record, "question": pair.question, "reference": pair.answer, "text": text,
            "reference_mentions": mentions(pair.answer), "mentions": mentions(text),
        }
        for record, pair, text in zip(ids, asked.test.pairs, texts)
    ]  # fmt: skip
    return {"texts": rows, "names": {code: entry.phrases[0] for code, entry in lexicon().items()}}
