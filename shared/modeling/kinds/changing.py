"""Kinds that can learn from a text with words or tokens changed: what is right does not hang on them."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from transformers import PreTrainedTokenizerBase

from shared.modeling.kinds.base import Encoded, Kind, Row

Change = Callable[[str, str], str]
"""Of a row id and a text of that row: the text as the model is to read it this time."""


class Changeable(Kind):
    """A kind whose rows have a text that is read and not learnt."""

    changes_others: ClassVar[bool] = False
    """Whether an example's `others` hold that text, too, and so have to lose tokens as `ids` does."""

    def encode(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: tuple[str, ...], max_length: int
    ) -> Encoded:
        return self.encode_changed(tokenizer, rows, labels, max_length, _as_it_is)

    @abstractmethod
    def encode_changed(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        labels: tuple[str, ...],
        max_length: int,
        change: Change,
    ) -> Encoded:
        """As `encode`, with every text that is read as `change` makes it; examples are as many and in the same order."""


def _as_it_is(row_id: str, text: str) -> str:
    return text
