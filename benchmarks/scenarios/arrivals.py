"""Requests that arrive by chance (Poisson): how many a second are answered well, at the best rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from benchmarks.contenders.contender import Contender
from benchmarks.figures import is_good, latencies
from benchmarks.load.script import Ask, Script
from benchmarks.prompts import Prompts

PROMPT_TOKENS = 64
ANSWER_TOKENS = 64
STEP = 1.4
MOST_GOOD = 0.9
"""The best rate lies where this share of the requests is answered well, or a step above."""


@dataclass(frozen=True)
class Tried:
    """Requests a second that arrived, the share answered well, and well-answered requests a second."""

    rate: float
    share: float
    good: float
    latency: dict[str, float]


def compare_arrivals(
    contenders: Sequence[Contender], prompts: Prompts, seconds: float, tries: int, start: float
) -> dict[str, Any]:
    """Each contender's own search, turn by turn."""
    tried: dict[str, list[Tried]] = {one.name: [] for one in contenders}
    for number in range(tries):
        for one in contenders:
            rate = next_rate(tried[one.name], start)
            script, warm_up = _script(prompts, rate, seconds, seed=number)
            with one.awake(warm_up):
                answers = one.play(script)
            good = sum(is_good(answer) for answer in answers)
            share = round(good / len(answers), 3)
            tried[one.name].append(Tried(round(rate, 2), share, round(good / seconds, 2), latencies(answers)))
    best = {name: max(found, key=lambda one: one.good) for name, found in tried.items()}
    ours, *peers = (one.name for one in contenders)
    return {
        "seconds": seconds,
        "good_requests_per_second": {name: one.good for name, one in best.items()},
        "at_rate": {name: one.rate for name, one in best.items()},
        "ratios": {name: round(best[ours].good / max(best[name].good, 1e-9), 3) for name in peers},
        "tried": {name: [vars(one) for one in found] for name, found in tried.items()},
    }


def next_rate(tried: Sequence[Tried], start: float) -> float:
    """Up by a step while most are good, down while not; once both were seen, between the two nearest."""
    if not tried:
        return start
    kept = max((one.rate for one in tried if one.share >= MOST_GOOD), default=None)
    lost = min((one.rate for one in tried if one.share < MOST_GOOD), default=None)
    if lost is None:
        assert kept is not None
        return kept * STEP
    if kept is None:
        return lost / STEP
    return float((kept * lost) ** 0.5)


def _script(prompts: Prompts, rate: float, seconds: float, seed: int) -> tuple[Script, Ask]:
    """Exponential pauses; the same seed gives the same pauses, stretched by the rate."""
    numbers = Random(seed)
    at, times = 0.0, []
    while (at := at + numbers.expovariate(rate)) < seconds:
        times.append(at)
    warm, *made = prompts.chat(1 + max(1, len(times)), PROMPT_TOKENS, seed=10_000 + seed)
    lanes = tuple((Ask(prompt, ANSWER_TOKENS, at=at),) for prompt, at in zip(made, times or [0.0], strict=True))
    return Script(lanes), Ask(warm, 8)
