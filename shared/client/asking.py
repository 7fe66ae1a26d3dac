"""Calls of the inference service that read texts and answer at once. Each takes `alias` or `version` (else the
champion answers) and `request_id` (else one is made); a call is repeated while the service is away."""

from collections.abc import Sequence
from typing import Any, TypedDict, TypeVar, Unpack

from shared.client.connection import Connection
from shared.client.generating import model_ref, new_id
from shared.client.reading import read
from shared.client.texts import (
    EmbedAnswer,
    QuestionsAnswer,
    RelationAnswer,
    RewriteAnswer,
    ScoreAnswer,
    TagAnswer,
    TokenizeAnswer,
)
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub

T = TypeVar("T")
Marked = tuple[str, tuple[int, int], tuple[int, int]]
"""A text with its head and tail, as (start, end) in characters."""


class Who(TypedDict, total=False):
    """Who shall answer, and the id of the request."""

    alias: str
    version: int
    request_id: str


class Bounds(TypedDict, total=False):
    """Of what is written: new tokens, beams (1 is greedy), the power of length that divides their scores."""

    max_tokens: int
    min_tokens: int
    num_beams: int
    length_penalty: float


class TextCalls:
    """Raises the errors of shared.errors."""

    _inference: Connection

    def tag(
        self, model: str, texts: str | Sequence[str] = (), *, words: Sequence[Sequence[str]] = (), **who: Unpack[Who]
    ) -> TagAnswer:
        """Entities of texts, or of texts that come cut into `words`."""
        cut = [pb.Words(words=one) for one in words]
        return self._ask_texts(
            TagAnswer, "TagTokens", pb.TagTokensRequest(texts=_several(texts), tokenised=cut), model, who
        )

    def relations(self, model: str, texts: Sequence[Marked], **who: Unpack[Who]) -> RelationAnswer:
        """The relation between the two spans of each text."""
        marked = [
            pb.MarkedText(text=text, head=pb.Span(start=head[0], end=head[1]), tail=pb.Span(start=tail[0], end=tail[1]))
            for text, head, tail in texts
        ]
        return self._ask_texts(RelationAnswer, "ExtractRelations", pb.ExtractRelationsRequest(texts=marked), model, who)

    def answer(
        self, model: str, question: str, *, context: str = "", candidates: Sequence[str] = (), **who: Unpack[Who]
    ) -> QuestionsAnswer:
        """The answer that stands in `context`, or the best of `candidates`."""
        asked = pb.Question(question=question, context=context, candidates=candidates)
        return self._ask_texts(
            QuestionsAnswer, "AnswerQuestion", pb.AnswerQuestionRequest(questions=[asked]), model, who
        )

    def embed(
        self, model: str, texts: str | Sequence[str], *, normalise: bool = True, **who: Unpack[Who]
    ) -> EmbedAnswer:
        """One vector a text, at length 1 unless told otherwise. `alias="base"` asks a pipeline's untouched encoder."""
        request = pb.EmbedRequest(texts=_several(texts), normalise=normalise)
        return self._ask_texts(EmbedAnswer, "Embed", request, model, who)

    def score(self, model: str, query: str, candidates: Sequence[str], **who: Unpack[Who]) -> ScoreAnswer:
        """How well each candidate fits the query."""
        return self._ask_texts(ScoreAnswer, "Score", pb.ScoreRequest(query=query, candidates=candidates), model, who)

    def translate(
        self,
        model: str,
        texts: str | Sequence[str],
        *,
        source: str = "",
        target: str = "",
        bounds: Bounds | None = None,
        **who: Unpack[Who],
    ) -> RewriteAnswer:
        """Texts in the language `target`; languages as the model names them."""
        request = pb.TranslateRequest(
            texts=_several(texts), source_language=source, target_language=target, rewriting=_bounds(bounds)
        )
        return self._ask_texts(RewriteAnswer, "Translate", request, model, who)

    def summarize(
        self, model: str, texts: str | Sequence[str], *, bounds: Bounds | None = None, **who: Unpack[Who]
    ) -> RewriteAnswer:
        """Texts made shorter."""
        request = pb.SummarizeRequest(texts=_several(texts), rewriting=_bounds(bounds))
        return self._ask_texts(RewriteAnswer, "Summarize", request, model, who)

    def tokenize(self, model: str, texts: str | Sequence[str], **who: Unpack[Who]) -> TokenizeAnswer:
        """Ids and pieces of each text."""
        request = pb.TokenizeRequest(texts=_several(texts))
        return self._ask_texts(TokenizeAnswer, "Tokenize", request, model, who)

    def _ask_texts(self, kind: type[T], method: str, request: Any, model: str, who: Who) -> T:
        request.model.CopyFrom(model_ref(model, who.get("alias", ""), who.get("version", 0)))
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = who.get("request_id") or new_id()
        stub = self._inference.stub(InferenceStub)
        return read(kind, self._inference.call(getattr(stub, method), request))


def _several(texts: str | Sequence[str]) -> Sequence[str]:
    return [texts] if isinstance(texts, str) else texts


def _bounds(bounds: Bounds | None) -> pb.Rewriting | None:
    return pb.Rewriting(**bounds) if bounds else None
