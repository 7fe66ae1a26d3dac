"""The fine-tuning worker: `python -m services.finetuning`."""

from services.finetuning.spare import Spares
from services.finetuning.supervisor import Supervisor
from shared.config import load_settings
from shared.contracts.routes import RUN_JOB
from shared.messaging.publisher import Publisher
from shared.messaging.worker import Worker
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.migrate import migrate
from shared.telemetry.logs import configure_logs
from shared.telemetry.metrics import serve_metrics
from shared.telemetry.ready import announce

if __name__ == "__main__":
    settings = load_settings()
    configure_logs("finetuning", settings.log_format, settings.log_level)
    migrate(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    Publisher(settings, database)
    artifacts = Artifacts(settings.resolved_artifacts_url, settings.cache_folder, settings.artifacts_endpoint)
    queues = (settings.queues or RUN_JOB.queue_for("gpu" if settings.device == "cuda" else "cpu")).split(",")
    with Spares() as spares:
        handlers = {RUN_JOB: Supervisor(settings, artifacts, spares).run_job}
        worker = Worker(settings, database, handlers, queues, settings.concurrency)
        announce("finetuning", None, serve_metrics(settings.metrics_listen))
        worker.run()
