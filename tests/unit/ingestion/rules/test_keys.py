from pathlib import Path

import pytest

from services.ingestion.rules.personal.keys import FILE, key_source
from shared.config import load_settings
from shared.errors import FailedPrecondition


def test_an_embedded_platform_makes_a_key_once_and_keeps_it_to_itself(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home")
    first = key_source(settings)()
    assert len(first) >= 32
    assert key_source(load_settings(home=tmp_path / "home"))() == first
    assert (tmp_path / "home" / FILE).stat().st_mode & 0o077 == 0
    assert [path.name for path in (tmp_path / "home").iterdir()] == [FILE]
    assert key_source(load_settings(home=tmp_path / "elsewhere"))() != first


def test_a_fleet_is_told_to_set_one(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, database_url="postgresql://somewhere")
    with pytest.raises(FailedPrecondition, match=r"FLYWHEEL_PERSONAL_DATA_KEY .* is not set"):
        key_source(settings)()


def test_a_key_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="6 characters; at least 16"):
        key_source(load_settings(home=tmp_path, personal_data_key="secret"))()


def test_the_key_comes_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("a key of the whole fleet\n")
    monkeypatch.setenv("FLYWHEEL_PERSONAL_DATA_KEY_FILE", str(tmp_path / "key"))
    assert key_source(load_settings(home=tmp_path, database_url="x"))() == b"a key of the whole fleet"
