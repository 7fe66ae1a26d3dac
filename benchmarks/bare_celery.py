"""The baseline of benchmarks.loop: a Celery worker with nothing of ours. Prints the milliseconds from send to start."""

import sys
import time

from celery import Celery

app = Celery(broker=sys.argv[1])
app.conf.task_default_queue = "bare"
app.conf.worker_hijack_root_logger = False


@app.task(name="bare.start")  # type: ignore[untyped-decorator]
def start(sent: float) -> None:
    sys.__stdout__.write(f"{(time.time() - sent) * 1000:.3f}\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    app.worker_main(["worker", "-P", "threads", "-c", "1", "-l", "ERROR", "--without-gossip", "--without-mingle"])
