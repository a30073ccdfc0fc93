"""Table 3's studies on tiny hospitals: pairs, controls, what is read again, reasons in place of numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from merit import scores
from merit.config import replace
from merit.data.recording import RejectedRecording
from merit.data.wfdb_io import read_record
from merit.encoders import xresnet
from merit.evaluate.generation import findings, generator
from merit.evaluate.generation.pairs import (
    NotTheForm,
    Pair,
    asked_patients,
    composed_pairs,
    published_files,
    write_pairs,
)
from merit.evaluate.generation.scores import score_texts, swapped
from merit.evaluate.tasks import NotEnoughData, SeenInPretraining
from merit.studies import Workspace, reference
from merit.studies import workspace as provides
from merit.studies.generation import COMPOSED, common_answer, generation, generator_folder, paper_example, questions


def again(workspace: Workspace, **changes) -> Workspace:
    """Another session on the same folder."""
    return Workspace(
        **{"profile": workspace.profile, "data": None, "device": "cpu", "folder": workspace.folder} | changes
    )


@pytest.fixture(scope="module")
def merit(workspace) -> pd.DataFrame:
    return generation(workspace, "merit")


@pytest.fixture(scope="module")
def folder(workspace, merit) -> Path:
    """Where the adapted model of the encoder lies."""
    return generator_folder(workspace, "merit", questions(workspace), workspace.profile.generation, 0)


def value(frame: pd.DataFrame, metric: str, condition: str = "model", end: str = "value") -> float:
    (found,) = frame[(frame["metric"] == metric) & (frame["condition"] == condition)][end]
    return found


def test_composed_pairs_are_split_by_fold_and_say_what_the_store_says(workspace):
    asked = questions(workspace)
    records = workspace.store("ptb-xl").records
    assert (asked.source, asked.cohort) == (COMPOSED, "ptb-xl")
    assert set(records["fold"].iloc[asked.train.rows]) <= set(range(1, 9))
    assert set(records["fold"].iloc[asked.test.rows]) == {10}
    for pair, row in zip(asked.test.pairs, asked.test.rows):
        known = set(records["labels"].iloc[row]) & set(findings.lexicon())
        assert findings.asserted(pair.answer) == known
    assert questions(again(workspace)).identity == asked.identity
    assert questions(workspace, seed=1).identity != asked.identity


def test_every_condition_has_its_scores_and_the_facts_of_its_row(workspace, merit):
    asked = questions(workspace)
    assert list(merit["condition"].unique()) == ["model", "shuffled", "nearest", "most_common"]
    facts = ["source", "n_train", "n", "n_seen", "shared_patients", "missing_train", "missing_test"]
    assert merit[facts].drop_duplicates().values.tolist() == [
        [COMPOSED, len(asked.train.pairs), len(asked.test.pairs), 0, 0, 0, 0]
    ]
    drawn = merit[merit["draws"].notna()]
    assert set(drawn["metric"]) == {"bleu", "meteor", "rouge_published", "rouge_l", "f1"}
    assert {len(draws) for draws in drawn["draws"]} == {workspace.profile.probe.n_resamples}
    sides = scores.scored(merit, metric="meteor").drop(columns="encoder").rename(columns={"condition": "encoder"})
    gap = scores.paired(sides, [], first="model").set_index("other").loc["nearest", "value"]
    assert gap == pytest.approx(value(merit, "meteor") - value(merit, "meteor", "nearest"))


def test_texts_carry_their_statements_and_statements_are_counted(workspace, merit):
    texts = generation(workspace, "merit", part="texts")
    pairs = questions(workspace).test.pairs
    assert texts["reference"].tolist() == [pair.answer for pair in pairs]
    for row in texts.to_dict("records"):
        for text, named in ((row["reference"], row["reference_mentions"]), (row["text"], row["mentions"])):
            assert [list(mention) for mention in findings.mentions(text)] == [list(mention) for mention in named]
    statements = generation(workspace, "merit", part="statements")
    there = sum(len(findings.asserted(pair.answer)) for pair in pairs)
    assert statements.groupby("condition")["n"].sum().to_dict() == dict.fromkeys(merit["condition"], there)


def test_the_nearest_answer_is_that_of_the_nearest_training_ecg(workspace, merit):
    asked, z = questions(workspace), workspace.embedding("merit", "ptb-xl")
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    best = [int(np.argmax(unit[asked.train.rows] @ unit[row])) for row in asked.test.rows]
    there = [findings.asserted(pair.answer) for pair in asked.test.pairs]
    expected = findings.score(there, [asked.train.pairs[i].answer for i in best])["micro"]["f1"]
    assert value(merit, "f1", "nearest") == pytest.approx(expected)


def test_a_result_is_computed_once_and_decoding_needs_no_new_training(workspace, merit, folder):
    read = generation(again(workspace), "merit")
    assert json.dumps(scores.pack(read)) == json.dumps(scores.pack(merit))
    written = (folder / "adapter.safetensors").stat().st_mtime_ns
    sampled = generation(again(workspace), "merit", decoding="sampling", test_pairs=2)
    assert set(sampled["n"]) == {2}
    assert (folder / "adapter.safetensors").stat().st_mtime_ns == written
    assert len(list(folder.parent.glob("merit-*"))) == 1


def test_an_embedding_in_place_of_tokens_and_updates_in_place_of_epochs(workspace):
    longer = again(workspace, profile=replace(workspace.profile, generation=replace(
        workspace.profile.generation, updates=None, epochs=5.0)))  # fmt: skip
    found = generation(longer, "random", ecg_input="embedding", standardise=True, updates=2)
    assert set(found["updates"]) == {2}


def test_of_a_large_cohort_the_asked_recordings_alone_are_embedded(workspace, prepared, tmp_path, monkeypatch):
    """As of MIMIC-IV-ECG, of whose 800,035 recordings 8,706 are asked about."""
    shutil.copytree(prepared, tmp_path / "large")
    large = again(workspace, folder=tmp_path / "large")
    monkeypatch.setattr(provides, "WHOLE", 5)
    settings = {"ecg_input": "embedding", "standardise": True, "updates": 2}
    found, usual = generation(large, "random", **settings), generation(workspace, "random", **settings)
    (path,) = (tmp_path / "large" / "embeddings").glob("*.npy")
    asked = questions(large)
    assert len(np.load(path)) == len(asked.train.pairs) + len(asked.test.pairs) < len(large.store("ptb-xl"))
    for condition in ("nearest", "most_common"):
        pd.testing.assert_frame_equal(*(f[f["condition"] == condition] for f in (found, usual)))


def test_the_commonest_answer_needs_no_encoder(workspace, merit):
    found = common_answer(workspace)
    assert set(found["answer"]) <= {pair.answer for pair in questions(workspace).train.pairs}
    columns = ["metric", "value", "low", "high", "n"]
    pd.testing.assert_frame_equal(
        found[columns], merit[merit["condition"] == "most_common"][columns].reset_index(drop=True)
    )


def test_a_peers_method_writes_at_equal_budget(workspace):
    found = reference.STUDIES["generation"](workspace, ["merl-ours", "simclr"], 0)
    assert set(found["encoder"]) == {"merl-ours"}
    assert 0 <= value(found, "meteor") <= 1


def test_the_papers_example_is_scored_as_every_text_is(workspace):
    found, pair = paper_example(workspace), paper_example(workspace, part="texts").iloc[0]
    alone = score_texts([pair["reference"]], [pair["text"]])
    for name in ("bleu_published", "meteor", "rouge_published", "rouge_l", "repetition"):
        assert value(found, name) == pytest.approx(alone[name][0])
    assert found["low"].isna().all()
    assert 0 < value(found, "bertscore") <= 1
    there, said = findings.asserted(pair["reference"]), findings.asserted(pair["text"])
    assert value(found, "f1") == pytest.approx(2 * len(there & said) / (len(there) + len(said)))
    assert "AFIB" in there & said
    assert {"1AVB", "LVH"} <= said - there
    assert pair["contradictions"] == findings.contradictions(pair["text"])


def test_an_encoder_without_weights_gives_where_they_are_published(workspace, monkeypatch, tmp_path):
    monkeypatch.setenv("MERIT_WEIGHTS", str(tmp_path))
    (reason,) = generation(workspace, "medtvt-r1")["reason"]
    assert "no weights in weights/medtvt-r1; published: Hugging Face" in reason


def test_an_encoder_of_others_gets_its_row_from_its_file(workspace, monkeypatch, tmp_path):
    monkeypatch.setenv("MERIT_WEIGHTS", str(tmp_path))
    (tmp_path / "medtvt-r1").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save({"ecg_model": xresnet.XResNet1d101().state_dict()}, tmp_path / "medtvt-r1" / "w.pt")
    found = generation(workspace, "medtvt-r1", updates=1, test_pairs=2)
    assert found[["encoder", "n", "n_seen"]].drop_duplicates().values.tolist() == [["medtvt-r1", 2, 0]]
    (tmp_path / "medtvt-r1" / "other.pth").touch()
    with pytest.raises(ValueError, match=r"expected one weights file; got other.pth, w.pt"):
        generation(workspace, "medtvt-r1")


def test_without_ptb_xl_there_is_a_reason(workspace, monkeypatch):
    alone = again(workspace)
    monkeypatch.setattr(alone, "sources", {"cpsc2018": alone.sources["cpsc2018"]}, raising=False)
    for found in (generation(alone, "random"), common_answer(alone), generation(alone, "random", part="texts")):
        assert "no such data set" in found["reason"].item()


# -- MedTVT-QA ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def published(workspace, tmp_path) -> Workspace:
    """A workspace whose data folder has MedTVT-QA's two files, about the first recordings of MIMIC-IV-ECG."""
    records = workspace.store("mimic-iv-ecg").records
    pairs = [Pair(f"<ecg> What is it, {i}?", "Sinus rhythm.", path) for i, path in enumerate(records["path"][:12])]
    folder = tmp_path / "medtvt-qa"
    folder.mkdir()
    write_pairs(folder / "train_ecg_qa_dataset_gpt_add_spec_token.json", [*pairs[:10], Pair("<ecg>?", "x", "files/no")])
    write_pairs(folder / "test_ecg_qa_dataset_gpt_add_spec_token.json", pairs[9:])
    found = again(workspace, data=tmp_path)
    found.sources = workspace.sources
    return found


