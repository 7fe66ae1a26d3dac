"""What a service gives to its worker: one handler a route."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.storage.database import Database


@dataclass(frozen=True)
class HandlerContext:
    """What a handler may know beside its message."""

    message_id: str
    draining: threading.Event
    """Set when the process was asked to end: finish soon, or leave the rest to another worker."""
    database: Database


Handler = Callable[[Any, HandlerContext], None]
"""Takes a message of its route's type.

Returning means done. RetryableError means another time, and any other exception a failed attempt.
A message may come more than once, also at the same time in two workers.
"""
