"""What several processes need, as far as one can show it."""

from pathlib import Path

import torch
from torch import nn

from services.finetuning.spec import EXIT_FAILED
from services.finetuning.training.distributed.exchange import BUCKET_VALUES, NOTHING, _cut
from services.finetuning.training.model.sharding import layers, split_like, whole
from shared.pipelines.resources import Resources
from tests.support.training_runs import make_spec, named, run, some_rows


def test_more_processes_than_batches_are_refused_before_any_is_started(tmp_path: Path) -> None:
    spec = make_spec(
        tmp_path, "classification", some_rows("classification", 8), resources=Resources(processes=2), device="cpu"
    )
    code, events = run(spec)
    (failed,) = named(events, "failed")
    assert (code, failed["reason"]) == (EXIT_FAILED, "BAD_SPEC")
    assert "too few for 2 processes" in failed["message"]


def test_each_process_needs_a_gpu_of_its_own(tmp_path: Path) -> None:
    size = torch.cuda.device_count() + 1
    method = {"gradient_accumulation": max(2, size)}
    resources = Resources(processes=max(2, size))
    rows = some_rows("classification", 8)
    code, events = run(make_spec(tmp_path, "classification", rows, method, resources=resources, device="cuda"))
    (failed,) = named(events, "failed")
    assert (code, failed["reason"]) == (EXIT_FAILED, "BAD_SPEC")
    assert "one each is needed" in failed["message"]


def test_the_number_of_processes_is_no_part_of_a_runs_identity(tmp_path: Path) -> None:
    rows = some_rows("classification", 8)
    one = make_spec(tmp_path, "classification", rows)
    two = make_spec(tmp_path, "classification", rows, resources=Resources(processes=2, sharding="full"))
    assert one.identity("base") == two.identity("base")


def test_adding_nothing_leaves_every_bit() -> None:
    values = torch.tensor([0.0, -0.0, 1.5, -1e-45, torch.inf])
    assert torch.equal((values + NOTHING).view(torch.int32), values.view(torch.int32))
    assert not torch.equal((values + 0.0).view(torch.int32), values.view(torch.int32))


def test_gradients_travel_in_buckets_of_bounded_size() -> None:
    params = [nn.Parameter(torch.empty(size, device="meta")) for size in (BUCKET_VALUES, 3, BUCKET_VALUES - 3, 1, 5)]
    assert [[value.numel() for value in bucket] for bucket in _cut(params)] == [
        [BUCKET_VALUES],
        [3, BUCKET_VALUES - 3],
        [1, 5],
    ]


def test_the_layers_of_a_model_are_the_members_of_its_outermost_lists() -> None:
    inner = nn.ModuleList([nn.Linear(1, 1)])
    blocks = [nn.ModuleDict({"list": inner}), nn.Linear(1, 1), nn.ReLU()]
    model = nn.ModuleDict({"table": nn.Embedding(2, 1), "body": nn.ModuleDict({"layers": nn.ModuleList(blocks)})})
    assert layers(model) == blocks[:2]


def test_what_is_whole_stays_as_it_is() -> None:
    tensor = torch.ones(2)
    assert whole(tensor) is tensor
    assert split_like(tensor, torch.zeros(2)) is tensor
