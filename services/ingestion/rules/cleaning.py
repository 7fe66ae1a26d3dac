"""The rules that change texts, in the order that they work in."""

from collections.abc import Callable

from services.ingestion.rules.characters import compatible, tidy, without_controls
from services.ingestion.rules.html import plain_text
from shared.pipelines.cleaning import Cleaning

PASSES = 8
MARKUP = str.maketrans("", "", "<>&")
Change = Callable[[str], str]


class Cleaner:
    """Cleans texts. What is clean stays as it is, so cleaning twice changes nothing."""

    def __init__(self, wanted: Cleaning) -> None:
        rules: dict[str, tuple[bool, Change]] = {
            "unicode": (wanted.unicode == "nfkc", compatible),
            "html": (wanted.html, plain_text),
            "control_characters": (wanted.control_characters, without_controls),
            "whitespace": (wanted.whitespace, tidy),
        }
        self._changes = [(name, change) for name, (on, change) in rules.items() if on]

    def __bool__(self) -> bool:
        return bool(self._changes)

    def clean(self, text: str) -> tuple[str, list[str]]:
        """The text and the rules that changed it.

        One rule may bring out work for another (an entity that stands for a tag), so all are asked until none has
        any. A text made to go on for ever loses its markup.
        """
        by: dict[str, None] = {}
        for _ in range(PASSES):
            before = text
            for name, change in self._changes:
                changed = change(text)
                if changed != text:
                    by[name] = None
                    text = changed
            if text == before:
                return text, list(by)
        return self.clean(text.translate(MARKUP))[0], list(by)
