"""`base: new`: a tokenizer from the train split and a model with random weights, as a folder like any other base."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from transformers import set_seed

from shared.modeling.bases import BaseModel
from shared.modeling.digests import base_digest
from shared.modeling.folders import whole_folder
from shared.modeling.scratch.architecture import new_model
from shared.modeling.scratch.tokenizer import NewTokenizer, train_byte_bpe, train_word_pieces
from shared.pipelines.from_scratch import KEYS, architecture_of
from shared.pipelines.kinds import NEW_BASE
from shared.pipelines.options import Options


@dataclass(frozen=True)
class MadeBase:
    """The base, and what its maker should know."""

    base: BaseModel
    notes: tuple[str, ...]


def make_base(parent: Path, texts: Sequence[str], options: Options, seed: int, data: str) -> MadeBase:
    """A base in a folder under `parent`, made anew unless it is there; its digest depends on texts, options and seed
    alone. `data` names the texts (a digest)."""
    architecture = architecture_of(options)
    chosen = {key: getattr(options, key) for key in KEYS} | {"architecture": architecture, "seed": seed, "data": data}
    folder = parent / f"base-{sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]}"
    notes: tuple[str, ...] = ()
    if not folder.is_dir():
        train = train_word_pieces if architecture == "bert" else train_byte_bpe
        made = train(texts, options.vocabulary, options.positions)
        notes = _notes(made, options.vocabulary)
        set_seed(seed)
        model = new_model(architecture, options, made.tokenizer)
        with whole_folder(folder) as aside:
            model.save_pretrained(aside)
            made.tokenizer.save_pretrained(aside)
    return MadeBase(BaseModel(NEW_BASE, folder, base_digest(folder)), notes)


def _notes(made: NewTokenizer, wanted: int) -> tuple[str, ...]:
    size, notes = len(made.tokenizer), []
    if size < wanted:
        notes.append(f"the tokenizer has {size} tokens of {wanted} wanted: the train split holds no more that repeat")
    if made.dropped:
        notes.append(
            f"{made.dropped} rare characters are unknown to the tokenizer: raise options.vocabulary to keep them"
        )
    return tuple(notes)
