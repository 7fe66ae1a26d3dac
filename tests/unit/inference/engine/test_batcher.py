"""Texts of many requests meet in batches of like length."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from services.inference.engine.batcher import Batcher, BatchLimits, OwnThread
from services.inference.engine.compute import ComputeThread
from shared.errors import Cancelled, DeadlineExceeded, ResourceExhausted, Unavailable
from tests.support.wait import eventually

Texts = Batcher[list[int], list[float]]
Make = Callable[..., Texts]


class Encoder:
    """Answers each text with its length; remembers the batches; waits while `gate` is closed."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def __call__(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        self.batches.append([len(text) for text in texts])
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        return [[float(len(text))] for text in texts]


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def batcher_of(encoder: Encoder, compute: ComputeThread) -> Iterator[Make]:
    made: list[Texts] = []

    def make(**limits: float) -> Texts:
        runs = OwnThread() if limits.get("workers") else compute
        made.append(Batcher(encoder, BatchLimits(**limits), runs))  # type: ignore[arg-type]
        return made[-1]

    yield make
    encoder.gate.set()
    for batcher in made:
        batcher.close()


def texts(*lengths: int) -> list[list[int]]:
    return [[1] * length for length in lengths]


def test_answers_come_in_the_order_of_the_texts(batcher_of: Make) -> None:
    lengths = [40, 3, 100, 7, 41]
    assert batcher_of().submit(texts(*lengths), None).wait() == [[float(length)] for length in lengths]


def test_texts_of_like_length_share_a_batch(batcher_of: Make, encoder: Encoder) -> None:
    batcher_of(budget_seconds=0.05).submit(texts(3, 100, 7, 90, 16), None).wait()
    assert sorted(map(sorted, encoder.batches)) == [[3, 7, 16], [90, 100]]


def test_a_full_batch_does_not_wait_for_the_budget(batcher_of: Make) -> None:
    began = time.monotonic()
    batcher_of(batch=4, budget_seconds=30).submit(texts(1, 2, 3, 4), None).wait()
    assert time.monotonic() - began < 10


def test_texts_of_several_requests_meet(batcher_of: Make, encoder: Encoder) -> None:
    batcher = batcher_of(budget_seconds=0.3)
    tickets = [batcher.submit(texts(length), None) for length in (2, 3, 4)]
    assert [ticket.wait() for ticket in tickets] == [[[2.0]], [[3.0]], [[4.0]]]
    assert encoder.batches == [[2, 3, 4]]
    assert tickets[0].queue_seconds >= 0.25


def test_what_is_past_its_deadline_is_not_computed(batcher_of: Make, encoder: Encoder) -> None:
    batcher = batcher_of()
    with pytest.raises(DeadlineExceeded):
        batcher.submit(texts(5), time.monotonic() - 1).wait()
    assert batcher.submit(texts(6), time.monotonic() + 60).wait() == [[6.0]]
    assert encoder.batches == [[6]]


def test_what_is_cancelled_is_not_computed(batcher_of: Make, encoder: Encoder) -> None:
    batcher = batcher_of()
    encoder.gate.clear()
    running = batcher.submit(texts(1), None)
    eventually(lambda: encoder.batches)
    waiting = batcher.submit(texts(2), None)
    waiting.cancel()
    encoder.gate.set()
    running.wait()
    with pytest.raises(Cancelled):
        waiting.wait()
    assert encoder.batches == [[1]]


def test_a_full_queue_is_refused(batcher_of: Make, encoder: Encoder) -> None:
    batcher = batcher_of(waiting_texts=3)
    encoder.gate.clear()
    batcher.submit(texts(1), None)
    eventually(lambda: encoder.batches)
    batcher.submit(texts(2, 3), None)
    with pytest.raises(ResourceExhausted, match="4 texts would wait, the limit is 3"):
        batcher.submit(texts(4, 5), None)
    load = batcher.load()
    assert (load.running, load.waiting, load.waiting_tokens) == (1, 2, 5)


