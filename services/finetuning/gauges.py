"""Training progress for Prometheus, by pipeline."""

from typing import Any

from prometheus_client import Gauge

from shared.telemetry import metrics

LIVE: dict[str, Gauge] = {
    "eta_seconds": metrics.TRAINING_ETA_SECONDS,
    "tokens_per_second": metrics.TRAINING_TOKENS_PER_SECOND,
    "learning_rate": metrics.TRAINING_LEARNING_RATE,
    "gradient_norm": metrics.TRAINING_GRADIENT_NORM,
}
"""Gone when the run ends; loss, step and progress keep their last value."""


def show(pipeline: str, event: dict[str, Any]) -> None:
    """Takes over what an event of the training process says."""
    match event.get("event"):
        case "started":
            _show_step(pipeline, event["start_step"], event["total_steps"])
        case "progress":
            _show_step(pipeline, event["step"], event["total_steps"])
            metrics.TRAINING_LOSS.labels(pipeline, "train").set(event["loss"])
            for name, gauge in LIVE.items():
                if event.get(name) is not None:
                    gauge.labels(pipeline).set(event[name])
        case "validation":
            metrics.TRAINING_LOSS.labels(pipeline, "validation").set(event["loss"])
        case "checkpoint":
            metrics.TRAINING_CHECKPOINT_SECONDS.labels(pipeline).observe(event["seconds"])


def settle(pipeline: str) -> None:
    """Takes away what has a meaning only while a run goes on."""
    for gauge in LIVE.values():
        gauge.remove(pipeline)


def _show_step(pipeline: str, step: int, total: int) -> None:
    metrics.TRAINING_STEP.labels(pipeline).set(step)
    metrics.TRAINING_PROGRESS_RATIO.labels(pipeline).set(step / total if total else 0)
