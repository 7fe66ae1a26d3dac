"""Asking a server whether it serves."""

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.rpc.channel import open_channel


def is_serving(address: str, timeout: float) -> bool:
    """Whether the server at `host:port` answers and is ready; False when it can't be reached in time."""
    with open_channel(address, retries=False) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
