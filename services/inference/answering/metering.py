"""Counts and times every request, in one place."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Cancelled, FlywheelError, RetryableError
from shared.telemetry import metrics

UNKNOWN = "unknown"
"""Label of a model that was not found: a client's spelling must not become a label."""


class Meter:
    """What a request turns out to be, for its labels."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.model = UNKNOWN
        self.code = "OK"
        self.arrived = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.arrived


@contextmanager
def metered(method: str) -> Iterator[Meter]:
    """Success, failure and duration of one request."""
    meter = Meter(method)
    try:
        yield meter
    except FlywheelError as error:
        meter.code = error.reason
        if isinstance(error, RetryableError):
            metrics.INFERENCE_REJECTED.labels(error.reason).inc()
        raise
    except GeneratorExit:
        meter.code = Cancelled.reason
        raise
    except BaseException:
        meter.code = FlywheelError.reason
        raise
    finally:
        if meter.code == Cancelled.reason:
            metrics.INFERENCE_CANCELLED.labels(meter.model).inc()
        metrics.INFERENCE_REQUEST_SECONDS.labels(method, meter.model, meter.code).observe(meter.seconds)
