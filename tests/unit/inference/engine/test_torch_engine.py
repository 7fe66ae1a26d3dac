"""Continuous batching gives what each request would get alone, and ends each for the right reason."""

import random
import time
from typing import Any

import pytest
import torch

from services.inference.engine.interface import (
    Chunk,
    Finished,
    FinishReason,
    GenerationRequest,
    Sampling,
    Stopping,
)
from services.inference.engine.torch_engine import TorchEngine
from shared.errors import AlreadyExists, InvalidArgument, ResourceExhausted, Unavailable
from tests.support.wait import eventually
from tests.unit.inference.engine.conftest import EOS, Make, end_of, ids_of, text_of
from tests.unit.inference.engine.tiny import byte_tokenizer, tiny

LONG = Stopping(max_tokens=200, ignore_eos=True)


def prompts(count: int, seed: int = 1) -> list[tuple[int, ...]]:
    """Random prompts of 1 to 150 tokens: shorter and longer than a chunk."""
    numbers = random.Random(seed)
    return [tuple(numbers.randrange(256) for _ in range(numbers.choice([1, 3, 20, 150]))) for _ in range(count)]


def request(name: str, prompt: tuple[int, ...] = (1, 2, 3), **fields: Any) -> GenerationRequest:
    return GenerationRequest(name, prompt, **{"stopping": LONG, **fields})


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gpt2"])
def test_greedy_tokens_of_a_crowd_equal_generate_one_by_one(engine_of: Make, family: str) -> None:
    asked = prompts(10)
    reference = tiny(family)
    expected = []
    for prompt in asked:
        ids = torch.tensor([prompt])
        output = reference.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False, pad_token_id=EOS
        )
        expected.append(output[0, len(prompt) :].tolist())
    engine = engine_of(family)
    stopping = Stopping(max_tokens=24)
    streams = [engine.submit(request(str(n), prompt, stopping=stopping)) for n, prompt in enumerate(asked)]
    seen = [list(stream) for stream in streams]
    assert [ids_of(outputs) for outputs in seen] == expected
    assert len({tuple(ids) for ids in expected}) > 5, "the model repeats itself: this test shows nothing"
    for outputs, ids in zip(seen, expected, strict=True):
        assert text_of(outputs) == byte_tokenizer().decode(ids, skip_special_tokens=True)
        assert end_of(outputs).usage.completion_tokens == len(ids)


def test_a_seed_gives_the_same_tokens_alone_and_in_a_crowd(engine_of: Make) -> None:
    engine = engine_of()
    sampled = Sampling(temperature=1.3, top_p=0.9, top_k=40, repetition_penalty=1.1, seed=11)
    mine = request("mine", stopping=Stopping(max_tokens=40, ignore_eos=True), sampling=sampled)
    alone = ids_of(list(engine.submit(mine)))
    crowd = [
        engine.submit(request(f"other-{n}", prompt, sampling=Sampling(temperature=1, seed=n)))
        for n, prompt in enumerate(prompts(3))
    ]
    assert ids_of(list(engine.submit(mine))) == alone
    for stream in crowd:
        engine.cancel(stream.request_id)


def test_requests_without_a_seed_differ(engine_of: Make) -> None:
    engine = engine_of()
    hot = Sampling(temperature=2.0)
    seen = {tuple(ids_of(list(engine.submit(request(f"r{n}", sampling=hot))))) for n in range(2)}
    assert len(seen) == 2


def test_the_end_token_ends_an_answer_unless_it_is_ignored_or_too_early(engine_of: Make) -> None:
    first = ids_of(list(engine_of().submit(request("plain"))))
    engine = engine_of(eos=frozenset({first[3]}))
    at = first.index(first[3])
    ended = list(engine.submit(request("ended", stopping=Stopping(max_tokens=50))))
    assert end_of(ended).reason is FinishReason.EOS
    assert ids_of(ended) == first[: at + 1]
    ignored = list(engine.submit(request("ignored", stopping=Stopping(max_tokens=50, ignore_eos=True))))
    assert (end_of(ignored).reason, ids_of(ignored)) == (FinishReason.LENGTH, first[:50])
    later = list(engine.submit(request("later", stopping=Stopping(max_tokens=50, min_tokens=at + 5))))
    assert len(ids_of(later)) >= at + 5


