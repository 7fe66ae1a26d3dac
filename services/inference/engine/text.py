"""From token ids to text that is safe to send: whole characters, and nothing a stop string may take back."""

import codecs
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from tokenizers.decoders import ByteLevel
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

_characters: Callable[[], dict[int, str]] = bytes_to_unicode
UTF8 = codecs.getincrementaldecoder("utf-8")
UNDECODABLE = "\ufffd"
LONGEST_CHARACTER = 8  # tokens; past that the bytes are not a character and are sent as they decode


class Detokenizer:
    """Decodes tokens as they come, giving only the new, complete characters. Special tokens have no text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        bytes_of = byte_table(tokenizer)
        self._way: _Bytes | _Pieces = _Pieces(tokenizer) if bytes_of is None else _Bytes(bytes_of)

    def push(self, token: int) -> str:
        """The text that `token` completes, often none."""
        return self._way.push(token)

    def flush(self) -> str:
        """What is left, an incomplete character included."""
        return self._way.flush()


class ByteTable(dict[int, bytes]):
    """The bytes of each token of a byte-level vocabulary (GPT-2's, and most since), filled as tokens are met.

    The text of such tokens is their bytes one after the other, so a stream needs a decoder of UTF-8 and no tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self._pieces = tokenizer.backend_tokenizer
        added = self._pieces.get_added_tokens_decoder()
        self.special = frozenset(id for id, token in added.items() if token.special)
        self._byte_of = {character: byte for byte, character in _characters().items()}

    def __missing__(self, token: int) -> bytes:
        piece = self._pieces.id_to_token(token)
        if piece is None or token in self.special:
            found = b""
        elif all(character in self._byte_of for character in piece):
            found = bytes(self._byte_of[character] for character in piece)
        else:
            found = piece.encode()
        self[token] = found
        return found


class _Bytes:
    def __init__(self, bytes_of: ByteTable) -> None:
        self._bytes_of = bytes_of
        self._decoder = UTF8(errors="replace")

    def push(self, token: int) -> str:
        return self._decoder.decode(self._bytes_of[token])

    def flush(self) -> str:
        return self._decoder.decode(b"", final=True)


class _Pieces:
    """For other vocabularies: decoding starts a few tokens back, as the text of a token depends on the one before."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._context = 0
        self._read = 0

    def push(self, token: int) -> str:
        self._ids.append(token)
        return self._advance(hold=len(self._ids) - self._read < LONGEST_CHARACTER)

    def flush(self) -> str:
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


_tables: WeakKeyDictionary[PreTrainedTokenizerBase, ByteTable] = WeakKeyDictionary()


def byte_table(tokenizer: PreTrainedTokenizerBase) -> ByteTable | None:
    """The tokenizer's table, one for all; None where its vocabulary is not of bytes."""
    if tokenizer not in _tables:
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            return None
        if not isinstance(tokenizer.backend_tokenizer.decoder, ByteLevel):
            return None
        _tables[tokenizer] = ByteTable(tokenizer)
    return _tables[tokenizer]


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
