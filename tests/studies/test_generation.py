"""Table 3's studies on tiny hospitals: pairs, controls, what is read again, reasons in place of numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from merit import scores
from merit.data.recording import RejectedRecording
from merit.data.wfdb_io import read_record
from merit.encoders import ecg_only
from merit.evaluate.generation import texts
from merit.evaluate.generation.generator import Generator
from merit.evaluate.generation.scores import score_statements, score_texts
from merit.evaluate.generation.texts import Pair, asked_patients, asserted, write_pairs
from merit.evaluate.tasks import SeenInPretraining
from merit.studies import Workspace, reference
from merit.studies.generation import COMPOSED, common_answer, generation, generator_folder, paper_example, questions


@pytest.fixture(scope="module")
def merit(workspace) -> pd.DataFrame:
    return generation(workspace, "merit")


@pytest.fixture(scope="module")
def folder(workspace, merit) -> Path:
    """Where the adapted model of the encoder lies."""
    return generator_folder(workspace, "merit", questions(workspace), workspace.profile.generation, 0)


def value(frame: pd.DataFrame, metric: str, condition: str = "model") -> float:
    return frame[(frame["metric"] == metric) & (frame["condition"] == condition)]["value"].item()


def test_composed_pairs_say_what_the_store_says_and_decoding_needs_no_new_training(workspace, again, merit, folder):
    asked = questions(workspace)
    records = workspace.store("ptb-xl").records
    assert (asked.source, asked.cohort) == (COMPOSED, "ptb-xl")
    assert set(records["fold"].iloc[asked.train.rows]) <= set(range(1, 9))
    assert set(records["fold"].iloc[asked.test.rows]) == {10}
    for pair, row in zip(asked.test.pairs, asked.test.rows):
        assert asserted(pair.answer) == set(records["labels"].iloc[row]) & set(texts.lexicon())
    assert questions(again(workspace)).identity == asked.identity
    assert questions(workspace, seed=1).identity != asked.identity
    read = generation(again(workspace), "merit")
    assert json.dumps(scores.pack(read)) == json.dumps(scores.pack(merit))
    written = (folder / "adapter.safetensors").stat().st_mtime_ns
    sampled = generation(again(workspace), "merit", decoding="sampling", test_pairs=2)
    assert set(sampled["n"]) == {2}
    assert (folder / "adapter.safetensors").stat().st_mtime_ns == written
    assert len(list(folder.parent.glob("merit-*"))) == 1


def test_every_condition_has_its_scores_and_texts_carry_their_statements(workspace, merit):
    asked = questions(workspace)
    assert list(merit["condition"].unique()) == ["model", "shuffled", "nearest", "most_common"]
    facts = ["source", "n_train", "n", "n_seen", "shared_patients", "missing_train", "missing_test"]
    sizes = len(asked.train.pairs), len(asked.test.pairs)
    assert merit[facts].drop_duplicates().values.tolist() == [[COMPOSED, *sizes, 0, 0, 0, 0]]
    drawn = merit[merit["draws"].notna()]
    assert set(drawn["metric"]) == {"bleu", "meteor", "rouge_published", "rouge_l", "f1"}
    assert {len(draws) for draws in drawn["draws"]} == {workspace.profile.probe.n_resamples}
    sides = scores.scored(merit, metric="meteor").drop(columns="encoder").rename(columns={"condition": "encoder"})
    gap = scores.paired(sides, [], first="model").set_index("other").loc["nearest", "value"]
    assert gap == pytest.approx(value(merit, "meteor") - value(merit, "meteor", "nearest"))
    written, pairs = generation(workspace, "merit", part="texts"), asked.test.pairs
    assert written["reference"].tolist() == [pair.answer for pair in pairs]
    for row in written.to_dict("records"):
        for text, named in ((row["reference"], row["reference_mentions"]), (row["text"], row["mentions"])):
            assert [list(mention) for mention in texts.mentions(text)] == [list(mention) for mention in named]
    statements = generation(workspace, "merit", part="statements")
    there = sum(len(asserted(pair.answer)) for pair in pairs)
    assert statements.groupby("condition")["n"].sum().to_dict() == dict.fromkeys(merit["condition"], there)
    # The nearest answer is that of the nearest training ECG.
    z = workspace.embedding("merit", "ptb-xl")
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    best = [int(np.argmax(unit[asked.train.rows] @ unit[row])) for row in asked.test.rows]
    there = [asserted(pair.answer) for pair in pairs]
    expected = score_statements(there, [asked.train.pairs[i].answer for i in best])["f1"]
    assert value(merit, "f1", "nearest") == pytest.approx(expected)


def test_the_commonest_answer_a_peers_method_and_the_papers_example_are_scored(workspace, merit):
    found = common_answer(workspace)
    assert set(found["answer"]) <= {pair.answer for pair in questions(workspace).train.pairs}
    columns = ["metric", "value", "low", "high", "n"]
    most_common = merit[merit["condition"] == "most_common"][columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[columns], most_common)
    found = reference.STUDIES["generation"](workspace, ["merl-ours", "simclr"], 0)
    assert set(found["encoder"]) == {"merl-ours"}
    assert 0 <= value(found, "meteor") <= 1
    found, pair = paper_example(workspace), paper_example(workspace, part="texts").iloc[0]
    alone = score_texts([pair["reference"]], [pair["text"]])
    for name in ("bleu_published", "meteor", "rouge_published", "rouge_l", "repetition"):
        assert value(found, name) == pytest.approx(alone[name][0])
    there, said = asserted(pair["reference"]), asserted(pair["text"])
    assert value(found, "f1") == pytest.approx(2 * len(there & said) / (len(there) + len(said)))


@pytest.fixture
def published(workspace, tmp_path, again) -> Workspace:
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


def test_medtvt_qa_is_joined_to_mimic_iv_ecg_and_whom_it_tests_on_is_not_pretrained_on(published, workspace, again):
    asked, records = questions(published), published.store("mimic-iv-ecg").records
    assert (asked.source, asked.cohort) == ("MedTVT-QA", "mimic-iv-ecg")
    assert (len(asked.train.pairs), len(asked.test.pairs)) == (9, 3)  # one is in both files: it stays in the test
    assert asked.train.missing == ["files/no"]
    patients = asked_patients(published.data, records)
    assert patients == set(records["patient_id"].iloc[9:12])
    assert not set(records["patient_id"].iloc[published.pretraining_rows]) & patients
    assert len(workspace.pretraining_rows) == len(records)
    published.checkpoint = workspace.checkpoint  # pretrained on everybody
    published.encoder_identity = workspace.encoder_identity
    with pytest.raises(SeenInPretraining):
        generation(published, "merit")
    # Pairs about nothing that is there are a reason, and so is no PTB-XL.
    write_pairs(next((published.data / "medtvt-qa").glob("test*")), [Pair("<ecg>?", "x", "files/none")])
    assert "none of its 1 recordings is in the store" in generation(published, "random")["reason"].item()
    alone = again(workspace)
    alone.sources = {"cpsc2018": alone.sources["cpsc2018"]}
    for found in (generation(alone, "random"), common_answer(alone), generation(alone, "random", part="texts")):
        assert "no such data set" in found["reason"].item()


def test_a_generator_writes_about_a_record_and_says_what_it_lacks(workspace, folder, tmp_path):
    pair = questions(workspace).test.pairs[0]
    path, writer = workspace.sources["ptb-xl"] / pair.record, Generator(folder)
    assert writer.write(read_record(path), pair.question) == generation(workspace, "merit", part="texts")["text"][0]
    call = [sys.executable, "-m", "merit", "generate", "--checkpoint", folder, "--record", f"{path}.hea"]
    done = subprocess.run([*map(str, call)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == " ".join(writer.write(read_record(path)).split("\n"))
    with pytest.raises(FileNotFoundError, match=r"expected a generator \(generator.json and adapter.safetensors\)"):
        Generator(workspace.checkpoint("merit"))
    sampling = Generator(folder, decoding="sampling")
    assert sampling.config.decoding == "sampling"
    with pytest.raises(ValueError, match="expected one <ecg>; got 0"):
        sampling.write(read_record(path), "What?")
    with pytest.raises(RejectedRecording, match="no header"):
        read_record(tmp_path / "nothing")


def test_an_encoder_of_others_gets_its_row_from_its_file(workspace, monkeypatch, tmp_path):
    monkeypatch.setenv("MERIT_WEIGHTS", str(tmp_path))
    (reason,) = generation(workspace, "medtvt-r1")["reason"]
    assert "no weights in weights/medtvt-r1; published: Hugging Face" in reason
    (tmp_path / "medtvt-r1").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save({"ecg_model": ecg_only.XResNet1d101().state_dict()}, tmp_path / "medtvt-r1" / "w.pt")
    found = generation(workspace, "medtvt-r1", updates=1, test_pairs=2)
    assert found[["encoder", "n", "n_seen"]].drop_duplicates().values.tolist() == [["medtvt-r1", 2, 0]]
    (tmp_path / "medtvt-r1" / "other.pth").touch()
    with pytest.raises(ValueError, match=r"expected one weights file; got other.pth, w.pt"):
        generation(workspace, "medtvt-r1")
