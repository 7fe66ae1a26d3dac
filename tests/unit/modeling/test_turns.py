"""Which tokens of a conversation are learnt."""

from typing import Any

import pytest

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import IGNORED
from shared.modeling.kinds.turns import encode_conversation, encode_prompt

USER = {"role": "user", "content": "what is the price?"}
ANSWER = {"role": "assistant", "content": "ten coins"}
MORE = {"role": "user", "content": "and for two?"}
SECOND = {"role": "assistant", "content": "fifteen"}


def _learnt(tokenizer: Any, messages: list[dict[str, str]]) -> list[str]:
    """The stretches of text that are learnt."""
    ids, targets = encode_conversation(tokenizer, messages)
    stretches: list[list[int]] = [[]]
    for token, target in zip(ids, targets, strict=True):
        if target == IGNORED:
            stretches.append([])
        else:
            assert target == token
            stretches[-1].append(token)
    return [tokenizer.decode(stretch) for stretch in stretches if stretch]


def test_every_assistant_turn_is_learnt_with_its_end_and_nothing_else(chat_tokenizer: Any) -> None:
    conversation = [{"role": "system", "content": "be brief"}, USER, ANSWER, MORE, SECOND]
    assert _learnt(chat_tokenizer, conversation) == ["ten coins<|im_end|>", "fifteen<|im_end|>"]


def test_ids_are_the_template_up_to_the_last_end(chat_tokenizer: Any) -> None:
    ids, _ = encode_conversation(chat_tokenizer, [USER, ANSWER])
    whole = chat_tokenizer.apply_chat_template([USER, ANSWER], tokenize=False)
    assert chat_tokenizer.decode(ids) == whole.rstrip("\n")


def test_turns_after_the_last_answer_are_left_out(chat_tokenizer: Any) -> None:
    assert encode_conversation(chat_tokenizer, [USER, ANSWER, MORE]) == encode_conversation(
        chat_tokenizer, [USER, ANSWER]
    )


def test_training_sees_the_prompt_that_serving_sends(chat_tokenizer: Any) -> None:
    ids, targets = encode_conversation(chat_tokenizer, [USER, ANSWER])
    prompt = encode_prompt(chat_tokenizer, [USER], 512)
    assert ids[: len(prompt)] == prompt
    assert targets[: len(prompt)] == [IGNORED] * len(prompt)
    assert targets[len(prompt)] != IGNORED


def test_an_answer_with_line_breaks_at_its_edges_keeps_them(chat_tokenizer: Any) -> None:
    odd = {"role": "assistant", "content": "\n ten \n"}
    assert _learnt(chat_tokenizer, [USER, odd]) == ["\n ten \n<|im_end|>"]


def test_long_prompt_is_cut_on_the_left(chat_tokenizer: Any) -> None:
    whole = encode_prompt(chat_tokenizer, [USER], 512)
    assert encode_prompt(chat_tokenizer, [USER], 5) == whole[-5:]


def test_template_that_rewrites_earlier_turns_is_refused(decoder: Any) -> None:
    from shared.modeling.loading import load_tokenizer

    tokenizer: Any = load_tokenizer(decoder)
    tokenizer.chat_template = "{{ messages | length }}" + tokenizer.chat_template
    with pytest.raises(InvalidArgument, match="rewrites"):
        encode_conversation(tokenizer, [USER, ANSWER, MORE, SECOND])


def test_model_without_a_chat_template_is_refused(decoder: Any) -> None:
    from shared.modeling.loading import load_tokenizer

    tokenizer: Any = load_tokenizer(decoder)
    tokenizer.chat_template = None
    with pytest.raises(InvalidArgument, match="chat template"):
        encode_conversation(tokenizer, [USER, ANSWER])


def test_template_that_marks_no_end_gets_one(decoder: Any) -> None:
    from shared.modeling.loading import load_tokenizer

    tokenizer: Any = load_tokenizer(decoder)
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    assert _learnt(tokenizer, [USER, ANSWER])[0].endswith("<|im_end|>")
