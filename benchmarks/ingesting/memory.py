"""Memory of this process. Imports nothing, so that a peer's environment can use it."""

from pathlib import Path


def peak_mib() -> float:
    """The most it has had since its start (getrusage would count what its parent had before)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM"))
    return round(int(peak.split()[1]) / 1024, 1)
