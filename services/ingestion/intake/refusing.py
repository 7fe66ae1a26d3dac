"""Why a row that is fit may not come in, in words."""

from services.ingestion.clusters.bridging import Refusal
from services.ingestion.clusters.rows import Outcome
from shared.rows.splits import SPLITS


def message_of(outcome: Outcome, refusal: Refusal | None) -> str:
    """What the row's sender reads in quarantine."""
    if outcome == Outcome.CONFLICTING_LABEL:
        return "the same input is there with another label (data.conflicts is reject)"
    if outcome == Outcome.SOURCE_CAP:
        return "the dataset has as many rows of this source as data.caps.per_source takes in"
    if outcome == Outcome.BATCH_CAP:
        return "the batch has brought as many rows as data.caps.per_batch takes in"
    assert refusal is not None
    first, second = (SPLITS[side] for side in refusal.sides)
    near = f" It is near {', '.join(refusal.near)}." if refusal.near else ""
    if outcome == Outcome.OFFICIAL_SPLIT_LEAKS:
        return (
            f"its official split puts it on another side than rows that are nearly the same ({first}, {second}).{near}"
        )
    return (
        f"it belongs together with rows on {first} and with rows on {second}, and a row of one side must not tell about "
        f"the other.{near}"
    )
