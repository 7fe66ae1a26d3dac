"""Clients that call without pause and check every answer against the version that its lineage names.

Greedy answers of tiny random models identify the version: what a version says to a prompt is learnt first, by asking
for it by number.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub

CHAT, CLASSIFIER = "helper", "mood"
PROMPTS = ("how do I open the door?", "what is the price?", "a good film", "turn the key")
TOKENS = 24
TIMEOUT_SECONDS = 60.0
Said = tuple[object, ...]


@dataclass
class Observed:
    """What the clients saw; latencies in seconds, with the moment each answer was complete."""

    answers: int = 0
    versions: set[tuple[str, int]] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    latencies: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {CHAT: [], CLASSIFIER: []})

    def between(self, model: str, begin: float, end: float) -> list[float]:
        return [seconds for at, seconds in list(self.latencies[model]) if begin <= at < end]


class Soak:
    """Streams and Classify calls on one server."""

    def __init__(self, stub: InferenceStub, versions: int) -> None:
        """`versions` of both models must be loadable; learns what each of them says."""
        self.seen = Observed()
        self._stub = stub
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._said: dict[tuple[str, int, str], Said] = {}
        for version in range(1, versions + 1):
            for model, ask in ((CHAT, self._generate), (CLASSIFIER, self._classify)):
                for prompt in PROMPTS:
                    self._said[model, version, prompt] = ask(common_pb2.ModelRef(name=model, version=version), prompt)[
                        1
                    ]
        for model in (CHAT, CLASSIFIER):
            whole = {tuple(self._said[model, version, prompt] for prompt in PROMPTS) for version in _upto(versions)}
            assert len(whole) == versions, f"the versions of {model} can't be told apart"

    @contextmanager
    def running(self, streams: int, callers: int) -> Iterator[Observed]:
        """So many streams and callers at once, until the block ends."""
        asks = [(CHAT, self._generate)] * streams + [(CLASSIFIER, self._classify)] * callers
        threads = [threading.Thread(target=self._call, args=(*ask, start)) for start, ask in enumerate(asks)]
        for one in threads:
            one.start()
        try:
            yield self.seen
        finally:
            self._stop.set()
            for one in threads:
                one.join()

    def _call(self, model: str, ask: Callable[[common_pb2.ModelRef, str], tuple[int, Said]], start: int) -> None:
        number = start
        while not self._stop.is_set():
            prompt = PROMPTS[number % len(PROMPTS)]
            number += 1
            began = time.monotonic()
            try:
                version, said = ask(common_pb2.ModelRef(name=model), prompt)
            except (grpc.RpcError, AssertionError) as error:
                self.seen.failed.append(f"{model}: {error}")
                continue
            now = time.monotonic()
            with self._lock:
                self.seen.answers += 1
                self.seen.versions.add((model, version))
                self.seen.latencies[model].append((now, now - began))
                if said != self._said[model, version, prompt]:
                    self.seen.mixed.append(f"{model} version {version} to {prompt!r}: {said}")

    def _generate(self, model: common_pb2.ModelRef, prompt: str) -> tuple[int, Said]:
        stopping = pb.Stopping(max_tokens=TOKENS, ignore_eos=True)
        request = pb.GenerateRequest(model=model, text=prompt, stopping=stopping)
        version, tokens, reason = 0, list[int](), pb.FINISH_REASON_UNSPECIFIED
        for event in self._stub.Generate(request, timeout=TIMEOUT_SECONDS):
            kind = event.WhichOneof("event")
            if kind == "accepted":
                version = event.accepted.lineage.version
            elif kind == "chunk":
                tokens.extend(event.chunk.token_ids)
            else:
                reason = event.finished.reason
        assert (reason, len(tokens)) == (pb.FINISH_REASON_LENGTH, TOKENS), f"ended with {reason}, {len(tokens)} tokens"
        return version, tuple(tokens)

    def _classify(self, model: common_pb2.ModelRef, prompt: str) -> tuple[int, Said]:
        request = pb.ClassifyRequest(model=model, texts=[prompt])
        answer = self._stub.Classify(request, timeout=TIMEOUT_SECONDS)
        scores = {one.label: one.score for one in answer.results[0].labels}
        return answer.lineage.version, tuple(round(scores[label], 3) for label in sorted(scores))


def _upto(versions: int) -> range:
    return range(1, versions + 1)


def cancel_storm(stub: InferenceStub, count: int, at_once: int = 8) -> None:
    """Streams that are given up: before the first event, after it, or in the middle of the answer, in turns."""

    def give_up(number: int) -> None:
        stopping = pb.Stopping(max_tokens=400, ignore_eos=True)
        request = pb.GenerateRequest(
            model=common_pb2.ModelRef(name=CHAT), text=PROMPTS[number % len(PROMPTS)], stopping=stopping
        )
        stream = stub.Generate(request, timeout=TIMEOUT_SECONDS)
        for _ in range(number % 3):
            next(stream)
        stream.cancel()

    with ThreadPoolExecutor(at_once) as clients:
        list(clients.map(give_up, range(count)))
