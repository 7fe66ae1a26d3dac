"""Task kinds by name."""

from services.evaluation.kinds.base import JudgedKind
from services.evaluation.kinds.chat import JudgedChat
from services.evaluation.kinds.classification import JudgedClassification
from services.evaluation.kinds.cross_encoders import JudgedAnswerSelection, JudgedRanking
from services.evaluation.kinds.embedding import JudgedEmbedding
from services.evaluation.kinds.pretraining import JudgedPretraining
from services.evaluation.kinds.prompted import JudgedGeneration, JudgedInstruction
from services.evaluation.kinds.question_answering import JudgedQuestionAnswering
from services.evaluation.kinds.relation_extraction import JudgedRelationExtraction
from services.evaluation.kinds.rewriting import JudgedSummarisation, JudgedTranslation
from services.evaluation.kinds.token_classification import JudgedTokenClassification
from shared.errors import Unsupported
from shared.pipelines.options import Options

KINDS: dict[str, type[JudgedKind]] = {
    kind.name: kind
    for kind in (
        JudgedClassification,
        JudgedTokenClassification,
        JudgedRelationExtraction,
        JudgedQuestionAnswering,
        JudgedAnswerSelection,
        JudgedRanking,
        JudgedEmbedding,
        JudgedTranslation,
        JudgedSummarisation,
        JudgedChat,
        JudgedInstruction,
        JudgedGeneration,
        JudgedPretraining,
    )
}


def find_kind(name: str, options: Options | None = None) -> JudgedKind:
    """Raises Unsupported."""
    if name not in KINDS:
        raise Unsupported(f"kind {name!r} can't be judged; known: {', '.join(KINDS)}", kind=name)
    return KINDS[name](options)
