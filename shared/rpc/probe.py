"""Whether a server serves: `python -m shared.rpc.probe HOST:PORT`, or a URL such as http://HOST:PORT/metrics.

The exit code is 0 when it does; containers ask for it as their health check.
"""

import sys
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.config import load_settings
from shared.rpc.channel import open_channel
from shared.rpc.security import OPEN, Security

PROBE_SECONDS = 4.0


def is_serving(address: str, timeout: float, security: Security = OPEN) -> bool:
    """Whether the server at `host:port` answers and is ready; False when it can't be reached in time."""
    with open_channel(address, retries=False, security=security) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def answers(url: str, timeout: float) -> bool:
    """Whether a page can be fetched."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def main(target: str) -> int:
    if target.startswith("http"):
        return 0 if answers(target, PROBE_SECONDS) else 1
    return 0 if is_serving(target, PROBE_SECONDS, Security.of(load_settings())) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
