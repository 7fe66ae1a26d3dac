"""Artifacts in a folder and in an S3-protocol store."""

import hashlib
from pathlib import Path

import pytest

from shared.errors import DataCorrupted, InvalidArgument, NotFound, Unavailable
from shared.storage.artifacts import MANIFEST, Artifacts
from tests.support.processes import free_ports
from tests.support.s3 import S3


@pytest.fixture(params=["folder", "s3"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    if request.param == "folder":
        return Artifacts(str(tmp_path / "store"), tmp_path / "cache")
    s3: S3 = request.getfixturevalue("s3")
    return Artifacts(s3.url, tmp_path / "cache", s3.endpoint)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    (folder / "nested").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 8192)
    (folder / "nested" / "config.json").write_text("{}")
    return folder


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_half(artifacts: Artifacts, uri: str) -> None:
    with artifacts.create(uri) as file:
        file.write(b"half")
        raise KeyError


def test_a_file_comes_back_and_is_listed(artifacts: Artifacts) -> None:
    artifacts.write_bytes("data/one", b"1")
    artifacts.write_bytes("data/two", b"2")
    assert artifacts.read_bytes("data/two") == b"2"
    assert artifacts.list("data") == ["one", "two"]
    assert artifacts.list("nothing") == []
    assert artifacts.exists("data/one")
    with pytest.raises(NotFound, match="data/three"):
        artifacts.read_bytes("data/three")


def test_a_write_that_raises_leaves_no_file(artifacts: Artifacts) -> None:
    with pytest.raises(KeyError):
        write_half(artifacts, "data/file")
    assert not artifacts.exists("data/file")
    assert artifacts.list("data") == []


def test_an_older_file_survives_a_write_that_raises(artifacts: Artifacts) -> None:
    artifacts.write_bytes("data/file", b"old")
    with pytest.raises(KeyError):
        write_half(artifacts, "data/file")
    assert artifacts.read_bytes("data/file") == b"old"


def test_what_is_deleted_is_gone_and_may_be_deleted_again(artifacts: Artifacts) -> None:
    artifacts.write_bytes("data/file", b"1")
    artifacts.delete("data")
    artifacts.delete("data")
    assert not artifacts.exists("data/file")


def test_a_fetched_file_is_verified(artifacts: Artifacts) -> None:
    artifacts.write_bytes("data/file", b"content")
    assert artifacts.fetch_file("data/file", digest(b"content")).read_bytes() == b"content"
    with pytest.raises(DataCorrupted, match="data/file"):
        artifacts.fetch_file("data/file", digest(b"other"))
    with pytest.raises(NotFound):
        artifacts.fetch_file("data/none", digest(b""))


def test_a_folder_comes_back_whole(artifacts: Artifacts, weights: Path) -> None:
    name = artifacts.put_folder(weights, "models/sentiment/1")
    fetched = artifacts.fetch_folder("models/sentiment/1")
    assert (fetched / "model.safetensors").read_bytes() == (weights / "model.safetensors").read_bytes()
    assert (fetched / "nested" / "config.json").read_text() == "{}"
    assert artifacts.put_folder(weights, "models/sentiment/1") == name
    assert artifacts.fetch_folder("models/sentiment/1") == fetched


def test_a_folder_without_its_manifest_does_not_exist(artifacts: Artifacts, weights: Path) -> None:
    artifacts.write_bytes("models/sentiment/1/model.safetensors", b"half")
    with pytest.raises(NotFound):
        artifacts.fetch_folder("models/sentiment/1")
    artifacts.put_folder(weights, "models/sentiment/1")
    assert (artifacts.fetch_folder("models/sentiment/1") / "model.safetensors").stat().st_size == 256 * 8192


def test_a_stored_folder_never_changes(artifacts: Artifacts, weights: Path) -> None:
    artifacts.put_folder(weights, "models/sentiment/1")
    (weights / "nested" / "config.json").write_text("{ }")
    with pytest.raises(DataCorrupted, match="never changes"):
        artifacts.put_folder(weights, "models/sentiment/1")


def test_a_folder_with_a_changed_file_is_not_given_out(artifacts: Artifacts, weights: Path) -> None:
    artifacts.put_folder(weights, "models/sentiment/1")
    artifacts.write_bytes("models/sentiment/1/nested/config.json", b"evil")
    with pytest.raises(DataCorrupted, match=r"config\.json"):
        artifacts.fetch_folder("models/sentiment/1")


def test_a_manifest_can_t_lead_out_of_its_folder(artifacts: Artifacts, weights: Path) -> None:
    artifacts.write_bytes(f"models/evil/1/{MANIFEST}", b'{"../../../secret": "00"}')
    with pytest.raises((InvalidArgument, NotFound)):
        artifacts.fetch_folder("models/evil/1")


@pytest.mark.parametrize("uri", ["/etc/passwd", "../up", "a/../../up", ""])
def test_a_uri_stays_inside_the_store(uri: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="inside the store"):
        Artifacts(str(tmp_path), tmp_path / "cache").exists(uri)


def test_a_url_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="FLYWHEEL_ARTIFACTS_URL"):
        Artifacts("gopher://host/path", tmp_path)


def test_a_store_that_is_away_is_unavailable_and_nothing_else(tmp_path: Path, s3: S3) -> None:
    away = Artifacts(s3.url, tmp_path / "cache", f"http://127.0.0.1:{free_ports()[0]}")
    with pytest.raises(Unavailable, match="artifact store does not answer"):
        away.exists("data/file")
    with pytest.raises(Unavailable, match="artifact store does not answer"):
        away.write_bytes("data/file", b"1")
