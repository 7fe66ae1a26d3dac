"""inference.GRPCInferenceService, the Open Inference Protocol: each method converts, calls, converts."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from importlib import metadata

import grpc

from services.inference.answering.generating import Accepted, Event
from services.inference.answering.tally import Tally
from services.inference.answering.tensors import Tensors
from services.inference.convert import tensors as convert
from services.inference.convert.repository import index_entry, statistics, version_of
from services.inference.deployments.deployment import DeploymentView
from services.inference.doors.deadlines import deadline
from services.inference.engine.interface import Chunk
from services.inference.operating import Operating
from shared.contracts.generated.inference import grpc_service_pb2 as pb
from shared.contracts.generated.inference.grpc_service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from shared.errors import FailedPrecondition, FlywheelError, NotFound
from shared.rpc import callers
from shared.rpc.server import Server

OPEN_PROTOCOL = "inference.GRPCInferenceService"
EXTENSIONS = ("model_repository", "statistics", "model_configuration")
ASK_SECONDS = 30.0
GENERATE_SECONDS = 300.0
LOAD_SECONDS = 120.0
STREAM_SECONDS = 3600.0
AT_ONCE = 16
"""Requests of one stream that are answered at the same time; more wait their turn."""
UNREAD = 64
"""Parts that may wait for a client to read them."""
UNREAD_SECONDS = 0.5


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
        found = self._deployments(request.name)
        ready = any(
            one.answers and one.healthy and (one.key.version == wanted.version or wanted.alias in one.aliases)
            for one in found
        )
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
        until = _until(request, deadline(context, GENERATE_SECONDS))
        answer = self._tensors.whole(wanted, until, context.add_callback, callers.tenant(), _charge)
        return convert.tensor_response(answer, request.id)

    def ModelStreamInfer(
        self, request_iterator: Iterator[pb.ModelInferRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.ModelStreamInferResponse]:
        until = deadline(context, STREAM_SECONDS)
        return _at_once(request_iterator, lambda request: self._parts(request, context, until))

    def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: grpc.ServicerContext
    ) -> pb.ModelStatisticsResponse:
        version = convert.model_of(request.name, request.version).version
        return statistics(self._tally.of(request.name, version))

    def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: grpc.ServicerContext
    ) -> pb.RepositoryIndexResponse:
        listed = [one for one in self._operating.deployments() if one.answers or not request.ready]
        return pb.RepositoryIndexResponse(models=[index_entry(one) for one in listed])

    def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: grpc.ServicerContext
    ) -> pb.RepositoryModelLoadResponse:
        model = convert.model_of(request.model_name, version_of(request.parameters))
        self._operating.load_model(model, False, deadline(context, LOAD_SECONDS))
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
        loose = [one for one in held if one.answers and not one.aliases]
        if not held:
            raise NotFound(f"{model} is not loaded here", model=model)
        if not loose:
            raise FailedPrecondition(f"every loaded version of {model} answers for an alias", model=model)
        for one in loose:
            self._operating.unload_model(convert.model_of(model, str(one.key.version)))

    def _parts(
        self, request: pb.ModelInferRequest, context: grpc.ServicerContext, until: float
    ) -> Iterator[pb.ModelStreamInferResponse]:
        try:
            wanted = convert.tensor_request(request)
            soonest = _until(request, min(until, time.monotonic() + GENERATE_SECONDS))
            for part in self._tensors.stream(wanted, soonest, context.add_callback, callers.tenant(), _charge):
                yield pb.ModelStreamInferResponse(infer_response=convert.tensor_response(part, request.id))
        except FlywheelError as error:
            failed = pb.ModelInferResponse(
                model_name=request.model_name, model_version=request.model_version, id=request.id
            )
            failed.parameters[convert.FINAL].bool_param = True
            failed.parameters["reason"].string_param = error.reason
            yield pb.ModelStreamInferResponse(error_message=error.message, infer_response=failed)


def _at_once(
    requests: Iterator[pb.ModelInferRequest],
    answer: Callable[[pb.ModelInferRequest], Iterator[pb.ModelStreamInferResponse]],
) -> Iterator[pb.ModelStreamInferResponse]:
    """Answers the requests of a stream side by side; parts come in the order in which they are ready.

    Where the client does not read, the answers wait, and with them the requests.
    """
    ready: queue.Queue[pb.ModelStreamInferResponse | Exception | None] = queue.Queue(UNREAD)
    closed = threading.Event()

    def put(part: pb.ModelStreamInferResponse | Exception | None) -> None:
        while not closed.is_set():
            try:
                ready.put(part, timeout=UNREAD_SECONDS)
            except queue.Full:
                continue
            return

    def run(request: pb.ModelInferRequest) -> None:
        try:
            for part in answer(request):
                put(part)
        except Exception as error:
            put(error)

    def read(pool: ThreadPoolExecutor) -> None:
        places = threading.Semaphore(AT_ONCE)
        try:
            for request in requests:
                places.acquire()
                asked = pool.submit(copy_context().run, run, request)
                asked.add_done_callback(lambda _: places.release())
            for _ in range(AT_ONCE):
                places.acquire()
        except Exception as error:  # the client is gone, or sent what the guard refuses
            put(error)
        finally:
            put(None)

    with ThreadPoolExecutor(AT_ONCE, "stream") as pool, ThreadPoolExecutor(1, "requests") as reader:
        reader.submit(copy_context().run, read, pool)
        try:
            while (part := ready.get()) is not None:
                if isinstance(part, Exception):
                    raise part
                yield part
        finally:
            closed.set()


def _until(request: pb.ModelInferRequest, until: float) -> float:
    """The earlier of the call's deadline and the parameter `timeout`, in microseconds."""
    timeout = request.parameters["timeout"].int64_param if "timeout" in request.parameters else 0
    return min(until, time.monotonic() + timeout / 1e6) if timeout > 0 else until


def _charge(event: Event) -> None:
    """Tokens count against the caller's allowance as they come."""
    if isinstance(event, Accepted):
        callers.charge(event.prompt_tokens)
    elif isinstance(event, Chunk):
        callers.charge(len(event.token_ids))


def register(server: Server, door: OpenProtocolDoor) -> None:
    server.add(OPEN_PROTOCOL, add_GRPCInferenceServiceServicer_to_server, door, longest=STREAM_SECONDS)
