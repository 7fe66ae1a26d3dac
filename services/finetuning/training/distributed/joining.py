"""Becoming one of the processes of a run: alone, as the leader of those it starts, or as torchrun's or Accelerate's."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import PartialState
from accelerate.utils import patch_environment
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from services.finetuning.spec import FailureReason, TrainingSpec
from services.finetuning.training.distributed.peers import Peers
from services.finetuning.training.distributed.replicated import Replicated
from services.finetuning.training.distributed.sharded import Sharded
from services.finetuning.training.distributed.team import Alone, Team
from services.finetuning.training.failures import TrainingFailed
from shared.config import launched_processes
from shared.pipelines.resources import Resources, check_resources

HERE, LOOPBACKS = "127.0.0.1", ("lo", "lo0")
PATIENCE = timedelta(minutes=30)
"""For another process to come to the same place: one may be writing, another still loading."""
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}


@contextmanager
def join(spec: TrainingSpec) -> Iterator[Team]:
    """Meanwhile this process is one of the run's; where nobody started the others, it starts and ends them.

    Raises TrainingFailed: BAD_SPEC for a number of processes that the method or the machine can't take, and the reason
    of another process that failed.
    """
    launched = launched_processes()
    size = launched if launched > 1 else spec.resources.processes
    device = torch.device(spec.device)
    if size == 1:
        yield Alone(device)
        return
    _check_method(spec, size)
    if launched > 1:
        with _group(spec) as team:
            yield team
        return
    _check_devices(device, size)
    store = _store(size)
    places = [_environment(spec, rank, size, store.port) for rank in range(size)]
    with Peers(spec, places[1:]), patch_environment(**places[0]), _group(spec) as team:
        yield team


def _store(size: int) -> TCPStore:
    """Where the processes meet; by itself it would listen to the whole network."""
    listener = socket.create_server((HERE, 0))
    port = listener.getsockname()[1]
    return TCPStore(
        HERE,
        port,
        size,
        is_master=True,
        wait_for_workers=False,
        timeout=PATIENCE,
        master_listen_fd=listener.detach(),
    )


@contextmanager
def _group(spec: TrainingSpec) -> Iterator[Team]:
    kind = torch.device(spec.device).type
    state = PartialState(cpu=kind == "cpu", backend=BACKENDS[kind], timeout=PATIENCE)
    try:
        torch.set_num_threads(spec.threads)  # Accelerate has a number of its own
        made = Sharded if spec.resources.sharding == "full" else Replicated
        yield made(state.process_index, state.num_processes, state.device)
    finally:
        distributed.destroy_process_group()
        PartialState._reset_state()


def _check_method(spec: TrainingSpec, size: int) -> None:
    try:
        check_resources(Resources(processes=size, sharding=spec.resources.sharding), spec.method)
    except ValueError as error:
        raise TrainingFailed(FailureReason.BAD_SPEC, str(error)) from None


def _check_devices(device: torch.device, size: int) -> None:
    if device.type == "cuda" and torch.cuda.device_count() < size:
        here = torch.cuda.device_count()
        raise TrainingFailed(
            FailureReason.BAD_SPEC, f"resources.processes: {size} processes on {here} CUDA devices; one each is needed"
        )


def _environment(spec: TrainingSpec, rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun tells its processes, and that gloo stays inside this machine."""
    loopback = [name for _, name in socket.if_nameindex() if name in LOOPBACKS][:1]
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": HERE,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "OMP_NUM_THREADS": str(spec.threads),
        **({"GLOO_SOCKET_IFNAME": loopback[0]} if loopback else {}),
    }
