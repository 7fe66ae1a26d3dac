import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from services.finetuning.training.loop.schedule import batch_seed, learning_rate, momentum
from shared.pipelines.methods import MethodConfig

TOTAL = 100


def _rates(**changes: object) -> list[float]:
    config = MethodConfig.model_validate({"learning_rate": 1e-3, "warmup_ratio": 0.1, **changes})
    return [learning_rate(config, step, TOTAL) for step in range(TOTAL)]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_rate_rises_in_the_warm_up_to_its_peak(schedule: str) -> None:
    rates = _rates(schedule=schedule)
    assert rates[:10] == pytest.approx([1e-4 * step for step in range(1, 11)])
    assert max(rates) == pytest.approx(1e-3)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_rate_falls_to_almost_nothing(schedule: str) -> None:
    rates = _rates(schedule=schedule)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 2e-5


def test_constant_rate_stays() -> None:
    assert set(_rates(schedule="constant")[10:]) == {1e-3}


def test_no_warm_up_starts_at_the_peak() -> None:
    assert _rates(warmup_ratio=0.0)[0] == 1e-3


@pytest.mark.parametrize("share", [0.1, 0.3, 0.55])
def test_one_cycle_goes_torchs_way(share: float) -> None:
    config = MethodConfig(learning_rate=1e-3, warmup_ratio=share, schedule="one_cycle")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    theirs = OneCycleLR(optimizer, max_lr=1e-3, total_steps=TOTAL, pct_start=share)
    for step in range(TOTAL):
        (group,) = optimizer.param_groups
        assert learning_rate(config, step, TOTAL) == pytest.approx(group["lr"])
        assert momentum(config, step, TOTAL) == pytest.approx(group["momentum"])
        optimizer.step()
        if step < TOTAL - 1:
            theirs.step()


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant", "one_cycle"])
def test_the_shortest_runs_have_rates_too(schedule: str, share: float, total: int) -> None:
    config = MethodConfig.model_validate({"learning_rate": 1e-3, "warmup_ratio": share, "schedule": schedule})
    rates = [learning_rate(config, step, total) for step in range(total)]
    assert all(0 < rate <= 1e-3 for rate in rates)
    assert rates[0] > 1e-5


def test_only_one_cycle_moves_the_momentum() -> None:
    assert momentum(MethodConfig(schedule="cosine"), 3, TOTAL) is None


def test_each_batch_has_its_own_seed() -> None:
    seeds = {batch_seed(seed, step, part) for seed in range(3) for step in range(100) for part in range(3)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)
