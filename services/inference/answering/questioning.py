"""Questions to answers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from services.inference.answering.asking import Answered, Ask, Asking, Shadowed
from services.inference.answering.checks import check_questions
from services.inference.answering.metering import metered
from services.inference.engine.batcher import Ticket
from services.inference.kinds.capabilities import AnswersQuestions, Question, QuestionAnswer
from shared.errors import FailedPrecondition

METHOD = "AnswerQuestion"


class Questioning:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def answer(self, ask: Ask, questions: Sequence[Question]) -> Answered[list[QuestionAnswer]]:
        """From the context of each question, or the best of its candidates."""

        def submit(model: AnswersQuestions, deadline: float = ask.deadline) -> Ticket[list[QuestionAnswer]]:
            if model.from_context != bool(questions[0].context):
                raise FailedPrecondition(
                    f"model {ask.model.name!r} answers from "
                    + ("a context, not by choosing" if model.from_context else "among candidates, not from a context"),
                    model=ask.model.name,
                )
            return model.submit_questions(questions, deadline)

        def remember(found: list[QuestionAnswer]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
            asked = [{**asdict(one), "candidates": list(one.candidates)} for one in questions]
            answered = [{"text": one.text, "score": one.score, "span": list(one.span)} for one in found]
            return {"questions": asked}, {"answers": answered}

        with metered(METHOD) as meter:
            check_questions(questions)
            shadow = Shadowed(submit, _same)
            return self._asking.ask(meter, ask, AnswersQuestions, submit, remember, shadow)  # type: ignore[type-abstract]


def _same(real: list[QuestionAnswer], shadow: list[QuestionAnswer]) -> bool:
    """Whether two versions answer every question with the same words, or the same candidate."""
    return [(one.text, one.candidate) for one in real] == [(one.text, one.candidate) for one in shadow]
