from pathlib import Path

import pytest

from shared.cli.demo import setting
from shared.config import load_settings
from shared.embedded.lock import HomeLock
from shared.errors import FailedPrecondition


def test_an_earlier_platform_is_moved_aside_whole_and_the_cache_stays(tmp_path: Path) -> None:
    for name in ("flywheel.db", "artifacts/weights", "cache/base"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    setting._move_aside(load_settings(home=tmp_path))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache", "earlier"]
    (moved,) = (tmp_path / "earlier").iterdir()
    assert (moved / "artifacts" / "weights").read_text() == "artifacts/weights"
    assert (tmp_path / "cache" / "base").exists()


def test_a_new_folder_has_nothing_to_move(tmp_path: Path) -> None:
    setting._move_aside(load_settings(home=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_running_platform_is_not_moved_away(tmp_path: Path) -> None:
    lock = HomeLock(tmp_path)
    lock.take()
    settings = load_settings(home=tmp_path)
    with (
        pytest.raises(FailedPrecondition, match="flywheel down"),
        setting.platform_for(settings, keep=False, fresh=True),
    ):
        pytest.fail("told on a running platform")
    lock.release()