def test_medtvt_qa_is_joined_to_mimic_iv_ecg_and_split_by_ecg(published):
    asked = questions(published)
    assert (asked.source, asked.cohort) == ("MedTVT-QA", "mimic-iv-ecg")
    assert (len(asked.train.pairs), len(asked.test.pairs)) == (9, 3)  # one is in both files: it stays in the test
    assert asked.train.missing == ["files/no"]


def test_whom_medtvt_qa_tests_on_is_not_pretrained_on(published, workspace):
    records = published.store("mimic-iv-ecg").records
    patients = asked_patients(published.data, records)
    assert patients == set(records["patient_id"].iloc[9:12])
    assert not set(records["patient_id"].iloc[published.pretraining_rows]) & patients
    assert len(workspace.pretraining_rows) == len(records)
    published.checkpoint = workspace.checkpoint  # pretrained on everybody
    published.encoder_identity = workspace.encoder_identity
    with pytest.raises(SeenInPretraining):
        generation(published, "merit")


def test_a_part_that_is_missing_or_there_twice_is_named(tmp_path):
    assert published_files(None) == published_files(tmp_path) == {}
    (tmp_path / "train_ecg_qa.json").touch()
    with pytest.raises(NotTheForm, match=r"expected one file test\*ecg\*qa\*\.json; got none"):
        published_files(tmp_path)
    (tmp_path / "test_ecg_qa.json").touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "test_ecg_qa_2.json").touch()
    with pytest.raises(NotTheForm, match=r"got .*test_ecg_qa_2\.json"):
        published_files(tmp_path)


