import io
import json
from pathlib import Path

import pytest

from shared.embedded import logs
from shared.embedded.logs import LogSink, readable

EVENT = {"event": "run started", "level": "info", "timestamp": "2026-01-02T10:11:12.5Z", "service": "x", "job": "job-1"}


def test_an_event_reads_as_time_event_and_facts() -> None:
    assert readable(json.dumps(EVENT)) == "10:11:12 run started job=job-1"


def test_an_exception_follows_its_event() -> None:
    assert readable(json.dumps({**EVENT, "exception": "Traceback …"})).endswith("job=job-1\nTraceback …")


@pytest.mark.parametrize("line", ["plain text", "{broken", '{"no": "event"}', "[1]"])
def test_any_other_line_stays_as_it_is(line: str) -> None:
    assert readable(line) == line


def test_lines_go_to_a_file_a_process_and_prefixed_to_the_terminal(tmp_path: Path) -> None:
    echo = io.StringIO()
    sink = LogSink(tmp_path / "logs", echo)
    sink.write("inference", json.dumps(EVENT))
    sink.write("valkey", "ready")
    sink.close()
    assert (tmp_path / "logs" / "inference.log").read_text() == json.dumps(EVENT) + "\n"
    assert echo.getvalue() == "inference  10:11:12 run started job=job-1\nvalkey     ready\n"


def test_a_long_log_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 100)
    sink = LogSink(tmp_path, None)
    for number in range(90):
        sink.write("one", f"line {number}")
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.log", "one.log.1", "one.log.2", "one.log.3"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())


def test_a_closed_terminal_does_not_stop_the_files(tmp_path: Path) -> None:
    echo = io.StringIO()
    echo.close()
    sink = LogSink.__new__(LogSink)
    LogSink.__init__(sink, tmp_path, None)
    sink._echo = echo
    sink.write("one", "a")
    sink.write("one", "b")
    sink.close()
    assert sink.path("one").read_text() == "a\nb\n"


def test_a_folder_that_cannot_be_written_stops_neither_the_terminal_nor_the_writer(tmp_path: Path) -> None:
    echo = io.StringIO()
    sink = LogSink(tmp_path / "logs", echo)
    sink.path("one").mkdir()
    sink.write("one", "a")
    sink.close()
    assert echo.getvalue() == "one        a\n"
