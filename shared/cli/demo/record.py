"""What the demo saw, for its summary and its report."""

import json
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.cli.demo.following import Turn
from shared.cli.demo.traffic import Sample
from shared.client.answers import Deployment
from shared.client.data import Batch, DatasetVersion
from shared.client.operations import LineageGraph


@dataclass
class Served:
    """One version as the demo saw it come, and go into service unless it was refused."""

    turn: Turn
    dataset: DatasetVersion
    deployment: Deployment | None = None

    @property
    def sealed_to_serving_seconds(self) -> float | None:
        """From the sealed dataset version to the first request that the version could answer."""
        ready = self.deployment.ready_at if self.deployment else None
        return _seconds(self.dataset.sealed_at, ready)

    def as_json(self) -> dict[str, Any]:
        job, report = self.turn.job, self.turn.report
        return {
            "version": job.model_version,
            "verdict": report.verdict,
            "reasons": [reason.message for reason in report.reasons],
            "metrics": report.metrics,
            "champion_metrics": report.champion_metrics,
            "base_metrics": report.base_metrics,
            "dataset_version": job.dataset_version,
            "rows": self.dataset.splits.total,
            "test_rows": report.test_rows,
            "train_seconds": round(self.turn.train_seconds, 2),
            "evaluation_seconds": round(report.took, 2),
            "sealed_to_serving_seconds": self.sealed_to_serving_seconds,
            "swap_seconds": self.deployment.swap if self.deployment else None,
        }


@dataclass
class PipelineRecord:
    """One pipeline's part of the story; `metric` is what its versions are compared by."""

    name: str
    metric: str
    served: list[Served] = field(default_factory=list)
    refused: list[Served] = field(default_factory=list)
    held: list[Batch] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    other_requests: int = 0

    def as_json(self) -> dict[str, Any]:
        last = self.served[-1] if self.served else None
        report = last.turn.report if last else None
        before = (report.champion_metrics or report.base_metrics) if report else {}
        turns = sorted([*self.served, *self.refused], key=lambda one: one.turn.job.model_version)
        return {
            "versions": [one.as_json() for one in turns],
            "champion_before": report.champion or None if report else None,
            "champion_after": last.turn.job.model_version if last else None,
            "metric": self.metric,
            "metric_before": before.get(self.metric),
            "metric_after": report.metrics.get(self.metric) if report else None,
            "refused": [
                {
                    "version": one.turn.job.model_version,
                    "reasons": [reason.message for reason in one.turn.report.reasons if not reason.passed],
                }
                for one in self.refused
            ],
            "held_batches": [batch.id for batch in self.held],
            "requests": len(self.samples) + self.other_requests,
            "failed_requests": len(self.failures),
            "versions_seen": list(dict.fromkeys(one.version for one in self.samples if one.version >= 0)),
            "swap_seconds": last.deployment.swap if last and last.deployment else None,
            "sealed_to_serving_seconds": last.sealed_to_serving_seconds if last else None,
            "compute_seconds": round(sum(one.turn.compute_seconds for one in turns), 2),
        }


@dataclass
class Record:
    """The whole story."""

    home: Path
    began: float = field(default_factory=time.monotonic)
    pipelines: dict[str, PipelineRecord] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    chapters: list[tuple[str, float]] = field(default_factory=list)
    """Title and seconds."""
    conversation: dict[str, str] = field(default_factory=dict)
    lineage: LineageGraph | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        pipelines = {name: record.as_json() for name, record in self.pipelines.items()}
        return {
            "seconds": round(self.seconds, 1),
            "rows_ingested": sum(batch.accepted for batch in self.batches),
            "requests": sum(found["requests"] for found in pipelines.values()),
            "failed_requests": sum(found["failed_requests"] for found in pipelines.values()),
            "compute_seconds": round(sum(found["compute_seconds"] for found in pipelines.values()), 2),
            "chapters": [{"title": title, "seconds": round(seconds, 1)} for title, seconds in self.chapters],
            "pipelines": pipelines,
        }

    def write(self) -> Path:
        """Writes home/demo/summary.json."""
        path = self.home / "demo" / "summary.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n")
        return path


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    return round((end - begin).total_seconds(), 3) if begin and end else None
