"""Sources that a pipeline follows: folders, prefixes of a bucket, Redis Streams. Torch-free."""

import re
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from shared.contracts.routes import QUEUES
from shared.pipelines.part import Part, Seconds

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
MOST = 16
BROKERS_OWN = ("_kombu", "unacked", "celery")
"""Beginnings of keys that the broker's client uses for itself."""
STREAM_KEYS = ("redis", "batch_rows", "batch_seconds")
FILE_KEYS = ("every", "format", "encoding")


class FollowedSource(Part):
    """Where rows arrive by themselves; either `uri` or `stream`."""

    name: str = Field(description="Name of the source: a-z, 0-9, - and _; its batches carry it.")
    uri: str = Field("", description="s3://bucket/prefix/, or a folder of ingestion's machine; new files are imported.")
    every: Seconds = Field(30, ge=1, le=86_400, description="Time between two looks at a folder or prefix.")
    format: str = Field("", description="Format of the files; found out when absent.")
    encoding: str = Field("", description="Character encoding of the files; found out when absent.")
    stream: str = Field("", max_length=256, description="Key of a Redis Stream; its entries are rows.")
    redis: str = Field(
        "", description="Name of the stream's server in the setting FLYWHEEL_STREAM_SERVERS; the broker when absent."
    )
    batch_rows: int = Field(1000, ge=1, le=10_000, description="Entries of a stream that make a batch.")
    batch_seconds: Seconds = Field(10, ge=0.1, le=600, description="A smaller batch is closed after this.")
    fields: dict[str, str] = Field(
        default_factory=dict, description="Our field: this source's field, where it differs from data.fields."
    )
    licence: str = Field("", max_length=256, description="Licence of its rows.")

    @property
    def kind(self) -> str:
        """folder, s3 or redis_stream."""
        return "redis_stream" if self.stream else "s3" if self.uri.startswith("s3://") else "folder"

    @property
    def full_uri(self) -> str:
        """As an import is asked for: a folder is a file:// URI, a folder or prefix ends in `/`."""
        uri = self.uri if "://" in self.uri else f"file://{self.uri}"
        return uri if uri.endswith("/") else f"{uri}/"

    @model_validator(mode="after")
    def _can_be_followed(self) -> Self:
        if not NAME.fullmatch(self.name):
            raise ValueError("name: must start with a letter and hold only a-z, 0-9, - and _")
        if bool(self.uri) == bool(self.stream):
            raise ValueError("needs either uri (a folder or prefix) or stream (a Redis Stream)")
        for key in STREAM_KEYS if self.uri else FILE_KEYS:
            if getattr(self, key) != type(self).model_fields[key].default:  # stored specs name every key
                raise ValueError(f"{key}: has no effect on a {self.kind} source")
        if self.uri and not self.uri.startswith(("/", "s3://", "file:///")):
            raise ValueError(f"uri: {self.uri!r} is neither s3://bucket/prefix/ nor an absolute folder")
        if self.stream and not self.redis and _is_the_brokers(self.stream):
            raise ValueError(f"stream: the broker itself uses {self.stream!r}; name the stream otherwise")
        return self


def check_names(sources: Sequence[FollowedSource]) -> None:
    """Raises ValueError for too many sources, or two of one name."""
    if len(sources) > MOST:
        raise ValueError(f"sources: at most {MOST} can be followed")
    names = [source.name for source in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ValueError(f"sources: {twice!r} is there twice")


def _is_the_brokers(key: str) -> bool:
    return key in QUEUES or key.startswith(BROKERS_OWN)
