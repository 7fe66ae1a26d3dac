"""One question in words and its answer, for causal models: through the chat template where the tokenizer has one."""

from collections.abc import Callable
from itertools import pairwise

from transformers import PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import IGNORED
from shared.modeling.kinds.turns import Message, encode_conversation, encode_prompt

UNCUT = 1 << 30
TRIES = 4
"""Tokens of a shortened text need not be a part of those of the whole, so one cut may not be enough."""

Ids = list[int]


def encode_question(tokenizer: PreTrainedTokenizerBase, question: str) -> Ids:
    """What a model reads before it answers."""
    if tokenizer.chat_template:
        return encode_prompt(tokenizer, [_user(question)], UNCUT)
    return with_specials(tokenizer, question)


def encode_exchange(tokenizer: PreTrainedTokenizerBase, question: str, answer: str) -> tuple[Ids, Ids]:
    """Ids of both, and targets of the same length: the answer's, the end token included."""
    if tokenizer.chat_template:
        return encode_conversation(tokenizer, [_user(question), {"role": "assistant", "content": answer}])
    return continued(tokenizer, with_specials(tokenizer, question), answer)


def continued(tokenizer: PreTrainedTokenizerBase, read: Ids, written: str) -> tuple[Ids, Ids]:
    """What was read, what was written after it and the end token; targets leave out what was read."""
    new: Ids = [*tokenizer(written, add_special_tokens=False, verbose=False)["input_ids"], end_token(tokenizer)]
    return read + new, [IGNORED] * len(read) + new


def with_specials(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    """Token ids as the tokenizer wants a text to begin."""
    ids: Ids = tokenizer(text, verbose=False)["input_ids"]
    return ids


def end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """Raises InvalidArgument when there is none: such a model could not learn to stop."""
    if tokenizer.eos_token_id is None:
        raise InvalidArgument("the base model's tokenizer has no end token", field="base")
    return int(tokenizer.eos_token_id)


def shortened(tokenizer: PreTrainedTokenizerBase, text: str, limit: int, encode: Callable[[str], Ids]) -> str:
    """The beginning of the text that `encode` makes at most `limit` tokens of; its first character when none fits."""
    surplus = len(encode(text)) - limit
    for _ in range(TRIES):
        if surplus <= 0:
            return text
        text = _without_last(tokenizer, text, surplus)
        surplus = len(encode(text)) - limit
    return text if surplus <= 0 else text[:1]


def fitted(
    tokenizer: PreTrainedTokenizerBase, text: str, limit: int, encode: Callable[[str], tuple[Ids, Ids]]
) -> tuple[Ids, Ids, bool]:
    """Ids, targets, and whether anything was cut: first the end of the text that is read, then that of the answer."""
    ids, targets = encode(text)
    if len(ids) <= limit:
        return ids, targets, False
    ids, targets = encode(shortened(tokenizer, text, limit, lambda part: encode(part)[0]))
    cut, learnt = ids[:limit], targets[:limit]
    if all(target == IGNORED for target in learnt[1:]):  # the question alone fills it
        cut, learnt = ids[-limit:], targets[-limit:]
    return cut, learnt, True


def _without_last(tokenizer: PreTrainedTokenizerBase, text: str, tokens: int) -> str:
    made = tokenizer(text, add_special_tokens=False, return_offsets_mapping=tokenizer.is_fast, verbose=False)
    kept = len(made["input_ids"]) - tokens
    if kept <= 0:
        return text[:1]
    if not tokenizer.is_fast:
        return text[: max(1, len(text) * kept // len(made["input_ids"]))]
    spans = made["offset_mapping"][: kept + 1]
    # Several tokens may share a character; one that is cut in the middle goes altogether.
    ends = [before[1] for before, after in pairwise(spans) if before[1] <= after[0]]
    return text[: max(1, ends[-1])] if ends else text[:1]


def _user(content: str) -> Message:
    return {"role": "user", "content": content}
