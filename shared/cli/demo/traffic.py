"""A product that keeps asking, whatever the platform is doing."""

import threading
import time
from dataclasses import dataclass
from itertools import cycle
from types import TracebackType
from typing import Self

from shared.cli.demo import knobs
from shared.client import FlywheelClient
from shared.errors import FlywheelError


@dataclass(frozen=True)
class Sample:
    """One request: when it was sent (Unix seconds), how long it took, who answered; version -1 is a failure."""

    sent_at: float
    seconds: float
    version: int


class Traffic:
    """Calls Classify from its own thread until the block ends."""

    def __init__(self, client: FlywheelClient, model: str, texts: list[str]) -> None:
        self.samples: list[Sample] = []
        self.failures: list[str] = []
        self._client, self._model, self._texts = client, model, texts
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, name="traffic", daemon=True)

    @property
    def versions(self) -> list[int]:
        """Versions that answered, in the order of their first answer."""
        return list(dict.fromkeys(sample.version for sample in self.samples if sample.version >= 0))

    def first_answer_by(self, version: int) -> float | None:
        """When (Unix seconds) this version answered for the first time."""
        return next((one.sent_at + one.seconds for one in self.samples if one.version == version), None)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=60)

    def _ask_on(self) -> None:
        for text in cycle(self._texts):
            if self._stop.is_set():
                return
            sent_at, clock = time.time(), time.monotonic()
            try:
                version = self._client.classify(self._model, text).lineage.version
                assert version > 0, "an answer names its version"
            except (FlywheelError, AssertionError) as error:
                version = -1
                self.failures.append(str(error))
            self.samples.append(Sample(sent_at, time.monotonic() - clock, version))
            self._stop.wait(knobs.TRAFFIC_PAUSE_SECONDS)
