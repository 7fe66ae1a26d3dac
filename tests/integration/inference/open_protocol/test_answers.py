"""Tensors in, tensors out: every kind once, and everything that can be wrong with a request."""

import json
from functools import partial
from typing import Any

import grpc
import pytest

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2
from shared.contracts.generated.inference import grpc_service_pb2 as pb
from shared.contracts.generated.inference import model_config_pb2
from tests.integration.inference.open_protocol.asking import (
    Asker,
    add_input,
    asking,
    facts,
    packed,
    refused,
    tensors,
)
from tests.integration.inference.platform import Platform

INVALID = grpc.StatusCode.INVALID_ARGUMENT
TEXTS = ("a good film", "the quick brown fox jumps", "turn the key")


def ref(name: str) -> common_pb2.ModelRef:
    return common_pb2.ModelRef(name=name)


def test_the_server_tells_what_it_is(asker: Asker) -> None:
    assert asker.call("ServerLive", pb.ServerLiveRequest()).live
    assert asker.call("ServerReady", pb.ServerReadyRequest()).ready
    found = asker.call("ServerMetadata", pb.ServerMetadataRequest())
    assert found.name == "flywheel"
    assert found.version
    assert "model_repository" in found.extensions


def test_a_model_tells_its_tensors(asker: Asker) -> None:
    found = asker.call("ModelMetadata", pb.ModelMetadataRequest(name="classification"))
    assert (found.name, list(found.versions), found.platform) == ("classification", ["1"], "flywheel")
    assert [(one.name, one.datatype, list(one.shape)) for one in found.inputs] == [
        ("text_input", "BYTES", [-1]),
        ("text_pair", "BYTES", [-1]),
    ]
    assert [(one.name, one.datatype, list(one.shape)) for one in found.outputs] == [
        ("label", "BYTES", [-1]),
        ("score", "FP32", [-1]),
        ("probabilities", "FP32", [-1, -1]),
    ]


def test_the_configuration_says_which_models_stream(asker: Asker) -> None:
    chat = asker.call("ModelConfig", pb.ModelConfigRequest(name="chat")).config
    plain = asker.call("ModelConfig", pb.ModelConfigRequest(name="classification", version="1")).config
    assert chat.model_transaction_policy.decoupled
    assert not plain.model_transaction_policy.decoupled
    assert [one.optional for one in plain.input] == [False, True]
    assert plain.output[2].data_type == model_config_pb2.TYPE_FP32
    assert list(plain.output[2].dims) == [-1, -1]


def test_texts_are_classified_as_through_our_own_door(served: Platform, asker: Asker) -> None:
    answer = asker.infer(asking("classification", *TEXTS, id="mine"))
    ours = served.classify("classification", TEXTS)
    found, said = tensors(answer), facts(answer)
    assert answer.id == "mine"
    assert (answer.model_name, answer.model_version) == ("classification", "1")
    assert found["label"] == [one.labels[0].label for one in ours.results]
    assert found["score"] == pytest.approx([one.labels[0].score for one in ours.results], abs=1e-5)
    assert json.loads(said["given"]) == [[label] for label in found["label"]]
    names = json.loads(said["labels"])
    assert sorted(names) == ["bad", "good", "neutral"]
    for row, result in enumerate(ours.results):
        wanted = {one.label: one.score for one in result.labels}
        shares = dict(zip(names, found["probabilities"][3 * row : 3 * row + 3], strict=True))
        assert shares == pytest.approx(wanted, abs=1e-5)
    assert [list(one.shape) for one in answer.outputs] == [[3], [3], [3, 3]]


def test_answers_carry_their_lineage_and_can_be_explained(served: Platform, asker: Asker) -> None:
    for model in ("classification", "chat"):
        said = facts(asker.infer(asking(model, "a good film")))
        assert said["run"].startswith("run-")
        assert said["dataset_version"] == 1
        assert len(said["weights_digest"]) == 64
        assert said["total_seconds"] >= said["compute_seconds"] >= 0
        assert said["triton_final_response"] is True
        request = inference_pb2.ExplainResponseRequest(request_id=said["request_id"])
        assert served.inference.ExplainResponse(request, timeout=30).lineage.run == said["run"]


def test_pairs_come_as_two_tensors(served: Platform, asker: Asker) -> None:
    request = asking("classification", *TEXTS)
    add_input(request, "text_pair", TEXTS[::-1])
    pairs = [inference_pb2.TextPair(text=a, text_pair=b) for a, b in zip(TEXTS, TEXTS[::-1], strict=True)]
    ours = served.inference.Classify(
        inference_pb2.ClassifyRequest(model=ref("classification"), pairs=pairs), timeout=20
    )
    assert tensors(asker.infer(request))["label"] == [one.labels[0].label for one in ours.results]
    del request.inputs[1]
    add_input(request, "text_pair", TEXTS[:2])
    code, words = refused(lambda: asker.infer(request))
    assert (code, "text_pair has 2 elements and text_input 3" in words) == (INVALID, True)


