"""Answers that stand in a context of any length."""

from collections.abc import Sequence

from services.inference.engine.batcher import Ticket
from services.inference.engine.encoder import Output
from services.inference.kinds.base import Resources
from services.inference.kinds.capabilities import AnswersQuestions, Question, QuestionAnswer
from services.inference.kinds.encoders import EncoderModel
from shared.modeling.kinds.answer_spans import Window, best_answer, context_spans
from shared.modeling.kinds.question_answering import stride_of
from shared.modeling.loading import LoadedModel
from shared.pipelines.options import Options


class Reader(EncoderModel, AnswersQuestions):
    """Reads a long context in windows that overlap."""

    kind = "question_answering"
    from_context = True
    outputs = 2

    def __init__(self, loaded: LoadedModel, resources: Resources) -> None:
        super().__init__(loaded, resources)
        self._stride = stride_of(Options(**loaded.card.options), self._texts.max_length)

    def submit_questions(self, questions: Sequence[Question], deadline: float | None) -> Ticket[list[QuestionAnswer]]:
        windows = [self._texts.windows(one.question, one.context, self._stride) for one in questions]

        def choose(rows: list[Output]) -> list[QuestionAnswer]:
            left = iter(rows)
            return [
                _answer(one.context, [Window(next(left), context_spans(window)) for window in theirs])
                for one, theirs in zip(questions, windows, strict=True)
            ]

        flat = [self._texts.of(window) for theirs in windows for window in theirs]
        return self._batcher.submit(flat, deadline).then(choose)


def _answer(context: str, windows: Sequence[Window]) -> QuestionAnswer:
    found = best_answer(context, windows)
    span = (found.start, found.start + len(found.text))
    return QuestionAnswer(found.text, found.score, span, no_answer=found.no_answer)
