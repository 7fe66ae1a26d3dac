import math

import pytest

from benchmarks.quality.baselines.choosing import by_majority, by_prompt, by_words, draw_shots
from benchmarks.quality.baselines.classification import CHOICE, CONTENDERS
from benchmarks.quality.baselines.relation_extraction import features, marked

TRAIN = [
    {"text": f"{word} {number}", "label": label}
    for number in range(6)
    for word, label in (("sun", "day"), ("moon", "night"))
]
TRAIN.append({"text": "noon", "label": "day"})
ROWS = [{"text": "the sun again", "label": "day"}, {"text": "a moon", "label": "night"}]


class Speaker:
    """Finds answers the likelier the more letters they share with the question; likes `night` from the start."""

    def __init__(self):
        self.prompts = []

    def log_likelihoods(self, prompt, answers):
        self.prompts.append(prompt)
        asked = prompt[-1]["content"]
        return [
            float(("sun" in asked and answer == "day") or ("moon" in asked and answer == "night"))
            + 5.0 * (answer == "night")
            for answer in answers
        ]


def test_majority_gives_the_shares_of_the_labels():
    chosen = by_majority(CHOICE, TRAIN, ROWS)
    assert chosen.guesses == ["day", "day"]
    assert chosen.chances[0].tolist() == pytest.approx([7 / 13, 6 / 13])


def test_words_tell_the_labels_apart():
    assert by_words(CHOICE, TRAIN, ROWS).guesses == ["day", "night"]


def test_a_prompted_models_liking_for_a_label_does_not_count():
    speaker = Speaker()
    chosen = by_prompt(CHOICE, TRAIN, ROWS, speaker, shots=0, seed=0)
    assert chosen.guesses == ["day", "night"]
    assert chosen.chances.sum(1).tolist() == pytest.approx([1.0, 1.0])
    assert speaker.prompts[1] == [
        {"role": "system", "content": CHOICE.instruction.format(labels="day, night")},
        {"role": "user", "content": "the sun again"},
    ]


def test_shots_are_earlier_turns_and_even_over_the_labels():
    speaker = Speaker()
    by_prompt(CHOICE, TRAIN, ROWS, speaker, shots=4, seed=0)
    answers = [turn["content"] for turn in speaker.prompts[0] if turn["role"] == "assistant"]
    assert sorted(answers) == ["day", "day", "night", "night"]


def test_shots_depend_on_the_seed_alone():
    assert draw_shots(CHOICE, TRAIN, 4, 1) == draw_shots(CHOICE, TRAIN, 4, 1) != draw_shots(CHOICE, TRAIN, 4, 2)
    assert len(draw_shots(CHOICE, TRAIN, 100, 0)) == len(TRAIN)


def test_the_loss_of_a_label_never_seen_is_bounded():
    assert by_majority(CHOICE, TRAIN, ROWS).losses(["dusk", "day"]) == pytest.approx(
        [-math.log(1e-9), -math.log(7 / 13)]
    )


def test_both_texts_of_a_pair_are_read():
    assert CHOICE.text({"text": "a", "text_pair": "b", "label": "x"}) == "a\nb"
    assert CHOICE.text({"text": "a", "text_pair": None, "label": "x"}) == "a"


RELATION = {"text": "the cat ate a mouse", "head_start": 14, "head_end": 19, "tail_start": 4, "tail_end": 7}


def test_head_and_tail_are_marked_wherever_they_stand():
    assert marked(RELATION) == "the <e2>cat</e2> ate a <e1>mouse</e1>"


def test_words_between_head_and_tail_are_told_apart_by_direction():
    words = features(RELATION).split()
    assert {"cat", "tailfirst", "head_mouse", "tail_cat", "between_ate", "tailfirst_between_a"} <= set(words)
    assert "between_mouse" not in words


def test_only_prompts_with_examples_depend_on_a_seed():
    assert [contender.name for contender in CONTENDERS if contender.seeded] == ["few-shot"]
