"""The best of several answers to a question."""

from collections.abc import Sequence

from services.inference.engine.batcher import Ticket
from services.inference.engine.encoder import Output
from services.inference.kinds.capabilities import AnswersQuestions, Question, QuestionAnswer
from services.inference.kinds.ranking import PairScorer
from shared.modeling.kinds.answer_selection import shares
from shared.modeling.kinds.pairs import fit


class AnswerSelector(PairScorer, AnswersQuestions):
    kind = "answer_selection"
    from_context = False

    def submit_questions(self, questions: Sequence[Question], deadline: float | None) -> Ticket[list[QuestionAnswer]]:
        pairs = [(one.question, candidate) for one in questions for candidate in one.candidates]

        def choose(rows: list[Output]) -> list[QuestionAnswer]:
            fits = iter([fit(row) for row in rows])
            return [_best(one, shares([next(fits) for _ in one.candidates])) for one in questions]

        return self._batcher.submit(self._texts.pairs(pairs), deadline).then(choose)


def _best(question: Question, scores: Sequence[float]) -> QuestionAnswer:
    best = max(range(len(scores)), key=scores.__getitem__)
    return QuestionAnswer(question.candidates[best], scores[best], candidate=best, candidate_scores=scores)
