"""Judging what follows instructions, and what goes on with a text."""

from collections.abc import Sequence

from services.evaluation.frozen import Row
from services.evaluation.kinds.chat import JudgedSpeech
from services.evaluation.kinds.writing import JudgedWriting
from services.evaluation.statistics import Measure
from shared.modeling.kinds.instruction import request_of


class JudgedInstruction(JudgedSpeech):
    name = "instruction"

    def inputs(self, row: Row) -> dict[str, str]:
        return {"prompt": request_of(row)}

    def reference(self, row: Row) -> str:
        return str(row["output"]).strip()


class JudgedGeneration(JudgedWriting):
    """There are many good ways to go on, so texts are shown and not compared. Of a row without a prompt, models are
    given the first words."""

    name = "generation"

    def inputs(self, row: Row) -> dict[str, str]:
        return {"prompt": str(row["prompt"] or "")}

    def reference(self, row: Row) -> str:
        return str(row["text"]).strip()

    def compared(self, rows: Sequence[Row], given: Sequence[str], references: Sequence[str]) -> dict[str, Measure]:
        return {}

    def signatures(self, rows: Sequence[Row]) -> dict[str, str]:
        return {}
