"""What the Open Inference Protocol asks and is told, without gRPC."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from services.inference.answering.asking import OnGone
from services.inference.answering.parameters import Value
from services.inference.answering.requests import ModelRef
from services.inference.models.lineage import Lineage


@dataclass(frozen=True)
class Tensor:
    """`values` in rows, whatever the shape."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Sequence[str] | Sequence[float] | Sequence[int]


@dataclass(frozen=True)
class TensorRequest:
    """Input tensors of texts and of whole numbers; `outputs` names what is wanted, all when empty."""

    model: ModelRef
    id: str
    inputs: Mapping[str, Sequence[str]]
    parameters: Mapping[str, Value]
    outputs: Sequence[str] = ()
    numbers: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class TensorAnswer:
    """`final` is the last answer to its request; `facts` go beside the tensors."""

    lineage: Lineage
    outputs: Sequence[Tensor]
    facts: Mapping[str, Value] = field(default_factory=dict)
    final: bool = True


@dataclass(frozen=True)
class Call:
    """How a request is made: until when (on the clock of `time.monotonic`), how a client that leaves is noticed, whose
    it is, and who hears of the tokens it takes."""

    deadline: float
    on_gone: OnGone
    tenant: str
    charge: Callable[[int], None]
