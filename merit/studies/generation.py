"""Text from a frozen encoder through one adapted language model (Table 3), and what it is held against."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from merit import runs
from merit.config import GenerationConfig
from merit.evaluate.generation.texts import Joined, composed_pairs, join, published_files, read_pairs, write_pairs
from merit.evaluate.tasks import NotEnoughData
from merit.model.weights import downloaded, pinned, weights_identity
from merit.studies.core import study
from merit.studies.workspace import ENCODER_NAMES, NoCohort

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace

ROWS = (*ENCODER_NAMES, "medtvt-r1", "qoq", "ecg-chat")
TRAINED = "trained"
"""A language model, and a model for BERTScore, that are the workspace's own."""
MODULE = "merit.evaluate.generation.language_model"
EXAMPLE = runs.PACKAGE_ROOT / "evaluate" / "generation" / "paper_example.json"
COMPOSED = "composed"
FOLDS = {"train": range(1, 9), "test": range(10, 11)}
"""PTB-XL's folds for composed pairs: nobody is asked about whom the model or an encoder was trained on."""


class Questions(NamedTuple):
    """Pairs to train on and to test on, each with the row of its recording in the cohort's store."""

    source: str
    """MedTVT-QA or composed."""
    cohort: str
    train: Joined
    test: Joined
    identity: str
    """Of the files and the store."""


def questions(ws: Workspace, seed: int = 0, test_pairs: int | None = None) -> Questions:
    """MedTVT-QA's pairs where it lies beside MIMIC-IV-ECG, else pairs that are composed for PTB-XL, worded by `seed`.

    No recording of the test part is in the training part, whatever the files say. test_pairs: so many of the test pairs
    at most, spread evenly over their file; None: all. NoCohort without a data set to ask about, NotEnoughData where a
    part has no pair, NotTheForm for a wrong file.
    """
    files, source, cohort = published_files(ws.data), "MedTVT-QA", "mimic-iv-ecg"
    if not files:
        source, cohort = COMPOSED, "ptb-xl"
        store, wording = ws.store(cohort), ["merit.evaluate.generation.texts"]
        key = runs.identity("questions", {"seed": seed}, {"store": store.identity}, wording)
        files = {part: ws.folder / "questions" / key / f"{part}.json" for part in FOLDS}
        for part, folds in FOLDS.items():
            pairs = composed_pairs(store.records[store.records["fold"].isin(folds)], seed)
            if not pairs:
                raise NotEnoughData(f"{part} pairs: no recording of ptb-xl's folds {list(folds)} has a known statement")
            runs.once(files[part], lambda path=files[part], pairs=pairs: write_pairs(path, pairs))
    try:
        store = ws.store(cohort)
    except NoCohort as reason:
        raise NoCohort(f"{source} asks about {cohort}: {reason}") from reason
    parts = {part: join(read_pairs(files[part]), store.records) for part in FOLDS}
    for part, joined in parts.items():
        if not joined.pairs:
            missing = len(joined.missing)
            raise NotEnoughData(f"{source}, {part}: none of its {missing} recordings is in the store of {cohort}")
    n = len(parts["test"].pairs)
    asked = np.unique(np.linspace(0, n - 1, min(n, test_pairs or n)).round().astype(int))
    chosen = {"train": np.flatnonzero(~np.isin(parts["train"].rows, parts["test"].rows)), "test": asked}
    train, test = (
        joined._replace(pairs=[joined.pairs[i] for i in chosen[part]], rows=joined.rows[chosen[part]])
        for part, joined in parts.items()
    )
    digests = {part: runs.file_digest(path) for part, path in files.items()}
    return Questions(source, cohort, train, test, runs.digest([digests, store.identity]))


# -- models ------------------------------------------------------------------------------------------------------------


def _language_identity(asked: Questions, config: GenerationConfig) -> str:
    if config.language_model != TRAINED:
        return weights_identity(config.language_model)
    tiny = (*(name for name in runs.plain(config) if name.startswith("lm_")), "max_tokens", "seed")
    settings = {name: getattr(config, name) for name in tiny}
    return runs.identity("language_model", settings, {"pairs": asked.identity}, [MODULE])


