"""Judging entities: whole ones, as seqeval counts them, and tags word by word."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from seqeval.metrics.sequence_labeling import get_entities

from services.evaluation.frozen import Row
from services.evaluation.kinds.base import JudgedKind, Outputs, Step
from services.evaluation.kinds.showing import samples, table, telling
from services.evaluation.statistics import Measure, Table, divide, ratio, surprise
from shared.modeling.kinds.base import IGNORED, Example, length_limit
from shared.modeling.kinds.classification import logits_of
from shared.modeling.kinds.token_classification import ReadWords, TokenClassification, read_words
from shared.modeling.kinds.windows import plain_tokenizer, word_places
from shared.modeling.loading import LoadedModel
from shared.rows.tags import OUTSIDE, to_iob2

ROWS_AT_ONCE = 64
WINDOWS_AT_ONCE = 32
SIGNATURE = f"seqeval {version('seqeval')}, micro average of whole entities, tags in IOB2; a word that is not read is O"
Entity = tuple[str, int, int]
"""Label, first and last token."""
Chances = NDArray[np.float32]
"""Probabilities of the tags, (tags,)."""


class JudgedTokenClassification(JudgedKind):
    """Outputs: `tags` (IOB2, one a token), `loss` (nats, summed over the tokens), `tokens` (how many of them the model
    reads), and `labels` (tags that the model knows, once)."""

    name = "token_classification"
    half_precision = False

    @property
    def outputs_format(self) -> str:
        return "token_classification/1"

    def work(self, rows: Sequence[Row]) -> int:
        return len(rows)

    @torch.inference_mode()
    def predict(self, loaded: LoadedModel, rows: Sequence[Row], step: Step) -> Outputs:
        outputs: Outputs = {"tags": [], "loss": [], "tokens": [], "labels": list(loaded.card.labels)}
        for start in range(0, len(rows), ROWS_AT_ONCE):
            chunk = rows[start : start + ROWS_AT_ONCE]
            for row, chances in zip(chunk, _chances(loaded, [row["tokens"] for row in chunk]), strict=True):
                tags, losses = _judged(row["tags"], chances, loaded.card.labels)
                outputs["tags"].append(tags)
                outputs["loss"].append(sum(losses))
                outputs["tokens"].append(len(losses))
            step(len(chunk))
        return outputs

    def measures(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, Measure]:
        counts = np.array([_counts(*pair) for pair in _both(rows, outputs)], dtype=float)
        right = [
            float(sum(map(str.__eq__, row["tags"], tags))) for row, tags in zip(rows, outputs["tags"], strict=True)
        ]
        return {
            "f1": Measure(counts, lambda total: _share(2 * total[:, 0], total[:, 1] + total[:, 2])),
            "precision": Measure(counts, lambda total: _share(total[:, 0], total[:, 1])),
            "recall": Measure(counts, lambda total: _share(total[:, 0], total[:, 2])),
            "accuracy": ratio(right, [len(row["tags"]) for row in rows]),
            "loss": ratio(outputs["loss"], outputs["tokens"]),
        }

    def detail(self, rows: Sequence[Row], outputs: Mapping[str, Outputs]) -> dict[str, Any]:
        right = {role: [true == guess for true, guess in _both(rows, given)] for role, given in outputs.items()}
        answers = {
            role: [_shown(row["tokens"], tags) for row, tags in zip(rows, given["tags"], strict=True)]
            for role, given in outputs.items()
        }
        chosen = telling(right["candidate"], right.get("champion"))
        return {
            "tables": [_label_table(rows, outputs)],
            "signatures": {"f1": SIGNATURE},
            "samples": samples(
                rows,
                chosen,
                lambda row: {"text": " ".join(row["tokens"])},
                lambda row: _shown(row["tokens"], row["tags"]),
                answers,
            ),
        }

    def unknown_classes(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, int]:
        known = {tag.partition("-")[2] for tag in outputs["labels"]}
        found = Counter(label for row in rows for label in {label for label, _, _ in get_entities(row["tags"])})
        return {label: count for label, count in sorted(found.items()) if label not in known}


def _chances(loaded: LoadedModel, texts: Sequence[Sequence[str]]) -> list[dict[int, Chances]]:
    """Of each text, the probabilities of the tags of its words; none of a word that the tokenizer drops."""
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    read = list(read_words(plain_tokenizer(loaded.tokenizer), texts, limit))
    owners = [(number, window) for number, text in enumerate(read) for window in range(len(text.windows))]
    windows = [list(read[number].windows[window].ids) for number, window in owners]
    examples = [Example((str(number),), ids, [IGNORED] * len(ids), 0) for number, ids in enumerate(windows)]
    found: dict[tuple[int, int], Chances] = {}
    kind = TokenClassification()
    for indices, batch in kind.batches(loaded.model, examples, int(loaded.tokenizer.pad_token_id), WINDOWS_AT_ONCE):
        for index, chances in zip(indices, logits_of(loaded.model, batch).softmax(-1), strict=True):
            found[owners[index]] = chances.cpu().numpy()
    return [_of_words(number, text, found) for number, text in enumerate(read)]


def _of_words(number: int, text: ReadWords, found: Mapping[tuple[int, int], Chances]) -> dict[int, Chances]:
    places = word_places(text.windows)
    firsts = text.firsts()
    spoken = {word: places[part] for word, part in firsts.items() if part in places}
    return {word: found[number, window][place] for word, (window, place) in spoken.items()}


def _judged(
    truth: Sequence[str], chances: Mapping[int, Chances], labels: Sequence[str]
) -> tuple[list[str], list[float]]:
    """The model's tags of all tokens, and the loss of each that it reads."""
    index = {tag: place for place, tag in enumerate(labels)}
    tags = [labels[int(chances[word].argmax())] if word in chances else OUTSIDE for word in range(len(truth))]
    losses = []
    for word, row in sorted(chances.items()):
        probability = float(row[index[truth[word]]]) if truth[word] in index else 0.0
        losses.append(surprise(probability))
    return to_iob2(tags), losses


