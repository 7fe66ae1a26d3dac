"""What Prometheus sees of the answers."""

import grpc
import pytest
from prometheus_client import REGISTRY

from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from tests.integration.inference.platform import Platform
from tests.support.wait import eventually


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"flywheel_inference_{name}", labels) or 0.0


def test_requests_tokens_and_swaps_are_counted(platform: Platform) -> None:
    platform.declare("metered", "chat")
    for seed in (1, 2):
        platform.add_version("metered", "chat", seed)
    platform.point("metered", 1)
    platform.start()
    eventually(lambda: platform.holds("metered", 1))
    tokens = value("tokens_total", model="metered", kind="completion")
    list(platform.generate(model="metered", stopping=pb.Stopping(max_tokens=9, ignore_eos=True)))
    with pytest.raises(grpc.RpcError):
        list(platform.generate(model="metered", stopping=pb.Stopping(max_tokens=0)))
    assert value("tokens_total", model="metered", kind="completion") - tokens == 9
    assert value("time_to_first_token_seconds_count", model="metered") >= 1
    assert value("inter_token_seconds_count", model="metered") >= 8
    eventually(lambda: value("request_seconds_count", method="Generate", model="metered", code="OK") >= 1)
    refused = {"method": "Generate", "model": "unknown", "code": "INVALID_ARGUMENT"}
    assert value("request_seconds_count", **refused) >= 1
    platform.point("metered", 2)
    eventually(lambda: platform.holds("metered", 2))
    assert value("swap_seconds_count", model="metered") >= 1
    assert REGISTRY.get_sample_value("flywheel_inference_swap_dropped_total", {"model": "metered"}) == 0
    eventually(lambda: value("model_info", model="metered", version="2", dataset_version="3") == 1)
    assert value("model_info", model="metered", version="1", dataset_version="2") == 0
