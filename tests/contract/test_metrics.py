"""The metrics that dashboards, alerts and scripts rely on."""

import pytest
from prometheus_client import REGISTRY

from shared.telemetry import metrics

PROMISED = {
    "inference_request_seconds": {"method", "model", "code"},
    "inference_queue_seconds": set(),
    "inference_time_to_first_token_seconds": set(),
    "inference_inter_token_seconds": set(),
    "inference_tokens_total": {"model", "kind"},
    "inference_running_requests": set(),
    "inference_waiting_requests": set(),
    "inference_waiting_tokens": set(),
    "inference_cache_used_ratio": set(),
    "inference_rejected_total": {"reason"},
    "inference_cancelled_total": set(),
    "inference_swap_seconds": set(),
    "inference_swap_dropped_total": set(),
    "inference_model_info": {"model", "version", "dataset_version"},
    "inference_memory_bytes": {"model"},
    "inference_evictions_total": {"model"},
    "inference_shadows_total": {"model", "version", "outcome"},
    "inference_shadow_seconds": {"model", "version"},
    "training_loss": {"pipeline", "split"},
    "training_step": set(),
    "training_progress_ratio": set(),
    "training_eta_seconds": set(),
    "training_tokens_per_second": set(),
    "training_learning_rate": set(),
    "training_gradient_norm": set(),
    "training_runs": {"pipeline", "state"},
    "training_checkpoint_seconds": set(),
    "training_attempts_total": {"outcome"},
    "queue_depth": {"queue"},
    "queue_oldest_age_seconds": set(),
    "queue_wait_seconds": set(),
    "task_seconds": {"task", "outcome"},
    "dead_letters": set(),
    "outbox_lag_seconds": set(),
    "ingestion_rows_total": {"pipeline", "outcome"},
    "ingestion_rule_rows_total": {"pipeline", "rule", "action"},
    "ingestion_batch_seconds": set(),
    "ingestion_imports_total": {"pipeline", "outcome"},
    "ingestion_import_bytes_total": {"pipeline"},
    "ingestion_import_progress_ratio": {"pipeline"},
    "ingestion_import_eta_seconds": {"pipeline"},
    "ingestion_import_rows_per_second": {"pipeline"},
    "ingestion_source_pending": {"pipeline", "source"},
    "ingestion_source_failing": {"pipeline", "source"},
    "ingestion_source_rows_total": {"pipeline", "source"},
    "dataset_version_rows": {"pipeline", "split"},
    "dataset_freshness_seconds": set(),
    "evaluation_metric": {"pipeline", "metric", "role"},
    "gate_verdicts_total": {"pipeline", "verdict", "reason"},
    "champion_version": set(),
    "champion_age_seconds": set(),
    "trigger_decisions_total": {"pipeline", "trigger", "decision"},
    "feedback_total": {"model", "rating"},
}
"""Name without the prefix -> labels that it has at least."""
UNIQUE_PER_REQUEST = {"job", "run", "request", "request_id", "job_id", "run_id", "id"}


def ours() -> dict[str, set[str]]:
    found = {}
    for name in dir(metrics):
        metric = getattr(metrics, name)
        if hasattr(metric, "_labelnames"):
            total = "_total" if metric._type == "counter" else ""
            found[metric._name.removeprefix("flywheel_") + total] = set(metric._labelnames)
    return found


@pytest.mark.parametrize("name", PROMISED)
def test_a_promised_metric_exists_with_its_labels(name: str) -> None:
    assert PROMISED[name] <= ours()[name]


def test_no_label_has_a_value_a_request() -> None:
    assert [name for name, labels in ours().items() if labels & UNIQUE_PER_REQUEST] == []


def test_every_metric_has_the_prefix_and_a_help_text() -> None:
    for metric in REGISTRY.collect():
        if not metric.name.startswith(("python_", "process_")):
            assert metric.name.startswith("flywheel_")
            assert metric.documentation.endswith(".")
