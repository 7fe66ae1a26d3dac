"""Objects that others put into a bucket: found and read, never written."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import fsspec

from shared.errors import NotFound, PermissionDenied, Unavailable
from shared.storage.stores import QUICK, answering

BLOCK_BYTES = 8 << 20
PAGE_KEYS = 1000


@dataclass(frozen=True)
class StoredObject:
    """An object as it is now; `identity` is another one whenever it was written again."""

    key: str
    size: int
    identity: str


class Bucket:
    """One bucket of the store at `endpoint` (AWS when empty), with the credentials of the environment.

    Raises NotFound, PermissionDenied, and Unavailable when it does not answer.
    """

    def __init__(self, name: str, endpoint: str = "") -> None:
        self._name = name
        options: dict[str, Any] = {"client_kwargs": {"endpoint_url": endpoint}} if endpoint else {}
        self._files = fsspec.filesystem("s3", config_kwargs=QUICK, use_listings_cache=False, **options)

    def object(self, key: str) -> StoredObject:
        with self._telling(key):
            return _stored(key, self._files.info(f"{self._name}/{key}"))

    def below(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key begins with `prefix`, in the order of their keys, a page at a time."""
        page: dict[str, Any] = {"NextContinuationToken": None}
        while "NextContinuationToken" in page:
            token = page["NextContinuationToken"]
            more = {"ContinuationToken": token} if token else {}
            with self._telling(prefix):
                page = self._files.call_s3(
                    "list_objects_v2", Bucket=self._name, Prefix=prefix, MaxKeys=PAGE_KEYS, **more
                )
            for facts in page.get("Contents", ()):
                if not facts["Key"].endswith("/"):
                    yield _stored(facts["Key"], {**facts, "size": facts["Size"]})

    @contextmanager
    def open(self, stored: StoredObject) -> Iterator[BinaryIO]:
        """Reads an object. Raises Unavailable when it was written anew since it was found."""
        with self._telling(stored.key):
            path = f"{self._name}/{stored.key}"
            with self._files.open(path, "rb", block_size=BLOCK_BYTES, cache_type="readahead") as file:
                now = _stored(stored.key, file.details)
                if now.identity != stored.identity:
                    raise Unavailable(f"s3://{path} was written anew meanwhile", retry_seconds=1)
                yield cast(BinaryIO, file)

    @contextmanager
    def _telling(self, key: str) -> Iterator[None]:
        from botocore.exceptions import NoCredentialsError

        uri = f"s3://{self._name}/{key}"
        try:
            with answering("the object store"):
                try:
                    yield
                except (PermissionError, NoCredentialsError) as error:
                    raise PermissionDenied(f"the store refuses {uri}: {error}", uri=uri) from None
        except FileNotFoundError:
            raise NotFound(f"no object {uri}", uri=uri) from None


def _stored(key: str, facts: dict[str, Any]) -> StoredObject:
    tag = str(facts.get("ETag", "")).strip('"')
    when = facts.get("LastModified")
    moment = when.isoformat(timespec="seconds") if when else ""
    return StoredObject(key, int(facts["size"]), f"{tag}-{facts['size']}-{moment}")