def test_a_stop_token_and_a_stop_string_end_an_answer(engine_of: Make) -> None:
    engine = engine_of()
    plain = list(engine.submit(request("plain")))
    token = ids_of(plain)[5]
    by_token = list(engine.submit(request("token", stopping=Stopping(100, stop_token_ids=frozenset({token})))))
    assert end_of(by_token).reason is FinishReason.STOP
    assert ids_of(by_token)[-1] == token
    stop = text_of(plain)[10:13]
    by_text = list(engine.submit(request("text", stopping=Stopping(100, stop=(stop, "never")))))
    assert end_of(by_text).reason is FinishReason.STOP
    assert text_of(by_text) == text_of(plain)[: text_of(plain).index(stop)]


def test_the_context_window_ends_an_answer_with_length(engine_of: Make) -> None:
    outputs = list(engine_of(max_length=32).submit(request("r", tuple(range(20)), stopping=Stopping(ignore_eos=True))))
    assert end_of(outputs).reason is FinishReason.LENGTH
    assert len(ids_of(outputs)) == 12


def test_a_cancelled_request_gives_its_slot_back_within_a_step(engine_of: Make) -> None:
    engine = engine_of(slots=1)
    stream = engine.submit(request("first"))
    waiting = engine.submit(request("second", stopping=Stopping(max_tokens=2)))
    assert isinstance(next(iter(stream)), Chunk)
    assert engine.cancel("first")
    assert end_of(list(waiting)).reason is not FinishReason.CANCELLED
    assert end_of(list(stream)).reason is FinishReason.CANCELLED
    assert not engine.cancel("first")
    assert engine.load().idle


def test_a_waiting_request_can_be_cancelled(engine_of: Make) -> None:
    engine = engine_of(slots=1)
    first, second = engine.submit(request("first")), engine.submit(request("second"))
    engine.cancel("second")
    assert end_of(list(second)).reason is FinishReason.CANCELLED
    engine.cancel("first")
    list(first)


def test_a_deadline_is_told_as_a_deadline_also_while_waiting(engine_of: Make) -> None:
    engine = engine_of(slots=1, max_length=512)
    soon = time.monotonic() + 0.15
    running = engine.submit(request("running", stopping=Stopping(ignore_eos=True), deadline=soon))
    waiting = engine.submit(request("waiting", deadline=time.monotonic() + 0.01))
    assert end_of(list(waiting)).reason is FinishReason.DEADLINE
    ended = end_of(list(running))
    assert ended.reason is FinishReason.DEADLINE or ended.usage.completion_tokens == 509


def test_a_full_queue_is_refused_in_requests_and_in_tokens(engine_of: Make) -> None:
    engine = engine_of(slots=1, waiting_requests=2, waiting_tokens=50)
    streams = [engine.submit(request("running"))]
    eventually(lambda: engine.load().running == 1)
    streams += [engine.submit(request(f"w{n}")) for n in range(2)]
    with pytest.raises(ResourceExhausted, match="3 requests would wait, the limit is 2") as refused:
        engine.submit(request("one too many"))
    assert refused.value.retry_seconds > 0
    engine.cancel("w1")
    list(streams.pop())
    with pytest.raises(ResourceExhausted, match="tokens would wait, the limit is 50"):
        engine.submit(request("too long", tuple(range(60))))
    load = engine.load()
    assert (load.running, load.waiting, load.waiting_tokens) == (1, 1, 3)
    for stream in streams:
        engine.cancel(stream.request_id)


def test_impossible_prompts_are_refused_with_the_limit(engine_of: Make) -> None:
    engine = engine_of(max_length=64)
    for prompt, words in (((), "empty"), (tuple([1] * 64), "at most 63 fit"), ((1, 258), "vocabulary of 258")):
        with pytest.raises(InvalidArgument, match=words):
            engine.submit(request("r", prompt))


def test_an_id_in_use_is_refused(engine_of: Make) -> None:
    engine = engine_of()
    stream = engine.submit(request("same"))
    with pytest.raises(AlreadyExists):
        engine.submit(request("same"))
    engine.cancel("same")
    list(stream)


