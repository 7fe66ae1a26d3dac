"""Where checkpoints go: they stay where they lie, or, with a store that other machines share, are copied to it."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import select

from services.finetuning.checkpoint_files import MANIFEST, newest_first, verifies
from services.finetuning.plan import KEEP_CHECKPOINTS
from services.finetuning.records import Event, RunRecord
from services.finetuning.workplace import Workplace
from shared.errors import DataCorrupted, FlywheelError, LeaseLost, RetryableError, Unavailable
from shared.storage.artifacts import MANIFEST as STORE_MANIFEST
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.digests import file_digest
from shared.storage.tables import Checkpoint
from shared.telemetry.logs import get_logger

RETRY_SECONDS = 2.0
UPLOADS = "uploads"

log = get_logger(__name__)


class CheckpointStore:
    """The checkpoints of one attempt."""

    def __init__(self, artifacts: Artifacts, record: RunRecord, job: str, run: str) -> None:
        self._artifacts, self._record, self._run = artifacts, record, run
        self._root = f"checkpoints/{job}"
        self._uploads = ThreadPoolExecutor(1, thread_name_prefix="checkpoint upload")
        self._newest: Future[None] | None = None
        self._newest_step = 0
        self._hurry = threading.Event()
        """Something waits for an upload that waits for the store."""
        self._give_up_at = float("inf")

    def keep(self, event: Event) -> None:
        """Records a checkpoint that the training process wrote, once it is where it belongs. Raises LeaseLost."""
        step, path, digest = int(event["step"]), Path(event["path"]), str(event["digest"])
        if self._artifacts.is_local:
            self._record.checkpoint(step, path.as_uri(), digest, KEEP_CHECKPOINTS)
            return
        if self._newest is not None:
            self._newest.cancel()  # one that waits is out of date now
        self._newest_step = step
        self._hurry.set()
        self._newest = self._uploads.submit(self._upload, step, path, digest)

    def close(self, *, finish: bool, patience: float = 0.0) -> None:
        """Waits for uploads, for one that the store does not take up to `patience` seconds.

        Without `finish` those that have not begun are dropped.
        """
        self._give_up_at = time.monotonic() + (patience if finish else 0.0)
        self._hurry.set()
        self._uploads.shutdown(wait=True, cancel_futures=not finish)

    def _upload(self, step: int, path: Path, digest: str) -> None:
        uri = f"{self._root}/{self._run}/{path.name}"
        self._hurry.clear()
        try:
            known = self._known()
            self._put(step, path, uri)
            self._record.checkpoint(step, uri, digest, KEEP_CHECKPOINTS)
        except LeaseLost:
            self._delete(uri)  # the supervisor sees it too, and acts
        except (FlywheelError, OSError) as error:
            log.warning("a checkpoint was not stored", step=step, error=str(error))
            self._delete(uri)
        else:
            for gone in known - self._known():
                self._delete(gone)

    def _put(self, step: int, path: Path, uri: str) -> None:
        """Tries until the store takes it; raises what the store raises once a newer one waits, or time is up."""
        told = False
        with _kept(path, self._run) as folder:
            while True:
                try:
                    self._artifacts.put_folder(folder, uri)
                    return
                except RetryableError as error:
                    if self._newest_step > step or time.monotonic() > self._give_up_at:
                        raise
                    if not told:
                        self._record.warn(f"checkpoint {path.name} waits for the store: {error.message}")
                    told = True
                self._hurry.wait(RETRY_SECONDS)
                self._hurry.clear()

    def _known(self) -> set[str]:
        """What is in the books; none while they can't be read."""
        with suppress(Unavailable):
            return self._record.checkpoints()
        return set()

    def _delete(self, uri: str) -> None:
        """What nobody knows of nobody would ever remove; a store that is away keeps it until the job ends."""
        with suppress(FlywheelError):
            self._artifacts.delete(uri)


def fetch_newest(
    database: Database, artifacts: Artifacts, job: str, place: Workplace, tell: Callable[[str], None]
) -> None:
    """Brings the newest good checkpoint to this machine, if it is not there; tells of those passed over.

    Raises Unavailable when the store does not answer: waiting costs less than doing the work again.
    """
    if artifacts.is_local:
        return
    with database.read() as session:
        query = select(Checkpoint).where(Checkpoint.job == job).order_by(Checkpoint.step.desc(), Checkpoint.id.desc())
        stored = list(session.execute(query).scalars())
    if not stored:
        return
    here = next((path.name for path in newest_first(place.checkpoints) if verifies(path)), "")
    for row in stored:
        name = row.uri.rpartition("/")[2]
        if name <= here:
            return
        try:
            _bring(artifacts.fetch_folder(row.uri), place.checkpoints / name, row.digest)
            return
        except RetryableError:
            raise
        except FlywheelError as error:
            tell(f"the stored checkpoint {name} is damaged and passed over: {error.message}")


def forget(artifacts: Artifacts, job: str) -> None:
    """Frees the store once the job has ended for good."""
    if not artifacts.is_local:
        artifacts.delete(f"checkpoints/{job}")


@contextmanager
def _kept(path: Path, run: str) -> Iterator[Path]:
    """A checkpoint's files for as long as an upload takes; the training process may drop it meanwhile."""
    aside = path.parent.with_name(UPLOADS) / run / path.name
    try:
        shutil.copytree(path, aside, copy_function=_link)
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _bring(source: Path, target: Path, digest: str) -> None:
    """Copies a checkpoint, which appears whole. Raises DataCorrupted when it is not the one with this digest."""
    aside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        for file in source.iterdir():
            if file.name != STORE_MANIFEST:
                shutil.copyfile(file, aside / file.name)
        if not verifies(aside) or file_digest(aside / MANIFEST) != digest:
            raise DataCorrupted(f"it is not what was recorded with digest {digest[:12]}…")
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
