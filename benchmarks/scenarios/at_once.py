"""So many requests at once, all sent together: tokens per second, time to first token, time between tokens."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.contenders.contender import Contender
from benchmarks.figures import latencies, median_ratio, tokens_per_second
from benchmarks.load.script import Answer, Ask, Script
from benchmarks.prompts import Prompts

PROMPT_TOKENS = 64
ANSWER_TOKENS = 64
SINGLE_ASKS = 3


def compare_at_once(contenders: Sequence[Contender], prompts: Prompts, count: int, rounds: int) -> dict[str, Any]:
    """The first contender is ours; in a round each plays the same prompts, and no prompt comes twice to anybody."""
    rates: dict[str, list[float]] = {one.name: [] for one in contenders}
    answers: dict[str, list[Answer]] = {one.name: [] for one in contenders}
    for number in range(rounds):
        asks, warm_up = asks_for(prompts, count, seed=1000 * count + number)
        for one in contenders:
            with one.awake(warm_up):
                seen = one.play(asks)
            rates[one.name].append(tokens_per_second(seen))
            answers[one.name] += seen
    ours, *peers = (one.name for one in contenders)
    return {
        "at_once": count,
        "rounds": rounds,
        "tokens_per_second": {name: round(median(found), 1) for name, found in rates.items()},
        "latency": {name: latencies(found) for name, found in answers.items()},
        "ratios": {name: median_ratio(rates[ours], rates[name]) for name in peers},
    }


def asks_for(prompts: Prompts, count: int, seed: int) -> tuple[Script, Ask]:
    """A lane a request (one alone is asked a few times in a row), and a request to warm up with."""
    per_lane = SINGLE_ASKS if count == 1 else 1
    warm, *made = prompts.chat(count * per_lane + 1, PROMPT_TOKENS, seed)
    asks = [Ask(prompt, ANSWER_TOKENS) for prompt in made]
    lanes = tuple(tuple(asks[lane * per_lane : (lane + 1) * per_lane]) for lane in range(count))
    return Script(lanes), Ask(warm, 8)
