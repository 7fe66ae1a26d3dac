"""Rows in, dataset versions out: `python -m services.ingestion`."""

from services.ingestion.wire import wire
from shared.config import load_settings
from shared.garbage import collect_rarely
from shared.telemetry.logs import configure_logs
from shared.telemetry.metrics import serve_metrics
from shared.telemetry.ready import announce

if __name__ == "__main__":
    collect_rarely()
    settings = load_settings()
    configure_logs("ingestion", settings.log_format, settings.log_level)
    metrics = serve_metrics(settings.metrics_listen)
    service = wire(settings)
    service.start()
    announce("ingestion", service.address, metrics)
    service.run()
