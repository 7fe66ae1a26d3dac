"""python -m services.control: pipelines, triggers, promotion, and the leader of the fleet."""

from services.control.application import Application
from shared.config import load_settings
from shared.storage.database import Database
from shared.storage.migrate import migrate
from shared.telemetry.logs import configure_logs
from shared.telemetry.metrics import serve_metrics
from shared.telemetry.ready import announce


def main() -> None:
    settings = load_settings()
    configure_logs("control", settings.log_format, settings.log_level)
    migrate(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    application = Application(settings, database)
    metrics = serve_metrics(settings.metrics_listen)
    application.start()
    announce("control", application.address, metrics)
    application.run()


if __name__ == "__main__":
    main()