def generator_folder(ws: Workspace, encoder: str, asked: Questions, config: GenerationConfig, seed: int) -> Path:
    """Where the adapted model of an encoder lies, or will."""
    from merit.evaluate.generation.language_model import NOT_OF_TRAINING

    inputs = {"pairs": asked.identity, "language_model": _language_identity(asked, config)}
    inputs["embedding"] = ws.embedding_identity(encoder, asked.cohort, seed)
    trained = {name: value for name, value in runs.plain(config).items() if name not in NOT_OF_TRAINING}
    key = runs.identity("adapt", {"generation": trained}, inputs, [MODULE])
    return ws.folder / "generators" / f"{encoder}-seed{seed}-{key}"


def _scored(
    ws: Workspace, config: GenerationConfig, references: Sequence[str], texts: Sequence[str], groups: Any = None
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Scores, with the name of what BERTScore compares with in `bert` (None where it is not there, or nothing is
    pretrained on that it came from), and statements, one row each. groups: what is drawn together; None: no intervals.
    """
    from merit.evaluate.generation.scores import available, summarise

    name, bert = "the profile's text encoder", None
    if config.bert == TRAINED:
        with contextlib.suppress(NoCohort):
            bert = ws.text_encoder()
    elif available(pinned(config.bert)):
        name, bert = Path(config.bert).name, downloaded(config.bert)
    drawn, n_resamples = (references, 0) if groups is None else (groups, ws.profile.probe.n_resamples)
    found, statements = summarise(
        references, texts, drawn, bert=bert, bert_layers=config.bert_layers, device=ws.torch_device(),
        n_resamples=n_resamples, seed=config.seed,
    )  # fmt: skip
    return found.assign(bert=name if bert else None), statements


def _inputs(
    ws: Workspace, config: GenerationConfig, encoder: str | None = None, encoder_seed: int = 0, **_: object
) -> dict[str, str]:
    asked = questions(ws, config.seed)
    found = {"pairs": asked.identity, "store": ws.store(asked.cohort).identity}
    found["resamples"] = str(ws.profile.probe.n_resamples)
    found["bert"] = ws.text_identity if config.bert == TRAINED else weights_identity(config.bert)
    if encoder is not None:
        found["language_model"] = _language_identity(asked, config)
        found["embedding"] = ws.embedding_identity(encoder, asked.cohort, encoder_seed)
    return found


# -- the studies -------------------------------------------------------------------------------------------------------


@study(over={"encoder": ROWS}, needs=_inputs, config="generation", columns=("condition", "draws"))
def generation(
    ws: Workspace, encoder: str, encoder_seed: int = 0, allow_seen: bool = False, *, config: GenerationConfig
) -> dict[str, pd.DataFrame]:
    """Scores of the answers to the test questions that a language model writes, adapted to a frozen encoder on the
    training pairs, and of others in their place (`condition`).

    `model`: written from the recording's own ECG; `shuffled`: from another patient's; `nearest`: the answer of the
    nearest training recording; `most_common`: the commonest training answer. Other parts: `texts`, one row per test
    pair with the statements of both texts (code, state, characters); `statements`, one per condition and statement.
    """
    from merit.evaluate.generation import language_model as llm
    from merit.evaluate.generation.generator import describe
    from merit.evaluate.generation.scores import most_common, nearest, swapped
    from merit.evaluate.generation.texts import mentions
    from merit.evaluate.tasks import refuse_seen

    asked = questions(ws, config.seed, config.test_pairs)
    test, n_train = asked.test.pairs, len(asked.train.pairs)
    prompts, answers, names = zip(*asked.train.pairs)
    every = ws.store(asked.cohort).records
    records = every.iloc[asked.test.rows]
    patients = records["patient_id"].astype(str).to_numpy(dtype=object)
    n_seen = refuse_seen([(asked.cohort, name) for name in patients], ws.seen(encoder, encoder_seed), allow_seen)

    # -- the adapted language model
    rows = np.concatenate([asked.train.rows, asked.test.rows])
    embedding = ws.embedding(encoder, asked.cohort, encoder_seed, rows)
    ecg = ws.tokens(encoder, asked.cohort, rows, encoder_seed) if config.ecg_input == "tokens" else embedding
    if config.language_model == TRAINED:
        lm = ws.folder / "language_models" / _language_identity(asked, config)
        source = runs.once(lm, lambda: llm.train_language_model(answers, config, lm, questions=prompts))
    else:
        source = pinned(config.language_model)
    try:
        model = llm.Conditioned(*llm.load_language_model(source, config, ws.torch_device()), ecg.shape[-1], config)
    except llm.NoLanguageModel as reason:
        raise runs.Unavailable(str(reason)) from reason
    folder = generator_folder(ws, encoder, asked, config, encoder_seed)
    with contextlib.nullcontext() if runs.sealed(folder) else runs.claimed(folder):
        llm.train(model, prompts, answers, ecg[:n_train], config, folder, records=names, source=source)
    describe(folder, encoder, ws.checkpoint(encoder, encoder_seed) if ws.trains(encoder) else None, config)

    # -- what it writes, and what that is held against
    prompts, references, names = zip(*test)
    texts = {"model": llm.generate(model, prompts, ecg[n_train:], config, records=names)}
    not_shuffled = []
    try:
        other = ecg[n_train:][swapped(patients, config.seed)]
        texts["shuffled"] = llm.generate(model, prompts, other, config, records=names)
    except ValueError as reason:
        not_shuffled = [pd.DataFrame([{"condition": "shuffled", "value": None, "reason": str(reason)}])]
    texts["nearest"] = [answers[i] for i in nearest(embedding[:n_train], embedding[n_train:])]
    texts["most_common"] = [most_common(answers)] * len(test)

    # -- scores, with the facts of their rows
    parts, statements = [], []
    for condition, written in texts.items():
        found, stated = _scored(ws, config, references, written, records["group"].astype(str).to_numpy())
        parts.append(found.assign(condition=condition))
        statements += [{"condition": condition, **row} for row in stated]
    parts += not_shuffled
    trained_on = set(every["patient_id"].iloc[asked.train.rows].astype(str))
    language_model = "tiny Llama trained on the answers" if config.language_model == TRAINED else Path(source).name
    scores = pd.concat(parts, ignore_index=True).assign(**{
        "source": asked.source, "cohort": asked.cohort, "n": len(test), "n_patients": len(set(patients)),
        "n_train": n_train, "n_seen": n_seen, "shared_patients": len(trained_on & set(patients)),
        "missing_train": len(asked.train.missing), "missing_test": len(asked.test.missing),
        "updates": llm.total_updates(config, n_train),
        "truncated": runs.read_json(runs.check(folder) / "config.json")["pairs"]["truncated"],
        "trained_parameters": sum(p.numel() for p in model.trained().values()), "language_model": language_model,
        "language_model_parameters": sum(
            p.numel() for p in model.language_model.parameters() if not p.requires_grad
        ),
        "bert": parts[0]["bert"].iloc[0], **ws.remarks(encoder, asked.cohort),
    })  # fmt: skip
    written = {"record": records["record_id"].astype(str), "question": prompts, "reference": references}
    written |= {"text": texts["model"], "reference_mentions": [mentions(text) for text in references]}
    written["mentions"] = [mentions(text) for text in texts["model"]]
    return {"scores": scores, "texts": pd.DataFrame(written), "statements": pd.DataFrame(statements)}


@study(over={}, needs=_inputs, config="generation")
def common_answer(ws: Workspace, *, config: GenerationConfig) -> pd.DataFrame:
    """Scores of the baseline that looks at no ECG: the commonest training `answer` for every test question."""
    from merit.evaluate.generation.scores import most_common

    asked = questions(ws, config.seed, config.test_pairs)
    answer, references = most_common([pair.answer for pair in asked.train.pairs]), [p.answer for p in asked.test.pairs]
    groups, n = ws.store(asked.cohort).records["group"].iloc[asked.test.rows].astype(str).to_numpy(), len(references)
    found, _ = _scored(ws, config, references, [answer] * n, groups)
    return found.assign(condition="most_common", answer=answer, n=n)


def _example_inputs(ws: Workspace, config: GenerationConfig) -> dict[str, str]:
    found = {"example": runs.file_digest(EXAMPLE)}
    with contextlib.suppress(NoCohort):
        found["bert"] = ws.text_identity if config.bert == TRAINED else weights_identity(config.bert)
    return found


@study(over={}, needs=_example_inputs, config="generation")
def paper_example(ws: Workspace, *, config: GenerationConfig) -> dict[str, pd.DataFrame]:
    """Scores of the one answer that the paper prints, and as part `texts` both texts with their statements."""
    from merit.evaluate.generation.texts import contradictions, mentions

    pair = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    reference, text = pair["reference"], pair["response"]
    found, _ = _scored(ws, config, [reference], [text])
    row = {"question": "not printed", "reference": reference, "text": text, "source": pair["source"]}
    row |= {"reference_mentions": mentions(reference), "mentions": mentions(text)}
    row["contradictions"] = contradictions(text)
    return {"scores": found.assign(condition="model"), "texts": pd.DataFrame([row])}
