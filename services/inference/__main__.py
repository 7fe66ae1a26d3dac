"""`python -m services.inference`: answers over gRPC with the versions that the aliases point at."""

import gc

from services.inference.application import Application
from shared.config import load_settings
from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from shared.storage.migrate import migrate
from shared.telemetry.logs import configure_logs
from shared.telemetry.metrics import serve_metrics
from shared.telemetry.ready import announce

if __name__ == "__main__":
    gc.freeze()  # what was imported stays: to look through it for garbage stops every answer for 0.2 s
    settings = load_settings()
    configure_logs("inference", settings.log_format, settings.log_level)
    quiet_libraries()
    migrate(settings.resolved_database_url)
    application = Application(settings, Database(settings.resolved_database_url))
    metrics = serve_metrics(settings.metrics_listen)
    application.start()
    announce("inference", application.address, metrics)
    application.run()
