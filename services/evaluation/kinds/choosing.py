"""Judging kinds that put texts in order: which places the right texts take among all candidates of a row.

A tie counts against the right text, so a model that tells nothing apart scores nothing. The candidates are the same
for every model. A row that has nothing to be told apart from counts in no metric; when that is every row, the
metrics are not defined, and the gate stays shut.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.evaluation.bootstrap import mcnemar
from services.evaluation.frozen import Row
from services.evaluation.kinds.base import JudgedKind, Outputs, Step
from services.evaluation.kinds.showing import SAMPLE_TEXT, samples, table, telling
from services.evaluation.statistics import Measure, ratio
from shared.modeling.loading import LoadedModel
from shared.pipelines.kinds import METRICS

Scores = NDArray[np.float64]
TOP = 10
SPANS = (("1", 1, 1), ("2 to 3", 2, 3), ("4 to 10", 4, 10), ("beyond 10", 11, None))


@dataclass(frozen=True)
class Candidates:
    """A query, the texts that fit it, and others that it is judged against."""

    query: str
    right: Sequence[str]
    wrong: Sequence[str]


class JudgedChoosing(JudgedKind):
    """Outputs a row: `places` of its right texts from 1, `wrong` (how many it was judged against), `loss` (nats), `best`
    (the text put first)."""

    half_precision = False

    @abstractmethod
    def candidates(self, rows: Sequence[Row]) -> list[Candidates]:
        """What each row is judged among: a function of the rows alone."""

    @property
    @abstractmethod
    def drawn(self) -> str:
        """Where the candidates come from, in words."""

    @abstractmethod
    def scores(self, loaded: LoadedModel, lists: Sequence[Candidates], step: Step) -> Iterator[tuple[Scores, Scores]]:
        """For each list the scores of its right and of its wrong texts; softmax of them is what the model learnt."""

    def predict(self, loaded: LoadedModel, rows: Sequence[Row], step: Step) -> Outputs:
        outputs: Outputs = {"places": [], "wrong": [], "loss": [], "best": []}
        lists = self.candidates(rows)
        for one, (right, wrong) in zip(lists, self.scores(loaded, lists, step), strict=True):
            outputs["places"].append(places(right, wrong))
            outputs["wrong"].append(len(wrong))
            outputs["loss"].append(loss(right, wrong))
            outputs["best"].append(_best(one, right, wrong)[:SAMPLE_TEXT])
        return outputs

    def measures(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, Measure]:
        counted = [float(wrong > 0) for wrong in outputs["wrong"]]

        def of(score: Callable[[list[int]], float]) -> Measure:
            each = [score(found) * count for found, count in zip(outputs["places"], counted, strict=True)]
            return ratio(each, counted)

        losses = [one * count for one, count in zip(outputs["loss"], counted, strict=True)]
        made = {
            "accuracy": of(lambda found: float(found[0] == 1)),
            "mrr": of(lambda found: 1 / found[0]),
            "ndcg_at_10": of(ndcg),
            "recall_at_1": of(lambda found: recall(found, 1)),
            "recall_at_10": of(lambda found: recall(found, TOP)),
            "loss": ratio(losses, counted),
        }
        return {name: made[name] for name in METRICS[self.name]}

    def detail(self, rows: Sequence[Row], outputs: Mapping[str, Outputs]) -> dict[str, Any]:
        lists = self.candidates(rows)
        right = {row["row_id"]: one.right for row, one in zip(rows, lists, strict=True)}
        first = {role: [found[0] == 1 for found in given["places"]] for role, given in outputs.items()}
        sizes = [len(one.right) + len(one.wrong) for one in lists]
        chance = sum(len(one.right) / size for one, size in zip(lists, sizes, strict=True)) / len(lists)
        note = f"among {self.drawn}; {median(sizes):g} a row, of which one drawn by chance is right with {chance:.4f}"
        detail: dict[str, Any] = {
            "candidates": {"drawn": self.drawn, "median": median(sizes), "right_by_chance": chance},
            "tables": [_place_table(outputs, note)],
            "samples": samples(
                rows,
                telling(first["candidate"], first.get("champion", first.get("base"))),
                lambda row: {"query": str(row["query"] if "query" in row else row["question"])},
                lambda row: right[row["row_id"]][0],
                {role: given["best"] for role, given in outputs.items()},
            ),
        }
        if "champion" in outputs:
            detail["mcnemar"] = mcnemar(first["candidate"], first["champion"])
        return detail

    def unknown_classes(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, int]:
        return {}


def places(right: Scores, wrong: Scores) -> list[int]:
    """From 1, the places of the right texts, best first; ties, and scores that are not numbers, come last."""
    ordered = np.sort(np.where(np.isnan(right), -np.inf, right))[::-1]
    return [index + int((~(score > wrong)).sum()) for index, score in enumerate(ordered, start=1)]


def loss(right: Scores, wrong: Scores) -> float:
    """Mean over the right texts of -log of each one's share beside all wrong ones."""
    with np.errstate(invalid="ignore"):  # NaN in, NaN out: the gate refuses it
        others = np.logaddexp.reduce(wrong) if len(wrong) else -np.inf
        return float(np.mean(np.logaddexp(right, others) - right))


def ndcg(found: Sequence[int]) -> float:
    """Normalised discounted cumulative gain at 10 with gains of 0 and 1 (Järvelin and Kekäläinen 2002)."""
    gains = [1 / np.log2(place + 1) for place in found if place <= TOP]
    ideal = [1 / np.log2(place + 1) for place in range(1, min(len(found), TOP) + 1)]
    return float(sum(gains) / sum(ideal))


def recall(found: Sequence[int], most: int) -> float:
    """Share of the right texts among the first so many."""
    return sum(place <= most for place in found) / len(found)


def _best(one: Candidates, right: Scores, wrong: Scores) -> str:
    texts, scores = [*one.wrong, *one.right], np.concatenate([wrong, right])
    return texts[int(np.argmax(np.where(np.isnan(scores), -np.inf, scores)))]


def _place_table(outputs: Mapping[str, Outputs], note: str) -> dict[str, Any]:
    roles = [role for role in ("base", "champion", "candidate") if role in outputs]
    firsts = {role: [found[0] for found in outputs[role]["places"]] for role in roles}
    lines = [
        [name, *(sum(least <= place and (most is None or place <= most) for place in firsts[role]) for role in roles)]
        for name, least, most in SPANS
    ]
    return table("Place of the best right text", ["place", *roles], lines, note)
