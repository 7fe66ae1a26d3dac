"""The one thread of this process that computes with torch.

OpenMP keeps a pool of threads for every thread that computes. With more pools than processors they stop
spinning and go to sleep between any two products: a decode step took 106 ms instead of 57 on two cores.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

import torch

from services.inference.engine.native import library

Result = TypeVar("Result")


class ComputeThread:
    """Runs functions one after another; engines and batchers of all models share it."""

    def __init__(self, threads: int = 0) -> None:
        """`threads` is how many processors a computation uses; 0 leaves it to torch."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self._lock, self._waiting = Lock(), 0
        self.run(lambda: _use_threads(threads or torch.get_num_threads()))

    @property
    def threads(self) -> int:
        """How many processors a computation uses."""
        return self.run(torch.get_num_threads)

    @property
    def wanted(self) -> bool:
        """Whether someone waits for the thread. Who runs there should return then: handing over takes 0.1 ms."""
        return self._waiting > 0

    def run(self, function: Callable[[], Result]) -> Result:
        """The function's result, computed there; raises what it raised."""
        with self._lock:
            self._waiting += 1
        return self._executor.submit(self._begin, function).result()

    def close(self) -> None:
        self._executor.shutdown()

    def _begin(self, function: Callable[[], Result]) -> Result:
        with self._lock:
            self._waiting -= 1
        return function()


def _use_threads(threads: int) -> None:
    """For the calling thread, for good: at its first use of OpenMP a thread takes the number that any thread set last.

    Loading sets it to 1 in a thread of its own, and the compute thread would be left with one processor.
    """
    torch.set_num_threads(threads)
    assert torch.get_num_threads() == threads
    if library.why_not() is None:
        library.library().flywheel_keep(threads)