def test_a_request_of_high_priority_overtakes(engine_of: Make) -> None:
    engine = engine_of(slots=1)
    running = engine.submit(request("running"))
    slow = engine.submit(request("slow", stopping=Stopping(max_tokens=1)))
    urgent = engine.submit(request("urgent", stopping=Stopping(max_tokens=1), priority=5))
    engine.cancel("running")
    list(running)
    waits = [end_of(list(stream)).timings.queue_seconds for stream in (urgent, slow)]
    assert waits[0] < waits[1]


def test_a_long_prompt_does_not_stop_running_answers(engine_of: Make) -> None:
    engine = engine_of(max_length=512, busy_chunk=16)
    talking = engine.submit(request("talking", stopping=Stopping(max_tokens=120, ignore_eos=True)))
    next(iter(talking))
    long = engine.submit(request("long", tuple([7] * 480), stopping=Stopping(max_tokens=1)))
    first = end_of(list(long))
    ended = end_of(list(talking))
    assert first.reason is FinishReason.LENGTH
    # 480 tokens in chunks of 16 take 30 steps, in each of which the other one gets a token.
    assert ended.usage.completion_tokens == 120
    assert first.timings.first_token_seconds is not None


def test_nan_ends_one_request_and_leaves_the_slot_clean(engine_of: Make) -> None:
    engine = engine_of(slots=1)
    plain = ids_of(list(engine.submit(request("before"))))
    forward = engine._forward
    sound = forward._embedding.weight.clone()  # type: ignore[attr-defined]
    forward._embedding.weight[5] = float("nan")  # type: ignore[attr-defined]
    broken = end_of(list(engine.submit(request("broken", (5,) * 40))))
    forward._embedding.weight.copy_(sound)  # type: ignore[attr-defined]
    assert broken.reason is FinishReason.ERROR
    assert "not finite" in broken.error
    assert ids_of(list(engine.submit(request("after")))) == plain


def test_a_failing_step_ends_its_requests_and_the_engine_goes_on(
    engine_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of()
    sound = engine._forward

    class Broken:
        cache, vocabulary = sound.cache, sound.vocabulary

        def __call__(self, step: object) -> torch.Tensor:
            raise RuntimeError("out of luck")

    monkeypatch.setattr(engine, "_forward", Broken())
    outputs = list(engine.submit(request("broken")))
    assert end_of(outputs).error == "the engine failed: out of luck"
    monkeypatch.setattr(engine, "_forward", sound)
    assert end_of(list(engine.submit(request("fine")))).reason is FinishReason.LENGTH


def test_closing_lets_running_requests_finish_and_takes_no_new_ones(engine_of: Make) -> None:
    engine = engine_of()
    stream = engine.submit(request("running"))
    engine.close(grace_seconds=20)
    assert end_of(list(stream)).reason is FinishReason.LENGTH
    with pytest.raises(Unavailable):
        engine.submit(request("late"))


def test_closing_without_grace_cancels(engine_of: Make) -> None:
    engine = engine_of()
    stream = engine.submit(request("running"))
    engine.close()
    outputs = list(stream)
    assert isinstance(outputs[-1], Finished)
    assert end_of(outputs).reason in (FinishReason.CANCELLED, FinishReason.LENGTH)


def test_many_requests_come_and_go_without_mixing(engine_of: Make) -> None:
    """Slots are filled, freed and moved all the time; every request still gets its own tokens."""
    engine = engine_of(slots=3)
    numbers = random.Random(5)
    asked = [(prompt, Stopping(max_tokens=numbers.randint(1, 30), ignore_eos=True)) for prompt in prompts(20, seed=2)]
    alone = [_answer(engine, prompt, stopping) for prompt, stopping in asked]
    streams = [engine.submit(request(f"r{n}", prompt, stopping=stopping)) for n, (prompt, stopping) in enumerate(asked)]
    assert [ids_of(list(stream)) for stream in streams] == alone


def _answer(engine: TorchEngine, prompt: tuple[int, ...], stopping: Stopping) -> list[int]:
    return ids_of(list(engine.submit(request("alone", prompt, stopping=stopping))))
