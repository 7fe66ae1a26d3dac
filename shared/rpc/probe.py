"""Asks a service whether it is well: `python -m shared.rpc.probe HOST:PORT | http://…/metrics`. Exit 0 or 1."""

import sys
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.rpc.channel import open_channel

TIMEOUT_SECONDS = 3.0


def is_well(target: str) -> bool:
    """True when a gRPC server says SERVING, or a metrics page answers 200."""
    if target.startswith("http://"):
        try:
            with urllib.request.urlopen(target, timeout=TIMEOUT_SECONDS) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
    with open_channel(target, field="target", retries=False) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if is_well(sys.argv[1]) else 1)
