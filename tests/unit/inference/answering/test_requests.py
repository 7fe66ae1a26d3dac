"""A request that can't be right is refused with the field, its value and what it may be."""

from dataclasses import replace
from typing import Any

import pytest

from services.inference.answering.requests import GenerateRequest, ModelRef, Prompt, check_generate
from services.inference.engine.interface import Constraint, Sampling, Stopping
from shared.errors import InvalidArgument

NAN = float("nan")


def request(**fields: Any) -> GenerateRequest:
    plain = GenerateRequest(ModelRef("m"), Prompt(text="go"), Sampling(), Stopping(max_tokens=8), "")
    return replace(plain, **fields)


def sampled(**fields: Any) -> dict[str, Any]:
    return {"sampling": Sampling(**fields)}


def ending(**fields: Any) -> dict[str, Any]:
    return {"stopping": Stopping(**{"max_tokens": 8, **fields})}


def bound(**fields: Any) -> dict[str, Any]:
    return {"constraint": Constraint(**fields)}


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1, "logprobs": 0, "priority": -100},
        {"n": 16, "logprobs": 20, "priority": 100, "cache_salt": "s" * 128, "echo": True},
        sampled(seed=2**64 - 1),
        sampled(temperature=100, presence_penalty=-2, frequency_penalty=2, logit_bias={0: -100.0, 5: 100.0}),
        {"n": 4, **sampled(num_beams=4, length_penalty=-1.5)},
        bound(regex="a" * 4096),
        bound(choices=("a",) * 256),
        bound(lark='start: "a"'),
        {**bound(json_schema="{}"), **ending(stop=("x",), stop_token_ids=frozenset({3})), "n": 2},
    ],
)
def test_the_ends_of_every_range_are_allowed(fields: dict[str, Any]) -> None:
    check_generate(request(**fields))


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"n": 0}, "n", "n is 0; it must be from 1 to 16"),
        ({"n": 17}, "n", "n is 17"),
        ({"logprobs": 21}, "logprobs", "logprobs is 21; it must be from 0 to 20"),
        ({"logprobs": -1}, "logprobs", "logprobs is -1"),
        ({"priority": 101}, "priority", "priority is 101; it must be from -100 to 100"),
        ({"cache_salt": "s" * 129}, "cache_salt length", "129"),
        (sampled(presence_penalty=2.5), "sampling.presence_penalty", "2.5; it must be from -2 to 2"),
        (sampled(frequency_penalty=NAN), "sampling.frequency_penalty", "nan"),
        (sampled(temperature=-1), "sampling.temperature", "-1"),
        (sampled(seed=-1), "sampling.seed", "sampling.seed is -1; it must be from 0"),
        (sampled(seed=2**65), "sampling.seed", "it must be from 0 to 1.84467e"),
        (sampled(top_p=0), "sampling.top_p", "0"),
        (sampled(num_beams=17), "sampling.num_beams", "17; it must be from 1 to 16"),
        (sampled(num_beams=2, length_penalty=NAN), "sampling.length_penalty", "nan"),
        (sampled(num_beams=2, temperature=0.5), "sampling.temperature", "num_beams is 2 and .*temperature is 0.5"),
        ({"n": 3, **sampled(num_beams=2)}, "n", "num_beams is 2 and n is 3; with beams it must be at most 2"),
        ({"logprobs": 2, **sampled(num_beams=2)}, "logprobs", "with beams it must be unset"),
        ({**bound(regex="a"), **sampled(num_beams=2)}, "constraint", "constraint is set; with beams"),
        (sampled(logit_bias={-1: 1.0}), "sampling.logit_bias", "token id -1"),
        (sampled(logit_bias={7: 101.0}), "sampling.logit_bias[7]", "101; it must be from -100 to 100"),
        (sampled(logit_bias=dict.fromkeys(range(1025), 1.0)), "sampling.logit_bias size", "1025"),
        (ending(stop_token_ids=frozenset({-2})), "stopping.stop_token_ids", "token id -2"),
        (ending(stop_token_ids=frozenset(range(257))), "stopping.stop_token_ids", "257"),
        ({**bound(regex="a"), **ending(min_tokens=2)}, "stopping.min_tokens", "2; with a constraint it must be 0"),
        ({**bound(regex="a"), **ending(ignore_eos=True)}, "stopping.ignore_eos", "with a constraint"),
        (bound(regex=""), "constraint.regex", "is empty"),
        (bound(json_schema=" "), "constraint.json_schema", "is empty"),
        (bound(json_schema=" " * 70_000 + "1"), "constraint.json_schema", "has 70001 bytes, the limit is 65536"),
        (bound(regex="é" * 2100), "constraint.regex", "has 4200 bytes, the limit is 4096"),
        (bound(lark="x" * 16_385), "constraint.lark", "the limit is 16384"),
        (bound(choices=()), "constraint.choices", "0; it must be from 1 to 256"),
        (bound(choices=("a",) * 257), "constraint.choices", "257"),
        (bound(choices=("a", "")), "constraint.choices[1] length", "0"),
        (bound(choices=("a" * 1025,)), "constraint.choices[0] length", "1025"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(fields: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        check_generate(request(**fields))
    assert caught.value.metadata["field"] == field
