"""What is loaded and how busy it is, as metrics by model."""

from collections import defaultdict
from collections.abc import Iterable

from services.inference.engine.interface import Load
from services.inference.kinds.base import Served
from services.inference.models.lineage import Key, Lineage
from shared.telemetry import metrics


def report_load(served: Iterable[tuple[Key, Served]]) -> None:
    """Sets the gauges; versions of one model are added up, the fullest cache counts."""
    loads: dict[str, list[Load]] = defaultdict(list)
    memory: dict[str, int] = defaultdict(int)
    for key, one in served:
        loads[key.model].append(one.load())
        memory[key.model] += one.memory_bytes
    for model, count in memory.items():
        metrics.INFERENCE_MEMORY_BYTES.labels(model).set(count)
    for model, found in loads.items():
        metrics.INFERENCE_RUNNING_REQUESTS.labels(model).set(sum(load.running for load in found))
        metrics.INFERENCE_WAITING_REQUESTS.labels(model).set(sum(load.waiting for load in found))
        metrics.INFERENCE_WAITING_TOKENS.labels(model).set(sum(load.waiting_tokens for load in found))
        metrics.INFERENCE_CACHE_USED_RATIO.labels(model).set(max(load.cache_used for load in found))


def show_champion(lineage: Lineage) -> None:
    """The info metric names the champion that serves, and no other."""
    metrics.INFERENCE_MODEL_INFO.remove_by_labels({"model": lineage.model})
    metrics.INFERENCE_SWAP_DROPPED.labels(lineage.model)  # a series from the start, so that 0 is visible
    labels = (lineage.model, str(lineage.version), str(lineage.dataset_version))
    metrics.INFERENCE_MODEL_INFO.labels(*labels).set(1)
