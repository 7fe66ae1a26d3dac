"""flywheel.inference.v1.Serving: each method converts, calls, converts."""

from collections.abc import Iterator

import grpc

from services.inference.convert import serving
from services.inference.convert.common import model_ref
from services.inference.doors.deadlines import deadline
from services.inference.operating import Operating
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.serving_pb2_grpc import (
    ServingServicer,
    add_ServingServicer_to_server,
)
from shared.rpc.server import Server

SERVING = "flywheel.inference.v1.Serving"
LOAD_SECONDS = 120.0


class ServingDoor(ServingServicer):
    """flywheel.inference.v1.Serving."""

    def __init__(self, operating: Operating, server: str) -> None:
        self._operating = operating
        self._server = server

    def ListDeployments(
        self, request: pb.ListDeploymentsRequest, context: grpc.ServicerContext
    ) -> pb.ListDeploymentsResponse:
        found = [serving.deployment(one, self._server) for one in self._operating.deployments()]
        return pb.ListDeploymentsResponse(deployments=found)

    def LoadModel(self, request: pb.LoadModelRequest, context: grpc.ServicerContext) -> pb.Deployment:
        until = deadline(context, LOAD_SECONDS)
        loaded = self._operating.load_model(model_ref(request.model), request.pinned, until)
        return serving.deployment(loaded, self._server)

    def UnloadModel(self, request: pb.UnloadModelRequest, context: grpc.ServicerContext) -> pb.Deployment:
        return serving.deployment(self._operating.unload_model(model_ref(request.model)), self._server)

    def SetTraffic(self, request: pb.SetTrafficRequest, context: grpc.ServicerContext) -> pb.Traffic:
        return serving.traffic(*self._operating.set_traffic(serving.traffic_wanted(request)))

    def GetTraffic(self, request: pb.GetTrafficRequest, context: grpc.ServicerContext) -> pb.Traffic:
        return serving.traffic(*self._operating.traffic(request.model))

    def GetLoad(self, request: pb.GetLoadRequest, context: grpc.ServicerContext) -> pb.Load:
        return serving.load(self._operating.load())

    def Abort(self, request: pb.AbortRequest, context: grpc.ServicerContext) -> pb.AbortResponse:
        return pb.AbortResponse(found=self._operating.abort(request.request_id))

    def Drain(self, request: pb.DrainRequest, context: grpc.ServicerContext) -> pb.DrainResponse:
        return pb.DrainResponse(running=self._operating.drain())

    def WatchDeployments(
        self, request: pb.WatchDeploymentsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.Deployment]:
        for seen in self._operating.watch(context.is_active):
            yield serving.deployment(seen, self._server)


def register(server: Server, door: ServingDoor) -> None:
    server.add(SERVING, add_ServingServicer_to_server, door)
