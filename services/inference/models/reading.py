"""Files are read and verified in a thread that gives way to all others."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

import torch

NICENESS = 5
Result = TypeVar("Result")


class Reading:
    """SHA-256 over weights takes a core for a tenth of a second and more, without the interpreter: a decode step whose
    team of threads waits for that core is late by a time slice. This thread gets a quarter of a core that others want."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reading", initializer=_give_way)

    def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """The function's result, computed there in a copy of the caller's context; raises what it raised."""
        return self._thread.submit(copy_context().run, function, *arguments).result()


def _give_way() -> None:
    torch.set_num_threads(1)  # a base that is converted here is no reason for another team of threads
    if sys.platform == "linux":  # elsewhere niceness is of the whole process
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
