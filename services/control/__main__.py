"""Pipelines, triggers, promotion, and the leader of the fleet: `python -m services.control`."""

from services.control.wire import Service
from shared.config import load_settings
from shared.telemetry.logs import configure_logs
from shared.telemetry.metrics import serve_metrics
from shared.telemetry.ready import announce

if __name__ == "__main__":
    settings = load_settings()
    configure_logs("control", settings.log_format, settings.log_level)
    metrics = serve_metrics(settings.metrics_listen)
    service = Service(settings)
    service.start()
    announce("control", service.address, metrics)
    service.run()
