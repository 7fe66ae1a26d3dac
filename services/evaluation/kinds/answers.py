"""Written answers against reference answers: chrF (Popović 2015), BLEU (Papineni et al. 2002), ROUGE (Lin 2004)."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from services.evaluation.statistics import Measure, Table

ROUGE_SIGNATURE = f"rouge-score {version('rouge-score')}, F1 of whole answers, no stemmer, Chinese by characters"
ORDERS = 4
TOKENIZERS = {"zh": "zh", "ja": "char", "ko": "char", "th": "char"}
"""By language, how BLEU cuts a text into words where spaces do not; others are cut as mteval's v13a does."""
LANGUAGE_WORDS = {"zho": "zh", "cmn": "zh", "chinese": "zh", "jpn": "ja", "japanese": "ja", "kor": "ko", "tha": "th"}
SCRIPTS = {"CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "THAI": "th"}
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


class Words:
    """rouge-score's own words where the text is ASCII; else letters of any script, Chinese and kana one by one."""

    def tokenize(self, text: str) -> list[str]:
        return WORD.findall(text.lower())


def chrf(answers: Sequence[str], references: Sequence[str]) -> Measure:
    """Corpus chrF, 0 to 100. The statistics of a row are sacrebleu's: n-grams of answer, reference and both."""
    statistics = CHRF()._extract_corpus_statistics(list(answers), [list(references)])
    return Measure(np.array(statistics, dtype=float), _score_chrf)


def chrf_signature() -> str:
    """What sacrebleu asks to be quoted beside a chrF."""
    metric = CHRF()
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature().format())


def bleu(answers: Sequence[str], references: Sequence[str], tokenizer: str) -> Measure:
    """Corpus BLEU, 0 to 100. The statistics of a row are sacrebleu's: both lengths, and n-grams right and made."""
    statistics = BLEU(tokenize=tokenizer)._extract_corpus_statistics(list(answers), [list(references)])
    return Measure(np.array(statistics, dtype=float), _score_bleu)


def bleu_signature(tokenizer: str) -> str:
    """What sacrebleu asks to be quoted beside a BLEU."""
    metric = BLEU(tokenize=tokenizer)
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature().format())


def bleu_tokenizer(languages: Iterable[str | None], references: Sequence[str]) -> str:
    """sacrebleu's way to cut words for the most frequent of the target languages; where none is named, for the script
    that most letters of the references are of."""
    named = Counter(language for language in map(_short, languages) if language)
    language = named.most_common(1)[0][0] if named else _script(references)
    return TOKENIZERS.get(language, "13a")


def rouge(answers: Sequence[str], references: Sequence[str], names: Sequence[str]) -> dict[str, list[float]]:
    """F1, 0 to 1, of each answer by name (rouge1, rouge2: runs of words; rougeL: the longest common subsequence)."""
    scorer = RougeScorer(list(names), use_stemmer=False, tokenizer=Words())
    scores = [scorer.score(reference, answer) for answer, reference in zip(answers, references, strict=True)]
    return {name: [float(score[name].fmeasure) for score in scores] for name in names}


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """F1 of the longest common subsequence of words, 0 to 1, for each answer."""
    return rouge(answers, references, ["rougeL"])["rougeL"]


def _short(language: str | None) -> str:
    first = re.split(r"[-_ ]", (language or "").strip("_").lower())[0]
    return LANGUAGE_WORDS.get(first, first)


def _script(texts: Sequence[str]) -> str:
    letters = Counter(
        SCRIPTS.get(unicodedata.name(letter, "").split(" ")[0].split("-")[0], "")
        for text in texts
        for letter in text
        if letter.isalpha()
    )
    return letters.most_common(1)[0][0] if letters else ""


def _score_chrf(total: Table) -> Table:
    """sacrebleu's formula (orders that either side lacks do not count), for many samples at once."""
    answered, wanted, both = total[:, 0::3], total[:, 1::3], total[:, 2::3]
    counts = (answered > 0) & (wanted > 0)
    orders = np.maximum(counts.sum(axis=1), 1)
    precision = np.where(counts, both / np.maximum(answered, 1), 0.0).sum(axis=1) / orders
    recall = np.where(counts, both / np.maximum(wanted, 1), 0.0).sum(axis=1) / orders
    weight = CHRF.BETA**2
    under = weight * precision + recall
    score: Table = 100 * (1 + weight) * precision * recall / np.where(under > 0, under, 1.0)
    return score


def _score_bleu(total: Table) -> Table:
    """sacrebleu's formula with its exponential smoothing: the n-th order without a hit counts as half of the one
    before; 0 when no order has a hit, or answers are too short for one."""
    answered, wanted = total[:, 0], total[:, 1]
    right, made = total[:, 2 : 2 + ORDERS], total[:, 2 + ORDERS :]
    halvings = np.cumsum(right == 0, axis=1)
    precision = np.where(right > 0, right, 0.5**halvings) / np.maximum(made, 1)
    defined = (made > 0).all(axis=1) & (right > 0).any(axis=1)
    brevity = np.exp(np.minimum(0.0, 1 - wanted / np.maximum(answered, 1)))
    score: Table = np.where(defined, 100 * brevity * np.exp(np.log(precision).mean(axis=1)), 0.0)
    return score
