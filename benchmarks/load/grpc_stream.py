"""A stream of tokens from our door."""

from collections.abc import Generator

from benchmarks.load.script import Ask
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.rpc.channel import open_channel

PATIENCE_SECONDS = 300


class GrpcStreams:
    """`model` is answered by its base: the weights that the peers have too."""

    def __init__(self, address: str, model: str) -> None:
        self._stub = InferenceStub(open_channel(address, retries=False))
        self._model = common_pb2.ModelRef(name=model, alias="base")

    def __call__(self, ask: Ask) -> Generator[int, None, None]:
        stopping = pb.Stopping(max_tokens=ask.tokens, ignore_eos=True)
        request = pb.GenerateRequest(model=self._model, token_ids=pb.TokenIds(ids=ask.prompt), stopping=stopping)
        call = self._stub.Generate(request, timeout=PATIENCE_SECONDS, wait_for_ready=True)
        try:
            for event in call:
                if event.HasField("chunk"):
                    yield len(event.chunk.token_ids)
        finally:
            call.cancel()
