"""The loss over a wide vocabulary is torch's cross-entropy, with its gradient."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from shared.modeling.kinds.base import IGNORED
from shared.modeling.kinds.vocabulary_loss import ROWS, summed_loss

FINE = {torch.float32: 1e-6, torch.bfloat16: 0.01}
"""Of gradients, relative to the largest; bfloat16 has 8 bits, and they are rounded twice."""


def _parts(rows: int, kind: torch.dtype, ignored: int) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(rows)
    logits = (torch.randn(rows, 50, generator=generator) * 3).to(kind).requires_grad_()
    targets = torch.randint(0, 50, (rows,), generator=generator)
    targets[torch.randperm(rows, generator=generator)[:ignored]] = IGNORED
    return logits, targets


@pytest.mark.parametrize("kind", FINE)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("rows", "ignored"), [(1, 0), (7, 3), (ROWS, 0), (2 * ROWS + 5, 0), (3 * ROWS, 50), (4, 4)])
def test_it_is_cross_entropy_with_its_gradient(kind: torch.dtype, smoothing: float, rows: int, ignored: int) -> None:
    logits, targets = _parts(rows, kind, ignored)
    exact = logits.detach().double().requires_grad_()
    expected = functional.cross_entropy(
        exact, targets, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
    )
    (expected / 7).backward()
    found = summed_loss(logits, targets, smoothing)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    (found / 7).backward()
    off = (logits.grad.double() - exact.grad).abs().max()
    assert float(off) <= FINE[kind] * float(exact.grad.abs().max())
    assert not logits.grad[targets == IGNORED].any()


def test_a_token_that_is_hardly_possible_has_a_loss_and_no_infinity() -> None:
    logits = torch.tensor([[0.0, -500.0]], requires_grad=True)
    loss = summed_loss(logits, torch.tensor([1]))
    assert float(loss.detach()) == 500.0
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[1.0, -1.0]]


def test_a_loss_that_is_not_finite_says_so() -> None:
    logits = torch.tensor([[0.0, float("nan")]], requires_grad=True)
    assert torch.isnan(summed_loss(logits, torch.tensor([0])))


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    logits, targets = _parts(40, torch.bfloat16, 3)
    with torch.no_grad():
        assert not summed_loss(logits, targets).requires_grad
    assert torch.equal(summed_loss(logits, targets).detach(), summed_loss(logits.detach(), targets))
