"""Task kinds by name."""

from shared.errors import InvalidArgument
from shared.modeling.kinds.answer_selection import AnswerSelection
from shared.modeling.kinds.base import Kind
from shared.modeling.kinds.chat import Chat
from shared.modeling.kinds.classification import Classification
from shared.modeling.kinds.embedding import Embedding
from shared.modeling.kinds.generation import Generation
from shared.modeling.kinds.instruction import Instruction
from shared.modeling.kinds.pretraining import Pretraining
from shared.modeling.kinds.question_answering import QuestionAnswering
from shared.modeling.kinds.ranking import Ranking
from shared.modeling.kinds.relation_extraction import RelationExtraction
from shared.modeling.kinds.rewriting import Summarisation, Translation
from shared.modeling.kinds.token_classification import TokenClassification
from shared.pipelines.options import Options

KINDS: dict[str, type[Kind]] = {
    kind.name: kind
    for kind in (
        Classification,
        TokenClassification,
        RelationExtraction,
        QuestionAnswering,
        AnswerSelection,
        Ranking,
        Embedding,
        Translation,
        Summarisation,
        Chat,
        Instruction,
        Generation,
        Pretraining,
    )
}


def find_kind(name: str, options: Options | None = None) -> Kind:
    """Raises InvalidArgument naming the kinds that there are."""
    if name not in KINDS:
        raise InvalidArgument(f"kind: {name!r} is unknown; known: {', '.join(KINDS)}", field="kind")
    return KINDS[name](options)
