"""Relations, answers in a context and choices through the Open Inference Protocol."""

import struct

import grpc
import pytest

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2
from shared.contracts.generated.inference import grpc_service_pb2 as pb
from tests.integration.inference.open_protocol.asking import (
    Asker,
    add_input,
    add_numbers,
    asking,
    packed,
    refused,
    tensors,
)
from tests.integration.inference.platform import Platform

INVALID = grpc.StatusCode.INVALID_ARGUMENT
TEXTS = ("turn the key and push the door", "the lazy dog sleeps")
HEADS, TAILS = ((9, 12), (4, 8)), ((26, 30), (9, 12))
QUESTIONS = ("what is the price?", "who sleeps?")
CONTEXTS = ("it is ten coins for one and fifteen coins for two", "the lazy dog sleeps. " * 40)
CANDIDATES = ("ten coins", "turn the key", "great service")
DIRECTIONS = ("none", "head_to_tail", "tail_to_head")


def ref(name: str) -> common_pb2.ModelRef:
    return common_pb2.ModelRef(name=name)


def marked() -> pb.ModelInferRequest:
    request = asking("relation_extraction", *TEXTS)
    add_numbers(request, "head", [2, 2], *HEADS[0], *HEADS[1])
    add_numbers(request, "tail", [2, 2], *TAILS[0], *TAILS[1])
    return request


def span(ends: tuple[int, int]) -> inference_pb2.Span:
    return inference_pb2.Span(start=ends[0], end=ends[1])


def questions(*texts: str) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="question_answering")
    add_input(request, "question", texts)
    add_input(request, "context", CONTEXTS)
    return request


def test_relations_are_those_of_our_own_door(served: Platform, asker: Asker) -> None:
    texts = [
        inference_pb2.MarkedText(text=text, head=span(head), tail=span(tail))
        for text, head, tail in zip(TEXTS, HEADS, TAILS, strict=True)
    ]
    request = inference_pb2.ExtractRelationsRequest(model=ref("relation_extraction"), texts=texts)
    ours = served.inference.ExtractRelations(request, timeout=30).results
    found = tensors(asker.infer(marked()))
    assert found["label"] == [one.label for one in ours]
    assert found["score"] == pytest.approx([one.score for one in ours], abs=1e-5)
    assert found["direction"] == [DIRECTIONS[one.direction] for one in ours]


def test_spans_may_come_raw(asker: Asker) -> None:
    typed = marked()
    raw = pb.ModelInferRequest(model_name="relation_extraction")
    for one in typed.inputs:
        raw.inputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
    raw.raw_input_contents.append(packed(*TEXTS))
    for ends in (HEADS, TAILS):
        raw.raw_input_contents.append(struct.pack("<4q", *ends[0], *ends[1]))
    assert tensors(asker.infer(raw)) == tensors(asker.infer(typed))
    raw.raw_input_contents[1] = raw.raw_input_contents[1][:-1]
    assert refused(lambda: asker.infer(raw)) == (INVALID, "the raw contents of 'head' end inside a number")


def test_answers_stand_where_they_do_for_our_own_door(served: Platform, asker: Asker) -> None:
    asked = [inference_pb2.Question(question=q, context=c) for q, c in zip(QUESTIONS, CONTEXTS, strict=True)]
    request = inference_pb2.AnswerQuestionRequest(model=ref("question_answering"), questions=asked)
    ours = served.inference.AnswerQuestion(request, timeout=30).answers
    answer = asker.infer(questions(*QUESTIONS))
    found = tensors(answer)
    assert found["answer"] == [one.text for one in ours]
    assert found["score"] == pytest.approx([one.score for one in ours], abs=1e-5)
    assert found["no_answer"] == pytest.approx([one.no_answer for one in ours], abs=1e-5)
    assert found["span"] == [end for one in ours for end in (one.span.start, one.span.end)]
    assert {one.name: list(one.shape) for one in answer.outputs}["span"] == [2, 2]


def test_the_best_candidate_answers(served: Platform, asker: Asker) -> None:
    asked = inference_pb2.Question(question=QUESTIONS[0], candidates=CANDIDATES)
    request = inference_pb2.AnswerQuestionRequest(model=ref("answer_selection"), questions=[asked])
    (ours,) = served.inference.AnswerQuestion(request, timeout=30).answers
    choice = asking("answer_selection", *CANDIDATES)
    add_input(choice, "question", QUESTIONS[:1])
    found = tensors(asker.infer(choice))
    assert (found["answer"], found["candidate"]) == ([ours.text], [ours.candidate])
    assert found["score"] == pytest.approx(list(ours.candidate_scores), abs=1e-5)
    choice.inputs[1].contents.bytes_contents.append(b"and who?")
    choice.inputs[1].shape[0] = 2
    assert refused(lambda: asker.infer(choice)) == (INVALID, "question has 2 elements; it must have 1")


def test_a_span_that_cannot_be_is_refused_by_name(asker: Asker) -> None:
    few = asking("relation_extraction", *TEXTS)
    add_numbers(few, "head", [2], *HEADS[0])
    add_numbers(few, "tail", [2, 2], *TAILS[0], *TAILS[1])
    code, words = refused(lambda: asker.infer(few))
    assert (code, words) == (INVALID, "head has 2 elements for 2 texts; each text has a start and an end")
    outside = marked()
    outside.inputs[1].contents.int64_contents[1] = 400
    assert "texts[0].head is 9 to 400" in refused(lambda: asker.infer(outside))[1]
    words_for_numbers = asking("relation_extraction", *TEXTS)
    add_input(words_for_numbers, "head", ["9", "12"])
    add_numbers(words_for_numbers, "tail", [2, 2], *TAILS[0], *TAILS[1])
    assert "'head' has datatype 'BYTES'; it must be INT64" in refused(lambda: asker.infer(words_for_numbers))[1]
    alone = asking("relation_extraction", *TEXTS)
    assert refused(lambda: asker.infer(alone)) == (INVALID, "the input tensor 'head' is missing")
    numbers_for_words = pb.ModelInferRequest(model_name="chat")
    add_numbers(numbers_for_words, "text_input", [1], 5)
    assert "'text_input' has datatype 'INT64'; it must be BYTES" in refused(lambda: asker.infer(numbers_for_words))[1]
    assert "context has 2 elements and question 1" in refused(lambda: asker.infer(questions("who?")))[1]
