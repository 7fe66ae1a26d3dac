"""OpenVINO GenAI's continuous batching, in process: `python -m benchmarks.peers.programs.openvino FOLDER`.

Runs with the interpreter of the peer's environment. It has no client and no door: its steps are called directly.
"""

import sys
import time
from typing import Any

import numpy as np
import openvino as ov  # type: ignore[import-not-found]  # lives in the peer's environment only
import openvino_genai as genai  # type: ignore[import-not-found]

from benchmarks.load.playing import serve_scripts
from benchmarks.load.script import Answer, Ask, Script

CACHE_GIB = 2


class OpenVinoPlayer:
    """Every lane of the script has one request, and all of them start at once."""

    def __init__(self, folder: str) -> None:
        scheduling = genai.SchedulerConfig()
        scheduling.cache_size = CACHE_GIB
        hints = {"INFERENCE_PRECISION_HINT": "bf16"}
        self._pipeline: Any = genai.ContinuousBatchingPipeline(folder, scheduling, "CPU", hints)
        self._next_id = 0

    def __call__(self, script: Script) -> list[Answer]:
        answers: list[Answer] = []
        for place in range(max(len(lane) for lane in script.lanes)):
            asks = [lane[place] for lane in script.lanes if place < len(lane)]
            offset = answers[-1].arrivals[-1][0] if answers else 0.0
            answers += self._together(asks, offset)
        return answers

    def _together(self, asks: list[Ask], offset: float) -> list[Answer]:
        began = time.monotonic() - offset
        handles = [self._add(ask) for ask in asks]
        arrivals: list[list[tuple[float, int]]] = [[] for _ in asks]
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            now = time.monotonic() - began
            for handle, seen in zip(handles, arrivals, strict=True):
                while handle.can_read():
                    seen.append((now, sum(len(output.generated_ids) for output in handle.read().values())))
        return [_answer(ask, offset, seen) for ask, seen in zip(asks, arrivals, strict=True)]

    def _add(self, ask: Ask) -> Any:
        config = genai.GenerationConfig()
        config.max_new_tokens = ask.tokens
        config.ignore_eos = True
        config.do_sample = False
        self._next_id += 1
        return self._pipeline.add_request(self._next_id, ov.Tensor(np.array([ask.prompt], dtype=np.int64)), config)


def _answer(ask: Ask, due: float, arrivals: list[tuple[float, int]]) -> Answer:
    tokens = sum(count for _, count in arrivals)
    failed = "" if tokens == ask.tokens else f"{tokens} tokens came, {ask.tokens} were asked for"
    return Answer(ask.label, due, tuple(arrivals), whole=not failed, failed=failed)


if __name__ == "__main__":
    serve_scripts(OpenVinoPlayer(sys.argv[1]))
