"""What control does with the messages of its queue."""

from collections.abc import Mapping

from services.control import triggers, verdicts
from services.control.servicer import device_kind
from shared.config import Settings
from shared.contracts import routes
from shared.contracts.messages import ConsiderDatasetVersion, ConsiderVerdict
from shared.contracts.routes import Route
from shared.errors import Unavailable
from shared.messaging.handler import Handler, HandlerContext
from shared.telemetry.logs import get_logger

log = get_logger(__name__)


class Handlers:
    """Both are idempotent: a message that comes again changes nothing."""

    def __init__(self, settings: Settings) -> None:
        self._device = device_kind(settings)
        self._max_attempts = settings.max_attempts

    @property
    def by_route(self) -> Mapping[Route, Handler]:
        return {
            routes.CONSIDER_DATASET_VERSION: self.consider_dataset_version,
            routes.CONSIDER_VERDICT: self.consider_verdict,
        }

    def consider_dataset_version(self, message: ConsiderDatasetVersion, context: HandlerContext) -> None:
        """Raises Unavailable while the cooldown is on: the message comes back when it is over."""
        about = {"pipeline": message.pipeline, "dataset_version": message.version}
        with context.database.write() as session:
            decision = triggers.consider(
                session, message.pipeline, message.version, device=self._device, max_attempts=self._max_attempts
            )
        if decision is None:
            return
        log.info("trigger decided", decision=decision.decision, reason=decision.reason, **about)
        if decision.retry_seconds is not None:
            raise Unavailable(decision.reason, retry_seconds=decision.retry_seconds)

    def consider_verdict(self, message: ConsiderVerdict, context: HandlerContext) -> None:
        with context.database.write() as session:
            verdicts.consider(session, message.report)
