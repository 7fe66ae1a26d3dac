"""What a run begins with: the base model, or an earlier version's weights where they fit."""

from pathlib import Path

from transformers import PreTrainedModel

from services.finetuning.spec import FailureReason, TrainingSpec
from services.finetuning.training.events import Events
from services.finetuning.training.failures import TrainingFailed
from shared.errors import DataCorrupted
from shared.modeling.bases import BaseModel
from shared.modeling.card import ModelCard
from shared.modeling.digests import adapter_digest, weights_digest
from shared.modeling.methods.base import Method


class Beginning:
    """The weights that a run begins with; when an earlier version can't be taken, the log says why.

    Raises TrainingFailed (BAD_DATA) when the version's folder is not what the spec says.
    """

    def __init__(
        self, spec: TrainingSpec, base: BaseModel, labels: tuple[str, ...], method: Method, events: Events
    ) -> None:
        self._start, self._base, self._method, self._events = spec.start, base, method, events
        self._taken = False
        for note in spec.notes:
            events.log("info", note)
        if spec.start is None:
            return
        card = ModelCard.read(spec.start.folder)
        digest = (adapter_digest if card.adapter_digest else weights_digest)(spec.start.folder)
        if digest != spec.start.digest:
            raise TrainingFailed(
                FailureReason.BAD_DATA, f"version {spec.start.version} has digest {digest}, not {spec.start.digest}"
            )
        self._taken = self._told(_misfit(card, spec, base, labels, method))

    @property
    def folder(self) -> Path:
        """Of the whole weights that are loaded first."""
        whole = self._start is not None and self._taken and not self._method.adapter
        return self._start.folder if self._start and whole else self._base.path

    @property
    def digest(self) -> str:
        """Of the version's weights or adapter; empty when it is the base model as it is."""
        return self._start.digest if self._start and self._taken else ""

    def adapt(self, model: PreTrainedModel) -> None:
        """Gives a fresh adapter the version's tensors, unless they have other names or shapes."""
        if not (self._start and self._taken and self._method.adapter):
            return
        try:
            self._method.take_over(model, self._start.folder)
        except DataCorrupted as error:
            self._taken = self._told(f"has another adapter: {error.message}")

    def _told(self, misfit: str | None) -> bool:
        """Whether the version fits; when it does not, the log says so."""
        if misfit is not None:
            assert self._start is not None
            self._events.log("warning", f"training starts from the base model: version {self._start.version} {misfit}")
        return misfit is None


def _misfit(
    card: ModelCard, spec: TrainingSpec, base: BaseModel, labels: tuple[str, ...], method: Method
) -> str | None:
    if card.labels != labels:
        return "has other labels"
    if card.base_digest != base.digest:
        return "has another base model"
    if method.adapter and card.method != spec.method.name:
        return f"was trained with {card.method}, not with {spec.method.name}"
    if not method.adapter and card.adapter_digest:
        return f"is an adapter ({card.method}), not a whole model"
    return None
