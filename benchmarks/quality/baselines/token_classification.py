"""Baselines for token classification."""

import math
from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.quality.baselines.asking import Asked, ask
from benchmarks.quality.baselines.tagging import Dictionary, WordTagger
from benchmarks.quality.contenders import Answer, Contender, Tools
from benchmarks.quality.material import Material, Row
from shared.rows.tags import OUTSIDE, tagged_spans

SHOTS = 4
ANSWER_TOKENS = 48
NONE = "none"
INSTRUCTION = (
    "Find the names in the text. The kinds of names are: {labels}. Answer with one name a line, as `kind: name`, "
    "copied from the text. Answer `none` where there is no name."
)


def all_outside(material: Material, seed: int, tools: Tools) -> Answer:
    """The commonest tag, which names nothing."""
    return _answer([[OUTSIDE] * len(row["tokens"]) for row in material.test])


def tagged(
    material: Material, seed: int, tools: Tools, tagger: Callable[[Sequence[Row]], Dictionary | WordTagger]
) -> Answer:
    """A tagger learnt from the train rows."""
    learnt = tagger(material.train)
    return _answer([learnt.tags(row["tokens"]) for row in material.test])


def prompted(material: Material, seed: int, tools: Tools, shots: int) -> Answer:
    """Names that a language model lists, wherever they stand in the text."""
    labels = sorted({span.label for row in material.train for span in tagged_spans(row["tags"])})
    asked = Asked(INSTRUCTION.format(labels=", ".join(labels)), _text, _listed, ANSWER_TOKENS)
    answers = ask(asked, material, tools.writer(), shots, seed)
    return _answer(
        [found_tags(row["tokens"], answer, labels) for row, answer in zip(material.test, answers, strict=False)]
    )


def found_tags(tokens: Sequence[str], answer: str, labels: Sequence[str]) -> list[str]:
    """Tags of the names that the answer lists, those that come first in it taking precedence."""
    tags = [OUTSIDE] * len(tokens)
    for line in answer.splitlines():
        label, _, name = (part.strip() for part in line.partition(":"))
        if label not in labels or not name:
            continue
        wanted = "".join(name.split())
        for start in range(len(tokens)):
            end = _end_of(tokens, start, wanted)
            if end and set(tags[start:end]) == {OUTSIDE}:
                tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags


def _end_of(tokens: Sequence[str], start: int, wanted: str) -> int:
    """One past the token where a name that begins at `start` ends; 0 when it is not there."""
    read = ""
    for end in range(start, len(tokens)):
        read += tokens[end]
        if read == wanted:
            return end + 1
        if not wanted.startswith(read):
            break
    return 0


def _text(row: Row) -> str:
    return _blank(row).join(row["tokens"])


def _listed(row: Row) -> str:
    names = [
        f"{span.label}: {_blank(row).join(row['tokens'][span.first : span.end])}" for span in tagged_spans(row["tags"])
    ]
    return "\n".join(dict.fromkeys(names)) or NONE


def _blank(row: Row) -> str:
    """What stood between the tokens: nothing where each is one character."""
    return "" if max(map(len, row["tokens"])) == 1 else " "


def _answer(tags: list[list[str]]) -> Answer:
    """No tagger here says how sure it is."""
    return Answer({"tags": list(tags), "loss": [math.nan] * len(tags), "tokens": [1] * len(tags), "labels": []})


CONTENDERS = (
    Contender("majority", all_outside),
    Contender("dictionary", partial(tagged, tagger=Dictionary)),
    Contender("words-regression", partial(tagged, tagger=WordTagger)),
    Contender("zero-shot", partial(prompted, shots=0), {"shots": 0}),
    Contender("few-shot", partial(prompted, shots=SHOTS), {"shots": SHOTS}, seeded=True),
)
