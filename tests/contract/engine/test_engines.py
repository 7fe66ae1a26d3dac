"""What every engine behind the interface does alike."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from services.inference.engine.interface import (
    Chunk,
    Constraint,
    Engine,
    Finished,
    FinishReason,
    GenerationRequest,
    Output,
    Sampling,
    Stopping,
    Stream,
)
from shared.errors import AlreadyExists, DeadlineExceeded, InvalidArgument, ResourceExhausted
from tests.contract.engine.model import EOS, MAX_LENGTH, VOCABULARY, generate
from tests.support.wait import eventually

NUMBERS = itertools.count()
PROMPTS = (tuple(range(40, 50)), (5,), tuple(range(7, 200, 3)))
ENDLESS = Stopping(ignore_eos=True)


def ask(prompt: Sequence[int] = PROMPTS[0], tokens: int | None = None, **fields: Any) -> GenerationRequest:
    """A request with an id of its own; `tokens` of it and no early end unless `stopping` says otherwise."""
    fields.setdefault("stopping", Stopping(max_tokens=tokens, ignore_eos=True))
    fields.setdefault("id", f"request-{next(NUMBERS)}")
    return GenerationRequest(prompt=tuple(prompt), **fields)


def run(engine: Engine, request: GenerationRequest) -> list[Output]:
    return list(engine.submit(request))


def ids_of(outputs: Sequence[Output], index: int = 0) -> list[int]:
    chunks = [one for one in outputs if isinstance(one, Chunk) and one.index == index and not one.echo]
    return [token for chunk in chunks for token in chunk.token_ids]


def text_of(outputs: Sequence[Output]) -> str:
    return "".join(one.text for one in outputs if isinstance(one, Chunk))


def end_of(outputs: Sequence[Output]) -> Finished:
    last = outputs[-1]
    assert isinstance(last, Finished)
    return last


def when_idle(engine: Engine) -> None:
    eventually(lambda: engine.load().idle)


def test_many_prompts_at_once_give_what_generate_gives(engine: Engine, model: Any) -> None:
    wanted = [generate(model, prompt, 24) for prompt in PROMPTS]
    streams = [engine.submit(ask(prompt, 24)) for prompt in PROMPTS]
    assert [ids_of(list(stream)) for stream in streams] == wanted


def test_max_tokens_ends_an_answer_and_usage_counts_it(engine: Engine) -> None:
    outputs = run(engine, ask(PROMPTS[2], 5))
    end = end_of(outputs)
    assert end.reason is FinishReason.LENGTH
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (len(PROMPTS[2]), 5)
    assert len(ids_of(outputs)) == 5
    assert end.timings.first_token_seconds is not None
    assert 0 <= end.timings.queue_seconds <= end.timings.first_token_seconds <= end.timings.total_seconds


def test_an_answer_ends_with_the_context(engine: Engine) -> None:
    prompt = [9] * (MAX_LENGTH - 3)
    end = end_of(run(engine, ask(prompt, None)))
    assert (end.reason, end.usage.completion_tokens) == (FinishReason.LENGTH, 3)


def test_the_end_of_sequence_token_ends_an_answer(engine: Engine) -> None:
    likely_end = Sampling(logit_bias={EOS: 100.0})
    outputs = run(engine, ask(sampling=likely_end, stopping=Stopping(max_tokens=8)))
    assert (end_of(outputs).reason, ids_of(outputs), text_of(outputs)) == (FinishReason.EOS, [EOS], "")


def test_min_tokens_come_before_the_end(engine: Engine) -> None:
    likely_end = Sampling(logit_bias={EOS: 100.0})
    outputs = run(engine, ask(sampling=likely_end, stopping=Stopping(max_tokens=8, min_tokens=3)))
    assert (end_of(outputs).reason, len(ids_of(outputs))) == (FinishReason.EOS, 4)
    assert EOS not in ids_of(outputs)[:3]


def test_a_stop_token_ends_an_answer(engine: Engine, model: Any) -> None:
    wanted = generate(model, PROMPTS[0], 12)
    stop = wanted[6]
    outputs = run(engine, ask(stopping=Stopping(max_tokens=12, stop_token_ids=frozenset({stop}))))
    assert end_of(outputs).reason is FinishReason.STOP
    assert ids_of(outputs) == wanted[: wanted.index(stop) + 1]


def test_a_stop_text_ends_an_answer_and_is_not_part_of_it(engine: Engine) -> None:
    steered = Sampling(logit_bias=dict.fromkeys(letters("ab"), 100.0))
    whole = text_of(run(engine, ask(tokens=40, sampling=steered)))
    stop = whole[3:9]
    outputs = run(engine, ask(sampling=steered, stopping=Stopping(max_tokens=40, stop=(stop,), ignore_eos=True)))
    assert end_of(outputs).reason is FinishReason.STOP
    assert text_of(outputs) == whole[: whole.index(stop)]


def test_the_same_seed_gives_the_same_tokens_whatever_else_runs(engine: Engine) -> None:
    drawn = Sampling(temperature=1.0, seed=2**64 - 3)
    alone = ids_of(run(engine, ask(tokens=16, sampling=drawn)))
    beside = engine.submit(ask(PROMPTS[2], 64, sampling=Sampling(temperature=1.0)))
    assert ids_of(run(engine, ask(tokens=16, sampling=drawn))) == alone
    assert ids_of(run(engine, ask(tokens=16, sampling=Sampling(temperature=1.0, seed=4)))) != alone
    list(beside)


def test_a_bias_steers(engine: Engine) -> None:
    assert ids_of(run(engine, ask(tokens=4, sampling=Sampling(logit_bias={77: 100.0})))) == [77] * 4


def test_several_answers_to_one_prompt_are_told_apart(engine: Engine, model: Any) -> None:
    outputs = run(engine, ask(tokens=6, n=2))
    wanted = generate(model, PROMPTS[0], 6)
    assert [ids_of(outputs, index) for index in range(2)] == [wanted, wanted]
    end = end_of(outputs)
    assert [one.reason for one in end.candidates] == [FinishReason.LENGTH] * 2
    assert [one.completion_tokens for one in end.candidates] == [6, 6]
    assert end.usage.completion_tokens == 12


def test_log_probabilities_come_with_alternatives(engine: Engine, model: Any) -> None:
    outputs = run(engine, ask(tokens=6, logprobs=3))
    entries = [one for chunk in outputs if isinstance(chunk, Chunk) for one in chunk.logprobs]
    assert [one.token_id for one in entries] == generate(model, PROMPTS[0], 6)
    for one in entries:
        assert one.logprob is not None
        assert one.logprob <= 0
        assert len(one.alternatives) == 3
        best, likely = one.alternatives[0]
        assert (best, likely) == (one.token_id, one.logprob)
    assert end_of(outputs).candidates[0].score == pytest.approx(sum(one.logprob or 0.0 for one in entries), abs=1e-4)


def test_an_echo_comes_first_with_its_log_probabilities(engine: Engine) -> None:
    outputs = run(engine, ask(tokens=2, logprobs=1, echo=True))
    echo = outputs[0]
    assert isinstance(echo, Chunk)
    assert (echo.echo, echo.token_ids) == (True, PROMPTS[0])
    assert [one.token_id for one in echo.logprobs] == list(PROMPTS[0])
    assert echo.logprobs[0].logprob is None
    assert all(one.logprob is not None and one.logprob <= 0 for one in echo.logprobs[1:])
    assert len(ids_of(outputs)) == 2


def test_an_equal_beginning_is_taken_from_the_cache_but_not_across_salts(engine: Engine) -> None:
    prompt = [(7 * place) % 250 for place in range(400)]
    first, again, other = (run(engine, ask(prompt, 4, salt=salt)) for salt in ("mine", "mine", "yours"))
    assert end_of(first).usage.cached_tokens == 0
    assert end_of(again).usage.cached_tokens > 0
    assert end_of(other).usage.cached_tokens == 0
    assert ids_of(first) == ids_of(again) == ids_of(other)


def test_an_answer_becomes_one_of_the_choices(engine: Engine) -> None:
    constraint = Constraint(choices=("yes", "no, never"))
    assert text_of(run(engine, ask(stopping=Stopping(max_tokens=40), constraint=constraint))) in constraint.choices


def test_cancelling_ends_a_running_request(engine: Engine) -> None:
    request = ask(stopping=ENDLESS)
    outputs = iter(engine.submit(request))
    next(outputs)
    assert engine.cancel(request.id)
    assert end_of(list(outputs)).reason is FinishReason.CANCELLED
    when_idle(engine)
    assert not engine.cancel(request.id)


def test_a_deadline_ends_a_request_and_is_not_called_length(engine: Engine) -> None:
    outputs = run(engine, ask(stopping=ENDLESS, deadline=time.monotonic() + 0.25))
    end = end_of(outputs)
    assert end.reason is FinishReason.DEADLINE
    assert end.usage.completion_tokens == len(ids_of(outputs)) < MAX_LENGTH - len(PROMPTS[0])


def test_a_passed_deadline_is_refused_at_the_door(engine: Engine) -> None:
    with pytest.raises(DeadlineExceeded):
        engine.submit(ask(tokens=2, deadline=time.monotonic() - 1))


def test_a_full_queue_refuses_and_what_waits_can_be_cancelled(engine: Engine) -> None:
    when_idle(engine)
    requests = [ask(stopping=ENDLESS) for _ in range(4)]
    streams = [engine.submit(request) for request in requests]
    eventually(lambda: engine.load().waiting == 2)
    with pytest.raises(ResourceExhausted) as refused:
        engine.submit(ask(stopping=ENDLESS))
    assert refused.value.retry_seconds > 0
    for request in reversed(requests):
        assert engine.cancel(request.id)
    assert {end_of(list(stream)).reason for stream in streams} == {FinishReason.CANCELLED}
    when_idle(engine)


def test_an_id_is_used_once_at_a_time(engine: Engine) -> None:
    request = ask(stopping=ENDLESS)
    stream = engine.submit(request)
    with pytest.raises(AlreadyExists):
        engine.submit(request)
    engine.cancel(request.id)
    list(stream)
    when_idle(engine)
    assert end_of(run(engine, ask(tokens=1, id=request.id))).reason is FinishReason.LENGTH


@pytest.mark.parametrize(
    "prompt", [(), (1,) * MAX_LENGTH, (1, VOCABULARY), (1, -1)], ids=["empty", "too long", "too big", "negative"]
)
def test_a_prompt_that_can_not_be_served_is_refused(engine: Engine, prompt: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        engine.submit(ask(prompt, 1))
    assert refused.value.metadata["field"] in {"prompt", "token_ids"}


def test_tokens_outside_the_vocabulary_are_refused_by_field(engine: Engine) -> None:
    for field, request in (
        ("sampling.logit_bias", ask(sampling=Sampling(logit_bias={VOCABULARY: 1.0}))),
        ("stopping.stop_token_ids", ask(stopping=Stopping(stop_token_ids=frozenset({-1})))),
    ):
        with pytest.raises(InvalidArgument) as refused:
            engine.submit(request)
        assert refused.value.metadata["field"] == field


def test_the_request_hears_the_time_between_its_tokens(engine: Engine) -> None:
    heard: list[float] = []
    run(engine, ask(tokens=5, on_token=heard.append))
    assert len(heard) == 4
    assert min(heard) >= 0


def test_a_reader_that_never_reads_does_not_stop_others(engine: Engine) -> None:
    unread: Stream = engine.submit(ask(PROMPTS[1], 64))
    assert end_of(run(engine, ask(tokens=4))).reason is FinishReason.LENGTH
    when_idle(engine)
    assert len(ids_of(list(unread))) == 64


def letters(text: str) -> list[int]:
    from tests.unit.inference.engine.tiny import byte_tokenizer

    encode: Callable[..., Any] = byte_tokenizer()
    ids: list[int] = encode(text)["input_ids"]
    return ids