def test_vectors_and_scores_and_entities_are_those_of_our_own_door(served: Platform, asker: Asker) -> None:
    answer = asker.infer(asking("embedding", *TEXTS, normalise=True))
    vectors = served.inference.Embed(
        inference_pb2.EmbedRequest(model=ref("embedding"), texts=TEXTS, normalise=True), timeout=20
    ).vectors
    width = len(vectors[0].values)
    assert list(answer.outputs[0].shape) == [3, width]
    assert tensors(answer)["embedding"] == pytest.approx([v for one in vectors for v in one.values], abs=1e-5)

    request = asking("ranking", *TEXTS)
    add_input(request, "query", ["the door"])
    scores = served.inference.Score(
        inference_pb2.ScoreRequest(model=ref("ranking"), query="the door", candidates=TEXTS), timeout=20
    ).scores
    assert tensors(asker.infer(request))["score"] == pytest.approx(list(scores), abs=1e-5)

    tagged = served.inference.TagTokens(
        inference_pb2.TagTokensRequest(model=ref("token_classification"), texts=TEXTS), timeout=20
    )
    entities = [json.loads(one) for one in tensors(asker.infer(asking("token_classification", *TEXTS)))["entities"]]
    ours = [[(e.label, e.start, e.end, e.text) for e in one.entities] for one in tagged.results]
    assert [[(e["label"], e["start"], e["end"], e["text"]) for e in one] for one in entities] == ours
    assert any(ours)


def test_texts_are_rewritten_within_bounds(served: Platform, asker: Asker) -> None:
    bounds = inference_pb2.Rewriting(max_tokens=6, num_beams=1)
    short = served.inference.Summarize(
        inference_pb2.SummarizeRequest(model=ref("summarisation"), texts=TEXTS, rewriting=bounds), timeout=30
    )
    answer = asker.infer(asking("summarisation", *TEXTS, max_tokens=6, num_beams=1))
    assert tensors(answer)["text_output"] == [one.text for one in short.results]
    assert facts(answer)["completion_tokens"] == short.usage.completion_tokens > 0

    german = asker.infer(
        asking("translation", *TEXTS, source_language="en", target_language="de", max_tokens=6, num_beams=1)
    )
    ours = served.inference.Translate(
        inference_pb2.TranslateRequest(
            model=ref("translation"), texts=TEXTS, source_language="en", target_language="de", rewriting=bounds
        ),
        timeout=30,
    )
    assert tensors(german)["text_output"] == [one.text for one in ours.results]
    code, words = refused(lambda: asker.infer(asking("translation", "a", source_language=1)))
    assert (code, words) == (INVALID, "parameters.source_language is 1; it must be a text")


def test_a_whole_text_obeys_its_parameters(asker: Asker) -> None:
    def answer(**parameters: Any) -> pb.ModelInferResponse:
        return asker.infer(asking("chat", "how was it?", **parameters))

    drawn = [answer(temperature=1.5, seed=7, max_tokens=9, ignore_eos=True) for _ in range(2)]
    assert tensors(drawn[0]) == tensors(drawn[1]) != tensors(answer(max_tokens=9, ignore_eos=True))
    assert (facts(drawn[0])["completion_tokens"], facts(drawn[0])["finish_reason"]) == (9, "length")
    assert tensors(answer(choices='["left", "right"]'))["text_output"][0] in ("left", "right")
    assert len(tensors(answer(regex="[ab]{4}", temperature=1))["text_output"][0]) == 4
    schema = json.dumps({"type": "object", "properties": {"x": {"enum": [1]}}, "required": ["x"]})
    assert json.loads(tensors(answer(json_schema=schema, max_tokens=60))["text_output"][0])["x"] == 1
    assert facts(answer(raw=True, max_tokens="3"))["prompt_tokens"] < facts(answer(max_tokens=3.0))["prompt_tokens"]
    assert facts(answer(system="be kind", max_tokens=1))["prompt_tokens"] > facts(answer(max_tokens=1))["prompt_tokens"]


def test_typed_raw_and_two_dimensional_tensors_mean_the_same(asker: Asker) -> None:
    wanted = tensors(asker.infer(asking("classification", *TEXTS)))
    raw = pb.ModelInferRequest(model_name="classification", raw_input_contents=[packed(*TEXTS)])
    one = raw.inputs.add(name="text_input", datatype="BYTES", shape=[3])
    assert tensors(asker.infer(raw)) == wanted
    one.shape[:] = [3, 1]
    assert tensors(asker.infer(raw)) == wanted


