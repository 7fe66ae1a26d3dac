"""The commands for operators of inference against a real gRPC server."""

import json
from typing import Any

import grpc
import pytest

from shared.contracts.generated.flywheel.inference.v1 import serving_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2_grpc
from shared.rpc.server import Server
from tests.integration.cli.conftest import Command


class FakeServing(serving_pb2_grpc.ServingServicer):
    """Remembers what it was asked; says that version 3 is not loaded yet."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def ListDeployments(
        self, request: pb.ListDeploymentsRequest, context: grpc.ServicerContext
    ) -> pb.ListDeploymentsResponse:
        one = pb.Deployment(
            model="mood",
            version=2,
            aliases=["champion"],
            state=pb.DEPLOYMENT_STATE_READY,
            memory_bytes=90 << 20,
            in_flight=4,
            pinned=True,
            share=0.25,
            healthy=True,
        )
        return pb.ListDeploymentsResponse(deployments=[one])

    def LoadModel(self, request: pb.LoadModelRequest, context: grpc.ServicerContext) -> pb.Deployment:
        self.asked.append(request)
        state = pb.DEPLOYMENT_STATE_READY
        return pb.Deployment(model="mood", version=request.model.version, state=state, pinned=request.pinned)

    def UnloadModel(self, request: pb.UnloadModelRequest, context: grpc.ServicerContext) -> pb.Deployment:
        self.asked.append(request)
        return pb.Deployment(model="mood", version=request.model.version, state=pb.DEPLOYMENT_STATE_UNLOADED)

    def SetTraffic(self, request: pb.SetTrafficRequest, context: grpc.ServicerContext) -> pb.Traffic:
        self.asked.append(request)
        return pb.Traffic(model=request.model, shares=request.shares, shadows=request.shadows, absent=[3])

    def GetTraffic(self, request: pb.GetTrafficRequest, context: grpc.ServicerContext) -> pb.Traffic:
        return pb.Traffic(model=request.model)


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Any:
    servicer = FakeServing()
    server = Server("127.0.0.1:0")
    server.add("flywheel.inference.v1.Serving", serving_pb2_grpc.add_ServingServicer_to_server, servicer)
    server.start()
    monkeypatch.setenv("FLYWHEEL_INFERENCE_ADDRESS", server.address)
    yield servicer
    server.stop(0.1)


def test_deployments_show_state_share_and_memory(serving: FakeServing, flywheel: Command) -> None:
    row = flywheel("deployments").out.splitlines()[1].split()
    assert row == ["mood", "2", "ready", "champion", "25.0%", "–", "4", "90", "yes", "–"]
    [one] = json.loads(flywheel("deployments", "--json").out)
    assert (one["memory_bytes"], one["pinned"]) == (90 << 20, True)


def test_a_version_is_loaded_pinned_and_unloaded(serving: FakeServing, flywheel: Command) -> None:
    assert flywheel("load", "mood", "3", "--pinned").out == "mood: version 3 is ready, pinned\n"
    assert flywheel("unload", "mood", "3").out == "mood: version 3 is unloaded\n"
    loaded, unloaded = serving.asked
    assert (loaded.model.version, loaded.pinned, unloaded.model.version) == (3, True, 3)


def test_traffic_is_set_shown_and_cleared(serving: FakeServing, flywheel: Command) -> None:
    shown = flywheel("traffic", "mood", "--share", "2=0.1", "--shadow", "3=0.5").out
    assert [line.split()[:3] for line in shown.splitlines()[1:]] == [
        ["champion", "answers", "90.0%"],
        ["2", "answers", "10.0%"],
        ["3", "shadow", "50.0%"],
    ]
    assert "not loaded here yet" in shown
    flywheel("traffic", "mood", "--clear")
    first, second = serving.asked
    assert [(one.version, one.share) for one in (*first.shares, *first.shadows)] == [(2, 0.1), (3, 0.5)]
    assert (len(second.shares), len(second.shadows)) == (0, 0)


def test_traffic_without_options_only_shows(serving: FakeServing, flywheel: Command) -> None:
    assert json.loads(flywheel("traffic", "mood", "--json").out)["shares"] == []
    assert serving.asked == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--share", "2"],
        ["--share", "two=0.1"],
        ["--share", "2=much"],
        ["--share", "2=0.1", "--share", "2=0.2"],
        ["--clear", "--share", "2=0.1"],
    ],
)
def test_traffic_that_is_malformed_is_wrong_usage(
    serving: FakeServing, flywheel: Command, arguments: list[str]
) -> None:
    outcome = flywheel("traffic", "mood", *arguments)
    assert outcome.code == 2
    assert serving.asked == []