def test_pairs_about_nothing_that_is_there_are_a_reason(published):
    path = next((published.data / "medtvt-qa").glob("test*"))
    write_pairs(path, [Pair("<ecg>?", "x", "files/none")])
    with pytest.raises(NotEnoughData, match="none of its 1 recordings is in the store"):
        questions(published)
    assert "none of its 1 recordings" in generation(published, "random")["reason"].item()


# -- a generator as a thing to use -------------------------------------------------------------------------------------


def test_a_generator_writes_about_a_record(workspace, folder):
    pair = questions(workspace).test.pairs[0]
    path, writer = workspace.sources["ptb-xl"] / pair.record, generator.load(folder)
    text = generation(workspace, "merit", part="texts")["text"][0]
    assert writer.write(read_record(path), pair.question) == text
    call = [sys.executable, "-m", "merit", "generate", "--checkpoint", folder, "--record", f"{path}.hea"]
    done = subprocess.run([*map(str, call)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == " ".join(writer.write(read_record(path)).split("\n"))


def test_a_generator_says_what_it_lacks(workspace, folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a generator \(generator.json and adapter.safetensors\)"):
        generator.load(workspace.checkpoint("merit"))
    writer = generator.load(folder, decoding="sampling")
    assert writer.config.decoding == "sampling"
    with pytest.raises(ValueError, match="expected one <ecg>; got 0"):
        writer.write(read_record(workspace.sources["ptb-xl"] / questions(workspace).test.pairs[0].record), "What?")
    with pytest.raises(RejectedRecording, match="no header"):
        read_record(tmp_path / "nothing")


# -- does the path carry what an encoder knows? ------------------------------------------------------------------------


def test_sixty_four_pairs_are_learnt_by_heart_and_need_their_ecgs(workspace, tmp_path):
    """Overfit on 64 recordings through a real encoder: the findings come back, and not with other patients' ECGs."""
    from merit.evaluate.generation import language_model, training

    config = replace(
        workspace.profile.generation, lm_width=48, lm_depth=2, lm_heads=4, lm_kv_heads=2, lm_vocabulary=1000,
        lm_updates=60, updates=400, projector_width=64, lora_rank=16, batch=16, learning_rate=2e-2,
        ecg_input="embedding", standardise=True, max_new_tokens=80,
    )  # fmt: skip
    records = workspace.store("ptb-xl").records.iloc[:64]
    prompts, answers, _ = zip(*composed_pairs(records))
    ecg = workspace.embedding("merit", "ptb-xl")[: len(answers)]
    lm = language_model.train_language_model(answers, config, tmp_path / "lm", progress=False, questions=prompts)
    model = language_model.Conditioned(*language_model.load_language_model(lm, config), ecg.shape[1], config)
    training.train(model, prompts, answers, ecg, config, tmp_path / "run", progress=False)
    there = [findings.asserted(answer) for answer in answers]
    other = ecg[swapped(records["patient_id"].tolist())]
    own, shuffled = (
        findings.score(there, language_model.generate(model, prompts, z, config, progress=False))["micro"]["f1"]
        for z in (ecg, other)
    )
    assert len(answers) == 64
    assert own >= 0.9
    assert own - shuffled >= 0.3