def test_only_the_tensors_that_are_wanted_come(asker: Asker) -> None:
    request = asking("classification", "a good film")
    request.outputs.add(name="label")
    assert list(tensors(asker.infer(request))) == ["label"]
    request.outputs.add(name="colour")
    assert refused(lambda: asker.infer(request))[1].startswith("no output tensor 'colour'")
    del request.outputs[1]
    request.outputs[0].parameters["classification"].int64_param = 3
    code, words = refused(lambda: asker.infer(request))
    assert (code, "'label' has the parameter 'classification'" in words) == (INVALID, True)


def _wrong_type(request: pb.ModelInferRequest) -> None:
    request.inputs[0].datatype = "FP32"


def _no_type(request: pb.ModelInferRequest) -> None:
    request.inputs[0].datatype = ""


def _too_long_shape(request: pb.ModelInferRequest) -> None:
    request.inputs[0].shape[:] = [2]


def _negative_shape(request: pb.ModelInferRequest) -> None:
    request.inputs[0].shape[:] = [-1, -1]


def _no_shape(request: pb.ModelInferRequest) -> None:
    del request.inputs[0].shape[:]


def _endless_shape(request: pb.ModelInferRequest) -> None:
    request.inputs[0].shape[:] = [2**62] * 200_000


def _other_elements(request: pb.ModelInferRequest) -> None:
    request.inputs[0].contents.Clear()
    request.inputs[0].contents.int_contents[:] = [1]


def _not_utf8(request: pb.ModelInferRequest) -> None:
    request.inputs[0].contents.bytes_contents[:] = [b"\xff\xfe"]


def _twice(request: pb.ModelInferRequest) -> None:
    request.inputs.append(request.inputs[0])


def _unknown(request: pb.ModelInferRequest) -> None:
    request.inputs[0].name = "txt"


def _nothing(request: pb.ModelInferRequest) -> None:
    del request.inputs[:]


def _empty(request: pb.ModelInferRequest) -> None:
    request.inputs[0].contents.bytes_contents[:] = [b" "]


def _no_elements(request: pb.ModelInferRequest) -> None:
    request.inputs[0].shape[:] = [0]
    del request.inputs[0].contents.bytes_contents[:]


def _raw_and_typed(request: pb.ModelInferRequest) -> None:
    request.raw_input_contents.append(packed("a"))


def _raw_for_more(request: pb.ModelInferRequest) -> None:
    request.raw_input_contents.extend([packed("a"), packed("b")])


def _unset_parameter(request: pb.ModelInferRequest) -> None:
    request.parameters["seed"].Clear()


def _bad_timeout(request: pb.ModelInferRequest) -> None:
    request.parameters["timeout"].string_param = "soon"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_wrong_type, "'text_input' has datatype 'FP32'; it must be BYTES"),
        (_no_type, "'text_input' has datatype ''"),
        (_too_long_shape, "'text_input' has shape [2] and 1 elements"),
        (_negative_shape, "'text_input' has shape [-1, -1] and 1 elements"),
        (_no_shape, "'text_input' has 0 dimensions; it must have 1 or 2"),
        (_endless_shape, "'text_input' has 200000 dimensions"),
        (_other_elements, "'text_input' has shape [1] and 0 elements"),
        (_not_utf8, "'text_input' is not UTF-8"),
        (_twice, "'text_input' is given twice"),
        (_unknown, "no input tensor 'txt'; model 'classification' takes ['text_input', 'text_pair']"),
        (_nothing, "the input tensor 'text_input' is missing"),
        (_empty, "texts[0] is empty"),
        (_no_elements, "texts is 0; it must be from 1 to 256"),
        (_raw_and_typed, "'text_input' has contents and raw contents"),
        (_raw_for_more, "raw_input_contents has 2 elements for 1 inputs"),
        (_unset_parameter, "parameters.seed has no value"),
        (_bad_timeout, "parameters.timeout is 'soon'; it must be a whole number"),
    ],
)
def test_a_malformed_request_is_refused_by_name(asker: Asker, spoil: Any, words: str) -> None:
    request = asking("classification", "a good film")
    spoil(request)
    code, details = refused(lambda: asker.infer(request))
    assert code is INVALID
    assert words in details


