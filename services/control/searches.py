"""Hyper-parameter searches as operators see them: begun, cancelled, listed."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.control import audit, training
from services.control.trials import SearchView, view
from shared.errors import FailedPrecondition, NotFound
from shared.pipelines.spaces import check_plan, read_plan
from shared.storage.database import clock
from shared.storage.ids import new_id
from shared.storage.repositories import jobs, pipelines
from shared.storage.states import JOB_ENDED, SEARCH_STATES, check_transition
from shared.storage.tables import Job, Search


def create(
    session: Session,
    pipeline: str,
    wanted: Mapping[str, Any],
    dataset_version: int,
    idempotency_key: str,
    *,
    device: str,
    max_attempts: int,
) -> SearchView:
    """Begins a search, on the newest sealed dataset version for 0; keys of the plan that are not `wanted` otherwise are
    those of the pipeline file, then the defaults.

    The same key gives the same search. Raises NotFound, InvalidArgument for a space that the pipeline can't take,
    FailedPrecondition when there is nothing to train or to compare on.
    """
    pipelines.lock(session, pipeline)
    spec = pipelines.spec(session, pipeline)
    key = f"{pipeline}:{idempotency_key}" if idempotency_key else None
    made = key and session.scalars(select(Search).where(Search.idempotency_key == key)).one_or_none()
    if made:
        return view(session, made)
    plan = read_plan((spec.search.model_dump() if spec.search else {}) | dict(wanted))
    fields = spec.model_dump(mode="json")
    check_plan(fields, plan)
    dataset = training.trainable(session, pipeline, dataset_version, spec)
    if not dataset.validation:
        raise FailedPrecondition(
            f"dataset version {dataset.version} of {pipeline!r} has no validation rows to compare trials by"
        )
    search = Search(
        id=new_id("search"),
        pipeline=pipeline,
        dataset_version=dataset.version,
        spec=fields,
        plan=plan.model_dump(mode="json"),
        device=device,
        max_attempts=max_attempts,
        state="running",
        pruned={},
        idempotency_key=key,
        created_at=clock(session),
    )
    session.add(search)
    session.flush()
    audit.record(session, "create_search", search.id, pipeline=pipeline, trials=plan.trials)
    return view(session, search)


def cancel(session: Session, id: str) -> SearchView:
    """Ends a search and its trials. Raises NotFound, or FailedPrecondition when it has ended."""
    search = get(session, id, lock=True)
    if search.state == "cancelled":
        return view(session, search)
    if search.state != "running":
        raise FailedPrecondition(f"search {id} has ended: {search.state}", search=id)
    end(session, search, "cancelled", "cancelled on request")
    audit.record(session, "cancel_search", id)
    return view(session, search)


def get(session: Session, id: str, *, lock: bool = False) -> Search:
    """Raises NotFound."""
    query = select(Search).where(Search.id == id).execution_options(populate_existing=lock)
    search = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if search is None:
        raise NotFound(f"no search {id!r}", search=id)
    return search


def page(session: Session, pipeline: str, limit: int, offset: int) -> list[Search]:
    """Searches of a pipeline, or of all when it is empty, newest first."""
    query = select(Search).order_by(Search.created_at.desc(), Search.id.desc()).limit(limit).offset(offset)
    return list(session.scalars(query.where(Search.pipeline == pipeline) if pipeline else query))


def end(session: Session, search: Search, state: str, reason: str) -> None:
    """Ends a search; unless it succeeded, what it still runs is cancelled."""
    check_transition(SEARCH_STATES, f"search {search.id}", search.state, state)
    search.state, search.reason, search.finished_at = state, reason, clock(session)
    if state != "succeeded":
        going = select(Job.id).where(Job.search == search.id, Job.state.not_in(JOB_ENDED))
        for id in session.scalars(going).all():
            jobs.want(session, id, "cancel")
