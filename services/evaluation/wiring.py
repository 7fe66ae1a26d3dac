"""The evaluation worker, put together."""

import torch
from shared.messaging.publisher import Publisher
from shared.messaging.worker import Worker
from shared.storage.migrate import migrate

from services.evaluation.handler import Evaluating
from shared.config import Settings, load_settings
from shared.contracts.routes import EVALUATE_MODEL_VERSION
from shared.modeling.quiet import quiet_libraries
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.telemetry.logs import configure_logs
from shared.telemetry.metrics import serve_metrics
from shared.telemetry.ready import announce


def run() -> None:
    """Until SIGTERM or SIGINT, and what was begun is given back."""
    settings = load_settings()
    configure_logs("evaluation", settings.log_format, settings.log_level)
    quiet_libraries()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    metrics = serve_metrics(settings.metrics_listen)
    migrate(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    worker = build_worker(settings, database)
    announce("evaluation", None, metrics)
    worker.run()


def build_worker(settings: Settings, database: Database) -> Worker:
    """The worker on its queue; what it leaves in the outbox is published at once."""
    artifacts = Artifacts(settings.resolved_artifacts_url, settings.cache_folder, settings.artifacts_endpoint)
    Publisher(settings, database)
    evaluating = Evaluating(settings, database, artifacts)
    queues = settings.queues.split(",") if settings.queues else [EVALUATE_MODEL_VERSION.queue]
    return Worker(settings, database, {EVALUATE_MODEL_VERSION: evaluating}, queues, settings.concurrency)
