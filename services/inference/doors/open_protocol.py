"""inference.GRPCInferenceService, the Open Inference Protocol: each method converts, calls, converts."""

import time
from collections.abc import Callable, Generator, Iterator
from importlib import metadata

import grpc

from services.inference.answering.asking import OnGone
from services.inference.answering.parameters import timeout_seconds
from services.inference.answering.requests import ModelRef
from services.inference.answering.tally import Tally
from services.inference.answering.tensor_messages import Call, TensorRequest
from services.inference.answering.tensors import Tensors
from services.inference.convert import tensors as convert
from services.inference.convert.repository import index_entry, statistics, version_of
from services.inference.deployments.deployment import DeploymentView
from services.inference.doors.deadlines import deadline
from services.inference.doors.side_by_side import SideBySide
from services.inference.models.lineage import BASE, BASE_VERSION
from services.inference.operating import Operating
from shared.contracts.generated.inference import grpc_service_pb2 as pb
from shared.contracts.generated.inference.grpc_service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from shared.errors import FailedPrecondition, FlywheelError, NotFound
from shared.rpc import callers
from shared.rpc.server import Server
from shared.telemetry.logs import get_logger

OPEN_PROTOCOL = "inference.GRPCInferenceService"
EXTENSIONS = ("model_repository", "statistics", "model_configuration")
ASK_SECONDS = 30.0
GENERATE_SECONDS = 300.0
LOAD_SECONDS = 120.0
STREAM_SECONDS = 3600.0
Parts = Generator[pb.ModelStreamInferResponse, None, None]
log = get_logger(__name__)


class OpenProtocolDoor(GRPCInferenceServiceServicer):
    """Errors of a unary call are its status; those in a stream come in `error_message`, and the stream goes on."""

    def __init__(self, tensors: Tensors, operating: Operating, tally: Tally, ready: Callable[[], bool]) -> None:
        self._tensors = tensors
        self._operating = operating
        self._tally = tally
        self._ready = ready

    def ServerLive(self, request: pb.ServerLiveRequest, context: grpc.ServicerContext) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    def ServerReady(self, request: pb.ServerReadyRequest, context: grpc.ServicerContext) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._ready())

    def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: grpc.ServicerContext
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="flywheel", version=metadata.version("flywheel"), extensions=EXTENSIONS)

    def ModelReady(self, request: pb.ModelReadyRequest, context: grpc.ServicerContext) -> pb.ModelReadyResponse:
        wanted = convert.model_of(request.name, request.version)
        held = [one for one in self._deployments(request.name) if one.answers and one.healthy]
        ready = self._ready() and any(_means(wanted, one) for one in held)
        return pb.ModelReadyResponse(ready=ready)

    def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: grpc.ServicerContext
    ) -> pb.ModelMetadataResponse:
        kind = self._tensors.kind(convert.model_of(request.name, request.version), deadline(context, ASK_SECONDS))
        loaded = [one.key.version for one in self._deployments(request.name) if one.answers]
        return convert.metadata(request.name, kind, loaded)

    def ModelConfig(self, request: pb.ModelConfigRequest, context: grpc.ServicerContext) -> pb.ModelConfigResponse:
        kind = self._tensors.kind(convert.model_of(request.name, request.version), deadline(context, ASK_SECONDS))
        return convert.config(request.name, kind)

    def ModelInfer(self, request: pb.ModelInferRequest, context: grpc.ServicerContext) -> pb.ModelInferResponse:
        wanted = convert.tensor_request(request)
        answer = self._tensors.whole(wanted, _call(wanted, deadline(context, GENERATE_SECONDS), context.add_callback))
        return convert.tensor_response(answer, request.id)

    def ModelStreamInfer(
        self, request_iterator: Iterator[pb.ModelInferRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.ModelStreamInferResponse]:
        until = deadline(context, STREAM_SECONDS)

        def answer(number: int, request: pb.ModelInferRequest, on_gone: OnGone) -> Parts:
            return self._parts(number, request, min(until, time.monotonic() + GENERATE_SECONDS), on_gone)

        answers = SideBySide(answer, give_up=context.cancel)
        if context.add_callback(answers.close):
            yield from answers.parts(request_iterator)

    def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: grpc.ServicerContext
    ) -> pb.ModelStatisticsResponse:
        wanted = convert.model_of(request.name, request.version)
        found = self._tally.of(request.name, wanted.version)
        if request.version and not wanted.version:
            meant = {one.key for one in self._deployments(request.name) if _means(wanted, one)}
            found = {key: one for key, one in found.items() if key in meant}
        return statistics(found)

    def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: grpc.ServicerContext
    ) -> pb.RepositoryIndexResponse:
        seen = callers.current.get().models
        listed = [one for one in self._operating.deployments() if seen is None or one.key.model in seen]
        listed = [one for one in listed if one.answers or not request.ready]
        return pb.RepositoryIndexResponse(models=[index_entry(one) for one in listed])

    def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: grpc.ServicerContext
    ) -> pb.RepositoryModelLoadResponse:
        model = convert.model_of(request.model_name, version_of(request.parameters))
        pinned = any(one.pinned and _means(model, one) for one in self._deployments(request.model_name))
        self._operating.load_model(model, pinned, deadline(context, LOAD_SECONDS))
        return pb.RepositoryModelLoadResponse()

    def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: grpc.ServicerContext
    ) -> pb.RepositoryModelUnloadResponse:
        version = version_of(request.parameters)
        if version:
            self._operating.unload_model(convert.model_of(request.model_name, version))
        else:
            self._unload_loose(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    def _deployments(self, model: str) -> list[DeploymentView]:
        return [one for one in self._operating.deployments() if one.key.model == model]

    def _unload_loose(self, model: str) -> None:
        held = self._deployments(model)
        loose = [one for one in held if one.answers and not (one.aliases or one.share or one.shadow_share)]
        if not held:
            raise NotFound(f"{model} is not loaded here", model=model)
        if not loose:
            raise FailedPrecondition(
                f"every loaded version of {model} answers for an alias or has a share of its traffic", model=model
            )
        for one in loose:
            self._operating.unload_model(convert.model_of(model, str(one.key.version)))

    def _parts(self, number: int, request: pb.ModelInferRequest, until: float, on_gone: OnGone) -> Parts:
        try:
            if number:  # the first has been counted with the call
                callers.again()
            wanted = convert.tensor_request(request)
            for part in self._tensors.stream(wanted, _call(wanted, until, on_gone)):
                yield pb.ModelStreamInferResponse(infer_response=convert.tensor_response(part, request.id))
        except FlywheelError as error:
            yield convert.failure(request, error)
        except Exception:
            log.exception("call failed", call="ModelStreamInfer")
            yield convert.failure(request, FlywheelError("ModelStreamInfer failed inside the server; see its log"))


def _means(wanted: ModelRef, seen: DeploymentView) -> bool:
    """Whether the version is the one that is asked for."""
    if wanted.version:
        return seen.key.version == wanted.version
    return seen.key.version == BASE_VERSION if wanted.alias == BASE else wanted.alias in seen.aliases


def _call(wanted: TensorRequest, until: float, on_gone: OnGone) -> Call:
    """The earlier of the call's deadline and the parameter `timeout`."""
    seconds = timeout_seconds(wanted.parameters)
    earliest = until if seconds is None else min(until, time.monotonic() + seconds)
    return Call(earliest, on_gone, callers.tenant(), callers.charge)


def register(server: Server, door: OpenProtocolDoor) -> None:
    server.add(OPEN_PROTOCOL, add_GRPCInferenceServiceServicer_to_server, door, longest=STREAM_SECONDS)
