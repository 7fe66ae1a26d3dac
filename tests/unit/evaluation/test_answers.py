"""Answers against references: our sums over rows give the libraries' own numbers."""

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from services.evaluation.kinds import answers

ENGLISH = [
    ("the cat sat on the mat", "the cat sat on the mat today"),
    ("a dog, of course!", "a dog - of course"),
    ("", "nothing was said"),
    ("completely different words here", "the quick brown fox jumps"),
    ("it costs 3.50 dollars in the U.S.", "it costs 3.50 dollars in the US"),
]
CHINESE = [
    ("我喜欢这部电影", "我很喜欢这部电影"),
    ("今天天气好", "今天的天气非常好"),
    ("完全不同", "他昨天买了一本书"),
]


@pytest.mark.parametrize(("pairs", "tokenizer"), [(ENGLISH, "13a"), (CHINESE, "zh"), (CHINESE, "char")])
def test_bleu_of_all_rows_is_sacrebleus(pairs: list[tuple[str, str]], tokenizer: str) -> None:
    given, wanted = map(list, zip(*pairs, strict=True))
    assert answers.bleu(given, wanted, tokenizer).value == pytest.approx(
        BLEU(tokenize=tokenizer).corpus_score(given, [wanted]).score
    )


@pytest.mark.parametrize("rows", [[0], [1], [2], [3], [0, 3], [1, 2], [3, 3], [4, 2, 2]])
def test_bleu_of_any_sample_is_sacrebleus(rows: list[int]) -> None:
    given, wanted = map(list, zip(*ENGLISH, strict=True))
    measure = answers.bleu(given, wanted, "13a")
    chosen = [given[row] for row in rows], [[wanted[row] for row in rows]]
    total = measure.statistics[rows].sum(axis=0, keepdims=True)
    assert measure.score(total)[0] == pytest.approx(BLEU().corpus_score(*chosen).score)


def test_many_samples_are_scored_at_once() -> None:
    given, wanted = map(list, zip(*ENGLISH, strict=True))
    for measure in (answers.bleu(given, wanted, "13a"), answers.chrf(given, wanted)):
        sums = np.stack([measure.statistics[[0, 1]].sum(axis=0), measure.statistics[[3]].sum(axis=0)])
        alone = [float(measure.score(one[None])[0]) for one in sums]
        assert measure.score(sums).tolist() == pytest.approx(alone)


@pytest.mark.parametrize("pairs", [ENGLISH, CHINESE])
def test_chrf_is_sacrebleus(pairs: list[tuple[str, str]]) -> None:
    given, wanted = map(list, zip(*pairs, strict=True))
    assert answers.chrf(given, wanted).value == pytest.approx(CHRF().corpus_score(given, [wanted]).score)


def test_rouge_of_english_is_the_librarys_own() -> None:
    names = ["rouge1", "rouge2", "rougeL"]
    given, wanted = map(list, zip(*ENGLISH, strict=True))
    found = answers.rouge(given, wanted, names)
    plain = RougeScorer(names)
    for index, (answer, reference) in enumerate(ENGLISH):
        scores = plain.score(reference, answer)
        assert {name: found[name][index] for name in names} == {name: scores[name].fmeasure for name in names}


def test_rouge_of_chinese_counts_characters() -> None:
    found = answers.rouge(["我喜欢电影"], ["我很喜欢电影"], ["rouge1", "rouge2", "rougeL"])
    assert found["rouge1"][0] == pytest.approx(2 * 5 / 11)
    assert found["rouge2"][0] == pytest.approx(2 * 3 / 9)
    assert found["rougeL"][0] == pytest.approx(2 * 5 / 11)


def test_rouge_keeps_letters_of_other_scripts_together() -> None:
    assert answers.rouge(["größe naïve"], ["größe ist naïve"], ["rouge1"])["rouge1"][0] == pytest.approx(2 * 2 / 5)


@pytest.mark.parametrize(
    ("languages", "references", "expected"),
    [
        (["zh"], ["hello"], "zh"),
        (["zho_Hans", "zh-CN", None], ["hello"], "zh"),
        (["ja_XX"], [""], "char"),
        (["de", "de", "zh"], [""], "13a"),
        ([None], ["今天天气很好"], "zh"),
        ([None], ["これはペンです"], "char"),
        ([None], ["ein Haus"], "13a"),
        ([], [], "13a"),
    ],
)
def test_words_are_cut_as_the_target_language_wants(
    languages: list[str | None], references: list[str], expected: str
) -> None:
    assert answers.bleu_tokenizer(languages, references) == expected


def test_signatures_say_how_words_were_cut() -> None:
    assert "tok:zh" in answers.bleu_signature("zh")
    assert "version" in answers.chrf_signature()
