"""The evaluation worker: `python -m services.evaluation`."""

from shared.config import load_settings, spin_briefly
from shared.storage.database import Database
from shared.storage.migrate import migrate
from shared.telemetry.logs import configure_logs
from shared.telemetry.metrics import serve_metrics
from shared.telemetry.ready import announce

if __name__ == "__main__":
    spin_briefly()
    from services.evaluation.wiring import build_worker

    settings = load_settings()
    configure_logs("evaluation", settings.log_format, settings.log_level)
    migrate(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    worker = build_worker(settings, database)
    announce("evaluation", None, serve_metrics(settings.metrics_listen))
    worker.run()
