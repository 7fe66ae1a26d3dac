"""Settings from the environment, and from files for secrets."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.config import Settings, child_environment, load_settings
from shared.errors import InvalidArgument


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FLYWHEEL_{name.upper()}", raising=False)


def test_without_settings_everything_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.home == tmp_path / ".flywheel"
    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/.flywheel/flywheel.db"
    assert settings.resolved_artifacts_url == f"{tmp_path}/.flywheel/artifacts"
    assert settings.cache_folder == tmp_path / ".flywheel" / "cache"


def test_the_environment_is_read_and_an_override_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_BROKER_URL", "redis://one")
    monkeypatch.setenv("FLYWHEEL_CONCURRENCY", "4")
    assert (load_settings().broker_url, load_settings().concurrency) == ("redis://one", 4)
    assert load_settings(broker_url="redis://two").broker_url == "redis://two"


def test_a_secret_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("redis://:password@host\n")
    monkeypatch.setenv("FLYWHEEL_BROKER_URL_FILE", str(tmp_path / "secret"))
    assert load_settings().broker_url == "redis://:password@host"
    monkeypatch.setenv("FLYWHEEL_BROKER_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(InvalidArgument, match="FLYWHEEL_BROKER_URL_FILE"):
        load_settings()


@pytest.mark.parametrize(("name", "value"), [("CONCURRENCY", "0"), ("LOG_FORMAT", "xml"), ("GRACE_SECONDS", "soon")])
def test_a_wrong_value_is_named_with_its_setting(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"FLYWHEEL_{name}", value)
    with pytest.raises(InvalidArgument, match=f"FLYWHEEL_{name}='{value}'"):
        load_settings()


def test_settings_do_not_change_and_each_says_what_it_is() -> None:
    with pytest.raises(ValidationError):
        load_settings().concurrency = 2  # type: ignore[misc]
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_child_gets_this_environment_with_the_given_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMETHING", "else")
    environment = child_environment(broker_url="redis://one", device=None)
    assert (environment["SOMETHING"], environment["FLYWHEEL_BROKER_URL"]) == ("else", "redis://one")
    assert "FLYWHEEL_DEVICE" not in environment
