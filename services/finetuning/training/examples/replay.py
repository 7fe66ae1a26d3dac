"""Which train rows a run learns from: all of them, or the new ones with some of those that the champion has learnt.

Replaying earlier rows is the plain remedy against forgetting (Robins 1995; Rolnick et al. 2019,
https://arxiv.org/abs/1811.11682). The draw is a pure function of the seed and both dataset digests.
"""

from hashlib import blake2b
from typing import Any

from services.finetuning.spec import FailureReason, TrainedBefore, TrainingSpec
from services.finetuning.training.events import Events
from services.finetuning.training.examples.data import SplitRows
from services.finetuning.training.failures import TrainingFailed

Row = dict[str, Any]


def rows_to_learn(spec: TrainingSpec, rows: SplitRows, events: Events) -> list[Row]:
    """Train rows in the order of their ids. Raises TrainingFailed (BAD_DATA) when none is new."""
    before = spec.trained_before
    if before is None:
        return rows.train
    new = [row for row in rows.train if row["row_id"] not in rows.earlier]
    if not new:
        raise TrainingFailed(
            FailureReason.BAD_DATA,
            f"no train row is new since dataset version {before.version}, which the champion was trained on; send rows "
            "or set method.rows: all",
        )
    old = [row for row in rows.train if row["row_id"] in rows.earlier]
    share = spec.method.replay.share if spec.method.replay else 0.0
    drawn = _drawn(spec, before, old, round(len(new) * share / (1 - share)))
    events.log(
        "info",
        f"training on {len(new)} rows that are new since dataset version {before.version}, and on {len(drawn)} of "
        f"{len(old)} earlier ones",
    )
    return sorted(new + drawn, key=lambda row: str(row["row_id"]))


def earlier_rows(spec: TrainingSpec) -> dict[str, str]:
    """Of which dataset version rows were told from new ones, for the model's lineage; empty where they were not."""
    before = spec.trained_before
    return {"trained_before": f"dataset version {before.version}, {before.digest}"} if before else {}


def _drawn(spec: TrainingSpec, before: TrainedBefore, old: list[Row], count: int) -> list[Row]:
    key = f"{spec.seed}/{spec.dataset.digest}/{before.digest}"

    def rank(row: Row) -> bytes:
        return blake2b(f"{key}/{row['row_id']}".encode(), digest_size=16).digest()

    return sorted(old, key=rank)[:count]