@pytest.mark.parametrize("raw", [b"\x05\x00\x00\x00a", b"\x01\x00", b"\xff\xff\xff\xffa"])
def test_raw_bytes_that_are_cut_short_are_refused(asker: Asker, raw: bytes) -> None:
    request = pb.ModelInferRequest(model_name="classification", raw_input_contents=[raw])
    request.inputs.add(name="text_input", datatype="BYTES", shape=[1])
    code, words = refused(lambda: asker.infer(request))
    assert (code, "raw contents of 'text_input' end inside" in words) == (INVALID, True)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"colour": "red"}, "no parameter 'colour'"),
        ({"temperature": "warm"}, "parameters.temperature is 'warm'; it must be a number"),
        ({"temperature": True}, "parameters.temperature is True; it must be a number"),
        ({"temperature": "nan"}, "sampling.temperature is nan"),
        ({"temperature": -1.0}, "sampling.temperature is -1"),
        ({"max_tokens": 1.5}, "parameters.max_tokens is 1.5; it must be a whole number"),
        ({"max_tokens": "1e3"}, "parameters.max_tokens is '1e3'; it must be a whole number"),
        ({"max_tokens": 0}, "stopping.max_tokens is 0"),
        ({"max_tokens": 2**62}, "stopping.max_tokens is"),
        ({"ignore_eos": "false"}, "parameters.ignore_eos is 'false'; it must be true or false"),
        ({"stop": 5}, "parameters.stop is 5; it must be a text"),
        ({"regex": "a", "choices": "b"}, "regex and choices are given; at most one may be"),
        ({"regex": "("}, "constraint.regex can't be followed"),
        ({"choices": ""}, "constraint.choices is 0"),
        ({"timeout": -1}, "parameters.timeout is -1"),
        ({"priority": 1000}, "priority is 1000"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_by_name(asker: Asker, parameters: dict[str, Any], words: str) -> None:
    code, details = refused(lambda: asker.infer(asking("chat", "how are you?", **parameters)))
    assert code is INVALID
    assert words in details


def test_a_model_that_is_asked_for_what_it_does_not_do_refuses(asker: Asker) -> None:
    two = refused(lambda: asker.infer(asking("chat", "a", "b")))
    assert two == (INVALID, "text_input has 2 elements; it must have 1")
    assert refused(lambda: asker.infer(asking("classification", "a", seed=1)))[0] is INVALID
    assert refused(lambda: asker.infer(asking("question_answering", "a")))[0] is INVALID


def test_a_model_is_named_by_number_or_alias(asker: Asker) -> None:
    for version in ("", "1", "champion"):
        assert asker.infer(asking("classification", "a", version=version)).model_version == "1"
    for version in ("one", "-1", "1.0", "²", "1" * 40, "\x00"):
        code, words = refused(partial(asker.infer, asking("classification", "a", version=version)))
        assert (code, "model_version is" in words) == (INVALID, True)
    assert refused(lambda: asker.infer(asking("classification", "a", version="7")))[0] is grpc.StatusCode.NOT_FOUND
    assert refused(lambda: asker.infer(asking("nobody", "a")))[0] is grpc.StatusCode.NOT_FOUND
    assert refused(lambda: asker.infer(asking("", "a")))[0] is INVALID
    no_candidate = refused(lambda: asker.infer(asking("classification", "a", version="candidate")))
    assert no_candidate[0] is grpc.StatusCode.FAILED_PRECONDITION


def test_a_model_is_ready_only_for_what_it_answers(asker: Asker) -> None:
    def ready(name: str, version: str = "") -> bool:
        return bool(asker.call("ModelReady", pb.ModelReadyRequest(name=name, version=version)).ready)

    assert ready("chat")
    assert ready("chat", "1")
    assert not ready("chat", "2")
    assert not ready("chat", "candidate")
    assert not ready("chat", "base")
    assert not ready("nobody")
    assert refused(lambda: ready("chat", "x"))[0] is INVALID


def test_a_timeout_in_microseconds_ends_a_long_answer(asker: Asker) -> None:
    request = asking("chat", "go on", max_tokens=400, ignore_eos=True, timeout=1)
    assert refused(lambda: asker.infer(request))[0] is grpc.StatusCode.DEADLINE_EXCEEDED


def test_statistics_count_what_was_answered(asker: Asker) -> None:
    def count(name: str, version: str = "") -> int:
        found = asker.call("ModelStatistics", pb.ModelStatisticsRequest(name=name, version=version)).model_stats
        assert all(one.name == name for one in found if name)
        return sum(one.inference_count for one in found)

    before, everything = count("ranking"), count("")
    request = asking("ranking", *TEXTS)
    add_input(request, "query", ["the door"])
    asker.infer(request)
    assert (count("ranking"), count("ranking", "1"), count("ranking", "2")) == (before + 1, before + 1, 0)
    assert (count("ranking", "champion"), count("ranking", "base")) == (before + 1, 0)
    assert count("") > everything
    (seen,) = asker.call("ModelStatistics", pb.ModelStatisticsRequest(name="ranking")).model_stats
    assert seen.inference_stats.success.ns == seen.inference_stats.queue.ns + seen.inference_stats.compute_infer.ns > 0
    assert seen.last_inference > 1_700_000_000_000
    assert refused(lambda: count("ranking", "x"))[0] is INVALID
