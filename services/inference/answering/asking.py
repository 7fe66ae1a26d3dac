"""How every method that answers at once asks a model: hold, submit, wait, remember."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from services.inference.answering.answers import AnswerLog, Times
from services.inference.answering.holding import Models
from services.inference.answering.metering import Meter
from services.inference.answering.requests import ModelRef, check_request_id
from services.inference.models.lineage import Lineage
from shared.storage.ids import new_id
from shared.telemetry import metrics

OnGone = Callable[[Callable[[], None]], bool]
"""Registers what to do when the client goes away; False when it is gone already."""

Kind = TypeVar("Kind")
Result = TypeVar("Result")
Got = TypeVar("Got", covariant=True)


class Pending(Protocol[Got]):
    """An answer that is being computed."""

    @property
    def queue_seconds(self) -> float: ...

    def wait(self) -> Got: ...

    def cancel(self) -> None: ...


@dataclass(frozen=True)
class Ask:
    """Who shall answer, until when (on the clock of `time.monotonic`), and how a client that leaves is noticed."""

    model: ModelRef
    request_id: str
    deadline: float
    on_gone: OnGone


@dataclass(frozen=True)
class Answered(Generic[Result]):
    request_id: str
    result: Result
    lineage: Lineage
    times: Times


@dataclass(frozen=True)
class Shadowed(Generic[Kind, Result]):
    """How a shadow gets the same request before a deadline, and whether its answer says the same as the real one."""

    submit: Callable[[Kind, float], Pending[Result]]
    same: Callable[[Result, Result], bool]

    def compare(self, real: Result) -> Callable[[Kind, float], bool]:
        return lambda model, deadline: self.same(real, self.submit(model, deadline).wait())


class Asking:
    """Asks models and remembers their answers."""

    def __init__(self, models: Models, answers: AnswerLog) -> None:
        self.models = models
        self._answers = answers

    def ask(
        self,
        meter: Meter,
        ask: Ask,
        wanted: type[Kind],
        submit: Callable[[Kind], Pending[Result]],
        remember: Callable[[Result], tuple[Mapping[str, Any], Mapping[str, Any]]],
        shadow: "Shadowed[Kind, Result] | None" = None,
    ) -> Answered[Result]:
        """`submit` gives the work to the model; `remember` makes input and output of the answer, as JSON. Shadows of
        the model get a copy where `shadow` says how.

        Raises the errors of shared.errors.
        """
        check_request_id(ask.request_id)
        request_id = ask.request_id or new_id("request")
        with (
            self.models.running.entered(request_id) as request,
            self.models.hold(ask.model, wanted, ask.deadline, request_id) as (model, lineage),
        ):
            meter.model = ask.model.name
            pending = submit(model)
            request.on_abort(pending.cancel)
            if not ask.on_gone(pending.cancel):
                pending.cancel()
            result = pending.wait()
        queue = pending.queue_seconds
        times = Times(queue=queue, compute=max(meter.seconds - queue, 0.0), total=meter.seconds)
        metrics.INFERENCE_QUEUE_SECONDS.labels(ask.model.name).observe(queue)
        asked, answered = remember(result)
        self._answers.add(request_id, meter.method, asked, answered, lineage, times)
        if shadow is not None:
            self.models.copy(ask.model, request_id, wanted, shadow.compare(result))
        return Answered(request_id, result, lineage, times)
