"""Asking a served model for translations, on a thread of its own, so that whoever waits hears a wish to stop."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

from services.finetuning.following import Ending
from services.finetuning.paraphrasing.ending import NotTranslated
from services.finetuning.spec import FailureReason
from shared.client import FlywheelClient
from shared.client.texts import RewriteAnswer
from shared.config import Settings
from shared.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    RetryableError,
    Unauthenticated,
    Unsupported,
)
from shared.pipelines.back_translation import ServedModel

REQUEST_SECONDS = 120.0
"""Deadline of a request."""
PATIENCE_SECONDS = 10.0
"""While the server is away; then the attempt ends, and the next one comes after a while."""
BUSY_SECONDS = 600.0
"""The same while it is full, or a quota is used up for now."""
POLL_SECONDS = 0.1
PAUSE_SECONDS = (0.5, 30.0)
"""Between two requests, at least and at most."""

HOPELESS = (FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unauthenticated, Unsupported)


class Translators:
    """A connection to inference; `check` raises when the run is to stop."""

    def __init__(self, settings: Settings, check: Callable[[], None]) -> None:
        self._client = FlywheelClient.of(settings, timeout=REQUEST_SECONDS, patience=0)
        self._requests = ThreadPoolExecutor(1, thread_name_prefix="back-translation")
        self._check = check
        self._asked: Future[RewriteAnswer] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._requests.shutdown(wait=False, cancel_futures=True)
        self._client.close()
        while self._asked is not None and not wait([self._asked], POLL_SECONDS).done:
            self._client.close()  # it had not begun when its connection was closed, and opened another

    def translate(self, key: str, model: ServedModel, texts: Sequence[str]) -> RewriteAnswer:
        """Raises NotTranslated, naming the key of the pipeline file, and what `check` raises."""
        begun = time.monotonic()
        while True:
            try:
                self._asked = self._requests.submit(self._ask, model, texts)
                return self._answer(self._asked)
            except HOPELESS as error:
                raise _failed(FailureReason.BAD_SPEC, key, error.message) from None
            except (RetryableError, DeadlineExceeded) as error:
                patience = BUSY_SECONDS if isinstance(error, ResourceExhausted) else PATIENCE_SECONDS
                if time.monotonic() - begun >= patience:
                    raise _failed("UNAVAILABLE", key, error.message) from None
                self._pause(getattr(error, "retry_seconds", 0.0))

    def _ask(self, model: ServedModel, texts: Sequence[str]) -> RewriteAnswer:
        return self._client.translate(model.name, texts, alias=model.alias, version=model.version)

    def _answer(self, asked: "Future[RewriteAnswer]") -> RewriteAnswer:
        while True:
            self._check()
            if wait([asked], POLL_SECONDS).done:
                return asked.result()

    def _pause(self, wanted: float) -> None:
        least, most = PAUSE_SECONDS
        over = time.monotonic() + min(max(wanted, least), most)
        while time.monotonic() < over:
            self._check()
            time.sleep(POLL_SECONDS)


def _failed(reason: str, key: str, message: str) -> NotTranslated:
    return NotTranslated(Ending("failed", reason, f"method.augmentation.back_translation.{key}: {message}"))
