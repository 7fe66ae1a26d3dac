"""Versions with the same tokenizer share one object."""

import gc
from pathlib import Path

import pytest

from services.inference.models.tokenizers import Tokenizers
from shared.errors import DataCorrupted
from tests.support.tiny_encoders import word_tokenizer


def written(folder: Path, length: int = 64) -> Path:
    word_tokenizer(length).save_pretrained(folder)
    return folder


def test_the_same_files_in_another_folder_are_the_same_tokenizer(tmp_path: Path) -> None:
    tokenizers = Tokenizers()
    first = tokenizers.read(written(tmp_path / "one"))
    assert tokenizers.read(written(tmp_path / "two")) is first
    assert tokenizers.read(written(tmp_path / "other", length=32)) is not first


def test_a_tokenizer_goes_with_the_last_version_that_uses_it(tmp_path: Path) -> None:
    tokenizers, folder = Tokenizers(), written(tmp_path / "one")
    held = tokenizers.read(folder)
    assert len(tokenizers._known) == 1
    del held
    gc.collect()
    assert len(tokenizers._known) == 0


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataCorrupted, match="no readable tokenizer"):
        Tokenizers().read(tmp_path)
