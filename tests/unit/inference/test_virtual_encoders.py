"""Encoders with virtual tokens are served through their own modules."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.inference.engine.compute import ComputeThread
from services.inference.kinds import serve
from services.inference.kinds.base import Resources
from shared.modeling.loading import load_model
from shared.modeling.predict import classify
from tests.support.tiny_adapters import tuned_folder
from tests.support.tiny_models import tiny_encoder

TEXTS = ["a good film", "a bad film, a film that is neither good nor bad", "the door"]


@pytest.fixture
def resources() -> Iterator[Resources]:
    compute = ComputeThread(1)
    yield Resources(compute, waiting_requests=16, waiting_tokens=4096)
    compute.close()


@pytest.mark.parametrize("method", ["prefix_tuning", "prompt_tuning", "p_tuning", "dora", "ia3", "adalora"])
def test_a_classifier_gives_what_it_was_judged_by(tmp_path: Path, resources: Resources, method: str) -> None:
    base = tiny_encoder(tmp_path / "base")
    folder = tuned_folder(tmp_path / "version", base, "classification", method, ("bad", "good"))
    expected = classify(load_model(folder, base=base), TEXTS)
    served: Any = serve("classification", load_model(folder, base=base), resources)
    try:
        served.probe()
        shares = torch.tensor(served.submit(TEXTS, None).wait())
        (words,) = served.explain(TEXTS[:1], [1], time.monotonic() + 60)
        vectors = np.stack(served.submit_embedding(TEXTS, None).wait())
    finally:
        served.close()
    # Labels of merged adapters may be computed in bfloat16, as those of any whole model.
    torch.testing.assert_close(shares, torch.tensor(expected), atol=5e-3, rtol=0)
    assert [word.text for word in words] == TEXTS[0].split()
    assert vectors.shape == (3, 32)
    assert np.isfinite(vectors).all()
