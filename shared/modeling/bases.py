"""Base models: a folder, an installed package or a hub id becomes a local folder with a digest."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from shared.errors import NotFound, Unavailable
from shared.modeling.conversion import convert_gguf
from shared.modeling.digests import base_digest
from shared.modeling.folders import whole_folder
from shared.pipelines.bases import BaseFiles, find_base
from shared.storage.artifacts import Artifacts, base_folder

HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]


@dataclass(frozen=True)
class BaseModel:
    """Frozen weights on the local disk."""

    name: str
    path: Path
    digest: str
    """Over weights, config and tokenizer."""


def open_base(base: str, cache: Path, artifacts: Artifacts) -> BaseModel:
    """Like `resolve_base`, for the base of a model version, which may be a folder in the store (`artifact:URI`)."""
    folder = base_folder(base, artifacts)
    return BaseModel(base, folder, base_digest(folder)) if folder else resolve_base(base, cache)


def resolve_base(base: str, cache: Path) -> BaseModel:
    """Find a base model and bring it into a folder that `from_pretrained` loads.

    A GGUF file is converted once into bf16 safetensors under `cache`; processes may race for it. A hub id is
    fetched into `cache`. Raises NotFound, or Unavailable when the hub can't be reached.
    """
    try:
        files = find_base(base)
    except ValueError as error:
        raise NotFound(str(error), base=base) from None
    folder = _local_folder(files, base, cache)
    return BaseModel(base, folder, base_digest(folder))


def _local_folder(files: BaseFiles, base: str, cache: Path) -> Path:
    if files.source == "folder":
        return files.path
    if files.source == "hub":
        return _from_hub(base, cache)
    return _converted(files.path, base, cache)


def _converted(gguf: Path, base: str, cache: Path) -> Path:
    about = gguf.stat()
    version = sha256(f"{gguf.name}/{about.st_size}/{about.st_mtime_ns}".encode()).hexdigest()[:12]
    target = cache / f"{base}-{version}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f".{target.name}.lock"):
        if not target.is_dir():
            with whole_folder(target) as aside:
                convert_gguf(gguf, aside)
    return target


def _from_hub(base: str, cache: Path) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(base, cache_dir=cache / "hub", allow_patterns=HUB_FILES))
    except RepositoryNotFoundError:
        raise NotFound(f"the hub has no model {base!r}", base=base) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise Unavailable(
            f"base model {base!r} is not in the cache and the hub can't be reached: {error}", 30.0, base=base
        ) from None
