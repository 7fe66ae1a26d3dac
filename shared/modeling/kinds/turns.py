"""Conversations through a model's chat template, with exactly the assistant's tokens marked."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import IGNORED

ROLES = ("system", "user", "assistant")
Message = dict[str, Any]


def encode_conversation(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
    """Token ids up to the end of the last assistant turn, and targets of the same length.

    A target is the token's own id inside an assistant turn, the token that ends the turn included, and IGNORED
    elsewhere. Context and replies are tokenised apart, as they are when a model answers. Raises InvalidArgument
    for a conversation without an assistant turn, with an unknown role or an empty turn.
    """
    check_messages(messages)
    ids: list[int] = []
    targets: list[int] = []
    done = ""
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        context = _render(tokenizer, messages[:index], prompt=True)
        through = _render(tokenizer, messages[: index + 1], prompt=False)
        if not context.startswith(done) or not through.startswith(context):
            raise InvalidArgument("the chat template rewrites earlier turns, so its turns can't be told apart")
        reply = _up_to_end(tokenizer, through[len(context) :])
        context_ids = _tokens(tokenizer, context[len(done) :])
        reply_ids = _ended(tokenizer, _tokens(tokenizer, reply))
        ids += context_ids + reply_ids
        targets += [IGNORED] * len(context_ids) + reply_ids
        done = context + reply
    return ids, targets


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], max_length: int) -> list[int]:
    """Token ids of a conversation that the assistant is to go on with, cut on the left."""
    return _tokens(tokenizer, _render(tokenizer, messages, prompt=True))[-max_length:]


def check_messages(messages: Sequence[Message]) -> None:
    """Raises InvalidArgument unless there is an assistant turn, after another one, and none is empty."""
    if not messages:
        raise InvalidArgument("messages are empty")
    for position, message in enumerate(messages):
        if message["role"] not in ROLES:
            raise InvalidArgument(f"messages[{position}].role is {message['role']!r}, not one of {', '.join(ROLES)}")
        if not (message["content"] or "").strip():
            raise InvalidArgument(f"messages[{position}].content is empty")
    if messages[0]["role"] == "assistant" or all(message["role"] != "assistant" for message in messages):
        raise InvalidArgument("messages need an assistant turn that follows another turn")


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], prompt: bool) -> str:
    if not tokenizer.chat_template:
        raise InvalidArgument("the base model's tokenizer has no chat template", field="base")
    return str(tokenizer.apply_chat_template(list(messages), add_generation_prompt=prompt, tokenize=False))


def _tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def _up_to_end(tokenizer: PreTrainedTokenizerBase, reply: str) -> str:
    """The reply without what the template puts after the turn's end token (a line break, mostly)."""
    ends = [reply.rfind(token) + len(token) for token in tokenizer.all_special_tokens if token in reply]
    return reply[: max(ends)] if ends else reply


def _ended(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    """With EOS at the end where the template marks no end of a turn, so that the model learns to stop."""
    return ids if ids and ids[-1] in tokenizer.all_special_ids else [*ids, int(tokenizer.eos_token_id)]
