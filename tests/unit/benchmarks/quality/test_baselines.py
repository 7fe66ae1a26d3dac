import math

import pytest

from benchmarks.quality.baselines.ngrams import NgramModel
from benchmarks.quality.baselines.reading import SlidingWindow, first_sentence
from benchmarks.quality.baselines.retrieving import Bm25, TfIdf
from benchmarks.quality.baselines.rewriting import first_sentences, from_memory
from benchmarks.quality.baselines.tagging import Dictionary, WordTagger
from benchmarks.quality.baselines.token_classification import found_tags

TAGGED = [
    {"tokens": ["Ada", "Lovelace", "met", "Ada"], "tags": ["B-PER", "I-PER", "O", "B-PER"]},
    {"tokens": ["May", "rain", "in", "May"], "tags": ["O", "O", "O", "O"]},
    {"tokens": ["I", "met", "May"], "tags": ["O", "O", "B-PER"]},
]


def test_the_dictionary_takes_the_longest_entity_that_it_knows():
    assert Dictionary(TAGGED).tags(["when", "Ada", "Lovelace", "saw", "Ada"]) == ["O", "B-PER", "I-PER", "O", "B-PER"]


def test_a_word_that_is_mostly_no_entity_is_none():
    assert Dictionary(TAGGED).tags(["May"]) == ["O"]


def test_the_dictionary_may_know_nothing():
    assert Dictionary([{"tokens": ["a"], "tags": ["O"]}]).tags(["a", "b"]) == ["O", "O"]


def test_words_are_tagged_by_what_they_look_like():
    names = ["Anna", "Berta", "Clara", "Dora", "Emma", "Frida"]
    train = [{"tokens": ["hello", name, "said", "he"], "tags": ["O", "B-PER", "O", "O"]} for name in names]
    assert WordTagger(train).tags(["hello", "Greta", "said", "he"]) == ["O", "B-PER", "O", "O"]


def test_bm25_is_the_textbooks():
    texts = ["a cat", "a dog and a cat", "birds"]
    scores = Bm25(texts).scores(["cat"])
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    average = (2 + 5 + 1) / 3
    assert scores[0].tolist() == pytest.approx(
        [idf * 2.2 / (1 + 1.2 * (0.25 + 0.75 * n / average)) if n else 0 for n in (2, 5, 0)]
    )


def test_chinese_is_found_by_its_characters():
    for index in (Bm25(["今天天气很好", "我喜欢猫"]), TfIdf(["今天天气很好", "我喜欢猫"])):
        assert index.scores(["天气"]).argmax() == 0
        assert index.scores(["一只猫"]).argmax() == 1


def test_words_that_no_text_has_score_nothing():
    assert Bm25(["a cat"]).scores(["dog"]).tolist() == [[0.0]]


CONTEXT = "The tower was built in 1889. Its architect was Stephen Sauvestre of Paris. It is made of iron."
OTHERS = ["the man was here", "the sun was out", "谁是他的", "我是这里的"]


def test_the_window_is_the_part_of_the_nearest_sentence_that_the_question_lacks():
    found = SlidingWindow([CONTEXT, *OTHERS]).answer("Who was the architect?", CONTEXT, 4)
    assert found.text == "Stephen Sauvestre of Paris"
    assert CONTEXT[found.start :].startswith(found.text)
    assert SlidingWindow([CONTEXT, *OTHERS]).answer("Who was the architect?", CONTEXT, 2).text == "Stephen Sauvestre"


def test_the_window_reads_chinese():
    context = "塔建于一八八九年。它的建筑师是索韦斯特。"
    found = SlidingWindow([CONTEXT, *OTHERS]).answer("谁是建筑师？", context, 4)
    assert found.text == "索韦斯特"
    assert context[found.start :].startswith(found.text)


@pytest.mark.parametrize("context", ["...", " x ", "cat", "the the the"])
def test_the_window_takes_any_context(context):
    found = SlidingWindow([CONTEXT, *OTHERS]).answer("the cat?", context, 5)
    assert context[found.start : found.start + len(found.text)] == found.text


def test_first_sentences_end_where_sentences_do():
    assert first_sentence("One. Two.").text == "One."
    assert first_sentences("One! Two? Three.", 2) == "One! Two?"
    assert first_sentences("今天。明天。", 1) == "今天。"
    assert first_sentences("...", 3) == "..."


def test_a_memory_gives_what_the_nearest_input_had():
    known = [("a red house", "ein rotes Haus"), ("a green tree", "ein grüner Baum")]
    assert from_memory(known, ["the green trees and a tree", "red"]) == ["ein grüner Baum", "ein rotes Haus"]


def learnt(order, ids, vocabulary=10):
    model = NgramModel(order, vocabulary)
    for at in range(len(ids)):
        model.learn(ids, at)
    return model


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_of_all_tokens_sum_to_one(order):
    model = learnt(order, [1, 2, 3, 1, 2, 4, 1, 2, 3])
    for before in ([], [1], [1, 2], [7, 8], [5, 2]):
        assert sum(math.exp(-model.nats([*before, token], len(before))) for token in range(10)) == pytest.approx(1.0)


def test_a_longer_context_knows_what_comes_next():
    ids = [1, 2, 3, 4, 2, 5] * 20
    assert learnt(3, ids).nats([4, 2, 5], 2) < 0.3 < learnt(1, ids).nats([4, 2, 5], 2)


def test_nothing_learnt_is_a_guess_over_the_vocabulary():
    assert NgramModel(3, 50).nats([7], 0) == pytest.approx(math.log(50))


def test_names_that_an_answer_lists_are_found_wherever_they_stand():
    tokens = ["Ada", "Lovelace", "met", "Ada", "in", "New", "York"]
    answer = "PER: Ada Lovelace\nPER: Ada\nLOC: New York\nORG: York\nnothing: met\nPER:"
    assert found_tags(tokens, answer, ["PER", "LOC", "ORG"]) == ["B-PER", "I-PER", "O", "B-PER", "O", "B-LOC", "I-LOC"]
    assert found_tags(["天", "安", "门"], "LOC: 天安门", ["LOC"]) == ["B-LOC", "I-LOC", "I-LOC"]
    assert found_tags(tokens, "none", ["PER"]) == ["O"] * 7
