"""Plays scripts: a thread a lane, and the loop of a program that gets scripts on standard input."""

import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing

from benchmarks.load.script import Answer, Ask, Script, answers_to_json

READY = "ready"
Stream = Callable[[Ask], Generator[int, None, None]]
"""Sends a request and gives, at each arrival, the number of tokens; closing it cancels the request."""


def serve_scripts(play: Callable[[Script], list[Answer]]) -> None:
    """Says that it is ready, then a line of answers for every line with a script, until standard input ends.

    Whatever libraries print goes to standard error: the answers have standard output for themselves.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    print(READY, file=answers)
    for line in sys.stdin:
        print(answers_to_json(play(Script.from_json(line))), file=answers)


def play_in_threads(script: Script, stream: Stream) -> list[Answer]:
    """All lanes at once; the answers lane by lane."""
    seen: list[list[Answer]] = [[] for _ in script.lanes]
    began = time.monotonic()
    threads = [
        threading.Thread(target=_play_lane, args=(lane, script.seconds, stream, began, answers), daemon=True)
        for lane, answers in zip(script.lanes, seen, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answer for answers in seen for answer in answers]


def _play_lane(
    lane: tuple[Ask, ...], seconds: float | None, stream: Stream, began: float, answers: list[Answer]
) -> None:
    for ask in lane:
        due = max(ask.at, time.monotonic() - began)
        if seconds is not None and due >= seconds:
            return
        time.sleep(max(0.0, began + due - time.monotonic()))
        answers.append(_ask(ask, due, seconds, stream, began))


def _ask(ask: Ask, due: float, seconds: float | None, stream: Stream, began: float) -> Answer:
    arrivals: list[tuple[float, int]] = []
    try:
        with closing(stream(ask)) as counts:
            for count in counts:
                now = time.monotonic() - began
                if seconds is not None and now >= seconds:
                    return Answer(ask.label, due, tuple(arrivals), whole=False)
                arrivals.append((now, count))
    except Exception as error:
        return Answer(ask.label, due, tuple(arrivals), whole=False, failed=f"{type(error).__name__}: {error}"[:300])
    tokens = sum(count for _, count in arrivals)
    failed = "" if tokens == ask.tokens else f"{tokens} tokens came, {ask.tokens} were asked for"
    return Answer(ask.label, due, tuple(arrivals), whole=not failed, failed=failed)
