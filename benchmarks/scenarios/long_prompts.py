"""Streams that go on while a long prompt arrives every second."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.contenders.contender import Contender
from benchmarks.figures import latencies, median_ratio
from benchmarks.load.script import Answer, Ask, Script
from benchmarks.prompts import Prompts

STREAMS = 16
PROMPT_TOKENS = 64
STREAM_TOKENS = 256
LONG_TOKENS = 900
LONG_ANSWER = 16
STREAM, LONG = "stream", "long"


def compare_beside_long_prompts(
    contenders: Sequence[Contender], prompts: Prompts, rounds: int, seconds: float
) -> dict[str, Any]:
    """Tokens per second of the streams alone and of all, and the streams' latencies, p99 over all rounds."""
    rates: dict[str, list[float]] = {one.name: [] for one in contenders}
    answers: dict[str, list[Answer]] = {one.name: [] for one in contenders}
    for number in range(rounds):
        script, warm_up = _script(prompts, seconds, seed=number)
        for one in contenders:
            with one.awake(warm_up):
                seen = one.play(script)
            rates[one.name].append(sum(answer.tokens for answer in _streams(seen)) / seconds)
            answers[one.name] += seen
    ours, *peers = (one.name for one in contenders)
    figures = {name: _figures(found, rates[name]) for name, found in answers.items()}
    slowest = "inter_token_p99_ms"
    return {
        "streams": STREAMS,
        "long_prompt_tokens": LONG_TOKENS,
        "seconds": seconds,
        "figures": figures,
        "tokens_per_second_ratios": {name: median_ratio(rates[ours], rates[name]) for name in peers},
        "inter_token_p99_ratios": {name: round(figures[ours][slowest] / figures[name][slowest], 3) for name in peers},
    }


def _figures(answers: list[Answer], rates: list[float]) -> dict[str, Any]:
    long = [answer for answer in answers if answer.label == LONG]
    return {
        "tokens_per_second": round(median(rates), 1),
        **latencies(_streams(answers)),
        "long_prompts_answered": sum(answer.whole for answer in long),
        "long_prompts_sent": len(long),
        "long_first_token_p50_ms": latencies(long).get("first_token_p50_ms"),
    }


def _streams(answers: list[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.label == STREAM]


def _script(prompts: Prompts, seconds: float, seed: int) -> tuple[Script, Ask]:
    """Each stream asks again when its answer ends; each long prompt comes at its second, whatever runs then."""
    lengths = round(seconds)
    warm, *short = prompts.chat(1 + STREAMS * lengths, PROMPT_TOKENS, seed)
    streams = tuple(
        tuple(Ask(prompt, STREAM_TOKENS, label=STREAM) for prompt in short[lane::STREAMS]) for lane in range(STREAMS)
    )
    long = prompts.chat(lengths, LONG_TOKENS, seed)
    arrivals = tuple((Ask(prompt, LONG_ANSWER, at=float(1 + at), label=LONG),) for at, prompt in enumerate(long))
    return Script(streams + arrivals, seconds), Ask(warm, 8)
