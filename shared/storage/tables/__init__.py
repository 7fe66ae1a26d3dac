"""Every table, one file an aggregate. Importing this package registers them all on `Base.metadata`."""

from shared.storage.tables.base import Base
from shared.storage.tables.data import (
    Batch,
    DatasetVersion,
    DatasetVersionBatch,
    Deletion,
    Feedback,
    Import,
    QuarantinedRow,
    SourceState,
)
from shared.storage.tables.jobs import Checkpoint, Job, JobEvent, Run, Search, TrainingWorker
from shared.storage.tables.judgement import Evaluation, Report
from shared.storage.tables.messaging import DeadLetter, Leader, OutboxMessage
from shared.storage.tables.models import Alias, AliasMove, ModelVersion
from shared.storage.tables.operations import AuditEntry
from shared.storage.tables.pipelines import Pipeline, TriggerDecision
from shared.storage.tables.serving import Answer, Deployment, Traffic

__all__ = [
    "Alias",
    "AliasMove",
    "Answer",
    "AuditEntry",
    "Base",
    "Batch",
    "Checkpoint",
    "DatasetVersion",
    "DatasetVersionBatch",
    "DeadLetter",
    "Deletion",
    "Deployment",
    "Evaluation",
    "Feedback",
    "Import",
    "Job",
    "JobEvent",
    "Leader",
    "ModelVersion",
    "OutboxMessage",
    "Pipeline",
    "QuarantinedRow",
    "Report",
    "Run",
    "Search",
    "SourceState",
    "Traffic",
    "TrainingWorker",
    "TriggerDecision",
]
