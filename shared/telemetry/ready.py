"""Telling whoever started this process that it is ready, and where."""

import json
import os
import sys


def announce(service: str, address: str | None, metrics: str) -> None:
    """Prints one JSON line on standard output: service, gRPC address (or null), metrics URL, pid."""
    ready = {"service": service, "address": address, "metrics": f"http://{metrics}/metrics", "pid": os.getpid()}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
