"""Whether a sealed dataset version can be trained on at all, told by its statistics before a job is made."""

from shared.pipelines.kinds import KINDS
from shared.pipelines.schema import PipelineSpec
from shared.storage.tables import DatasetVersion

NAMED = 5
"""Labels that a reason names at most."""


def unfit(dataset: DatasetVersion, spec: PipelineSpec) -> str | None:
    """Why no model can be trained on the version; None when one can."""
    rows = dataset.train + dataset.validation + dataset.test
    if rows and not dataset.train:
        return f"none of its {rows} rows is in the train split; send more rows, or change data.splits in a new pipeline"
    if not KINDS[spec.kind].labelled or "labels" not in dataset.statistics:
        return None
    seen = {split: set(counts) for split, counts in dataset.statistics["labels"].items()}
    train = seen.get("train", set())
    least = 1 if spec.kind == "token_classification" else 2
    if len(train) < least:
        found = f"only the label {next(iter(train))!r}" if train else "no label"
        return f"its train split has {found}, so there is nothing to tell apart; send rows with other labels"
    unseen = sorted(seen.get("validation", set()) - train) if spec.labels is None else []
    if unseen:
        more = f" and {len(unseen) - NAMED} more" if len(unseen) > NAMED else ""
        return (
            f"labels occur in its validation split that the train split lacks: {', '.join(unseen[:NAMED])}{more}; "
            "send more rows with them, or declare the pipeline's labels"
        )
    return None
