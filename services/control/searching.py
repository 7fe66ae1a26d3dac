"""What the leader does about running searches: trials are jobs of sort `trial`, run by any training worker.

One step looks at what is in the database and does what follows from it in one transaction: a leader that dies loses
nothing. The best trial becomes a version by an ordinary job, which takes over what the trial left in the store.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.control import declaring, triggers
from services.control.leadership import Leadership, Term
from services.control.searches import end, get
from services.control.trials import TRIAL, Trial, best, view
from shared.errors import FlywheelError, InvalidArgument, LeaseLost
from shared.pipelines.changing import changed_spec
from shared.pipelines.searching import SearchPlan
from shared.storage.database import Database
from shared.storage.repositories import jobs
from shared.storage.states import JOB_ENDED
from shared.storage.tables import Pipeline, Search
from shared.telemetry.logs import get_logger

TRIGGER = "search"
log = get_logger(__name__)


class Searcher:
    """The leader's part: brings every running search one step further."""

    def __init__(self, database: Database, leadership: Leadership) -> None:
        self._database, self._leadership = database, leadership

    def step(self, term: Term) -> None:
        """Raises LeaseLost when another process leads by now."""
        with self._database.read() as session:
            running = session.scalars(select(Search.id).where(Search.state == "running")).all()
        for id in running:
            try:
                with self._database.write() as session:
                    self._leadership.guard(session, term)
                    advance(session, get(session, id, lock=True))
            except LeaseLost:
                raise
            except FlywheelError as error:
                log.warning("a search can't go on now", search=id, error=error.message)


def advance(session: Session, search: Search) -> None:
    """Does what follows from how the trials stand: gives some up, queues the next ones, ends the search."""
    if search.state != "running":
        return None
    declared = session.get(Pipeline, search.pipeline)
    if declared is None or declared.deleted_at is not None:
        return end(session, search, "cancelled", "the pipeline was deleted")
    if search.job is not None:
        return _follow_job(session, search)
    plan = SearchPlan.model_validate(search.plan)
    _give_up(session, search, plan)
    seen = view(session, search)
    lost = next((trial for trial in seen.trials if _lacks_metric(trial)), None)
    if lost is not None:
        measured = ", ".join(lost.job.outcome["metrics"]) or "nothing"
        reason = f"validation does not measure {plan.metric!r}; it measured {measured}"
        return end(session, search, "failed", reason)
    leading = best(search.spec["kind"], plan.metric, seen.trials)
    search.best = leading.job.id if leading else None
    if any(trial.state in ("waiting", "running") for trial in seen.trials):
        return None
    if len(seen.trials) < plan.trials:
        return _queue_round(session, search, plan, seen.trials)
    if leading is None:
        return end(session, search, "failed", f"none of {len(seen.trials)} trials was completed")
    return _queue_version(session, search, plan, leading)


def _give_up(session: Session, search: Search, plan: SearchPlan) -> None:
    """Marks trials of the newest round that fall behind those of earlier rounds, and stops those that still run."""
    from services.control import sampling  # Optuna takes half a second that only a search needs

    trials = view(session, search).trials
    if not plan.pruning or not trials:
        return
    first = trials[-1].number // plan.parallel * plan.parallel
    history = trials[:first]
    for trial in trials[first:]:
        if str(trial.number) in search.pruned or trial.state == "failed":
            continue
        behind = sampling.given_up(plan, search.spec["kind"], history, trial.reports)
        if behind is None:
            continue
        search.pruned = {**search.pruned, str(trial.number): behind}
        if trial.job.state not in JOB_ENDED:
            jobs.want(session, trial.job.id, "cancel")


def _queue_round(session: Session, search: Search, plan: SearchPlan, trials: Sequence[Trial]) -> None:
    from services.control import sampling

    for number in range(len(trials), min(len(trials) + plan.parallel, plan.trials)):
        params = sampling.propose(plan, search.spec["kind"], trials, number)
        try:
            spec = changed_spec(search.spec, params)
            declaring.check_models(session, spec)
        except InvalidArgument as error:
            return end(session, search, "failed", f"trial {number} can't be: {error.message}")
        jobs.create(
            session,
            pipeline=search.pipeline,
            dataset_version=search.dataset_version,
            spec=spec.model_dump(mode="json"),
            trigger=TRIGGER,
            device=search.device,
            max_attempts=search.max_attempts,
            idempotency_key=f"{search.id}:{number}",
            sort=TRIAL,
            search=search.id,
            trial=number,
            outcome={"params": params},
        )
    return None


def _queue_version(session: Session, search: Search, plan: SearchPlan, leading: Trial) -> None:
    """The job that makes the best trial a version."""
    job = jobs.create(
        session,
        pipeline=search.pipeline,
        dataset_version=search.dataset_version,
        spec=leading.job.spec,
        trigger=TRIGGER,
        device=search.device,
        max_attempts=search.max_attempts,
        idempotency_key=f"{search.id}:version",
        search=search.id,
        clone_of=leading.job.id,
    )
    search.job = job.id
    search.reason = f"trial {leading.number} of {search.id} was best: {plan.metric} {leading.value:.6g}"
    triggers.record(
        session, search.pipeline, search.dataset_version, TRIGGER, triggers.Decision("start", search.reason), job
    )


def _follow_job(session: Session, search: Search) -> None:
    job = jobs.get(session, search.job or "")
    if job.state == "succeeded":
        end(session, search, "succeeded", f"{search.reason}; model version {job.model_version}")
    elif job.state in JOB_ENDED:
        end(session, search, job.state, f"job {job.id}, which makes the best trial a version: {job.reason}")


def _lacks_metric(trial: Trial) -> bool:
    return trial.job.state == "succeeded" and trial.value is None and trial.state != "pruned"
