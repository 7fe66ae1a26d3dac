"""Versions on one engine: the base of a pipeline and what LoRA made of it, their weights held once."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from services.inference.engine.adapters import Adapter, is_plain
from services.inference.engine.presets import Preset
from services.inference.kinds.base import Resources
from services.inference.kinds.generation import HOSTED, Generator, generator_of, prompt_of
from services.inference.kinds.hosting import Host, Hosts, Lease, preset_of
from services.inference.models.lineage import BASE_VERSION, VersionRecord
from services.inference.models.tokenizers import Tokenizers
from shared.errors import DataCorrupted
from shared.modeling.bases import BaseModel
from shared.modeling.card import ModelCard
from shared.modeling.digests import adapter_digest
from shared.modeling.loading import load_model
from shared.modeling.methods import find_method
from shared.modeling.methods.prompts import PromptMethod
from shared.modeling.methods.virtual import VirtualTokens


@dataclass(frozen=True)
class Place:
    """Where a version can share: its base by digest, and the adapter's folder and card; None for the base itself.

    Virtual tokens have the folder of their `base` as well, which is read once more to make their keys and values.
    """

    base_digest: str
    folder: Path | None = None
    card: ModelCard | None = None
    kind: str = Generator.kind
    base: Path | None = None


def place_of(record: VersionRecord, fetch: Callable[[str], Path], find_base: Callable[[], BaseModel]) -> Place | None:
    """None for a version that needs an engine of its own: other kinds and methods, and adapters that are more than
    low-rank products. Raises DataCorrupted when the adapter is not the one of the record."""
    if record.kind not in HOSTED:
        return None
    if record.key.version == BASE_VERSION:
        return Place(find_base().digest, kind=record.kind)
    if not find_method(record.method).adapter:
        return None
    folder = fetch(record.weights_uri)
    card = ModelCard.read(folder)
    for what, found, wanted in (
        ("adapter", adapter_digest(folder), card.adapter_digest),
        ("adapter", card.adapter_digest, record.lineage.adapter_digest),
        ("weights", card.weights_digest, record.lineage.weights_digest),
    ):
        if found != wanted:
            raise DataCorrupted(f"{record.key}: {what} have digest {found[:12]}…, the record says {wanted[:12]}…")
    if isinstance(find_method(record.method), PromptMethod):
        return Place(card.base_digest, folder, card, record.kind, find_base().path)
    return Place(card.base_digest, folder, card, record.kind) if is_plain(folder) else None


def check_base(record: VersionRecord, place: Place, base: BaseModel) -> BaseModel:
    """Raises DataCorrupted naming both digests when an adapter was trained on another base."""
    if base.digest != place.base_digest:
        raise DataCorrupted(
            f"base model {base.name} of {record.key}: digest is {base.digest[:12]}, "
            f"the card says {place.base_digest[:12]}"
        )
    return base


def join(
    hosts: Hosts,
    key: str,
    place: Place,
    open_base: Callable[[], Host],
    resources: Resources,
    resting: Callable[[], AbstractContextManager[None]],
    tokenizers: Tokenizers,
) -> Generator:
    """The version on the engine of its base, which is opened if need be. Files become objects while `resting`."""
    lease = hosts.take(key, open_base)
    try:
        return _generator(lease, place, resources, resting, tokenizers)
    except BaseException:
        lease.close(resources.version, 0.0)
        raise


def _generator(
    lease: Lease,
    place: Place,
    resources: Resources,
    resting: Callable[[], AbstractContextManager[None]],
    tokenizers: Tokenizers,
) -> Generator:
    host = lease.host
    if place.folder is None or place.card is None:
        return generator_of(place.kind, lease, host.tokenizer, resources)
    with resting():
        tokenizer = tokenizers.read(place.folder)
    if tokenizer.eos_token_id not in host.ends or len(tokenizer) != len(host.tokenizer):
        raise DataCorrupted(f"the tokenizer of adapter {place.folder.name} is not that of its base")
    if place.card.weights_digest != host.weights_digest:
        raise DataCorrupted(
            f"adapter {place.folder.name} is for weights {place.card.weights_digest[:12]}, "
            f"its base has {host.weights_digest[:12]}"
        )
    with resting():
        adapter = _read(host, place.folder, place.card, place.base)
    lease.adapt(adapter)
    return generator_of(place.kind, lease, tokenizer, resources, prompt_of(place.card))


def _read(host: Host, folder: Path, card: ModelCard, base: Path | None) -> Adapter | Preset:
    if base is None:
        return host.read_adapter(folder, card.adapter_digest)
    model = load_model(folder, base=base).model
    assert isinstance(model, VirtualTokens)
    return preset_of(model, card.adapter_digest, host.dtype, host.device)
