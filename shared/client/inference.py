"""Calls of the inference service."""

from collections.abc import Iterator, Sequence

from shared.client.answers import Accepted, ClassifyAnswer, Deployment, Explanation
from shared.client.asking import TextCalls
from shared.client.connection import Connection
from shared.client.data import FeedbackReceipt
from shared.client.generating import GenerationCalls, model_ref, new_id
from shared.client.reading import read
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.contracts.generated.flywheel.inference.v1.serving_pb2_grpc import ServingStub

__all__ = ["Accepted", "InferenceCalls"]


class InferenceCalls(GenerationCalls, TextCalls):
    """Answers from models; feedback on them. Raises the errors of shared.errors."""

    _inference: Connection

    def classify(
        self,
        model: str,
        texts: str | Sequence[str] = (),
        *,
        pairs: Sequence[tuple[str, str]] = (),
        alias: str = "",
        version: int = 0,
        top_k: int = 0,
        explain: bool = False,
        request_id: str = "",
    ) -> ClassifyAnswer:
        """Labels each text (or each of `pairs`), best first; with `explain` also which words spoke for the best label.

        Without `alias` or `version` the champion answers.
        """
        request = pb.ClassifyRequest(
            model=model_ref(model, alias, version),
            texts=[texts] if isinstance(texts, str) else texts,
            top_k=top_k,
            request_id=request_id or new_id(),
            pairs=[pb.TextPair(text=first, text_pair=second) for first, second in pairs],
            explain=explain,
        )
        stub = self._inference.stub(InferenceStub)
        return read(ClassifyAnswer, self._inference.call(stub.Classify, request))

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
