"""Models of all kinds asked in tensors: the Open Inference Protocol, without gRPC."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from services.inference.answering.answers import Times
from services.inference.answering.asking import Answered, Ask, Asking
from services.inference.answering.classifying import Classifying
from services.inference.answering.embedding import Embedding
from services.inference.answering.generating import Accepted, Finished, Generating
from services.inference.answering.parameters import Value, check_taken, generate_request, rewriting, truth, word
from services.inference.answering.questioning import Questioning
from services.inference.answering.relating import Relating
from services.inference.answering.requests import ModelRef
from services.inference.answering.rewriting import RewritingTexts, usage_of
from services.inference.answering.signatures import BYTES, FP32, INT64, SIGNATURES, Signature
from services.inference.answering.span_tensors import (
    answer_tensors,
    choice_of,
    choice_tensors,
    marked_of,
    questions_of,
    relation_tensors,
)
from services.inference.answering.tagging import Tagging
from services.inference.answering.tensor_messages import Call, Tensor, TensorAnswer, TensorRequest
from services.inference.engine.interface import FinishReason
from services.inference.kinds.capabilities import Rewritten
from shared.errors import Cancelled, DeadlineExceeded, FlywheelError, InvalidArgument, Unavailable
from shared.modeling.kinds.entities import Entity

TOKENS = ("prompt_tokens", "completion_tokens")


class Tensors:
    """Asks models of any kind that has a signature."""

    def __init__(self, asking: Asking, classifying: Classifying, generating: Generating) -> None:
        self._models = asking.models
        self._classifying = classifying
        self._generating = generating
        self._embedding = Embedding(asking)
        self._rewriting = RewritingTexts(asking)
        self._tagging = Tagging(asking)
        self._relating = Relating(asking)
        self._questioning = Questioning(asking)
        self._askers: Mapping[str, Callable[[TensorRequest, Ask], TensorAnswer]] = {
            "classification": self._classify,
            "embedding": self._embed,
            "ranking": self._rank,
            "token_classification": self._tag,
            "relation_extraction": self._relate,
            "question_answering": self._answer_questions,
            "answer_selection": self._select,
            "translation": self._translate,
            "summarisation": self._summarise,
        }

    def kind(self, model: ModelRef, deadline: float) -> str:
        """The model's kind, which has a signature. Raises as `Models.hold` does."""
        with self._models.hold_any(model, deadline) as (served, _):
            assert served.kind in SIGNATURES
            return served.kind

    def stream(self, request: TensorRequest, call: Call) -> Iterator[TensorAnswer]:
        """The parts of an answer as they come. Raises the errors of shared.errors."""
        kind = self.kind(request.model, call.deadline)
        _check_tensors(request, SIGNATURES[kind])
        if SIGNATURES[kind].streams:
            yield from self._generate(request, call)
            return
        found = self._askers[kind](request, Ask(request.model, "", call.deadline, call.on_gone))
        call.charge(sum(int(found.facts.get(name, 0)) for name in TOKENS))
        yield TensorAnswer(found.lineage, _wanted(request, found.outputs), found.facts)

    def whole(self, request: TensorRequest, call: Call) -> TensorAnswer:
        """The answer at once; the parts of a text joined."""
        *parts, last = self.stream(request, call)
        if not parts:
            return last
        text = "".join(str(part.outputs[0].values[0]) for part in (*parts, last))
        return TensorAnswer(last.lineage, [_text(text)], last.facts)

    def _generate(self, request: TensorRequest, call: Call) -> Iterator[TensorAnswer]:
        text = request.inputs["text_input"]
        if len(text) != 1:
            raise InvalidArgument(f"text_input has {len(text)} elements; it must have 1", field="text_input")
        wanted = generate_request(request.model, text[0], request.parameters)
        for event in self._generating.generate(wanted, call.deadline, call.on_gone, call.tenant):
            if isinstance(event, Accepted):
                lineage, named = event.lineage, {"request_id": event.request_id}
                call.charge(event.prompt_tokens)
            elif isinstance(event, Finished):
                _check_end(event)
                yield TensorAnswer(lineage, [_text("")], {**named, **_facts_of(event)}, final=True)
            else:
                call.charge(len(event.token_ids))
                if event.text:
                    yield TensorAnswer(lineage, [_text(event.text)], named, final=False)

    def _classify(self, request: TensorRequest, ask: Ask) -> TensorAnswer:
        texts, pairs = request.inputs["text_input"], request.inputs.get("text_pair")
        check_taken(request.parameters)
        if pairs is not None and len(pairs) != len(texts):
            raise InvalidArgument(f"text_pair has {len(pairs)} elements and text_input {len(texts)}", field="text_pair")
        joined = list(zip(texts, pairs, strict=True)) if pairs is not None else []
        found = self._classifying.classify(ask.model, [] if joined else texts, 0, "", ask.deadline, ask.on_gone, joined)
        names = sorted(label for label, _ in found.results[0])
        rows = [dict(labels) for labels in found.results]
        outputs = [
            Tensor("label", BYTES, (len(rows),), [labels[0][0] for labels in found.results]),
            Tensor("score", FP32, (len(rows),), [labels[0][1] for labels in found.results]),
            Tensor("probabilities", FP32, (len(rows), len(names)), [row[name] for row in rows for name in names]),
        ]
        facts: dict[str, Value] = {
            "labels": json.dumps(names, ensure_ascii=False),
            "given": json.dumps(found.given, ensure_ascii=False),
            **_times(found.times),
        }
        return TensorAnswer(found.lineage, outputs, {"request_id": found.request_id, **facts})

    def _embed(self, request: TensorRequest, ask: Ask) -> TensorAnswer:
        left = dict(request.parameters)
        normalised = truth(left, "normalise")
        check_taken(left)
        found = self._embedding.embed(ask, request.inputs["text_input"], normalised)
        width = len(found.result[0])
        values = [float(value) for vector in found.result for value in vector]
        return _answer(found, [Tensor("embedding", FP32, (len(found.result), width), values)])

    def _rank(self, request: TensorRequest, ask: Ask) -> TensorAnswer:
        query = request.inputs["query"]
        if len(query) != 1:
            raise InvalidArgument(f"query has {len(query)} elements; it must have 1", field="query")
        check_taken(request.parameters)
        found = self._embedding.score(ask, query[0], request.inputs["text_input"])
        return _answer(found, [Tensor("score", FP32, (len(found.result),), found.result)])

    def _tag(self, request: TensorRequest, ask: Ask) -> TensorAnswer:
        check_taken(request.parameters)
        texts = request.inputs["text_input"]
        found = self._tagging.tag(ask, texts, ())
        entities = [_entities(text, result) for text, result in zip(texts, found.result, strict=True)]
        return _answer(found, [Tensor("entities", BYTES, (len(texts),), entities)])

    def _relate(self, request: TensorRequest, ask: Ask) -> TensorAnswer:
        check_taken(request.parameters)
        found = self._relating.relate(ask, marked_of(request))
        return _answer(found, relation_tensors(found.result))

    def _answer_questions(self, request: TensorRequest, ask: Ask) -> TensorAnswer:
        check_taken(request.parameters)
        found = self._questioning.answer(ask, questions_of(request))
        return _answer(found, answer_tensors(found.result))

    def _select(self, request: TensorRequest, ask: Ask) -> TensorAnswer:
        check_taken(request.parameters)
        found = self._questioning.answer(ask, [choice_of(request)])
        return _answer(found, choice_tensors(found.result[0]))

    def _translate(self, request: TensorRequest, ask: Ask) -> TensorAnswer:
        left = dict(request.parameters)
        languages = word(left, "source_language"), word(left, "target_language")
        found = self._rewriting.translate(ask, request.inputs["text_input"], languages, rewriting(left))
        return _rewritten(found)

    def _summarise(self, request: TensorRequest, ask: Ask) -> TensorAnswer:
        return _rewritten(self._rewriting.summarise(ask, request.inputs["text_input"], rewriting(request.parameters)))


