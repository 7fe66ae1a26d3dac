"""Pipelines by name, and their specs. Only control changes them."""

from difflib import get_close_matches

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.pipelines.schema import PipelineSpec
from shared.storage.database import clock
from shared.storage.tables import Pipeline


def get(session: Session, name: str, *, deleted: bool = False) -> Pipeline:
    """The pipeline; one that was deleted only on demand. Raises NotFound, naming the nearest one."""
    pipeline = session.get(Pipeline, name)
    if pipeline is None or (pipeline.deleted_at is not None and not deleted):
        raise NotFound(f"no pipeline {name!r}{_nearest(session, name)}", pipeline=name)
    return pipeline


def spec(session: Session, name: str, *, deleted: bool = False) -> PipelineSpec:
    """What the pipeline declares now. Raises NotFound."""
    return PipelineSpec.model_validate(get(session, name, deleted=deleted).spec)


def names(session: Session) -> list[str]:
    """Names of the pipelines that are not deleted, sorted."""
    return list(session.scalars(select(Pipeline.name).where(Pipeline.deleted_at.is_(None)).order_by(Pipeline.name)))


def page(session: Session, limit: int, offset: int) -> list[Pipeline]:
    """Pipelines that are not deleted, by name."""
    query = select(Pipeline).where(Pipeline.deleted_at.is_(None)).order_by(Pipeline.name)
    return list(session.scalars(query.limit(limit).offset(offset)))


def lock(session: Session, name: str) -> Pipeline | None:
    """Serialises decisions about one pipeline until the transaction ends; None when there is no such pipeline."""
    query = select(Pipeline).where(Pipeline.name == name).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def save(session: Session, wanted: PipelineSpec) -> tuple[Pipeline, bool]:
    """Declares or changes a pipeline. Returns it, and whether anything changed."""
    found, now = lock(session, wanted.name), clock(session)
    fields = wanted.model_dump(mode="json")
    if found is None:
        found = Pipeline(name=wanted.name, revision=1, spec=fields, created_at=now, updated_at=now)
        session.add(found)
    elif found.deleted_at is None and found.spec == fields:
        return found, False
    else:
        found.revision, found.spec, found.updated_at, found.deleted_at = found.revision + 1, fields, now, None
    session.flush()
    return found, True


def _nearest(session: Session, name: str) -> str:
    known = names(session)
    close = get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known[:10])}" if known else "; none is declared yet"
