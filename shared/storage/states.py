"""State machines as tables of legal transitions; an illegal one raises."""

from collections.abc import Mapping

from shared.errors import IllegalTransition

Transitions = Mapping[str, frozenset[str]]


def _table(**rows: str) -> Transitions:
    return {state: frozenset(following.split()) for state, following in rows.items()}


BATCH_STATES = _table(received="accepted rejected", accepted="held", held="accepted", rejected="")

DATASET_VERSION_STATES = _table(
    received="validating",
    validating="sealed quarantined rejected",
    sealed="expired",
    quarantined="",
    rejected="",
    expired="",
)

IMPORT_STATES = _table(
    queued="running cancelled failed",
    running="queued succeeded failed cancelled",
    succeeded="",
    failed="queued",
    cancelled="",
)
IMPORT_ENDED = frozenset({"succeeded", "failed", "cancelled"})

JOB_STATES = _table(
    queued="running paused cancelled failed",
    running="queued pausing succeeded failed cancelled",
    pausing="paused queued succeeded failed cancelled",
    paused="queued cancelled",
    succeeded="",
    failed="queued",
    cancelled="",
)
JOB_ENDED = frozenset({"succeeded", "failed", "cancelled"})

RUN_STATES = _table(
    running="succeeded failed lost cancelled drained",
    succeeded="",
    failed="",
    lost="",
    cancelled="",
    drained="",
)

SEARCH_STATES = _table(running="succeeded failed cancelled", succeeded="", failed="", cancelled="")

EVALUATION_STATES = _table(queued="running failed", running="queued succeeded failed", succeeded="", failed="queued")

MODEL_VERSION_STATES = _table(
    trained="evaluated",
    evaluated="blessed refused",
    blessed="candidate",
    refused="",
    candidate="champion blessed superseded",
    champion="superseded rolled_back",
    superseded="champion",
    rolled_back="candidate champion",
)

DEPLOYMENT_STATES = _table(
    loading="ready failed",
    ready="draining warm",
    draining="warm unloaded",
    warm="ready unloaded",
    failed="loading unloaded",
    unloaded="",
)


def check_transition(table: Transitions, what: str, before: str, after: str) -> None:
    """Raises IllegalTransition, naming what follows, unless `after` may follow `before`."""
    following = table[before]
    if after not in following:
        allowed = ", ".join(sorted(following)) or "nothing"
        raise IllegalTransition(
            f"{what} is {before} and can't become {after}; what can follow: {allowed}", state=before
        )
