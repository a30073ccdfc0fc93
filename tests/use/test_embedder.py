"""A checkpoint as a thing to use: one embedding whatever the file's rate and order, and no answer where none is due."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.signal import resample_poly

import merit
from merit.config import TextConfig
from merit.data.preprocess import resample
from merit.data.recording import LEADS, RejectedRecording
from merit.data.wfdb_io import read_record
from merit.encoders.base import Encoder, TextAligned
from merit.evaluate import zero_shot
from merit.model.text import train_text_encoder
from merit.pretrain.checkpoint import finished
from merit.runs import Unavailable, seal

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
RATE_TOLERANCE = 0.01
"""Another rate moves an embedding by less than this share of the root mean square distance from the mean embedding."""


def moved(z: np.ndarray, other: np.ndarray) -> float:
    """The largest distance between rows, as a share of the spread of `z`."""
    spread = np.sqrt(((z - z.mean(0)) ** 2).sum(1).mean())
    return float(np.linalg.norm(z - other, axis=1).max() / spread)


def test_arrays_files_and_recordings_have_one_embedding_in_any_batch(model, files, signal_mv):
    assert isinstance(model, Encoder)
    assert isinstance(model, TextAligned)
    assert (model.name, model.width, model.input_spec.fs_hz) == ("merit", 16, 100)
    assert model.identity == model.encoder.identity
    z = model.embed(signal_mv, 100)
    assert (z.shape, z.dtype) == ((5, 16), np.float32)
    recordings = [read_record(path) for path in files]
    for same in (files, [str(path).removesuffix(".hea") for path in files], recordings, list(signal_mv)):
        rate = 100 if isinstance(same[0], np.ndarray) else None
        assert np.array_equal(model.embed(same, rate), z)
        np.testing.assert_allclose(model.embed(same[1], rate), z[1], atol=1e-6)
    assert np.array_equal(model.embed(path for path in files), z)
    for batch in (1, 2, 5):
        np.testing.assert_allclose(model.embed(signal_mv, 100, batch=batch), z, atol=1e-6)
    assert model.embed([]).shape == (0, 16)


@pytest.mark.parametrize("fs_hz", [125, 250, 257, 500])
def test_another_rate_gives_nearly_the_same_embedding(model, writer, signal_mv, fs_hz):
    faster = resample_poly(signal_mv.astype(np.float64), fs_hz, 100, axis=-1, padtype="line")
    twins = [writer(f"r{i}", one, fs_hz) for i, one in enumerate(faster)]
    z = model.embed(signal_mv, 100)
    assert moved(z, model.embed(twins)) < RATE_TOLERANCE
    assert moved(z, model.embed(list(faster), [fs_hz] * 5)) < RATE_TOLERANCE


def test_leads_are_found_by_name_and_eight_get_the_other_four(model, writer, signal_mv):
    z, mixed = model.embed(signal_mv, 100), np.random.default_rng(1).permutation(12)
    names, rows = [LEADS[i].upper() for i in mixed], [LEADS.index(name) for name in EIGHT]
    assert np.array_equal(model.embed(signal_mv[:, mixed], 100, names), z)
    eight = model.embed(signal_mv[:, rows], 100, EIGHT)
    assert moved(z, eight) < 1e-3  # half a microvolt of rounding
    for chosen, leads, expected in ((mixed, names, z), (rows, EIGHT, eight)):
        twins = [writer(f"r{i}", one[chosen], leads=leads) for i, one in enumerate(signal_mv)]
        assert np.array_equal(model.embed(twins), expected)
    missing = "missing lead: V1, V2, V3, V4, V5, V6"
    with pytest.raises(RejectedRecording, match=f"recording 0: {missing}"):
        model.embed(signal_mv[0, :3], 100, ["I", "II", "III"])
    path = writer("three", signal_mv[0, :3], leads=("I", "II", "III"))
    with pytest.raises(RejectedRecording, match=rf"recording .*three\.hea: {missing}"):
        model.embed(path)


def test_gaps_are_repaired_and_lengths_fixed(model, signal_mv):
    z, broken = model.embed(signal_mv[0], 100), signal_mv[0].copy()
    broken[3] = np.nan  # aVR follows from I and II
    np.testing.assert_allclose(model.embed(broken, 100), z, atol=1e-3)
    longer, shorter = np.concatenate(signal_mv[:2], axis=1), signal_mv[1][:, :600]
    np.testing.assert_allclose(model.embed([longer, shorter], 100)[0], z, atol=1e-6)
    broken[7] = np.nan
    with pytest.raises(RejectedRecording, match="recording 0: not finite: V2 100%"):
        model.embed(broken, 100)
    with pytest.raises(RejectedRecording, match="recording 1: flat in every lead"):
        model.embed([signal_mv[0], np.ones((12, 1000))], 100)


def test_units_are_said_and_doubted(model, signal_mv):
    microvolts = np.rint(signal_mv * 1000).astype(np.int16)
    np.testing.assert_allclose(model.embed(microvolts, 100, unit="uV"), model.embed(signal_mv, 100), atol=1e-6)
    with pytest.raises(ValueError, match=r"recording 0: expected floating-point numbers in mV, or unit='uV'; got int"):
        model.embed(microvolts, 100)
    with pytest.warns(UserWarning, match="recording 0: .* beyond 32.767 mV and were clipped; is the unit right"):
        model.embed(microvolts[0].astype(np.float32), 100)
    with pytest.raises(RejectedRecording, match="foreign unit: 'mmHg'"):
        model.embed(signal_mv, 100, unit="mmHg")


WRONG = [
    ({"fs_hz": None}, "fs_hz: expected the sampling rate of the arrays, Hz; got None"),
    ({"fs_hz": 0}, "fs_hz: expected the sampling rate"),
    ({"fs_hz": [100, 100]}, "fs_hz: expected one rate, or one for each recording; got 2"),
    ({"x": np.zeros((1000, 12))}, r"recording 0: expected \[12, samples\], rows I II .* got \[1000, 12\]"),
    ({"leads": ["I", "II"]}, r"recording 0: expected \[2, samples\], rows I II; got \[12, 1000\]"),
    ({"x": np.zeros(12)}, r"x: expected a path, .* got \[12\]"),
    ({"x": 3}, "x: expected a path, .* got int"),
    ({"x": "a.hea"}, "fs_hz, leads: expected with arrays alone"),
    ({"batch": 0}, "batch: expected at least 1"),
]


def test_wrong_arguments_are_named(model, signal_mv):
    for change, match in WRONG:
        with pytest.raises(ValueError, match=match):
            model.embed(**{"x": signal_mv, "fs_hz": 100, **change})


# -- texts ---------------------------------------------------------------------------------------------------------


def test_zero_shot_is_what_tables_do(model, files, signal_mv):
    scores = model.zero_shot(files, "superclass")
    chosen = zero_shot.load_prompts("enriched", "superclass")
    vectors = zero_shot.class_vectors(model.encoder.project_text(model.text.embed(chosen.flat)), chosen.owner)
    expected = zero_shot.cosines(model.encoder.project(model.embed(files)), vectors)
    np.testing.assert_allclose(scores.to_numpy(), expected, atol=1e-6)
    assert (list(scores.columns), list(scores.index)) == (list(chosen.texts), [f"r{i}" for i in range(5)])
    assert "no probabilities" in scores.attrs["scores"]
    assert model.zero_shot(signal_mv[0], fs_hz=100).shape == (1, 5)


def test_zero_shot_of_classes_of_ones_own(model, files, tmp_path):
    own = {"AFIB": "Atrial fibrillation", "SR": ["sinus rhythm", "normal sinus rhythm"]}
    scores = model.zero_shot(files, own)
    assert list(scores.columns) == ["AFIB", "SR"]
    (tmp_path / "own.json").write_text(json.dumps(own))
    pd.testing.assert_frame_equal(model.zero_shot(files, tmp_path / "own.json"), scores)
    shared = model.embed_shared(files)
    np.testing.assert_allclose(np.linalg.norm(shared, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(model.embed_shared(files[0]), shared[0], atol=1e-6)
    np.testing.assert_allclose(shared @ model.embed_text(["atrial fibrillation"])[0], scores["AFIB"], atol=1e-6)
    with pytest.raises(ValueError, match=r"prompts: expected one of superclass, .*; got 'superclas'"):
        model.zero_shot(files, "superclas")


def test_without_the_alignment_branch_there_are_no_scores(artifacts, files, tmp_path):
    mse = merit.load(artifacts / "checkpoints" / "mse-seed0-0123")
    assert mse.embed(files).shape == (5, 16)
    with pytest.raises(ValueError, match="encoder mse: expected one with a shared space"):
        mse.zero_shot(files)
    mse.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / "text").exists()
    assert np.array_equal(merit.load(tmp_path / "saved").embed(files), mse.embed(files))


def test_a_text_encoder_that_is_not_there_or_of_another_width_is_asked_for(own, files):
    folder = own / "checkpoints" / "merit-seed0-0123"
    shutil.copytree(own / "text" / "4567", own / "text" / "89ab")
    with pytest.raises(Unavailable, match="no text encoder at hand; give its folder or hub name as text_encoder"):
        merit.load(folder).zero_shot(files)  # two of them: which?
    given = merit.load(folder, text_encoder=own / "text" / "4567").zero_shot(files)
    shutil.rmtree(own / "text" / "89ab")
    pd.testing.assert_frame_equal(merit.load(folder).zero_shot(files), given)
    config = TextConfig(width=8, depth=1, heads=2, vocabulary=300, updates=1, batch=2)
    wrong = train_text_encoder(["sinus rhythm"], config, own / "text" / "wrong", progress=False)
    with pytest.raises(ValueError, match="expected one 16 wide, as in pretraining; got 8"):
        merit.load(folder, text_encoder=wrong).embed_text(["a"])


# -- nearest recordings --------------------------------------------------------------------------------------------


def test_similar_finds_itself_first_then_the_nearest(model, files, signal_mv):
    z = model.embed(files)
    found = model.similar(files[:2], z, k=3)
    assert list(found.columns) == ["query", "rank", "record", "row", "cosine"]
    assert found["query"].tolist() == [0, 0, 0, 1, 1, 1]
    assert found["row"].tolist()[::3] == [0, 1]
    np.testing.assert_allclose(found["cosine"].to_numpy()[::3], 1, atol=1e-6)
    slow = [[float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for b in z] for a in z[:2]]
    for query, of_one in found.groupby("query"):
        assert of_one["row"].tolist() == sorted(range(5), key=lambda i: -slow[query][i])[:3]
    assert len(model.similar(signal_mv[0], z, k=99, fs_hz=100)) == 5


def test_similar_names_records_of_tables_and_refuses_other_widths(model, files, tmp_path):
    z = model.embed(files)
    table = pd.DataFrame(z, columns=[f"z{i}" for i in range(16)]).assign(record=[f"r{i}" for i in range(5)])
    table.to_parquet(tmp_path / "z.parquet")
    table.to_csv(tmp_path / "z.csv")
    for among in (table, tmp_path / "z.parquet", str(tmp_path / "z.csv")):
        assert model.similar(files[3], among, k=1)["record"].tolist() == ["r3"]
    with pytest.raises(ValueError, match="among: expected columns record and z0 to z15; missing: z4"):
        model.similar(files[3], table.drop(columns="z4"))
    with pytest.raises(ValueError, match=r"among: expected embeddings \[N, 16\] of this encoder; got \[5, 3\]"):
        model.similar(files[3], z[:, :3])
    with pytest.raises(ValueError, match="k: expected at least 1"):
        model.similar(files[3], z, k=0)


# -- saving and loading --------------------------------------------------------------------------------------------


def test_a_saved_folder_stands_on_its_own_and_keeps_what_is_there(own, files, tmp_path):
    folder, saved = own / "checkpoints" / "merit-seed0-0123", tmp_path / "saved"
    model = merit.load(folder)
    z, scores = model.embed(files), model.zero_shot(files)
    with pytest.raises(ValueError, match="expected another folder than the checkpoint's own"):
        model.save_pretrained(folder)
    assert finished(folder)
    saved.mkdir()
    (saved / "README.md").write_text("mine")
    model.save_pretrained(saved)
    assert (saved / "README.md").read_text() == "mine"
    (saved / "README.md").unlink()
    model.save_pretrained(saved)
    assert "Not a medical device" in (saved / "README.md").read_text()
    shutil.rmtree(own)
    shutil.move(saved, tmp_path / "moved")
    again = merit.load(tmp_path / "moved")
    assert finished(tmp_path / "moved")
    assert again.identity == model.identity
    assert np.array_equal(again.embed(files), z)
    pd.testing.assert_frame_equal(again.zero_shot(files), scores)
    assert pd.read_parquet(tmp_path / "moved" / "seen.parquet")["record_id"].tolist() == ["r1", "r2"]
    again.save_pretrained(tmp_path / "twice")
    assert (tmp_path / "twice" / "text" / "model.safetensors").is_file()
    assert type(model).from_pretrained(tmp_path / "twice").identity == model.identity


def test_the_device_of_pretraining_is_not_the_device_of_use(own):
    folder = own / "checkpoints" / "merit-seed0-0123"
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"device": "NVIDIA H200"}))
    seal(folder)
    assert merit.load(folder).encoder.device == "cpu"


@pytest.mark.parametrize("name", ["nowhere/at/all", "nothing", "nobody-here/nothing"])
def test_what_is_no_checkpoint_is_said_in_one_line(name):
    with pytest.raises(FileNotFoundError, match=f"{name}: expected the folder of a finished checkpoint") as refusal:
        merit.load(name)
    assert "\n" not in str(refusal.value)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_embedding(folder, signal_mv):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    z = merit.load(folder).embed(signal_mv, 100)
    np.testing.assert_allclose(merit.load(folder, "cuda").embed(signal_mv, 100), z, atol=1e-4)


# -- real recordings -----------------------------------------------------------------------------------------------


def test_real_recordings_have_one_embedding_at_any_rate(model, real_data):
    paths = sorted((real_data / "ptb-xl" / "records100").glob("*/*.hea"))[:24]
    recordings = [read_record(path) for path in paths]
    z = model.embed(recordings)
    assert np.array_equal(model.embed(paths), z)
    for fs_hz in (250, 500):
        faster = [resample(one.signal_mv, 100, fs_hz).astype(np.float32) for one in recordings]
        twins = [replace(one, signal_mv=signal, fs_hz=fs_hz) for one, signal in zip(recordings, faster)]
        assert moved(z, model.embed(twins)) < RATE_TOLERANCE
    rows = [LEADS.index(name) for name in EIGHT]
    lawful = [i for i, one in enumerate(recordings) if np.abs(one.signal_mv[:3].T @ [1, -1, 1]).max() < 0.003]
    assert lawful, "III = II - I in some files at least"
    eight = model.embed([recordings[i].signal_mv[rows] for i in lawful], 100, EIGHT)
    assert (
        np.linalg.norm(eight - z[lawful], axis=1).max() < RATE_TOLERANCE * np.linalg.norm(z - z.mean(0), axis=1).mean()
    )
