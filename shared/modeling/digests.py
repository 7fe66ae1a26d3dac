"""SHA-256 digests (hex) of model files and folders."""

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from shared.storage.digests import file_digest as file_digest

WEIGHTS = ("*.safetensors",)
TOKENIZER = (
    "tokenizer*.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "special_tokens_map.json",
    "chat_template*",
)
BASE_FILES = (*WEIGHTS, "config.json", *TOKENIZER)
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")


def folder_digest(folder: Path, patterns: Iterable[str]) -> str:
    """Digest over name and content of the folder's files that match; their order and dates do not count."""
    names = sorted({path.name for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    listing = [[name, file_digest(folder / name)] for name in names]
    return sha256(json.dumps(listing).encode()).hexdigest()


def base_digest(folder: Path) -> str:
    """Digest of a base model: weights, config and tokenizer."""
    return folder_digest(folder, BASE_FILES)


def weights_digest(folder: Path) -> str:
    """Digest of a model's full weights, whatever else lies in the folder."""
    return folder_digest(folder, WEIGHTS)


def adapter_digest(folder: Path) -> str:
    """Digest of an adapter: its weights and its configuration (rank and scale change what the weights mean)."""
    return folder_digest(folder, ADAPTER_FILES)
