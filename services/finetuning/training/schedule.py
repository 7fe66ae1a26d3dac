"""The learning rate as a pure function of the step, and the seed of a batch as one of the run's seed."""

import math
from hashlib import blake2b

from shared.pipelines.methods import MethodConfig


def learning_rate(config: MethodConfig, step: int, total_steps: int) -> float:
    """Rate of step 0 … total_steps - 1: a linear rise in the warm-up, then the schedule's way down."""
    warmup = math.ceil(config.warmup_ratio * total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total_steps - warmup)
    if config.schedule == "linear":
        return config.learning_rate * (1 - done)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate


def batch_seed(seed: int, step: int, part: int) -> int:
    """Seed of torch's generator for one batch, so that dropout needs no state to be resumed."""
    return int.from_bytes(blake2b(f"{seed}/{step}/{part}".encode(), digest_size=8).digest()) >> 1
