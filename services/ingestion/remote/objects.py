"""Objects of an S3-protocol store, as a place to fetch from."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from services.ingestion.remote.places import Found, check_count, is_finished
from services.ingestion.remote.uris import S3Uri
from shared.storage.buckets import Bucket, StoredObject


class Objects:
    """An object, or all objects under a prefix."""

    def __init__(self, uri: S3Uri, endpoint: str) -> None:
        self._uri, self._bucket = uri, Bucket(uri.bucket, endpoint)

    def files(self) -> Iterator[Found]:
        """What is hidden or unfinished by its name is passed over under a prefix."""
        if not self._uri.is_prefix:
            stored = self._bucket.object(self._uri.key)
            yield Found(self._uri.key.rpartition("/")[2], stored.size, stored.identity)
            return
        for count, stored in enumerate(self._bucket.below(self._uri.key), start=1):
            check_count(count, f"s3://{self._uri.bucket}/{self._uri.key}")
            name = stored.key.removeprefix(self._uri.key)
            if is_finished(name):
                yield Found(name, stored.size, stored.identity)

    @contextmanager
    def open(self, found: Found) -> Iterator["ObjectFile"]:
        key = self._uri.key + found.name if self._uri.is_prefix else self._uri.key
        with self._bucket.open(StoredObject(key, found.size or 0, found.identity)) as file:
            yield ObjectFile(file, found)


class ObjectFile:
    """The bytes of an object."""

    def __init__(self, file: BinaryIO, found: Found) -> None:
        self._file, self.found = file, found

    def read(self, size: int) -> bytes:
        return self._file.read(size)
