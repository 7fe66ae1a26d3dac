"""The evaluation worker: `python -m services.evaluation`."""

import torch

from services.evaluation.handler import Evaluating
from shared.config import load_settings
from shared.contracts.routes import EVALUATE_MODEL_VERSION
from shared.messaging.publisher import Publisher
from shared.messaging.worker import Worker
from shared.modeling.quiet import quiet_libraries
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.migrate import migrate
from shared.telemetry.logs import configure_logs
from shared.telemetry.metrics import serve_metrics
from shared.telemetry.ready import announce

if __name__ == "__main__":
    settings = load_settings()
    configure_logs("evaluation", settings.log_format, settings.log_level)
    quiet_libraries()
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    migrate(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    Publisher(settings, database)
    artifacts = Artifacts(settings.resolved_artifacts_url, settings.cache_folder, settings.artifacts_endpoint)
    handlers = {EVALUATE_MODEL_VERSION: Evaluating(settings, database, artifacts)}
    queues = (settings.queues or EVALUATE_MODEL_VERSION.queue).split(",")
    worker = Worker(settings, database, handlers, queues, settings.concurrency)
    announce("evaluation", None, serve_metrics(settings.metrics_listen))
    worker.run()
