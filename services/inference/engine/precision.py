"""Labels in bfloat16 where that decides, in float32 where two labels are close.

bfloat16 is two to three times as fast on a CPU that has it, and its logits are a little off. A text whose two best
logits are nearer than the error that was measured at load is computed again in float32, so that the label is the
one that the version was judged with.
"""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from services.inference.engine.batcher import Runs
from services.inference.engine.encoder import Encodes, Output, PackedEncoder, encoder_for
from services.inference.engine.native.encoder import NativeEncoder
from services.inference.engine.tokenising import Encoding, Head
from shared.modeling.devices import fast_at_bfloat16

PROBES = 24
PROBES_AT_ONCE = 4
PROBE_LENGTHS = (4, 24)  # short texts err no less than long ones, and answers wait for them
SAFETY = 3.0
COARSEST = 0.25
"""Logits; a model that bfloat16 moves further answers in float32."""


class TieBreaking:
    """`fast`, and `exact` for texts whose two best logits differ by less than `tolerance`, and for vectors."""

    def __init__(self, fast: Encodes, exact: Encodes, tolerance: float) -> None:
        self._fast = fast
        self._exact = exact
        self.tolerance = tolerance
        self.extra_bytes = fast.extra_bytes + exact.extra_bytes
        self.concurrent = fast.concurrent and exact.concurrent

    def __call__(self, texts: Sequence[Encoding]) -> list[Output]:
        if texts[0].head is Head.MEAN:
            return self._exact(texts)
        rows = self._fast(texts)
        close = [index for index, row in enumerate(rows) if margin(row) < self.tolerance]
        if close:
            for index, row in zip(close, self._exact([texts[index] for index in close]), strict=True):
                rows[index] = row
        return rows


def margin(logits: Output) -> float:
    """By how much the best logit leads."""
    second, best = np.partition(logits, -2)[-2:]
    return float(best - second)


def label_encoder(model: PreTrainedModel, pad_id: int, compute: Runs, precision: str = "auto") -> Encodes:
    """The encoder for labels of whole texts: with bfloat16 where the processor is fast at it (or `precision` says so)
    and the model can bear it, else in float32."""
    wanted = precision == "bfloat16" or (precision == "auto" and fast_at_bfloat16(model.device.type))
    exact = encoder_for(model, pad_id)
    fast = _fast_encoder(model) if wanted and int(getattr(model.config, "num_labels", 0)) > 1 else None
    if fast is None:
        return exact
    tolerance = SAFETY * _error(model, fast, exact, compute)
    return TieBreaking(fast, exact, tolerance) if tolerance < COARSEST else exact


def _fast_encoder(model: PreTrainedModel) -> Encodes | None:
    """In C++ where that fits, else through torch; None where neither does."""
    if NativeEncoder.fits(model):
        return NativeEncoder(model)
    return PackedEncoder(model, torch.bfloat16) if PackedEncoder.fits(model) else None


def _error(model: PreTrainedModel, fast: Encodes, exact: Encodes, compute: Runs) -> float:
    """The greatest error of a difference of two logits, over texts of random tokens. A few at a time: others compute
    between."""
    generator = np.random.default_rng(0)
    config = model.config
    longest = min(PROBE_LENGTHS[1], int(config.max_position_embeddings) // 2)
    texts = [
        Encoding(generator.integers(0, config.vocab_size, generator.integers(PROBE_LENGTHS[0], longest)).tolist(), ())
        for _ in range(PROBES)
    ]
    worst = 0.0
    for start in range(0, PROBES, PROBES_AT_ONCE):
        part = texts[start : start + PROBES_AT_ONCE]
        pairs = zip(compute.run(lambda: fast(part)), compute.run(lambda: exact(part)), strict=True)  # noqa: B023
        worst = max(worst, *(float(np.ptp(found - wanted)) for found, wanted in pairs))
    return worst
