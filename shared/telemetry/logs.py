"""Structured logs: one event a line, JSON or text, on standard error.

Bind ids at the start of a unit of work with `bound(job=…)`; they are gone at its end.
Never log secrets or row text.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog


def configure_logs(service: str, log_format: str = "json", level: str = "INFO") -> None:
    """Sets up structlog, and standard logging (Celery, gRPC) to come out the same way."""

    def name_service(logger: object, method: str, event: dict[str, Any]) -> dict[str, Any]:
        event.setdefault("service", service)  # a bound context would stay in this thread
        return event

    chain: list[Any] = [
        name_service,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = structlog.processors.JSONRenderer(ensure_ascii=False)
    if log_format == "text":
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=36,
            exception_formatter=structlog.dev.plain_traceback,  # the other one shows local variables, and so secrets
        )
        chain.remove(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*chain, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=chain, processors=processors))
    logging.basicConfig(handlers=[handler], level=level, force=True)


def get_logger(name: str) -> Any:
    """A logger; call it with an event in words and its facts: `log.info("run started", job=id)`."""
    return structlog.stdlib.get_logger(name)


@contextmanager
def bound(**context: object) -> Iterator[None]:
    """Adds facts to every event logged inside the block."""
    with structlog.contextvars.bound_contextvars(**context):
        yield
