"""Answers that stand in a context of any length."""

from collections.abc import Sequence

from tokenizers import Encoding as Pieces

from services.inference.engine.batcher import Ticket
from services.inference.engine.encoder import Output
from services.inference.kinds.capabilities import AnswersQuestions, Question, QuestionAnswer
from services.inference.kinds.encoders import EncoderModel
from shared.modeling.kinds.question_answering import STRIDE, Window, best_span


class Reader(EncoderModel, AnswersQuestions):
    """Reads a long context in windows that overlap."""

    kind = "question_answering"
    from_context = True
    outputs = 2

    def submit_questions(self, questions: Sequence[Question], deadline: float | None) -> Ticket[list[QuestionAnswer]]:
        stride = min(STRIDE, self._texts.max_length // 4)
        windows = [self._texts.windows(one.question, one.context, stride) for one in questions]

        def choose(rows: list[Output]) -> list[QuestionAnswer]:
            left = iter(rows)
            return [
                _answer(one.context, [Window(next(left), _spans(window)) for window in theirs])
                for one, theirs in zip(questions, windows, strict=True)
            ]

        flat = [self._texts.of(window) for theirs in windows for window in theirs]
        return self._batcher.submit(flat, deadline).then(choose)


def _spans(window: Pieces) -> list[tuple[int, int] | None]:
    """Characters of the tokens that are of the context."""
    return [
        span if which == 1 and span[1] > span[0] else None
        for which, span in zip(window.sequence_ids, window.offsets, strict=True)
    ]


def _answer(context: str, windows: Sequence[Window]) -> QuestionAnswer:
    """No answer where that is likelier than the best span."""
    best = best_span(windows)
    if best.no_answer >= best.score:
        return QuestionAnswer("", best.score, no_answer=best.no_answer)
    text = context[best.start : best.end]
    start = best.start + len(text) - len(text.lstrip())
    return QuestionAnswer(text.strip(), best.score, (start, start + len(text.strip())), no_answer=best.no_answer)
