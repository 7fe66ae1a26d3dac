"""Token classification: entities, by tags in BIO notation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from tokenizers import Encoding as Pieces
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForTokenClassification, PreTrainedModel, PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import IGNORED, Batch, Encoded, Example, Kind, Row, inputs, pad
from shared.modeling.kinds.classification import logits_of
from shared.modeling.kinds.heads import label_options, load_with_head
from shared.modeling.kinds.windows import finer_words, plain_tokenizer, word_places, word_windows
from shared.rows.tags import OUTSIDE, tagged_spans, to_iob2

TEXTS_AT_ONCE = 256


class TokenClassification(Kind):
    """Rows have `tokens` and IOB2 `tags`. Labels of the model are tags: `O`, and `B-X` and `I-X` for the entity label X;
    one trained elsewhere may have a plain `X`, which is read as `I-X`.

    Texts are read in windows that overlap. A word is learnt once, at its first piece, in the window where it has most
    company; that is where service reads its tag.
    """

    name = "token_classification"
    columns = ("tokens", "tags")
    metrics = ("loss", "f1", "accuracy")
    labelled = True

    def learn_labels(self, rows: Sequence[Row]) -> tuple[str, ...]:
        found = {span.label for row in rows for span in tagged_spans(row["tags"])}
        return self.declared_labels(tuple(sorted(found)))

    def declared_labels(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        return (OUTSIDE, *(f"{prefix}-{label}" for label in labels for prefix in "BI"))

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        if len(labels) < 2:
            raise InvalidArgument(f"token classification needs at least two tags, not {list(labels)}", field="labels")
        return load_with_head(AutoModelForTokenClassification, folder, self.name, label_options(labels))

    def encode(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: tuple[str, ...], max_length: int
    ) -> Encoded:
        index = {tag: position for position, tag in enumerate(labels)}
        for row in rows:
            unknown = next((tag for tag in row["tags"] if tag not in index), None)
            if unknown is not None:
                raise InvalidArgument(
                    f"row {row['row_id']} has tag {unknown!r}, which is not one of {list(labels)}", row_id=row["row_id"]
                )
        examples = []
        texts = read_words(plain_tokenizer(tokenizer), [row["tokens"] for row in rows], max_length)
        for row, text in zip(rows, texts, strict=True):
            tags = text.finer_tags(row["tags"])
            for ids, targets in text.learnt([index[tag] for tag in tags]):
                learnt = sum(target != IGNORED for target in targets)
                if learnt:
                    examples.append(Example((row["row_id"],), ids, targets, learnt))
        if rows and not examples:
            raise InvalidArgument(f"row {rows[0]['row_id']} and all others hold no word that the tokenizer knows")
        return Encoded(examples, 0)

    def collate(self, examples: Sequence[Example], pad_id: int) -> Batch:
        return {**inputs(examples, pad_id), "targets": pad([example.targets for example in examples], IGNORED)}

    def loss(self, model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> Tensor:
        return functional.cross_entropy(
            logits_of(model, batch).flatten(0, 1),
            batch["targets"].flatten(),
            self.class_weights,
            ignore_index=IGNORED,
            label_smoothing=smoothing,
            reduction="sum",
        )

    @torch.inference_mode()
    def score(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> dict[str, float]:
        total = 0.0
        guesses: list[list[int]] = [[]] * len(examples)
        for indices, batch in self.batches(model, examples, pad_id, batch_size):
            logits, targets = logits_of(model, batch), batch["targets"]
            total += float(
                functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
            )
            for index, best, learnt in zip(indices, logits.argmax(-1), targets != IGNORED, strict=True):
                guesses[index] = best[learnt].tolist()
        truth = [[target for target in example.targets if target != IGNORED] for example in examples]
        names = tuple(str(name) for _, name in sorted((model.config.id2label or {}).items()))
        right = sum(one == other for pair in zip(truth, guesses, strict=True) for one, other in zip(*pair, strict=True))
        words = sum(example.weight for example in examples)
        owners = [example.row_ids for example in examples]
        f1 = _entity_f1(_by_row(truth, owners, names), _by_row(guesses, owners, names))
        return {"loss": total / words, "f1": f1, "accuracy": right / words}


@dataclass(frozen=True)
class ReadWords:
    """A text that came cut into words, as the model reads it."""

    windows: list[Pieces]
    owners: list[int]
    """Of each word that the text has when it is cut as texts are: the given word that it is of."""

    def finer_tags(self, tags: Sequence[str]) -> list[str]:
        """Tags of the given words as tags of all parts: what opens an entity does so in its first part only."""
        firsts = set(self.firsts().values())
        return [
            tags[word] if part in firsts else tags[word].replace("B-", "I-", 1) for part, word in enumerate(self.owners)
        ]

    def firsts(self) -> dict[int, int]:
        """Given word -> its first part, which speaks for it; a word of blanks has none."""
        return {word: part for part, word in reversed(list(enumerate(self.owners)))}

    def learnt(self, targets: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
        """Ids and targets of each window; `targets` has one a part."""
        laid = [[IGNORED] * len(window) for window in self.windows]
        for part, (window, place) in word_places(self.windows).items():
            laid[window][place] = targets[part]
        for pieces, line in zip(self.windows, laid, strict=True):
            yield list(pieces.ids), line


def read_words(tokenizer: Tokenizer, texts: Sequence[Sequence[str]], max_length: int) -> Iterator[ReadWords]:
    """Texts that come cut into words; `tokenizer` is a plain one."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        finer = [finer_words(words) for words in texts[start : start + TEXTS_AT_ONCE]]
        windows = word_windows(tokenizer, [parts for parts, _ in finer], max_length)
        for (_, owners), theirs in zip(finer, windows, strict=True):
            yield ReadWords(theirs, owners)


def _by_row(tags: Sequence[Sequence[int]], owners: Sequence[tuple[str, ...]], names: Sequence[str]) -> list[list[str]]:
    """Tags of whole rows, whose windows lie one after the other."""
    rows = groupby(zip(owners, tags, strict=True), key=lambda pair: pair[0])
    return [to_iob2([names[tag] for _, window in windows for tag in window]) for _, windows in rows]


def _entity_f1(truth: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]) -> float:
    """Micro F1 of whole entities; 0 when there are none on either side."""
    true, guessed = ([set(tagged_spans(tags)) for tags in side] for side in (truth, guesses))
    hits = sum(len(one & other) for one, other in zip(true, guessed, strict=True))
    both = sum(map(len, true)) + sum(map(len, guessed))
    return 2 * hits / both if both else 0.0
