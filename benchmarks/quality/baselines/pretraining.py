"""Baselines for pretraining."""

from functools import partial

from benchmarks.quality.baselines.ngrams import NgramModel
from benchmarks.quality.baselines.writing import learnt_places, load_untouched, untouched
from benchmarks.quality.contenders import Answer, Contender, Tools
from benchmarks.quality.material import Material
from shared.modeling.kinds.pretraining import Pretraining


def counted(material: Material, seed: int, tools: Tools, order: int) -> Answer:
    """Counts of the base model's tokens, on texts one by one."""
    loaded = load_untouched(material, tools)
    kind, limit = Pretraining(material.spec.options), loaded.card.max_length
    model = NgramModel(order, len(loaded.tokenizer))
    for piece in kind.pieces(loaded.tokenizer, material.train, limit):
        for at in learnt_places(piece):
            model.learn(piece.ids, at)
    losses = dict.fromkeys((row["row_id"] for row in material.test), 0.0)
    tokens = dict.fromkeys(losses, 0)
    for piece in kind.pieces(loaded.tokenizer, material.test, limit):
        losses[piece.row_ids[0]] += sum(model.nats(piece.ids, at) for at in learnt_places(piece))
        tokens[piece.row_ids[0]] += piece.weight
    return Answer(
        {
            "loss": list(losses.values()),
            "tokens": list(tokens.values()),
            "right": [0] * len(losses),
            "bytes": [len(row["text"].encode()) for row in material.test],
        }
    )


CONTENDERS = (
    Contender("unigrams", partial(counted, order=1), {"order": 1}),
    Contender("trigrams", partial(counted, order=3), {"order": 3}),
    Contender("zero-shot", untouched),
)