def _both(rows: Sequence[Row], outputs: Outputs) -> list[tuple[set[Entity], set[Entity]]]:
    """True and answered entities of each row."""
    pairs = zip(rows, outputs["tags"], strict=True)
    return [(set(get_entities(row["tags"])), set(get_entities(tags))) for row, tags in pairs]


def _counts(true: set[Entity], guessed: set[Entity]) -> tuple[int, int, int]:
    return len(true & guessed), len(guessed), len(true)


def _share(over: Table, under: Table) -> Table:
    """0 where there is nothing to divide by, as seqeval has it."""
    return np.nan_to_num(divide(over, under))


def _label_table(rows: Sequence[Row], outputs: Mapping[str, Outputs]) -> dict[str, Any]:
    candidate = _by_label(_both(rows, outputs["candidate"]))
    champion = _by_label(_both(rows, outputs["champion"])) if "champion" in outputs else {}
    lines = []
    for label in sorted(candidate.keys() | champion.keys()):
        hits, guessed, true = candidate.get(label, (0, 0, 0))
        scores = [hits / guessed if guessed else 0.0, hits / true if true else 0.0, _f1(hits, guessed, true)]
        line = [label, *scores, true]
        lines.append([*line, _f1(*champion.get(label, (0, 0, 0)))] if champion else line)
    columns = ["entity", "precision", "recall", "f1", "in the rows"]
    return table("Entities by label", [*columns, "f1 of the champion"] if champion else columns, lines)


def _by_label(pairs: Sequence[tuple[set[Entity], set[Entity]]]) -> dict[str, tuple[int, int, int]]:
    """Label -> right, answered, true."""
    right = Counter(label for true, guessed in pairs for label, _, _ in true & guessed)
    answered = Counter(label for _, guessed in pairs for label, _, _ in guessed)
    wanted = Counter(label for true, _ in pairs for label, _, _ in true)
    return {label: (right[label], answered[label], wanted[label]) for label in answered.keys() | wanted.keys()}


def _f1(hits: int, guessed: int, true: int) -> float:
    return 2 * hits / (guessed + true) if guessed + true else 0.0


def _shown(tokens: Sequence[str], tags: Sequence[str]) -> str:
    found = [f"{' '.join(tokens[first : last + 1])} [{label}]" for label, first, last in get_entities(list(tags))]
    return ", ".join(found) or "–"
