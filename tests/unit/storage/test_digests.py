"""A file is read once in one go, and again whenever it changed."""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest

from shared.storage.digests import SETTLED_NANOSECONDS, each_file_once, file_digest
from tests.support.wait import eventually


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read."""
    seen = list[str]()
    real = hashlib.file_digest

    def counted(file, name):  # type: ignore[no-untyped-def]
        seen.append(Path(file.name).name)
        return real(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return seen


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    eventually(lambda: time.time_ns() - path.stat().st_ctime_ns > 2 * SETTLED_NANOSECONDS)
    return path


def test_a_file_is_read_every_time_outside_the_block(file: Path, reads: list[str]) -> None:
    assert file_digest(file) == file_digest(file) == hashlib.sha256(b"one").hexdigest()
    with each_file_once():
        file_digest(file)
    file_digest(file)
    assert len(reads) == 4


def test_a_file_is_read_once_inside_the_block_whatever_its_path(file: Path, reads: list[str], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    with each_file_once():
        assert file_digest(file) == file_digest(link) == file_digest(file)
    assert len(reads) == 1


def test_a_block_inside_another_is_part_of_it(file: Path, reads: list[str]) -> None:
    with each_file_once():
        with each_file_once():
            file_digest(file)
        file_digest(file)
    assert len(reads) == 1


def test_a_file_that_changed_is_read_again_even_with_its_old_size_and_time(file: Path) -> None:
    with each_file_once():
        file_digest(file)
        file.write_bytes(b"two")
        os.utime(file, (1, 1))
        assert file_digest(file) == hashlib.sha256(b"two").hexdigest()
        other = file.with_name("other")
        other.write_bytes(b"six")
        other.replace(file)
        assert file_digest(file) == hashlib.sha256(b"six").hexdigest()


def test_a_file_that_was_written_a_moment_ago_is_not_trusted_to_stay(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    with each_file_once():
        for content in (b"one", b"two", b"six"):
            fresh.write_bytes(content)
            assert file_digest(fresh) == hashlib.sha256(content).hexdigest()


def test_another_thread_shares_what_was_read_with_a_copy_of_the_context(file: Path, reads: list[str]) -> None:
    with ThreadPoolExecutor(1) as pool, each_file_once():
        there = pool.submit(copy_context().run, file_digest, file).result()
        assert file_digest(file) == there
    assert len(reads) == 1


def test_a_file_that_is_not_there_is_an_error_each_time(tmp_path: Path) -> None:
    with each_file_once():
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                file_digest(tmp_path / "gone")
