"""From the rows of a data set to rows of a task kind, with our field names."""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from benchmarks.quality.sources import Raw, RawRows

OUT_OF_SCOPE = "oos"
CANDIDATES = 8
"""Replies that answer selection chooses among."""
ANSWERS = 5
"""The same of answers, which are long."""
CONTEXT = 3
"""Turns before a reply that it is chosen by."""
LIKED = 4.0
"""Stars from which a film counts as liked."""
TASTE = 5
"""Liked films that say what a person likes."""
UNSEEN = 15
"""Films that the person never rated, beside the next one liked."""
OTHER_INTENTS = 15
"""Wrong intents beside the right one."""


def as_they_are(raw: RawRows) -> RawRows:
    """Rows that have our field names already."""
    return raw


def in_scope_judges(raw: RawRows) -> RawRows:
    """Out-of-scope rows are learnt, so that a model may say so, but only intents judge."""
    return RawRows(raw.train, [row for row in raw.test if row["label"] != OUT_OF_SCOPE])


def texts_of(field: str) -> Callable[[RawRows], RawRows]:
    """One field of the rows as running text."""

    def shape(raw: RawRows) -> RawRows:
        return RawRows(*([{"text": row[field]} for row in rows] for rows in (raw.train, raw.test)))

    return shape


def answers_to_choose(raw: RawRows) -> RawRows:
    """Of queries with their positive and negatives: the positive among those and others' positives."""
    return RawRows(*map(_choices, (raw.train, raw.test)))


def replies_to_choose(raw: RawRows) -> RawRows:
    """Of conversations: the assistant's next turn after the last ones, among turns of other conversations."""
    return RawRows(*map(_replies, (raw.train, raw.test)))


def intents_to_rank(raw: RawRows) -> RawRows:
    """Of utterances with their intents: the intent's name in words among other intents' names."""
    intents = sorted({row["label"] for row in raw.train} - {OUT_OF_SCOPE})
    return RawRows(*(_intents(rows, intents) for rows in (raw.train, raw.test)))


def next_film(raw: RawRows) -> RawRows:
    """Of ratings: what a person liked, as text, with the film that the person liked next and some never rated.

    Ratings are in the order of time; a person's test rows come after all of that person's train rows.
    """
    titles = {item["item"]: _title(item) for item in raw.more}
    train, rated = _by_person(raw.train), _by_person([*raw.train, *raw.test])
    return RawRows(
        [row for person in sorted(train) for row in _tastes(train[person], [], rated[person], titles)],
        [
            row
            for person, ratings in sorted(_by_person(raw.test).items())
            for row in _tastes(ratings, _liked(train.get(person, [])), rated[person], titles)
        ],
    )


def _choices(rows: Sequence[Raw]) -> list[Raw]:
    drawn = random.Random(0)
    positives = sorted({row["positive"] for row in rows})
    shaped = []
    for row in rows:
        held = [row["positive"], *row["negatives"]]
        others = (text for text in drawn.sample(positives, min(len(positives), 2 * ANSWERS)) if text not in held)
        candidates = [*held, *islice(others, max(0, ANSWERS - len(held)))]
        drawn.shuffle(candidates)
        shaped.append({"question": row["query"], "candidates": candidates, "answer": row["positive"]})
    return shaped


def _replies(rows: Sequence[Raw]) -> list[Raw]:
    """Two turns of each conversation, drawn after the first exchange."""
    drawn = random.Random(0)
    spoken = sorted({turn["content"] for row in rows for turn in row["messages"] if turn["role"] == "assistant"})
    shaped = []
    for row in rows:
        turns = row["messages"]
        places = [at for at in range(3, len(turns)) if turns[at]["role"] == "assistant"]
        own = {turn["content"] for turn in turns}
        for at in drawn.sample(places, min(2, len(places))):
            right = turns[at]["content"]
            others = [text for text in drawn.sample(spoken, 3 * CANDIDATES) if text not in own][: CANDIDATES - 1]
            candidates = [right, *others]
            drawn.shuffle(candidates)
            asked = "\n".join(turn["content"] for turn in turns[at - CONTEXT : at])
            shaped.append({"question": asked, "candidates": candidates, "answer": right})
    return shaped


def _intents(rows: Sequence[Raw], intents: Sequence[str]) -> list[Raw]:
    drawn = random.Random(0)
    shaped = []
    for row in rows:
        if row["label"] != OUT_OF_SCOPE:
            others = drawn.sample([intent for intent in intents if intent != row["label"]], OTHER_INTENTS)
            shaped.append({"query": row["text"], "positive": _words(row["label"]), "negatives": [*map(_words, others)]})
    return shaped


def _words(intent: str) -> str:
    return intent.replace("_", " ")


def _by_person(ratings: Sequence[Raw]) -> Mapping[int, list[Raw]]:
    grouped: dict[int, list[Raw]] = defaultdict(list)
    for rating in sorted(ratings, key=lambda rating: rating["timestamp"]):
        grouped[rating["user"]].append(rating)
    return grouped


def _liked(ratings: Sequence[Raw]) -> list[int]:
    return [rating["item"] for rating in ratings if rating["rating"] >= LIKED]


def _tastes(ratings: Sequence[Raw], before: list[int], rated: Sequence[Raw], titles: Mapping[int, str]) -> list[Raw]:
    """A row for each liked film after the first few."""
    seen = {rating["item"] for rating in rated}
    unseen = [titles[item] for item in sorted(titles.keys() - seen)]
    drawn = random.Random(ratings[0]["user"])
    history, rows = list(before), []
    for item in _liked(ratings):
        if len(history) >= TASTE:
            liked = "; ".join(titles[one] for one in history[-TASTE:])
            rows.append(
                {"query": f"Liked: {liked}", "positive": titles[item], "negatives": drawn.sample(unseen, UNSEEN)}
            )
        history.append(item)
    return rows


def _title(item: Raw) -> str:
    return f"{item['title']}, {', '.join(item['genres'])}"