def test_an_error_reaches_those_who_asked_and_the_batcher_goes_on(batcher_of: Make, encoder: Encoder) -> None:
    batcher = batcher_of()
    encoder.error = ArithmeticError("nan")
    with pytest.raises(ArithmeticError):
        batcher.submit(texts(1), None).wait()
    encoder.error = None
    assert batcher.submit(texts(2), None).wait() == [[2.0]]


def test_a_closed_batcher_refuses(batcher_of: Make) -> None:
    batcher = batcher_of()
    batcher.close()
    with pytest.raises(Unavailable):
        batcher.submit(texts(1), None)


def test_a_batch_has_no_more_tokens_than_its_limit(batcher_of: Make, encoder: Encoder) -> None:
    batcher_of(batch_tokens=40, budget_seconds=0.05).submit(texts(16, 16, 16, 60), None).wait()
    assert sorted(encoder.batches) == [[16], [16, 16], [60]]


def test_a_lone_long_text_is_not_starved_by_full_batches(batcher_of: Make, encoder: Encoder) -> None:
    batcher = batcher_of(batch=2, budget_seconds=0.001)
    encoder.gate.clear()
    first = batcher.submit(texts(1), None)
    eventually(lambda: encoder.batches)
    tickets = [batcher.submit(texts(100), None), *(batcher.submit(texts(3, 4), None) for _ in range(20))]
    eventually(lambda: batcher.load().oldest_wait_seconds > 0.05)
    encoder.gate.set()
    for ticket in (first, *tickets):
        ticket.wait()
    assert encoder.batches[1] == [100]


def test_texts_of_different_keys_never_share_a_batch(encoder: Encoder, compute: ComputeThread) -> None:
    batcher: Texts = Batcher(encoder, BatchLimits(budget_seconds=0.05), compute, key=lambda text: len(text) % 2)
    batcher.submit(texts(1, 2, 3, 4), None).wait()
    batcher.close()
    assert sorted(map(sorted, encoder.batches)) == [[1, 3], [2, 4]]


def test_each_worker_computes_a_batch_of_its_own(batcher_of: Make, encoder: Encoder) -> None:
    batcher = batcher_of(batch=1, workers=2)
    encoder.gate.clear()
    tickets = [batcher.submit(texts(length), None) for length in (1, 2, 3)]
    eventually(lambda: len(encoder.batches) == 2)
    load = batcher.load()
    assert (load.running, load.waiting) == (2, 1)
    assert len(batcher.running) == 2
    encoder.gate.set()
    assert [ticket.wait() for ticket in tickets] == [[[1.0]], [[2.0]], [[3.0]]]
    assert batcher.healthy


def test_closing_waits_for_all_workers_and_refuses_what_is_left(batcher_of: Make, encoder: Encoder) -> None:
    batcher = batcher_of(batch=1, workers=2)
    encoder.gate.clear()
    running = [batcher.submit(texts(length), None) for length in (1, 2)]
    eventually(lambda: len(encoder.batches) == 2)
    waiting = batcher.submit(texts(3), None)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    with pytest.raises(Unavailable, match="unloaded"):
        waiting.wait()
    encoder.gate.set()
    closing.join(30)
    assert not closing.is_alive()
    assert not batcher.healthy
    assert [ticket.wait() for ticket in running] == [[[1.0]], [[2.0]]]


def test_an_answer_may_be_decoded_further_and_knows_who_left(batcher_of: Make, encoder: Encoder) -> None:
    batcher = batcher_of()
    ticket = batcher.submit(texts(3, 4), None).then(lambda rows: sum(row[0] for row in rows))
    assert ticket.wait() == 7.0
    encoder.gate.clear()
    left = batcher.submit(texts(5), time.monotonic() + 60)
    eventually(lambda: batcher.running)
    (item,) = batcher.running
    assert item.is_wanted
    left.cancel()
    assert not item.is_wanted
    encoder.gate.set()
