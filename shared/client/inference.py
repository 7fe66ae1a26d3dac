"""Calls of the inference service."""

import uuid
from collections.abc import Iterator, Mapping, Sequence

from shared.client.answers import Accepted, ClassifyAnswer, Deployment, Explanation
from shared.client.connection import Connection
from shared.client.data import FeedbackReceipt
from shared.client.generation import Generation
from shared.client.reading import read
from shared.contracts.generated.flywheel.common.v1 import common_pb2 as common
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.contracts.generated.flywheel.inference.v1.serving_pb2_grpc import ServingStub

__all__ = ["Accepted", "InferenceCalls"]
GENERATE_SECONDS = 300.0
"""Deadline of a streamed answer, unless one is given."""


class InferenceCalls:
    """Answers from models; feedback on them. Raises the errors of shared.errors."""

    _inference: Connection

    def classify(
        self,
        model: str,
        texts: str | Sequence[str],
        *,
        alias: str = "",
        version: int = 0,
        top_k: int = 0,
        request_id: str = "",
    ) -> ClassifyAnswer:
        """Labels each text, best first. Without `alias` or `version` the champion answers."""
        request = pb.ClassifyRequest(
            model=_model(model, alias, version),
            texts=[texts] if isinstance(texts, str) else texts,
            top_k=top_k,
            request_id=request_id or new_id(),
        )
        stub = self._inference.stub(InferenceStub)
        return read(ClassifyAnswer, self._inference.call(stub.Classify, request))

    def generate(
        self,
        model: str,
        prompt: str | Sequence[Mapping[str, str]],
        *,
        alias: str = "",
        version: int = 0,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
        request_id: str = "",
        timeout: float | None = None,
    ) -> Generation:
        """Streams an answer. `prompt` is plain text, or a conversation of {"role": …, "content": …}."""
        request = pb.GenerateRequest(
            model=_model(model, alias, version),
            sampling=pb.Sampling(temperature=temperature, top_p=top_p, top_k=top_k, seed=seed),
            stopping=pb.Stopping(max_tokens=max_tokens, stop=stop),
            request_id=request_id or new_id(),
        )
        if isinstance(prompt, str):
            request.text = prompt
        else:
            turns = [common.Message(role=turn["role"], content=turn["content"]) for turn in prompt]
            request.messages.CopyFrom(pb.Messages(messages=turns))
        stub = self._inference.stub(InferenceStub)
        return Generation(self._inference, lambda: stub.Generate(request, timeout=timeout or GENERATE_SECONDS))

    def chat(self, model: str, message: str, **options: object) -> Generation:
        """Streams the answer to one message of a user; takes the options of `generate`."""
        return self.generate(model, [{"role": "user", "content": message}], **options)  # type: ignore[arg-type]

    def feedback(
        self,
        request_id: str,
        *,
        rating: float | None = None,
        correction: str | None = None,
        comment: str = "",
        consent: bool = False,
        index: int = 0,
    ) -> FeedbackReceipt:
        """Keeps what a user thinks of an answer; a correction becomes a row only with `consent`."""
        request = pb.RecordFeedbackRequest(
            request_id=request_id, rating=rating, correction=correction, comment=comment, consent=consent, index=index
        )
        stub = self._inference.stub(InferenceStub)
        return read(FeedbackReceipt, self._inference.call(stub.RecordFeedback, request))

    def explain(self, request_id: str) -> Explanation:
        """Where an answer came from, for a day."""
        stub = self._inference.stub(InferenceStub)
        request = pb.ExplainResponseRequest(request_id=request_id)
        return read(Explanation, self._inference.call(stub.ExplainResponse, request))

    def deployments(self) -> list[Deployment]:
        """What the inference server holds."""
        stub = self._inference.stub(ServingStub)
        found = self._inference.call(stub.ListDeployments, serving_pb2.ListDeploymentsRequest())
        return [read(Deployment, deployment) for deployment in found.deployments]

    def watch_deployments(self, timeout: float) -> Iterator[Deployment]:
        """Deployments as they change, beginning with all, for `timeout` seconds."""
        stub = self._inference.stub(ServingStub)
        with self._inference.errors():
            for deployment in stub.WatchDeployments(serving_pb2.WatchDeploymentsRequest(), timeout=timeout):
                yield read(Deployment, deployment)


def new_id() -> str:
    return uuid.uuid4().hex


def _model(name: str, alias: str, version: int) -> common.ModelRef:
    if alias and version:
        raise ValueError("give an alias or a version, not both")
    if version:
        return common.ModelRef(name=name, version=version)
    return common.ModelRef(name=name, alias=alias) if alias else common.ModelRef(name=name)
