"""The thread that computes keeps its processors whatever other threads set."""

import threading

import pytest
import torch

from services.inference.engine.compute import ComputeThread


@pytest.mark.parametrize("threads", [1, 2])
def test_another_threads_setting_changes_nothing(threads: int) -> None:
    compute = ComputeThread(threads)
    other = threading.Thread(target=torch.set_num_threads, args=(3 - threads,))
    other.start()
    other.join()
    assert compute.threads == threads
    compute.close()
