"""Dataset versions by number. Only ingestion changes them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.storage.tables import Batch, DatasetVersion, DatasetVersionBatch

IN_ONE_QUERY = 500


def newest_sealed(session: Session, pipeline: str) -> DatasetVersion | None:
    """The version that training would take now; None before the first."""
    query = select(DatasetVersion).where(DatasetVersion.pipeline == pipeline, DatasetVersion.state == "sealed")
    return session.scalars(query.order_by(DatasetVersion.version.desc()).limit(1)).one_or_none()


def newest_built(session: Session, pipeline: str) -> DatasetVersion | None:
    """The newest version that was sealed, though it may have expired since; None before the first."""
    built = select(DatasetVersion).where(
        DatasetVersion.pipeline == pipeline, DatasetVersion.state.in_(("sealed", "expired"))
    )
    return session.scalars(built.order_by(DatasetVersion.version.desc()).limit(1)).one_or_none()


def sealed(session: Session, pipeline: str) -> list[DatasetVersion]:
    """Versions that can be read, newest first."""
    query = select(DatasetVersion).where(DatasetVersion.pipeline == pipeline, DatasetVersion.state == "sealed")
    return list(session.scalars(query.order_by(DatasetVersion.version.desc())))


def sealed_with(session: Session, pipeline: str, batches: Collection[str]) -> list[DatasetVersion]:
    """Versions that can be read and hold one of these batches, oldest first."""
    found: dict[int, DatasetVersion] = {}
    for chunk in batched(sorted(batches), IN_ONE_QUERY):
        query = (
            select(DatasetVersion)
            .join(
                DatasetVersionBatch,
                (DatasetVersionBatch.pipeline == DatasetVersion.pipeline)
                & (DatasetVersionBatch.version == DatasetVersion.version),
            )
            .where(
                DatasetVersion.pipeline == pipeline,
                DatasetVersion.state == "sealed",
                DatasetVersionBatch.batch.in_(chunk),
            )
        )
        found |= {row.version: row for row in session.scalars(query)}
    return [found[number] for number in sorted(found)]


def get(session: Session, pipeline: str, version: int) -> DatasetVersion:
    """One version; 0 means the newest sealed one. Raises NotFound."""
    found = session.get(DatasetVersion, (pipeline, version)) if version else newest_sealed(session, pipeline)
    if found is None:
        missing = f"no version {version}" if version else "no sealed version"
        raise NotFound(f"the dataset of pipeline {pipeline!r} has {missing}", pipeline=pipeline, version=version)
    return found


def page(session: Session, pipeline: str, limit: int, offset: int) -> list[DatasetVersion]:
    """Versions, newest first."""
    query = select(DatasetVersion).where(DatasetVersion.pipeline == pipeline)
    return list(session.scalars(query.order_by(DatasetVersion.version.desc()).limit(limit).offset(offset)))


def batches_of(session: Session, pipeline: str, version: int) -> list[str]:
    """Ids of the batches that a version holds, oldest first; empty for an unknown version."""
    query = (
        select(DatasetVersionBatch.batch)
        .join(Batch, Batch.id == DatasetVersionBatch.batch)
        .where(DatasetVersionBatch.pipeline == pipeline, DatasetVersionBatch.version == version)
    )
    return list(session.scalars(query.order_by(Batch.created_at, Batch.id)))


def unfinished(session: Session, pipeline: str) -> DatasetVersion | None:
    """The version that is being built, or that a builder left half way."""
    states = ("received", "validating")
    query = select(DatasetVersion).where(DatasetVersion.pipeline == pipeline, DatasetVersion.state.in_(states))
    return session.scalars(query).one_or_none()


def next_number(session: Session, pipeline: str) -> int:
    """The number of the next version. Hold the pipeline's lock, or two callers get the same one."""
    query = select(func.coalesce(func.max(DatasetVersion.version), 0)).where(DatasetVersion.pipeline == pipeline)
    return int(session.scalar(query) or 0) + 1


def set_batches(session: Session, pipeline: str, version: int, batches: Iterable[str]) -> None:
    """Says what a version that is not sealed yet will hold."""
    old = delete(DatasetVersionBatch).where(
        DatasetVersionBatch.pipeline == pipeline, DatasetVersionBatch.version == version
    )
    session.execute(old)
    session.add_all(DatasetVersionBatch(pipeline=pipeline, version=version, batch=batch) for batch in batches)


def batched(values: Iterable[str], size: int) -> Iterator[Sequence[str]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
