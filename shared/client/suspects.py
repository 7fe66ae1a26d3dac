"""Rows whose label a model that never learnt them finds wrong: confident learning, with the champion as the model.

Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, 2021, as cleanlab computes it.
Probabilities must come from a model that has not seen the row, so by default only rows are judged that the champion was not
trained on: those of its own dataset version that validated or judged, and all of batches that came later.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice

from shared.client.client import FlywheelClient
from shared.client.data import Row
from shared.client.progress import Progress, silent
from shared.errors import FailedPrecondition, Unsupported

TEXTS_AT_ONCE = 64
LEAST_ROWS = 5
"""Of each label, for its own threshold to mean something."""


@dataclass(frozen=True)
class Suspect:
    """A row with the label it has, the label that the model gives it, and how well its own fits (0 to 1)."""

    row: Row
    label: str
    suggested: str
    quality: float


@dataclass
class Suspects:
    """What was found, the worst first."""

    pipeline: str
    dataset_version: int
    model_version: int
    judged: int = 0
    left_out: int = 0
    """Rows with a label that the model does not know."""
    rare_labels: list[str] = field(default_factory=list)
    """Labels of too few rows to be judged by."""
    found: list[Suspect] = field(default_factory=list)


def find_suspects(
    client: FlywheelClient, pipeline: str, version: int = 0, *, also_learnt: bool = False, progress: Progress = silent
) -> Suspects:
    """Judges the rows of a dataset version (the newest sealed one without `version`).

    With `also_learnt` rows are judged as well that the champion was trained on, which it knows too well. Raises
    Unsupported for a kind without one label a row, FailedPrecondition without a champion, NotFound.
    """
    spec = client.pipeline(pipeline).spec
    if spec["kind"] != "classification" or spec.get("options", {}).get("multi_label"):
        raise Unsupported(f"pipeline {pipeline!r} has no one label a row; suspects are found for classification")
    champion = next((one for one in client.model_versions(pipeline) if one.state == "champion"), None)
    if champion is None:
        raise FailedPrecondition(f"pipeline {pipeline!r} has no champion yet, and suspects need a model")
    learnt = set(client.dataset_version(pipeline, champion.dataset_version).batches)
    sealed = client.dataset_version(pipeline, version)
    every = client.rows(pipeline, sealed.version)
    unseen = (row for row in every if also_learnt or row.split != "train" or row.batch not in learnt)
    rows = sorted(unseen, key=_is_pair)
    result = Suspects(pipeline, sealed.version, champion.version)
    labels, table = _answers(client, pipeline, champion.version, rows, progress)
    known = [place for place, row in enumerate(rows) if row.fields["label"] in labels]
    result.judged, result.left_out = len(known), len(rows) - len(known)
    judge(result, [rows[place] for place in known], labels, [table[place] for place in known])
    return result


def judge(result: Suspects, rows: Sequence[Row], labels: Sequence[str], table: Sequence[Sequence[float]]) -> None:
    """Adds to `result.found`; `table` holds a probability for each row and label, in their order."""
    import numpy as np
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    counts = Counter(row.fields["label"] for row in rows)
    often = [place for place, label in enumerate(labels) if counts[label] >= LEAST_ROWS]
    result.rare_labels = [label for label in labels if counts[label] < LEAST_ROWS]
    if len(often) < 2:
        return
    places = {labels[place]: number for number, place in enumerate(often)}
    chosen = [place for place, row in enumerate(rows) if row.fields["label"] in places]
    given = np.array([places[rows[place].fields["label"]] for place in chosen])
    chances = np.array([[table[place][label] for label in often] for place in chosen])
    chances /= chances.sum(1, keepdims=True)
    wrong = find_label_issues(given, chances, filter_by="both", n_jobs=1)
    quality = get_label_quality_scores(given, chances, method="normalized_margin")
    result.found += sorted(
        (
            Suspect(row, row.fields["label"], labels[often[int(likely)]], round(float(score), 4))
            for row, is_wrong, likely, score in zip(
                (rows[place] for place in chosen), wrong, chances.argmax(1), quality, strict=True
            )
            if is_wrong
        ),
        key=lambda one: (one.quality, one.row.id),
    )


def _answers(
    client: FlywheelClient, pipeline: str, version: int, rows: Sequence[Row], progress: Progress
) -> tuple[list[str], list[list[float]]]:
    """The model's labels, and for each row their probabilities in that order."""
    labels: list[str] = []
    table: list[list[float]] = []
    for some in _portions(rows):
        texts = [row.fields["text"] for row in some]
        if _is_pair(some[0]):
            pairs = [(row.fields["text"], row.fields["text_pair"]) for row in some]
            answer = client.classify(pipeline, pairs=pairs, version=version)
        else:
            answer = client.classify(pipeline, texts, version=version)
        for one in answer.results:
            chances = {scored.label: scored.score for scored in one.labels}
            labels = labels or sorted(chances)
            table.append([chances[label] for label in labels])
        progress(len(table), len(rows))
    return labels, table


def _portions(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """In order; never both texts and pairs in one."""
    for _, alike in groupby(rows, key=_is_pair):
        while some := list(islice(alike, TEXTS_AT_ONCE)):
            yield some


def _is_pair(row: Row) -> bool:
    return bool(row.fields.get("text_pair"))
