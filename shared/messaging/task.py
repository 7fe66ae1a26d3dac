"""The one kind of Celery task: it knows its route's name, and hands every delivery on."""

from celery import Celery, Task

from shared.contracts.routes import Route
from shared.messaging.handling import Handling


class MessageTask(Task):  # type: ignore[misc]
    """Runs in a thread of the worker."""

    def __init__(self, route: Route, handling: Handling) -> None:
        self.name = route.task
        self._handling = handling

    def run(self, envelope: bytes) -> None:
        """Handles an encoded Envelope."""
        request = self.request
        self._handling.handle(
            self.name,
            envelope,
            queue=str(request.delivery_info["routing_key"]),
            delivery_tag=str(request.properties["delivery_tag"]),
            celery_id=str(request.id),
        )


def register_tasks(app: Celery, routes: list[Route], handling: Handling) -> None:
    """Gives the app a task for every route."""
    for route in routes:
        app.register_task(MessageTask(route, handling))
