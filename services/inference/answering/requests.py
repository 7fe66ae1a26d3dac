"""What a client may ask, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.inference.answering.checks import MAX_BEAMS, check_count
from services.inference.engine.interface import Constraint, Sampling, Stopping
from services.inference.models.lineage import CHAMPION
from shared.errors import InvalidArgument
from shared.modeling.kinds.turns import Message

MAX_PROMPT_BYTES = 1 << 20
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256
MAX_REQUEST_ID = 128
MAX_SALT = 128
MAX_STOP_TOKENS = 256
MAX_BIASES = 1024
MAX_BIAS = 100
MAX_ANSWERS = 16
MAX_SEED = 2**64 - 1
MAX_ALTERNATIVES = 20
MAX_PRIORITY = 100
MAX_SCHEMA_BYTES = 65_536
MAX_GRAMMAR_BYTES = 16_384
MAX_REGEX_BYTES = 4096  # the time to compile one grows with the square of its length: 2 s at this
MAX_CHOICES = 256
MAX_CHOICE_CHARACTERS = 1024
DEFAULT_MAX_TOKENS = 256


@dataclass(frozen=True)
class ModelRef:
    """Who shall answer: an alias, or a version when it is not 0."""

    name: str
    alias: str = CHAMPION
    version: int = 0


@dataclass(frozen=True)
class Prompt:
    """One of the three is set."""

    text: str | None = None
    messages: Sequence[Message] = ()
    token_ids: Sequence[int] = ()


@dataclass(frozen=True)
class GenerateRequest:
    model: ModelRef
    prompt: Prompt
    sampling: Sampling
    stopping: Stopping
    request_id: str
    constraint: Constraint | None = None
    logprobs: int | None = None
    n: int = 1
    priority: int = 0
    cache_salt: str = ""
    echo: bool = False


def check_generate(request: GenerateRequest) -> None:
    check_request_id(request.request_id)
    _check_prompt(request.prompt)
    _check_sampling(request.sampling)
    _check_bias(request.sampling.logit_bias)
    _check_stopping(request.stopping)
    check_count("logprobs", request.logprobs or 0, 0, MAX_ALTERNATIVES)
    check_count("n", request.n, 1, MAX_ANSWERS)
    check_count("priority", request.priority, -MAX_PRIORITY, MAX_PRIORITY)
    check_count("cache_salt length", len(request.cache_salt), 0, MAX_SALT)
    _check_beams(request)
    if request.constraint is not None:
        _check_constraint(request.constraint)
        _check_free_end(request.stopping)


def check_request_id(request_id: str) -> None:
    if len(request_id) > MAX_REQUEST_ID:
        raise InvalidArgument(
            f"request_id has {len(request_id)} characters, the limit is {MAX_REQUEST_ID}", field="request_id"
        )


def _check_prompt(prompt: Prompt) -> None:
    if prompt.text is None and not prompt.messages and not prompt.token_ids:
        raise InvalidArgument("one of text, messages and token_ids must be given", field="prompt")
    size = len((prompt.text or "").encode()) + sum(len(turn["content"].encode()) for turn in prompt.messages)
    if size > MAX_PROMPT_BYTES:
        raise InvalidArgument(
            f"the prompt has {size} bytes, the limit is {MAX_PROMPT_BYTES}",
            field="prompt",
            limit=MAX_PROMPT_BYTES,
        )


def _check_sampling(sampling: Sampling) -> None:
    check_count("sampling.temperature", sampling.temperature, 0, 100)
    check_count("sampling.top_p", sampling.top_p, 1e-6, 1)
    check_count("sampling.min_p", sampling.min_p, 0, 1)
    check_count("sampling.top_k", sampling.top_k, 0, 1 << 30)
    check_count("sampling.repetition_penalty", sampling.repetition_penalty, 0.01, 100)
    check_count("sampling.presence_penalty", sampling.presence_penalty, -2, 2)
    check_count("sampling.frequency_penalty", sampling.frequency_penalty, -2, 2)
    check_count("sampling.seed", sampling.seed or 0, 0, MAX_SEED)
    check_count("sampling.num_beams", sampling.num_beams, 1, MAX_BEAMS)
    check_count("sampling.length_penalty", sampling.length_penalty, -10, 10)


def _check_bias(bias: Mapping[int, float]) -> None:
    """The end of the vocabulary is the engine's to check."""
    check_count("sampling.logit_bias size", len(bias), 0, MAX_BIASES)
    for token, value in bias.items():
        if token < 0:
            raise _unknown_token("sampling.logit_bias", token)
        check_count(f"sampling.logit_bias[{token}]", value, -MAX_BIAS, MAX_BIAS)


def _check_beams(request: GenerateRequest) -> None:
    beams, field = request.sampling.num_beams, "sampling.num_beams"
    if beams == 1:
        return
    for other, value, wanted, right in (
        ("sampling.temperature", request.sampling.temperature, "0", request.sampling.temperature == 0),
        ("n", request.n, f"at most {beams}", request.n <= beams),
        ("logprobs", request.logprobs, "unset (candidates carry scores)", request.logprobs is None),
        ("constraint", "set", "unset", request.constraint is None),
    ):
        if not right:
            raise InvalidArgument(
                f"{field} is {beams} and {other} is {value}; with beams it must be {wanted}", field=other
            )


def _check_constraint(constraint: Constraint) -> None:
    for name, text, most in (
        ("json_schema", constraint.json_schema, MAX_SCHEMA_BYTES),
        ("regex", constraint.regex, MAX_REGEX_BYTES),
        ("lark", constraint.lark, MAX_GRAMMAR_BYTES),
    ):
        if text is not None:
            field = f"constraint.{name}"
            if not text.strip():
                raise InvalidArgument(f"{field} is empty", field=field)
            if (size := len(text.encode())) > most:
                raise InvalidArgument(f"{field} has {size} bytes, the limit is {most}", field=field, limit=most)
            return
    check_count("constraint.choices", len(constraint.choices), 1, MAX_CHOICES)
    for position, choice in enumerate(constraint.choices):
        check_count(f"constraint.choices[{position}] length", len(choice), 1, MAX_CHOICE_CHARACTERS)


def _check_free_end(stopping: Stopping) -> None:
    """A constrained answer ends where its grammar does."""
    if stopping.min_tokens:
        raise InvalidArgument(
            f"stopping.min_tokens is {stopping.min_tokens}; with a constraint it must be 0", field="stopping.min_tokens"
        )
    if stopping.ignore_eos:
        raise InvalidArgument(
            "stopping.ignore_eos is set; with a constraint it must not be", field="stopping.ignore_eos"
        )


def _check_stopping(stopping: Stopping) -> None:
    most = stopping.max_tokens or 0
    check_count("stopping.max_tokens", most, 1, 1 << 30)
    check_count("stopping.min_tokens", stopping.min_tokens, 0, most)
    check_count("stopping.stop", len(stopping.stop), 0, MAX_STOPS)
    for position, stop in enumerate(stopping.stop):
        check_count(f"stopping.stop[{position}] length", len(stop), 1, MAX_STOP_CHARACTERS)
    check_count("stopping.stop_token_ids", len(stopping.stop_token_ids), 0, MAX_STOP_TOKENS)
    if stopping.stop_token_ids and min(stopping.stop_token_ids) < 0:
        raise _unknown_token("stopping.stop_token_ids", min(stopping.stop_token_ids))


def _unknown_token(field: str, token: int) -> InvalidArgument:
    return InvalidArgument(f"{field} has token id {token}; ids are 0 or more", field=field)
