"""One event a line, with what was bound."""

import json
import logging
import subprocess
import sys

SCRIPT = """
import logging
import threading
from shared.telemetry.logs import bound, configure_logs, get_logger
configure_logs("ingestion", {format!r}, "INFO")
log = get_logger("x")
with bound(job="job-1"):
    log.info("run started", step=3)
log.debug("not shown")
thread = threading.Thread(target=log.info, args=("from a thread",))
thread.start()
thread.join()
logging.getLogger("celery").warning("from %s", "elsewhere")
try:
    password = "hunter2"
    raise ValueError("broken")
except ValueError:
    log.exception("failed")
"""


def lines(log_format: str) -> list[str]:
    command = [sys.executable, "-c", SCRIPT.format(format=log_format)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "", "standard output is not for logs"
    return done.stderr.splitlines()


def test_json_logs_are_one_object_a_line_with_bound_facts() -> None:
    started, threaded, elsewhere, failed = [json.loads(line) for line in lines("json")]
    assert (started["event"], started["job"], started["step"]) == ("run started", "job-1", 3)
    assert {line["service"] for line in (started, threaded, elsewhere)} == {"ingestion"}
    assert (elsewhere["event"], elsewhere["level"]) == ("from elsewhere", "warning")
    assert "job" not in failed, "bound facts outlived their block"
    assert "ValueError: broken" in failed["exception"]


def test_no_log_shows_local_variables() -> None:
    for log_format in ("json", "text"):
        shown = "\n".join(lines(log_format))
        assert "ValueError: broken" in shown
        assert "hunter2" not in shown


def test_the_root_logger_of_this_process_is_untouched_by_importing() -> None:
    before = list(logging.getLogger().handlers)
    import shared.telemetry.logs  # noqa: F401

    assert logging.getLogger().handlers == before
