"""The leader's work: parts that run each in its own time, and only while this process leads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Thread

from services.control.leadership import Leadership, Term
from shared.errors import FlywheelError
from shared.telemetry.logs import get_logger

JOIN_SECONDS = 5.0
log = get_logger(__name__)


@dataclass(frozen=True)
class Part:
    """`run` is called every `seconds` with the present term; `stand_down` when leading ends."""

    name: str
    seconds: float
    run: Callable[[Term], object]
    stand_down: Callable[[], None] = lambda: None


class LeaderLoop:
    """One thread that holds the lease and one for each part, so that a part that hangs or fails stops no other."""

    def __init__(self, leadership: Leadership, parts: Sequence[Part]) -> None:
        self._stop = Event()
        self._leadership = leadership
        self._parts = [Thread(target=self._follow, args=(part,), name=part.name, daemon=True) for part in parts]
        self._lease = Thread(target=leadership.run, args=(self._stop,), name="leadership", daemon=True)

    def start(self) -> None:
        for thread in (self._lease, *self._parts):
            thread.start()

    def stop(self) -> None:
        """Ends the parts and gives the lease back, so that a standby takes over at once."""
        self._stop.set()
        for thread in (*self._parts, self._lease):
            thread.join(JOIN_SECONDS)

    def _follow(self, part: Part) -> None:
        led, trouble = False, ""
        while not self._stop.is_set():
            term = self._leadership.term
            if term is not None:
                trouble = run_once(part, term, trouble)
            elif led:
                part.stand_down()
            led = term is not None
            self._stop.wait(part.seconds)


def run_once(part: Part, term: Term, before: str = "") -> str:
    """Runs a part. Returns its trouble in words, empty when it came through; only a change of it is logged."""
    try:
        part.run(term)
    except FlywheelError as error:
        trouble = error.message
        if trouble != before:
            log.warning("part of the leader's loop failed", part=part.name, error=trouble)
        return trouble
    except Exception as error:
        trouble = f"{type(error).__name__}: {error}"
        if trouble != before:
            log.exception("part of the leader's loop failed", part=part.name)
        return trouble
    if before:
        log.info("part of the leader's loop works again", part=part.name)
    return ""
