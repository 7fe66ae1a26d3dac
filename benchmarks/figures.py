"""Figures from what load clients saw."""

import math
from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.load.script import Answer

FIRST_TOKEN_SECONDS = 0.5
TOKEN_SECONDS = 0.04


class BenchmarkFailed(Exception):
    """A contender did not answer as asked; its figures would be worthless."""


def check_whole(answers: Iterable[Answer]) -> None:
    """Raises BenchmarkFailed unless every answer came as asked, or was cut off by the end of the script."""
    failed = [answer.failed for answer in answers if answer.failed]
    if failed:
        raise BenchmarkFailed(f"{len(failed)} requests failed, the first: {failed[0]}")


def tokens_per_second(answers: Sequence[Answer]) -> float:
    """From the start to the last token, everything included."""
    return sum(answer.tokens for answer in answers) / max(answer.arrivals[-1][0] for answer in answers)


def is_good(answer: Answer) -> bool:
    """First token within 500 ms, and the answer as fast as 40 ms a token after it."""
    if not answer.whole or answer.first is None:
        return False
    slowest = answer.due + FIRST_TOKEN_SECONDS + TOKEN_SECONDS * (answer.tokens - 1)
    return answer.first <= FIRST_TOKEN_SECONDS and answer.arrivals[-1][0] <= slowest


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` is between 0 and 1."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def latencies(answers: Iterable[Answer]) -> dict[str, float]:
    """Milliseconds: time to first token and between tokens, p50 and p99."""
    answered = [answer for answer in answers if answer.arrivals]
    firsts = [answer.first for answer in answered if answer.first is not None]
    gaps = [gap for answer in answered for gap in answer.gaps]
    return {
        f"{name}_p{round(share * 100)}_ms": round(1000 * percentile(values, share), 1)
        for name, values in (("first_token", firsts), ("inter_token", gaps))
        for share in (0.5, 0.99)
        if values
    }


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over rounds: the two of a round ran next to each other, on the same machine in the same mood."""
    return round(median(mine / other for mine, other in zip(ours, theirs, strict=True)), 3)
