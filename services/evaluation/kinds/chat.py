"""Judging conversations: the last answer of each is compared with what the assistant said."""

from collections.abc import Sequence
from typing import Any

from services.evaluation.frozen import Row
from services.evaluation.kinds import answers
from services.evaluation.kinds.writing import JudgedWriting
from services.evaluation.statistics import Measure, mean


class JudgedSpeech(JudgedWriting):
    """What is compared as speech is: by letters and by order of words."""

    def compared(self, rows: Sequence[Row], given: Sequence[str], references: Sequence[str]) -> dict[str, Measure]:
        return {
            "chrf": answers.chrf(given, references),
            "rouge_l": mean(answers.rouge_l(given, references)),
        }

    def signatures(self, rows: Sequence[Row]) -> dict[str, str]:
        return {"chrf": answers.chrf_signature(), "rouge_l": answers.ROUGE_SIGNATURE}


class JudgedChat(JudgedSpeech):
    name = "chat"

    def inputs(self, row: Row) -> dict[str, str]:
        return {"prompt": str(row["messages"][_last_answer(row["messages"]) - 1]["content"])}

    def reference(self, row: Row) -> str:
        return str(row["messages"][_last_answer(row["messages"])]["content"]).strip()


def _last_answer(messages: Sequence[dict[str, Any]]) -> int:
    return max(index for index, message in enumerate(messages) if message["role"] == "assistant")
