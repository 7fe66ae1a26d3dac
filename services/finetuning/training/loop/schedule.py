"""The learning rate as a pure function of the step, and the seed of a batch as one of the run's seed."""

import math
from hashlib import blake2b

from shared.pipelines.methods import MethodConfig

FIRST_SHARE, LAST_SHARE = 1 / 25, 1e-4 / 25
"""Of the peak, where one cycle begins and ends."""
LEAST_MOMENTUM, MOST_MOMENTUM = 0.85, 0.95


def learning_rate(config: MethodConfig, step: int, total_steps: int) -> float:
    """Rate of step 0 … total_steps - 1: a linear rise in the warm-up, then the schedule's way down."""
    if config.schedule == "one_cycle":
        return config.learning_rate * _cycle(config, step, total_steps, FIRST_SHARE, 1.0, LAST_SHARE)
    warmup = _warmup(config, total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total_steps - warmup)
    if config.schedule == "linear":
        return config.learning_rate * (1 - done)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate


def momentum(config: MethodConfig, step: int, total_steps: int) -> float | None:
    """Momentum (of Adam the first beta) of a step; None: the optimizer's own."""
    if config.schedule != "one_cycle":
        return None
    return _cycle(config, step, total_steps, MOST_MOMENTUM, LEAST_MOMENTUM, MOST_MOMENTUM)


def _cycle(config: MethodConfig, step: int, total_steps: int, first: float, peak: float, last: float) -> float:
    """From `first` to `peak` in the warm-up and on to `last` (Smith 2018, https://arxiv.org/abs/1803.09820), both ways
    a half wave of a cosine, as torch's OneCycleLR goes them."""
    top = config.warmup_ratio * total_steps - 1
    if step < top:
        return _half_wave(first, peak, step / top)
    top = max(top, 0.0)
    return _half_wave(peak, last, (step - top) / max(1.0, total_steps - 1 - top))


def _half_wave(start: float, end: float, done: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * done))


def _warmup(config: MethodConfig, total_steps: int) -> int:
    return math.ceil(config.warmup_ratio * total_steps)


def batch_seed(seed: int, step: int, part: int) -> int:
    """Seed of torch's generator for one batch, so that dropout needs no state to be resumed."""
    return int.from_bytes(blake2b(f"{seed}/{step}/{part}".encode(), digest_size=8).digest()) >> 1
