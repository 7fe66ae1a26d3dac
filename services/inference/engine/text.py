"""From token ids to text that is safe to send: whole characters, and nothing a stop string may take back."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

UNDECODABLE = "\ufffd"
LONGEST_CHARACTER = 8  # tokens; past that the bytes are not a character and are sent as they decode


class Detokenizer:
    """Decodes a growing list of ids, giving only the new, complete characters.

    Decoding starts a few tokens back, because the text of a token depends on the one before it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._context = 0
        self._read = 0

    def push(self, token: int) -> str:
        """The text that `token` completes, often none."""
        self._ids.append(token)
        return self._advance(hold=len(self._ids) - self._read < LONGEST_CHARACTER)

    def flush(self) -> str:
        """What is left, an incomplete character included."""
        return self._advance(hold=False)

    def _advance(self, hold: bool) -> str:
        before = self._decode(self._ids[self._context : self._read])
        text = self._decode(self._ids[self._context :])
        if len(text) <= len(before) or (hold and text.endswith(UNDECODABLE)):
            return ""
        self._context, self._read = self._read, len(self._ids)
        return text[len(before) :]

    def _decode(self, ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text


class StopMatcher:
    """Finds stop strings in a stream of text, whatever the borders of its pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.met = False

    def push(self, text: str) -> tuple[str, bool]:
        """The text that may be sent, and whether a stop string was met (it and what follows are dropped)."""
        if not self._stops:
            return text, False
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            sent, self._held, self.met = self._held[: min(found)], "", True
            return sent, True
        keep = self._possible_start()
        sent, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return sent, False

    def flush(self) -> str:
        """What was held back; the stream ended before it became a stop string."""
        held, self._held = self._held, ""
        return held

    def _possible_start(self) -> int:
        """Length of the longest tail that begins a stop string."""
        longest = max(len(stop) for stop in self._stops) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self._stops):
                return length
        return 0


def token_text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """The text of one token alone, special tokens included; bytes that are no whole character as U+FFFD."""
    text = tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text
