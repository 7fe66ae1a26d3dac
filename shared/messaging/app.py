"""The Celery app: no module-level instance, no default app."""

from celery import Celery

from shared.config import Settings
from shared.messaging.celery_settings import celery_settings
from shared.messaging.serializer import register_serializer


def build_app(settings: Settings) -> Celery:
    """A Celery app with our settings and no tasks. Raises InvalidArgument for a wrong broker URL."""
    register_serializer()
    app = Celery("flywheel", set_as_current=False, fixups=[])
    app.conf.update(celery_settings(settings))
    return app
