"""The fine-tuning worker: `python -m services.finetuning`."""

from services.finetuning.wire import wired
from shared.config import load_settings
from shared.telemetry.logs import configure_logs
from shared.telemetry.metrics import serve_metrics
from shared.telemetry.ready import announce

if __name__ == "__main__":
    settings = load_settings()
    configure_logs("finetuning", settings.log_format, settings.log_level)
    metrics = serve_metrics(settings.metrics_listen)
    with wired(settings) as worker:
        announce("finetuning", None, metrics)
        worker.run()
