"""Generated answers against reference answers: chrF (Popović 2015) and ROUGE-L (Lin 2004)."""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.chrf import CHRF

from services.evaluation.statistics import Measure, Table

ROUGE_SIGNATURE = f"rouge-score {version('rouge-score')}, rougeL F1 of whole answers, no stemmer"


def chrf(answers: Sequence[str], references: Sequence[str]) -> Measure:
    """Corpus chrF, 0 to 100. The statistics of a row are sacrebleu's: n-grams of answer, reference and both."""
    statistics = CHRF()._extract_corpus_statistics(list(answers), [list(references)])
    return Measure(np.array(statistics, dtype=float), _score_chrf)


def chrf_signature() -> str:
    """What sacrebleu asks to be quoted beside a chrF."""
    metric = CHRF()
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature().format())


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """F1 of the longest common subsequence of words, 0 to 1, for each answer."""
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    return [
        float(scorer.score(reference, answer)["rougeL"].fmeasure)
        for answer, reference in zip(answers, references, strict=True)
    ]


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
