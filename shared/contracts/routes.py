"""The one table: Celery task name -> queue -> message type. Sending and handling both go through it."""

from dataclasses import dataclass

from google.protobuf.message import Message

from shared.contracts import messages
from shared.errors import InvalidArgument


@dataclass(frozen=True)
class Route:
    """Where a message goes. `queue` is the default one; a route with `devices` picks `<queue>.<device>`."""

    task: str
    queue: str
    message: type[Message]
    devices: tuple[str, ...] = ()

    @property
    def type_name(self) -> str:
        return str(self.message.DESCRIPTOR.full_name)

    @property
    def queues(self) -> tuple[str, ...]:
        return tuple(f"{self.queue}.{device}" for device in self.devices) or (self.queue,)

    def queue_for(self, device: str | None = None) -> str:
        """The queue for a device kind. Raises InvalidArgument for one that the route does not know."""
        if not self.devices:
            return self.queue
        if device not in self.devices:
            raise InvalidArgument(f"{self.task} runs on {', '.join(self.devices)}, not on {device!r}", device=device)
        return f"{self.queue}.{device}"


BUILD_DATASET_VERSION = Route("ingestion.build_dataset_version", "ingestion", messages.BuildDatasetVersion)
HOLD_BATCHES = Route("ingestion.hold_batches", "ingestion", messages.HoldBatches)
RUN_IMPORT = Route("ingestion.run_import", "ingestion", messages.RunImport)
CONSIDER_DATASET_VERSION = Route("control.consider_dataset_version", "control", messages.ConsiderDatasetVersion)
CONSIDER_VERDICT = Route("control.consider_verdict", "control", messages.ConsiderVerdict)
RUN_JOB = Route("finetuning.run_job", "finetuning", messages.RunJob, devices=("cpu", "gpu"))
EVALUATE_MODEL_VERSION = Route("evaluation.evaluate_model_version", "evaluation", messages.EvaluateModelVersion)

ROUTES: dict[str, Route] = {
    route.task: route
    for route in (
        BUILD_DATASET_VERSION,
        HOLD_BATCHES,
        RUN_IMPORT,
        CONSIDER_DATASET_VERSION,
        CONSIDER_VERDICT,
        RUN_JOB,
        EVALUATE_MODEL_VERSION,
    )
}
QUEUES: tuple[str, ...] = tuple(sorted({queue for route in ROUTES.values() for queue in route.queues}))
