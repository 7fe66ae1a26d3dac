"""Where checkpoints go: they stay where they lie, or, with a store that other machines share, are copied to it."""

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import select

from services.finetuning.plan import KEEP_CHECKPOINTS
from services.finetuning.records import Event, RunRecord
from services.finetuning.workplace import Workplace
from shared.errors import FlywheelError, LeaseLost
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.ids import new_id
from shared.storage.tables import Checkpoint
from shared.telemetry.logs import get_logger

log = get_logger(__name__)


class CheckpointStore:
    """The checkpoints of one attempt."""

    def __init__(self, artifacts: Artifacts, record: RunRecord, job: str, run: str) -> None:
        self._artifacts, self._record, self._run = artifacts, record, run
        self._root = f"checkpoints/{job}"
        self._uploads = ThreadPoolExecutor(1, thread_name_prefix="checkpoint upload")
        self._newest: Future[None] | None = None

    def keep(self, event: Event) -> None:
        """Records a checkpoint that the training process wrote, once it is where it belongs. Raises LeaseLost."""
        step, path, digest = int(event["step"]), Path(event["path"]), str(event["digest"])
        if self._artifacts.is_local:
            self._record.checkpoint(step, path.as_uri(), digest, KEEP_CHECKPOINTS)
            return
        if self._newest is not None:
            self._newest.cancel()  # one that waits is out of date now
        self._newest = self._uploads.submit(self._upload, step, path, digest)

    def close(self, *, finish: bool) -> None:
        """Waits for uploads; without `finish` those that have not begun are dropped."""
        self._uploads.shutdown(wait=True, cancel_futures=not finish)

    def _upload(self, step: int, path: Path, digest: str) -> None:
        uri = f"{self._root}/{self._run}/{path.name}"
        try:
            self._artifacts.put_folder(path, uri)
            self._record.checkpoint(step, uri, digest, KEEP_CHECKPOINTS)
            for name in self._artifacts.list(f"{self._root}/{self._run}")[:-KEEP_CHECKPOINTS]:
                self._artifacts.delete(f"{self._root}/{self._run}/{name}")
        except LeaseLost:
            return  # the supervisor sees it too, and acts
        except (FlywheelError, OSError) as error:
            log.warning("a checkpoint was not stored", step=step, error=str(error))


def fetch_newest(database: Database, artifacts: Artifacts, job: str, place: Workplace) -> None:
    """Brings a newer checkpoint, written on another machine, to this one; passes over those that do not verify."""
    if artifacts.is_local:
        return
    with database.read() as session:
        query = select(Checkpoint).where(Checkpoint.job == job).order_by(Checkpoint.step.desc(), Checkpoint.id.desc())
        stored = list(session.execute(query).scalars())
    here = max((path.name for path in place.checkpoints.glob("step-*")), default="")
    for row in stored:
        name = row.uri.rpartition("/")[2]
        if name <= here:
            return
        try:
            _copy(artifacts.fetch_folder(row.uri), place.checkpoints / name)
            return
        except FlywheelError as error:
            log.warning("a stored checkpoint is passed over", uri=row.uri, error=error.message)


def forget(artifacts: Artifacts, job: str) -> None:
    """Frees the store once the job has ended for good."""
    if not artifacts.is_local:
        artifacts.delete(f"checkpoints/{job}")


def _copy(source: Path, target: Path) -> None:
    """The copy appears whole."""
    aside = target.with_name(f".{new_id('part')}")
    shutil.copytree(source, aside)
    aside.rename(target)
