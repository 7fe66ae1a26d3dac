"""Judging translations and summaries."""

from collections.abc import Sequence

from services.evaluation.frozen import Row
from services.evaluation.kinds import answers
from services.evaluation.kinds.writing import JudgedWriting
from services.evaluation.statistics import Measure, mean

ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}


class JudgedTranslation(JudgedWriting):
    """BLEU by words; of a Chinese target, sacrebleu's `zh`, of one in Japanese, Korean or Thai, letters."""

    name = "translation"
    half_precision = False

    def inputs(self, row: Row) -> dict[str, str]:
        return {"source": str(row["source"])}

    def reference(self, row: Row) -> str:
        return str(row["target"]).strip()

    def compared(self, rows: Sequence[Row], given: Sequence[str], references: Sequence[str]) -> dict[str, Measure]:
        return {
            "bleu": answers.bleu(given, references, self._tokenizer(rows)),
            "chrf": answers.chrf(given, references),
        }

    def signatures(self, rows: Sequence[Row]) -> dict[str, str]:
        return {"bleu": answers.bleu_signature(self._tokenizer(rows)), "chrf": answers.chrf_signature()}

    def _tokenizer(self, rows: Sequence[Row]) -> str:
        languages = [row.get("target_lang") or self.options.target_language for row in rows]
        return answers.bleu_tokenizer(languages, [self.reference(row) for row in rows])


class JudgedSummarisation(JudgedWriting):
    name = "summarisation"
    half_precision = False

    def inputs(self, row: Row) -> dict[str, str]:
        return {"document": str(row["document"])}

    def reference(self, row: Row) -> str:
        return str(row["summary"]).strip()

    def compared(self, rows: Sequence[Row], given: Sequence[str], references: Sequence[str]) -> dict[str, Measure]:
        found = answers.rouge(given, references, list(ROUGE.values()))
        return {metric: mean(found[name]) for metric, name in ROUGE.items()}

    def signatures(self, rows: Sequence[Row]) -> dict[str, str]:
        return dict.fromkeys(ROUGE, answers.ROUGE_SIGNATURE)
