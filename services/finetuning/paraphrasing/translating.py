"""Texts there and back, in batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.client.texts import RewriteAnswer
from shared.pipelines.back_translation import BackTranslation, ServedModel

TEXTS_AT_ONCE = 16
MAX_TEXT_BYTES = 65_536
"""A longer text is refused by the server."""

Translate = Callable[[str, ServedModel, Sequence[str]], RewriteAnswer]
"""Of a key (`there` or `back`), its model and some texts."""


@dataclass(frozen=True)
class Translated:
    """One paraphrase a text; None where it came back empty or as it was, or could not be sent."""

    texts: tuple[str | None, ...]
    by: tuple[str, ...]
    """Model versions that answered, as MODEL@VERSION."""


def there_and_back(
    texts: Sequence[str], keys: BackTranslation, translate: Translate, told: Callable[[int], None]
) -> Translated:
    """Translates all texts; `told` hears how many are done. Raises what `translate` does."""
    made: list[str | None] = []
    by: dict[str, None] = {}

    def put(key: str, given: Sequence[str | None]) -> list[str | None]:
        sent = [index for index, text in enumerate(given) if text is not None and _can_be_sent(text)]
        found: list[str | None] = [None] * len(given)
        if not sent:
            return found
        model = keys.translators[key]
        answer = translate(key, model, [str(given[index]) for index in sent])
        by[f"{answer.lineage.model or model.name}@{answer.lineage.version}"] = None
        for index, one in zip(sent, answer.results, strict=True):
            found[index] = one.text.strip()
        return found

    for start in range(0, len(texts), TEXTS_AT_ONCE):
        part = texts[start : start + TEXTS_AT_ONCE]
        back = put("back", put("there", part))
        made += [new if new and new != old.strip() else None for old, new in zip(part, back, strict=True)]
        told(len(made))
    return Translated(tuple(made), tuple(by))


def _can_be_sent(text: str) -> bool:
    return bool(text.strip()) and len(text.encode()) <= MAX_TEXT_BYTES
