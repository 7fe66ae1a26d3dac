"""What every task kind gives to the judging of a model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from services.evaluation.frozen import Row
from services.evaluation.statistics import Measure
from shared.modeling.loading import LoadedModel
from shared.pipelines.kinds import KINDS
from shared.pipelines.options import Options

Outputs = dict[str, list[Any]]
"""What a model gave for the test rows, as JSON: columns, in the order of the rows."""
Step = Callable[[int], None]
"""Told how much work was just done; raises when the work must stop."""


class JudgedKind(ABC):
    """One task kind: rows to a model's outputs, and outputs to measures."""

    name: ClassVar[str]
    half_precision: ClassVar[bool]
    """Whether models are loaded in bfloat16 where the device is fast at it."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()

    @property
    @abstractmethod
    def outputs_format(self) -> str:
        """Changes whenever kept outputs would not be comparable with new ones; names the options that decide them."""

    @property
    def judges_base(self) -> bool:
        """Whether the untouched base model can answer too."""
        return KINDS[self.name].base_answers

    @abstractmethod
    def work(self, rows: Sequence[Row]) -> int:
        """How much there is to do for one model."""

    @abstractmethod
    def predict(self, loaded: LoadedModel, rows: Sequence[Row], step: Step) -> Outputs:
        """The model's outputs; calls `step` after every batch."""

    @abstractmethod
    def measures(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, Measure]:
        """Every metric of METRICS[kind]."""

    @abstractmethod
    def detail(self, rows: Sequence[Row], outputs: Mapping[str, Outputs]) -> dict[str, Any]:
        """What a report shows beside the metrics; `outputs` by role: candidate, champion, base."""

    @abstractmethod
    def unknown_classes(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, int]:
        """Classes of the rows that the model can't give, with how many rows each."""
