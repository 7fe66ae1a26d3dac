"""Columns in a file."""

from pathlib import Path

import numpy as np
import pytest

from services.ingestion.near.columns import read_columns, write_columns
from shared.errors import DataCorrupted


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "columns"
    arrays = {
        "zeta": np.arange(1000, dtype=np.uint64),
        "alpha": np.zeros(0, np.uint8),
        "mid": np.arange(7, dtype="<u4"),
    }
    with path.open("wb") as file:
        write_columns(file, {"what": "a test"}, arrays)
    return path


def test_columns_come_back_as_they_were(stored: Path) -> None:
    about, arrays = read_columns(stored)
    assert about == {"what": "a test"}
    assert arrays["zeta"].tolist() == list(range(1000))
    assert (arrays["alpha"].tolist(), arrays["mid"].tolist()) == ([], list(range(7)))
    with pytest.raises(ValueError, match="read-only"):
        arrays["zeta"][0] = 1


@pytest.mark.parametrize("cut", [0, 1, 40, 63, 64, 500, -1])
def test_a_file_that_was_cut_is_damaged(stored: Path, cut: int) -> None:
    stored.write_bytes(stored.read_bytes()[:cut])
    with pytest.raises(DataCorrupted):
        read_columns(stored)


@pytest.mark.parametrize("at", [5, 700, 5000])
def test_a_file_with_another_byte_is_damaged(stored: Path, at: int) -> None:
    data = bytearray(stored.read_bytes())
    data[at] ^= 0x55
    stored.write_bytes(bytes(data))
    with pytest.raises(DataCorrupted):
        read_columns(stored)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]\n", b"{}\n", b"\xff\n", b'{"about":1,"columns":{"a":{"type":"|O","length":1,"at":0}},"bytes":0}\n'],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(data)
    with pytest.raises(DataCorrupted):
        read_columns(path)
