"""How much each version has answered since the server started."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from services.inference.answering.answers import Times
from services.inference.models.lineage import Key, Lineage


@dataclass(frozen=True)
class Answered:
    """Requests, seconds they waited and were computed altogether, and when the last one ended (seconds since 1970)."""

    requests: int = 0
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0
    last: float = 0.0


class Tally:
    """Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: dict[Key, Answered] = {}

    def count(self, lineage: Lineage, times: Times) -> None:
        key = Key(lineage.model, lineage.version)
        with self._lock:
            before = self._answered.get(key, Answered())
            self._answered[key] = replace(
                before,
                requests=before.requests + 1,
                queue_seconds=before.queue_seconds + times.queue,
                compute_seconds=before.compute_seconds + times.compute,
                last=time.time(),
            )

    def of(self, model: str, version: int) -> Mapping[Key, Answered]:
        """Of all models when `model` is empty, of all versions when `version` is 0."""
        with self._lock:
            return {
                key: found
                for key, found in sorted(self._answered.items())
                if model in ("", key.model) and version in (0, key.version)
            }