def _check_tensors(request: TensorRequest, signature: Signature) -> None:
    """Raises InvalidArgument naming the tensor that is missing, unknown or of another type."""
    given_types = {**dict.fromkeys(request.inputs, BYTES), **dict.fromkeys(request.numbers, INT64)}
    names = [spec.name for spec in signature.inputs]
    for name in given_types:
        if name not in names:
            raise InvalidArgument(f"no input tensor {name!r}; model {request.model.name!r} takes {names}", field=name)
    for spec in signature.inputs:
        datatype = given_types.get(spec.name)
        if datatype is None and not spec.optional:
            raise InvalidArgument(f"the input tensor {spec.name!r} is missing", field=spec.name)
        if datatype not in (None, spec.datatype):
            raise InvalidArgument(
                f"the input tensor {spec.name!r} has datatype {datatype!r}; it must be {spec.datatype}", field=spec.name
            )
    given = [spec.name for spec in signature.outputs]
    for name in request.outputs:
        if name not in given:
            raise InvalidArgument(f"no output tensor {name!r}; model {request.model.name!r} gives {given}", field=name)


def _wanted(request: TensorRequest, outputs: Sequence[Tensor]) -> list[Tensor]:
    return [one for one in outputs if not request.outputs or one.name in request.outputs]


def _check_end(event: Finished) -> None:
    """A text that was cut short is an error here: there is no other word for it in the protocol."""
    match event.reason:
        case FinishReason.DEADLINE:
            raise DeadlineExceeded("the deadline passed before the text was complete")
        case FinishReason.CANCELLED:
            raise Cancelled("the request was cancelled")
        case FinishReason.ERROR:
            raise (
                Unavailable(f"the engine failed: {event.error}") if event.error else FlywheelError("the engine failed")
            )


def _text(text: str) -> Tensor:
    return Tensor("text_output", BYTES, (1,), [text])


def _facts_of(event: Finished) -> dict[str, Value]:
    usage = event.usage
    return {
        "finish_reason": str(event.reason),
        **dict(zip(TOKENS, (usage.prompt_tokens, usage.completion_tokens), strict=True)),
        "cached_tokens": usage.cached_tokens,
        **({} if event.seed is None else {"seed": event.seed}),
        **_times(event.times),
    }


def _times(times: Times) -> dict[str, Value]:
    return {"queue_seconds": times.queue, "compute_seconds": times.compute, "total_seconds": times.total}


def _answer(found: Answered[Any], outputs: Sequence[Tensor]) -> TensorAnswer:
    return TensorAnswer(found.lineage, outputs, {"request_id": found.request_id, **_times(found.times)})


def _entities(text: str, found: Sequence[Entity]) -> str:
    return json.dumps([{**asdict(one), "text": text[one.start : one.end]} for one in found], ensure_ascii=False)


def _rewritten(found: Answered[list[Rewritten]]) -> TensorAnswer:
    texts, usage = found.result, usage_of(found.result)
    outputs = [
        Tensor("text_output", BYTES, (len(texts),), [one.text for one in texts]),
        Tensor("score", FP32, (len(texts),), [one.score for one in texts]),
    ]
    answer = _answer(found, outputs)
    used: dict[str, Value] = dict(zip(TOKENS, (usage.prompt_tokens, usage.completion_tokens), strict=True))
    return replace(answer, facts={**answer.facts, **used})
