"""The split key of a row as it is stored: what rows of one side have in common, read back from a part."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

from shared.pipelines.options import Options
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS
from shared.rows.base import SEPARATOR

KEY_BYTES = 16


@lru_cache
def key_reader(kind: str) -> Callable[[Mapping[str, Any]], str]:
    """Reads the split keys of stored rows of a kind, whatever the pipeline's options and labels are."""
    spec = PipelineSpec(name="stored", kind=kind, base="none")
    schema = SCHEMAS[kind]
    plain = schema.reader(spec)
    several = schema.reader(spec.model_copy(update={"options": Options(multi_label=True)}))

    def read(fields: Mapping[str, Any]) -> str:
        known = schema.stored_key(fields)
        if known is not None:
            return known
        of_kind = plain if fields.get("labels") is None else several
        return of_kind(schema.given(fields)).split_key

    return read


def key_digest(pipeline: str, split_key: str) -> bytes:
    """What the index keeps of a split key. Its first half decides the side (shared.rows.splits), the second the
    founder of a cluster."""
    return sha256(f"{pipeline}{SEPARATOR}{split_key}".encode()).digest()[:KEY_BYTES]
