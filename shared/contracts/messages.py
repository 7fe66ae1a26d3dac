"""The messages that travel on queues, by the names the services use."""

from shared.contracts.generated.flywheel.common.v1.envelope_pb2 import Envelope
from shared.contracts.generated.flywheel.control.v1.messages_pb2 import (
    ConsiderDatasetVersion,
    ConsiderVerdict,
)
from shared.contracts.generated.flywheel.evaluation.v1.messages_pb2 import EvaluateModelVersion
from shared.contracts.generated.flywheel.finetuning.v1.messages_pb2 import RunJob
from shared.contracts.generated.flywheel.ingestion.v1.messages_pb2 import (
    BuildDatasetVersion,
    HoldBatches,
    RunImport,
)

__all__ = [
    "BuildDatasetVersion",
    "ConsiderDatasetVersion",
    "ConsiderVerdict",
    "Envelope",
    "EvaluateModelVersion",
    "HoldBatches",
    "RunImport",
    "RunJob",
]
