"""Everything that a request for text may ask, through the door and the client."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from shared.client.client import FlywheelClient
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.errors import InvalidArgument
from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from shared.storage.tables import Answer, Base
from tests.integration.inference.platform import Platform, text_of
from tests.support.wait import eventually

SCHEMA = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}, "stars": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["mood", "stars"],
    "additionalProperties": False,
}
LONG = pb.Stopping(max_tokens=12, ignore_eos=True)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A chat model `helper` at version 1."""
    folder: Path = tmp_path_factory.mktemp("generating")
    database = Database(f"sqlite:///{folder / 'flywheel.db'}")
    Base.metadata.create_all(database.engine)
    quiet_libraries()
    platform = Platform(folder, database)
    platform.declare("helper", "chat")
    platform.point("helper", platform.add_version("helper", "chat", seed=1))
    platform.start()
    eventually(lambda: platform.holds("helper", 1))
    yield platform
    platform.close()
    database.close()


@pytest.fixture(scope="module")
def client(served: Platform) -> Iterator[FlywheelClient]:
    assert served.application is not None
    with FlywheelClient(inference=served.application.address) as made:
        yield made


def refused(platform: Platform, **fields: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        list(platform.generate(**fields))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return str(caught.value.details())


def chunks(events: list[pb.GenerateResponse]) -> list[pb.TokenChunk]:
    return [event.chunk for event in events if event.WhichOneof("event") == "chunk"]


def texts(events: list[pb.GenerateResponse], count: int) -> list[str]:
    made = [""] * count
    for chunk in chunks(events):
        made[chunk.index] += chunk.text
    return made


def test_several_answers_come_by_index_and_end_one_by_one(served: Platform) -> None:
    sampling = pb.Sampling(temperature=1.5, seed=7)
    events = list(served.generate(n=4, sampling=sampling, stopping=LONG))
    finished = events[-1].finished
    made = texts(events, 4)
    assert len(set(made)) == 4
    assert [one.index for one in finished.candidates] == [0, 1, 2, 3]
    assert {one.reason for one in finished.candidates} == {pb.FINISH_REASON_LENGTH}
    assert [one.completion_tokens for one in finished.candidates] == [12] * 4
    assert finished.usage.completion_tokens == 48
    assert texts(list(served.generate(n=4, sampling=sampling, stopping=LONG)), 4) == made
    assert text_of(list(served.generate(sampling=sampling, stopping=LONG))) == made[0]


def test_the_log_of_answers_keeps_the_first_of_several(served: Platform) -> None:
    stopping = pb.Stopping(max_tokens=6, ignore_eos=True)
    fields: dict[str, Any] = {
        "n": 3,
        "sampling": pb.Sampling(temperature=2, seed=1),
        "stopping": stopping,
        "echo": True,
    }
    events = list(served.generate(request_id="kept-first", **fields))
    answer = "".join(chunk.text for chunk in chunks(events) if chunk.index == 0 and not chunk.echo)
    found = served.inference.ExplainResponse(pb.ExplainResponseRequest(request_id="kept-first"), timeout=30)
    assert found.method == "Generate"

    def stored() -> object:
        with served.database.read() as session:
            kept = session.get(Answer, ("kept-first", ""))
            return kept and kept.output["text"]

    eventually(lambda: stored() == answer)


def test_an_echoed_prompt_comes_first_with_its_log_probabilities(served: Platform) -> None:
    events = list(served.generate(echo=True, logprobs=2, stopping=LONG))
    first, *rest = chunks(events)
    assert first.echo
    assert "how do I open the door?" in first.text
    assert len(first.token_ids) == len(first.logprobs) == events[0].accepted.prompt_tokens
    assert not first.logprobs[0].HasField("logprob")
    assert not any(chunk.echo for chunk in rest)
    for entry in [*first.logprobs[1:], *(entry for chunk in rest for entry in chunk.logprobs)]:
        assert entry.logprob <= 0
        assert len(entry.alternatives) == 2
        assert entry.alternatives[0].logprob >= max(entry.alternatives[1].logprob, entry.logprob)
    greedy = [entry for chunk in rest for entry in chunk.logprobs]
    assert len(greedy) == 12
    assert all(entry.token_id == entry.alternatives[0].token_id for entry in greedy)
    assert all(entry.text == entry.alternatives[0].text for entry in greedy)
    score = events[-1].finished.candidates[0].score
    assert score == pytest.approx(sum(entry.logprob for entry in greedy), abs=1e-3)


def test_log_probabilities_are_absent_unless_asked_for_and_zero_alternatives_are_none(served: Platform) -> None:
    assert not any(chunk.logprobs for chunk in chunks(list(served.generate(stopping=LONG))))
    entries = [e for chunk in chunks(list(served.generate(stopping=LONG, logprobs=0))) for e in chunk.logprobs]
    assert len(entries) == 12
    assert not any(entry.alternatives for entry in entries)


def test_a_seed_that_the_server_drew_repeats_the_answer(served: Platform) -> None:
    first = list(served.generate(n=2, sampling=pb.Sampling(temperature=1.5), stopping=LONG))
    other = list(served.generate(n=2, sampling=pb.Sampling(temperature=1.5), stopping=LONG))
    assert first[-1].finished.seed != other[-1].finished.seed
    same = pb.Sampling(temperature=1.5, seed=first[-1].finished.seed)
    again = list(served.generate(n=2, sampling=same, stopping=LONG))
    assert texts(again, 2) == texts(first, 2)
    assert again[-1].finished.seed == same.seed
    greedy = list(served.generate(sampling=pb.Sampling(seed=5), stopping=LONG))
    assert not greedy[-1].finished.HasField("seed")


@pytest.mark.parametrize("seed", range(4))
def test_answers_follow_their_constraint(served: Platform, seed: int) -> None:
    sampling = pb.Sampling(temperature=2, seed=seed)

    def text(constraint: pb.Constraint) -> str:
        events = list(served.generate(constraint=constraint, sampling=sampling, stopping=pb.Stopping(max_tokens=200)))
        assert events[-1].finished.reason in (pb.FINISH_REASON_EOS, pb.FINISH_REASON_STOP)
        return text_of(events)

    made = json.loads(text(pb.Constraint(json_schema=json.dumps(SCHEMA))))
    assert set(made) == {"mood", "stars"}
    assert made["mood"] in ("good", "bad")
    assert 1 <= made["stars"] <= 5
    assert re.fullmatch("[a-c]{2}-[0-9]{3}", text(pb.Constraint(regex="[a-c]{2}-[0-9]{3}")))
    assert text(pb.Constraint(choices=pb.Choices(choices=["left", "right"]))) in ("left", "right")
    assert set(text(pb.Constraint(lark='start: "ab"~2..4'))) == {"a", "b"}


def test_bad_constraints_name_their_field(served: Platform) -> None:
    for constraint, words in (
        (pb.Constraint(json_schema='{"type": '), "constraint.json_schema is not JSON"),
        (pb.Constraint(json_schema='{"x": "' + "y" * (1 << 20) + '"}'), "constraint.json_schema has"),
        (pb.Constraint(regex="(unclosed"), "constraint.regex can't be followed"),
        (pb.Constraint(regex="(a+)+" * 1000), "constraint.regex has 5000 bytes"),
        (pb.Constraint(choices=pb.Choices()), "constraint.choices is 0"),
        (pb.Constraint(lark="start: ["), "constraint.lark can't be followed"),
        (pb.Constraint(lark=""), "constraint.lark is empty"),
    ):
        assert words in refused(served, constraint=constraint)
    assert "min_tokens" in refused(
        served, constraint=pb.Constraint(regex="a"), stopping=pb.Stopping(max_tokens=5, min_tokens=2)
    )


def test_tokens_that_the_model_does_not_have_are_refused(served: Platform) -> None:
    assert "sampling.logit_bias has token id 99999" in refused(served, sampling=pb.Sampling(logit_bias={99999: 1}))
    assert "sampling.logit_bias has token id -5" in refused(served, sampling=pb.Sampling(logit_bias={-5: 1}))
    stopping = pb.Stopping(stop_token_ids=[99999], min_tokens=1)
    assert "stopping.stop_token_ids has token id 99999" in refused(served, stopping=stopping)


def test_bias_and_penalties_change_what_is_said(served: Platform) -> None:
    plain = [token for chunk in chunks(list(served.generate(stopping=LONG))) for token in chunk.token_ids]
    banned = pb.Sampling(logit_bias={plain[0]: -100})
    others = [t for chunk in chunks(list(served.generate(stopping=LONG, sampling=banned))) for t in chunk.token_ids]
    assert plain[0] not in others
    once = pb.Sampling(presence_penalty=2, frequency_penalty=2, repetition_penalty=50)
    spread = [t for chunk in chunks(list(served.generate(stopping=LONG, sampling=once))) for t in chunk.token_ids]
    assert len(set(spread)) == 12


def test_a_repeated_prompt_is_taken_from_the_cache_unless_salted(served: Platform) -> None:
    question = "why does the door not open when I turn the key to the left side of it? " * 3
    first, second = (list(served.generate(question, stopping=LONG, cache_salt="a"))[-1].finished for _ in range(2))
    other = list(served.generate(question, stopping=LONG, cache_salt="b"))[-1].finished
    assert (first.usage.cached_tokens, other.usage.cached_tokens) == (0, 0)
    assert 0 < second.usage.cached_tokens < second.usage.prompt_tokens


def test_beams_give_their_best_first_with_scores(served: Platform) -> None:
    sampling = pb.Sampling(num_beams=3)
    events = list(served.generate(sampling=sampling, n=2, stopping=pb.Stopping(max_tokens=6)))
    best, second = events[-1].finished.candidates
    assert best.score >= second.score
    assert texts(events, 2)[0] != texts(events, 2)[1]


def test_the_client_gathers_answers_log_probabilities_and_reasons(client: FlywheelClient) -> None:
    asked = client.generate(
        "helper", "the door", n=3, logprobs=1, echo=True, temperature=1.5, seed=3, max_tokens=5, priority=2
    )
    first = asked.read_all()
    assert asked.prompt.text == "the door"
    assert len(asked.prompt.logprobs) == len(asked.prompt.token_ids)
    assert asked.answers[0].text == asked.text == first
    assert all(len(answer.logprobs) == len(answer.token_ids) > 0 for answer in asked.answers)
    assert {answer.reason for answer in asked.answers} <= {"length", "eos"}
    assert asked.finished is not None
    for answer, candidate in zip(asked.answers, asked.finished.candidates, strict=True):
        assert answer.score == candidate.score
        assert candidate.score == pytest.approx(sum(entry.logprob or 0 for entry in answer.logprobs), abs=1e-3)


def test_the_client_takes_a_schema_as_a_mapping(client: FlywheelClient) -> None:
    made = json.loads(client.chat("helper", "how was it?", json_schema=SCHEMA, temperature=1.0, seed=5).read_all())
    assert set(made) == {"mood", "stars"}
    assert client.generate("helper", "go", choices=("left", "right")).read_all() in ("left", "right")
    assert re.fullmatch("[xy]{3}", client.generate("helper", "go", regex="[xy]{3}").read_all())
    with pytest.raises(ValueError, match="give one of regex and choices"):
        client.generate("helper", "go", regex="a", choices=["b"])
    with pytest.raises(InvalidArgument, match=r"constraint\.regex"):
        client.generate("helper", "go", regex="(").read_all()


def test_versions_are_named_by_reference_too(served: Platform) -> None:
    reference = common_pb2.ModelRef(name="helper", version=1)
    assert text_of(list(served.generate(reference=reference, stopping=LONG))) == text_of(
        list(served.generate(stopping=LONG))
    )
