import torch
from torch import nn

from services.finetuning.training.model.dropout import CheapDropout, cheapen_dropout


def test_share_dropped_is_p_and_the_mean_stays() -> None:
    torch.manual_seed(0)
    dropped = CheapDropout(0.25)(torch.ones(1001, 999))
    assert abs(float((dropped == 0).float().mean()) - 0.25) < 0.002
    assert abs(float(dropped.mean()) - 1) < 0.002


def test_every_place_is_dropped_alike() -> None:
    torch.manual_seed(0)
    module = CheapDropout(0.5)
    share = torch.stack([module(torch.ones(8)) == 0 for _ in range(4000)]).float().mean(0)
    assert ((share - 0.5).abs() < 0.04).all()


def test_gradient_passes_where_values_were_kept() -> None:
    torch.manual_seed(0)
    values = torch.ones(100, requires_grad=True)
    dropped = CheapDropout(0.5)(values)
    dropped.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, dropped.detach())


def test_nothing_is_dropped_in_evaluation() -> None:
    values = torch.ones(10)
    assert CheapDropout(0.5).eval()(values) is values


def test_replaces_every_dropout_of_a_model() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3), nn.Sequential(nn.Dropout(0.2)))
    cheapen_dropout(model)
    assert [module.p for module in model.modules() if isinstance(module, CheapDropout)] == [0.3, 0.2]
    assert not any(type(module) is nn.Dropout for module in model.modules())
