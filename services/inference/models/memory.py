"""How much memory the loaded versions may take."""

import os
from pathlib import Path

import torch

SHARE = 0.6  # the rest is for requests, the file cache and other processes
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_limit(wish: int, device: str) -> int:
    """Bytes: `wish`, or for 0 three fifths of what the device, or this machine or container, has."""
    if wish:
        return wish
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory * SHARE)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(min(machine, _container_limit()) * SHARE)


def _container_limit() -> float:
    try:
        return float(CGROUP_LIMIT.read_text())
    except (OSError, ValueError):  # no such file, or the word "max"
        return float("inf")
