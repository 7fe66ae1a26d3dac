"""The training report: curves, settings, data, what a few validation rows were and became, and the rows that are most lost.

It goes as one event of bounded size to the supervisor, which keeps it in the job's history. Nothing in it decides a
weight, and nothing that goes wrong here ends a run.
"""

import math
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from peft.utils import ModulesToSaveWrapper
from transformers import PreTrainedModel

from services.finetuning.spec import TrainingSpec
from services.finetuning.training.checkpointing.cursor import Cursor
from services.finetuning.training.events import Events
from services.finetuning.training.examples.material import Material
from services.finetuning.training.reporting.answers import RowLoss, answers, columns, row_losses
from services.finetuning.training.reporting.curve import Curve
from shared.modeling.kinds.base import Example, Row
from shared.modeling.loading import LoadedModel
from shared.pipelines.methods import VIRTUAL

SHOWN_ROWS = 4
MOST_LOST = 10
LOOKING_SHARE = 0.03
"""Of the run's time, for losses row by row …"""
LOOKING_SECONDS = (1.0, 5.0)
"""… but at least and at most so long. Of more rows than fit, those whose ids (hashes) come first are a fair sample."""

Shown = dict[str, Any]


class TrainingReport:
    """Of one run. `loaded` is its model with a card, `rows` the validation rows."""

    def __init__(
        self,
        spec: TrainingSpec,
        material: Material,
        loaded: LoadedModel,
        rows: Sequence[Row],
        events: Events,
    ) -> None:
        self._spec, self._material, self._loaded, self._events = spec, material, loaded, events
        self._rows = {str(row["row_id"]): row for row in rows}
        self._examples = {example.row_ids[0]: example for example in reversed(material.validation)}
        self._shown = [row_id for row_id in sorted(self._examples) if row_id in self._rows][:SHOWN_ROWS]

    def look_before(self, cursor: Cursor) -> None:
        """Note in the cursor what the rows are to a model that has learnt nothing; adapters are taken off at the end."""
        if cursor.step == 0 and not self._material.method.adapter:
            with self._forgiving(), self._evaluating():
                cursor.before = self._look(self._material.model)

    def tell(self, cursor: Cursor, curve: Curve, seconds: float, **facts: Any) -> None:
        """Send the report of a run that has come to its end."""
        report = {
            "run": self._spec.run,
            "kind": self._spec.kind,
            "base": self._spec.base.rpartition("/")[2],
            "settings": self._spec.method.model_dump(mode="json", exclude_none=True),
            "seed": self._spec.seed,
            "data": {"validation_rows": len(self._rows), **facts},
            "steps": cursor.step,
            "seconds": round(seconds, 2),
            "metrics": cursor.metrics,
            "memory_bytes": _memory(),
            "device_memory_bytes": torch.cuda.max_memory_allocated() if self._spec.device == "cuda" else 0,
            "curve": curve.short(),
        }
        with self._forgiving(), self._evaluating():
            report |= self._looked(cursor, seconds)
        self._events.send("report", **_finite(report))

    def _looked(self, cursor: Cursor, seconds: float) -> dict[str, Any]:
        before = cursor.before
        if self._material.method.adapter:
            with self._forgiving(), self._bare() as base:
                before = self._look(base)
        after = self._look(self._material.model)
        shown = []
        for place, row_id in enumerate(self._shown[: len(after)]):
            one = {"row_id": row_id, "columns": self._columns(row_id), "after": after[place]}
            shown.append(one | ({"before": before[place]} if place < len(before) else {}))
        least, most = LOOKING_SECONDS
        losses = self._losses(self._material, self._material.validation, min(most, max(least, LOOKING_SHARE * seconds)))
        return {"shown": shown, "lost": self._most_lost(losses), "looked_at": len(losses)}

    def _look(self, model: PreTrainedModel) -> list[Shown]:
        """Loss and answer on each of the rows shown."""
        material, loaded = replace(self._material, model=model), replace(self._loaded, model=model)
        losses = self._losses(material, [self._examples[row_id] for row_id in self._shown], LOOKING_SECONDS[1])
        looks: list[Shown] = [{"loss": one.loss + 0.0} for one in losses]  # never -0.0
        rows = [self._rows[row_id] for row_id in self._shown[: len(losses)]]
        given = answers(material, loaded, rows, LOOKING_SECONDS[1])
        return looks if given is None else [look | {"answer": text} for look, text in zip(looks, given, strict=True)]

    def _losses(self, material: Material, examples: Sequence[Example], seconds: float) -> list[RowLoss]:
        deadline = time.monotonic() + seconds
        return row_losses(material, examples, self._spec.seed, deadline)

    def _most_lost(self, losses: Sequence[RowLoss]) -> list[Shown]:
        """A row in several windows counts once, by its worst; one without a loss of its own (no negatives) not at all."""
        worst: dict[str, float] = {}
        for one in losses:
            worst[one.row_id] = max(one.loss, worst.get(one.row_id, 0.0))
        ranked = sorted(((loss, row_id) for row_id, loss in worst.items() if loss > 0), reverse=True)
        return [
            {"row_id": row_id, "loss": loss, "columns": self._columns(row_id)} for loss, row_id in ranked[:MOST_LOST]
        ]

    def _columns(self, row_id: str) -> Mapping[str, str]:
        kind = self._material.kind
        return columns(self._rows.get(row_id, {}), (*kind.columns, *kind.optional))

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        model: Any = self._material.model
        training = model.training
        model.train(False)
        try:
            yield
        finally:
            model.train(training)

    @contextmanager
    def _bare(self) -> Iterator[PreTrainedModel]:
        """The model without its adapter. PEFT can't take virtual tokens off, but its base knows nothing of them."""
        model: Any = self._material.model
        with _old_heads(model) if self._spec.method.name in VIRTUAL else model.disable_adapter():
            yield model.get_base_model()

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._events.log("warning", f"the training report lacks examples: {type(error).__name__}: {error}")


@contextmanager
def _old_heads(model: Any) -> Iterator[None]:
    """Meanwhile modules that are trained whole are what they were."""
    heads = [module for module in model.modules() if isinstance(module, ModulesToSaveWrapper)]
    for head in heads:
        head.enable_adapters(False)
    try:
        yield
    finally:
        for head in heads:
            head.enable_adapters(True)


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON does not know."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _memory() -> int:
    """Most bytes that this process has had in memory."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
