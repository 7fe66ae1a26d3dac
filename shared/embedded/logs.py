"""What the processes of a platform say: to one rotated file each, and readable to the terminal."""

import json
import threading
from logging import LogRecord, makeLogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

COLOURS = {
    "platform": "1;37",
    "valkey": "90",
    "ingestion": "36",
    "finetuning": "35",
    "evaluation": "33",
    "inference": "32",
    "control": "34",
}
LEVELS = {"warning": "33", "error": "31", "critical": "1;31"}
HIDDEN = {"event", "level", "timestamp", "service", "exception"}
MAX_BYTES = 10 << 20
KEEP = 3


class _File(RotatingFileHandler):
    def handleError(self, record: LogRecord) -> None:
        """A full disk loses lines; it must not end, or flood, whoever writes them."""


class LogSink:
    """Takes lines by process. `echo` gets them prefixed and in colour where it is a terminal."""

    def __init__(self, folder: Path, echo: TextIO | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._echo = echo
        self._colour = bool(echo and echo.isatty())
        self._files: dict[str, _File] = {}
        self._lock = threading.Lock()

    def write(self, process: str, line: str) -> None:
        """One line, without its end."""
        with self._lock:
            self._file(process).emit(makeLogRecord({"msg": line}))
            if self._echo:
                try:
                    self._echo.write(self._prefixed(process, readable(line, self._colour)))
                    self._echo.flush()
                except (OSError, ValueError):  # the terminal is gone; the files go on
                    self._echo = None

    def path(self, process: str) -> Path:
        return self._folder / f"{process}.log"

    def close(self) -> None:
        with self._lock:
            for file in self._files.values():
                file.close()

    def _file(self, process: str) -> _File:
        if process not in self._files:
            self._files[process] = _File(
                self.path(process), maxBytes=MAX_BYTES, backupCount=KEEP, encoding="utf-8", delay=True
            )
        return self._files[process]

    def _prefixed(self, process: str, text: str) -> str:
        name = f"{process:<10}"
        return f"{_paint(name, COLOURS.get(process, '37'), self._colour)} {text}\n"


def readable(line: str, colour: bool = False) -> str:
    """A JSON event as `12:00:01 what happened  key=value`; any other line as it stands."""
    event = parse_event(line)
    if event is None:
        return line
    level = str(event.get("level", ""))
    moment = str(event.get("timestamp", ""))[11:19]
    what = _paint(str(event["event"]), LEVELS.get(level, ""), colour)
    facts = " ".join(f"{key}={value}" for key, value in event.items() if key not in HIDDEN)
    trace = f"\n{event['exception']}" if event.get("exception") else ""
    return " ".join(part for part in (moment, what, _paint(facts, "2", colour)) if part) + trace


def parse_event(line: str) -> dict[str, Any] | None:
    """The event in a line of JSON logs; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _paint(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code and text else text
