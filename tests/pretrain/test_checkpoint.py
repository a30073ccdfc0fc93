"""What a checkpoint's folder says besides its settings, and the card that says it to people."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from pretrain_runs import MODEL, run

from merit import runs
from merit.config import ModelConfig, PretrainConfig, TextConfig
from merit.pretrain import checkpoint
from merit.pretrain.checkpoint import model_card
from merit.runs import plain

SEEN = pd.DataFrame({"cohort": ["ptb-xl", "ptb-xl"], "patient_id": ["a", "b"], "record_id": ["1", "2"]})


def settings(objective: str = "merit", **encoder: object) -> dict:
    model = plain(ModelConfig())
    model["encoder"] |= encoder
    return {"model": model, "pretrain": plain(PretrainConfig(objective=objective)), "total_updates": 7}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "checkpoints" / "c"
    folder.mkdir(parents=True)
    return folder


def test_the_text_encoder_is_noted_as_seen_from_the_checkpoint(folder, tmp_path):
    assert checkpoint.read_origin(folder) == {}
    assert checkpoint.text_config(folder) == TextConfig(), "an older checkpoint says nothing"
    (tmp_path / "text" / "t").mkdir(parents=True)
    about = checkpoint.origin(folder, tmp_path / "text" / "t", TextConfig(pooling="cls", max_tokens=9), synthetic=True)
    assert about == {"text": {"source": "../../text/t", "pooling": "cls", "max_tokens": 9}, "synthetic": True}
    (folder / checkpoint.ORIGIN).write_text(json.dumps(about))
    assert checkpoint.read_origin(folder) == about
    assert (checkpoint.text_config(folder).pooling, checkpoint.text_config(folder).max_tokens) == ("cls", 9)
    assert "**synthetic**" in model_card(settings(), about, SEEN)
    about = checkpoint.origin(folder, "owner/name", TextConfig(), synthetic=False)
    assert about["text"]["source"] == "owner/name"
    assert "real patients" in model_card(settings(), about, SEEN)


CARDS = [  # objective, kind, what its card says
    ("mse", "vit", "There is no space shared with texts"),
    ("cma", "tiny_vit", "A one-dimensional TinyViT, widths (64, 128, 160, 320)"),
    ("ib", "resnet18", "A one-dimensional ResNet18"),
]


def test_the_card_says_what_it_is_what_it_saw_and_what_it_is_not_for():
    text = model_card(settings(), {"text": {"source": "text"}, "synthetic": None}, SEEN)
    for part in ("objective merit, seed 0", "A ViT, width 192, 12 blocks", "2 recordings of ptb-xl", "zero_shot("):
        assert part in text
    for part in ("real or synthetic stand-ins", "in `text/`", "**Not a medical device**"):
        assert part in text
    assert "None" not in text
    for objective, kind, said in CARDS:
        text = model_card(json.loads(json.dumps(settings(objective, kind=kind))), {}, None)
        assert said in text
        assert "zero_shot(" not in text
        assert "`seen.parquet` is missing" in text


def test_a_checkpoint_from_before_there_were_kinds_is_a_vit(paired, tmp_path):
    folder = run(paired, tmp_path / "c", updates=3)
    settings = json.loads((folder / "config.json").read_text())
    del settings["model"]["encoder"]["kind"], settings["model"]["encoder"]["tiny_vit"]
    (folder / "config.json").write_text(json.dumps(settings))
    runs.seal(folder)
    assert checkpoint.load_model(folder)[0].config == MODEL
