"""Versions on one engine: the base of a pipeline and what LoRA made of it, their weights held once."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from services.inference.engine.adapters import is_plain
from services.inference.kinds.base import Resources
from services.inference.kinds.generation import Generator
from services.inference.kinds.hosting import Host, Hosts, Lease
from services.inference.models.lineage import BASE_VERSION, VersionRecord
from shared.errors import DataCorrupted
from shared.modeling.bases import BaseModel
from shared.modeling.card import ModelCard
from shared.modeling.digests import adapter_digest
from shared.modeling.loading import load_tokenizer
from shared.modeling.methods import find_method


@dataclass(frozen=True)
class Place:
    """Where a version can share: its base by digest, and the adapter's folder and card; None for the base itself."""

    base_digest: str
    folder: Path | None = None
    card: ModelCard | None = None


def place_of(record: VersionRecord, fetch: Callable[[str], Path], find_base: Callable[[], BaseModel]) -> Place | None:
    """None for a version that needs an engine of its own: other kinds and methods, and adapters that are more than
    low-rank products. Raises DataCorrupted when the adapter is not the one of the record."""
    if record.kind != Generator.kind:
        return None
    if record.key.version == BASE_VERSION:
        return Place(find_base().digest)
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
    return Place(card.base_digest, folder, card) if is_plain(folder) else None


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
) -> Generator:
    """The version on the engine of its base, which is opened if need be. Files become objects while `resting`."""
    lease = hosts.take(key, open_base)
    try:
        return _generator(lease, place, resources, resting)
    except BaseException:
        lease.close(resources.version, 0.0)
        raise


def _generator(
    lease: Lease, place: Place, resources: Resources, resting: Callable[[], AbstractContextManager[None]]
) -> Generator:
    host = lease.host
    if place.folder is None or place.card is None:
        return Generator(lease, host.tokenizer, resources)
    with resting():
        tokenizer = load_tokenizer(place.folder)
    if tokenizer.eos_token_id not in host.ends or len(tokenizer) != len(host.tokenizer):
        raise DataCorrupted(f"the tokenizer of adapter {place.folder.name} is not that of its base")
    if place.card.weights_digest != host.weights_digest:
        raise DataCorrupted(
            f"adapter {place.folder.name} is for weights {place.card.weights_digest[:12]}, "
            f"its base has {host.weights_digest[:12]}"
        )
    with resting():
        adapter = host.read_adapter(place.folder, place.card.adapter_digest)
    lease.adapt(adapter)
    return Generator(lease, tokenizer, resources)
