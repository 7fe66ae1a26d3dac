"""The evaluation worker, put together."""

import torch

from services.evaluation.handler import Evaluating
from shared.config import Settings
from shared.contracts.routes import EVALUATE_MODEL_VERSION
from shared.messaging.publisher import Publisher
from shared.messaging.worker import Worker
from shared.modeling.quiet import quiet_libraries
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database


def build_worker(settings: Settings, database: Database) -> Worker:
    """The worker on its queue; what its work leaves in the outbox is published at once."""
    quiet_libraries()
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    Publisher(settings, database)
    artifacts = Artifacts(settings.resolved_artifacts_url, settings.cache_folder, settings.artifacts_endpoint)
    evaluating = Evaluating(settings, database, artifacts)
    queues = (settings.queues or EVALUATE_MODEL_VERSION.queue).split(",")
    return Worker(settings, database, {EVALUATE_MODEL_VERSION: evaluating}, queues, settings.concurrency)
