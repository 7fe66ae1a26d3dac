"""Methods by name."""

from shared.errors import InvalidArgument
from shared.modeling.methods.adalora import AdaLora
from shared.modeling.methods.base import Method
from shared.modeling.methods.dora import Dora
from shared.modeling.methods.full import Full
from shared.modeling.methods.head import Head
from shared.modeling.methods.ia3 import Ia3
from shared.modeling.methods.last_layers import LastLayers
from shared.modeling.methods.lora import Lora
from shared.modeling.methods.p_tuning import PTuning
from shared.modeling.methods.prefix_tuning import PrefixTuning
from shared.modeling.methods.prompt_tuning import PromptTuning
from shared.modeling.methods.rslora import RsLora
from shared.pipelines.methods import METHOD_NAMES

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Full(),
        Head(),
        LastLayers(),
        Lora(),
        RsLora(),
        Dora(),
        AdaLora(),
        Ia3(),
        PrefixTuning(),
        PromptTuning(),
        PTuning(),
    )
}

assert tuple(METHODS) == METHOD_NAMES


def find_method(name: str) -> Method:
    """Raises InvalidArgument naming the known methods."""
    if name not in METHODS:
        raise InvalidArgument(f"method: {name!r} is unknown; known: {', '.join(METHODS)}", field="method")
    return METHODS[name]
