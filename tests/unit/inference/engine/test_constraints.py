"""Answers of a model of random weights, garbage otherwise, follow whatever grammar they are given."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import date
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.engine.compute import ComputeThread
from services.inference.engine.constraints import Grammars, allowed
from services.inference.engine.interface import Constraint, FinishReason, GenerationRequest, Output, Sampling, Stopping
from services.inference.engine.penalties import Row, adjust_all
from services.inference.engine.scheduler import Limits
from services.inference.engine.torch_engine import TorchEngine
from services.inference.kinds.generation import forward_for
from shared.errors import InvalidArgument, ResourceExhausted, Unsupported
from tests.unit.inference.engine.conftest import EOS, Make, chunks_of, end_of, text_of
from tests.unit.inference.engine.tiny import byte_tokenizer, tiny

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "maxItems": 3},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
SHAPES: list[tuple[dict[str, Any], Callable[[Any], bool]]] = [
    (
        PERSON,
        lambda made: (
            {"name", "age"} <= set(made) <= {"name", "age", "tags"}
            and len(made["name"]) <= 12
            and 0 <= made["age"] <= 130
            and set(made.get("tags", [])) <= {"a", "b", "c"}
        ),
    ),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 5}, lambda made: 2 <= len(made) <= 5),
    ({"enum": ["yes", "no", None, 3]}, lambda made: made in ("yes", "no", None, 3)),
    ({"type": "string", "format": "date"}, lambda made: date.fromisoformat(made).isoformat() == made),
    (
        {"type": "integer", "multipleOf": 7, "minimum": -99, "maximum": 99},
        lambda made: made % 7 == 0 and abs(made) <= 99,
    ),
    (
        {
            "$defs": {"node": {"type": "object", "properties": {"v": {"type": "boolean"}}, "required": ["v"]}},
            "anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}],
        },
        lambda made: made is None or isinstance(made["v"], bool),
    ),
]
SHORT = (2, 3, 4)  # places of those that always fit the tokens given
DONE = (FinishReason.EOS, FinishReason.STOP)


def wanted(constraint: Constraint, name: str = "one", tokens: int = 150, **fields: Any) -> GenerationRequest:
    return GenerationRequest(
        name, (1, 2, 3), constraint=constraint, **{"stopping": Stopping(max_tokens=tokens), **fields}
    )


@pytest.fixture(scope="module")
def engine(compute: ComputeThread) -> Iterator[TorchEngine]:
    bounds = Limits(slots=4, max_length=256, busy_chunk=16, idle_chunk=32)
    made = TorchEngine(forward_for(tiny("llama"), bounds), byte_tokenizer(), frozenset({EOS}), bounds, compute)
    yield made
    made.close()


@settings(max_examples=40)
@given(shape=st.sampled_from(range(len(SHAPES))), seed=st.integers(0, 10_000), heat=st.sampled_from([0.0, 1.0, 3.0]))
def test_every_whole_answer_is_json_of_the_schema(engine: TorchEngine, shape: int, seed: int, heat: float) -> None:
    schema, holds = SHAPES[shape]
    sampling = Sampling(temperature=heat, seed=seed)
    outputs = list(engine.submit(wanted(Constraint(json_schema=json.dumps(schema)), sampling=sampling)))
    text = text_of(outputs)
    if end_of(outputs).reason is FinishReason.LENGTH:
        assert shape not in SHORT
    else:
        assert end_of(outputs).reason in DONE
        assert holds(json.loads(text)), text


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("regex", [r"[0-9]{3}-[a-f]{2,4}", r"(ja|nein)!?", r"^(a|bc)*d$", "[α-ω]{3}😀"])
def test_a_whole_answer_matches_the_regex(engine: TorchEngine, regex: str, seed: int) -> None:
    sampling = Sampling(temperature=2.0, seed=seed)
    outputs = list(engine.submit(wanted(Constraint(regex=regex), sampling=sampling)))
    assert end_of(outputs).reason in DONE
    assert re.fullmatch(regex, text_of(outputs))


def test_choices_are_all_reached_also_where_one_begins_another(engine: TorchEngine) -> None:
    choices = ("yes", "yes please", 'sa"y \\n', "你好")
    seen = {
        text_of(list(engine.submit(wanted(Constraint(choices=choices), sampling=Sampling(temperature=3.0, seed=seed)))))
        for seed in range(60)
    }
    assert seen == set(choices)


def test_a_lark_grammar_balances_what_no_regex_can(engine: TorchEngine) -> None:
    grammar = 'start: "(" start ")" | "x"'
    for seed in range(8):
        sampling = Sampling(temperature=1.5, seed=seed)
        outputs = list(engine.submit(wanted(Constraint(lark=grammar), sampling=sampling)))
        text = text_of(outputs)
        if end_of(outputs).reason in DONE:
            half = len(text) // 2
            assert text == "(" * half + "x" + ")" * half


def test_the_end_token_comes_only_where_the_grammar_may_end(engine: TorchEngine) -> None:
    """However much it is wished for."""
    sampling = Sampling(logit_bias={EOS: 100.0})
    outputs = list(engine.submit(wanted(Constraint(regex="[ab]{5}[0-9]*"), sampling=sampling)))
    assert end_of(outputs).reason is FinishReason.EOS
    assert re.fullmatch("[ab]{5}", text_of(outputs))


def test_each_of_n_answers_follows_the_grammar_at_its_own_place(engine: TorchEngine) -> None:
    request = wanted(Constraint(regex="[0-9]{4}(x|yy)"), n=5, sampling=Sampling(temperature=2.0, seed=3))
    outputs = list(engine.submit(request))
    texts = by_index(outputs)
    assert all(re.fullmatch("[0-9]{4}(x|yy)", text) for text in texts)
    assert len(set(texts)) > 1
    assert by_index(list(engine.submit(replace(request, id="two")))) == texts


def by_index(outputs: list[Output]) -> list[str]:
    texts = [""] * 5
    for chunk in chunks_of(outputs):
        texts[chunk.index] += chunk.text
    return texts


def test_a_stop_string_ends_a_constrained_answer(engine: TorchEngine) -> None:
    stopping = Stopping(max_tokens=40, stop=("77",))
    outputs = list(engine.submit(wanted(Constraint(regex="7{20}"), stopping=stopping)))
    assert (text_of(outputs), end_of(outputs).reason) == ("", FinishReason.STOP)


def test_a_constrained_answer_does_not_bind_those_beside_it(engine_of: Make) -> None:
    engine = engine_of()
    free = GenerationRequest("free", (5, 6, 7), stopping=Stopping(max_tokens=30, ignore_eos=True))
    alone = text_of(list(engine.submit(free)))
    bound = engine.submit(wanted(Constraint(regex="[0-9]{40}")))
    assert text_of(list(engine.submit(free))) == alone
    assert re.fullmatch("[0-9]{40}", text_of(list(bound)))


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        (Constraint(json_schema="{"), "json_schema is not JSON"),
        (Constraint(json_schema="[1]"), "json_schema is not a JSON object"),
        (Constraint(json_schema='{"type": 5}'), "json_schema can't be followed: type must be"),
        (Constraint(json_schema='{"enum": []}'), "json_schema can't be followed: Unsatisfiable"),
        (Constraint(json_schema='{"$ref": "#"}'), "json_schema can't be followed: nothing satisfies it"),
        (Constraint(json_schema='{"type": "string", "format": "wat"}'), "Unknown format: wat"),
        (Constraint(json_schema='{"a":' * 5000 + "1" + "}" * 5000), "json_schema is nested too deeply"),
        (Constraint(regex="("), "regex can't be followed: .*unclosed group"),
        (Constraint(regex="(?=a)b"), "look-around"),
        (Constraint(lark="start: missing"), "lark can't be followed: .*unknown name"),
        (Constraint(lark='start: %json {"type": "integer", "multipleOf": 99999999}'), "lark contains %json"),
    ],
)
def test_what_is_malformed_is_refused_by_name_before_it_is_queued(
    engine: TorchEngine, constraint: Constraint, words: str
) -> None:
    with pytest.raises(InvalidArgument, match=f"(?s){words}"):
        engine.submit(wanted(constraint))
    assert engine.load().idle


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint(json_schema='{"type": "integer", "multipleOf": 99999989}'),
        Constraint(json_schema='{"allOf": [{"multipleOf": 9973}, {"multipleOf": 9967}], "type": "integer"}'),
        Constraint(json_schema=json.dumps({"allOf": [{"anyOf": [{"pattern": f"a{n}{m}.*"} for m in range(5)]} for n in range(99)]})),
    ],
)  # fmt: skip
def test_what_would_take_for_ever_to_compile_is_refused_soon(engine: TorchEngine, constraint: Constraint) -> None:
    began = time.monotonic()
    with pytest.raises((InvalidArgument, ResourceExhausted)):
        engine.submit(wanted(constraint))
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "regex", ['[^"]*' * 800, ".*" * 2000, "[a-z]?" * 600, "|".join(f".*{n}.*" for n in range(300))]
)
def test_the_longest_expressions_compile_or_are_refused_soon(engine: TorchEngine, regex: str) -> None:
    began = time.monotonic()
    with suppress(InvalidArgument, ResourceExhausted):
        list(engine.submit(wanted(Constraint(regex=regex), tokens=3)))
    assert time.monotonic() - began < 60


def test_a_grammar_that_grows_too_complex_ends_its_request_alone(engine: TorchEngine) -> None:
    """Nested repetition needs more states with every character; the next request gets a fresh lexer."""
    bomb = Constraint(regex="(a{1,1000}){1,1000}")
    for name in ("first", "second"):
        stream = engine.submit(wanted(bomb, name, tokens=200, sampling=Sampling(logit_bias={EOS: -100.0})))
        beside = engine.submit(
            GenerationRequest(f"{name}-beside", (9,), stopping=Stopping(max_tokens=8, ignore_eos=True))
        )
        last = end_of(list(stream))
        assert last.reason is FinishReason.ERROR
        assert "lexer" in last.error
        assert end_of(list(beside)).reason is FinishReason.LENGTH
    assert text_of(list(engine.submit(wanted(Constraint(regex="[b]{3}"))))) == "bbb"


def test_a_constraint_is_compiled_once() -> None:
    grammars = Grammars(byte_tokenizer(), frozenset({EOS}), 258)
    constraint = Constraint(json_schema=json.dumps(PERSON))
    grammars.start(constraint)
    began = time.perf_counter()
    for _ in range(20):
        grammars.start(Constraint(json_schema=json.dumps(PERSON)))
    assert (time.perf_counter() - began) / 20 < 0.1


def test_masks_cover_vocabularies_of_any_width() -> None:
    """Wider than the tokenizer (rows for speed) and not a multiple of a word: what is unknown is never allowed."""
    tokenizer = byte_tokenizer()
    for vocabulary in (258, 259, 320):
        state = Grammars(tokenizer, frozenset({EOS}), vocabulary).start(Constraint(regex="[ab]"))
        (mask,) = allowed([state], vocabulary)
        assert mask.shape == (vocabulary,)
        assert mask.nonzero()[:, 0].tolist() == sorted(tokenizer("ab")["input_ids"])
        state.advance(tokenizer("a")["input_ids"][0])
        assert state.complete
        assert allowed([state], vocabulary)[0].nonzero()[:, 0].tolist() == [EOS]


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(Unsupported, match="fast tokenizer"):
        Grammars(Slow(), frozenset({1}), 10).start(Constraint(regex="a"))  # type: ignore[arg-type]


def test_a_model_that_never_ends_by_itself_is_refused() -> None:
    with pytest.raises(Unsupported, match="end-of-sequence token"):
        Grammars(byte_tokenizer(), frozenset(), 258).start(Constraint(regex="a"))


class Slow:
    def __len__(self) -> int:
        return 10


def test_masks_leave_rows_without_a_constraint_alone() -> None:
    state = Grammars(byte_tokenizer(), frozenset({EOS}), 258).start(Constraint(regex="a"))
    logits = torch.zeros(2, 258)
    adjust_all(logits, [Row(Sampling(), Random(0), (), ()), Row(Sampling(), Random(0), (), (), constraint=state)])
    assert logits[0].isfinite().all()
    assert logits[1].isfinite().sum() == 1
