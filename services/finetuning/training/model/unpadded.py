"""The layers of an encoder over real tokens only, and attention of short texts by plain products, as a CPU computes
both fastest.

The texts of a batch lie end to end in one line while they pass through the layers; only inside attention they are
padded. There the scores of all heads are one batch of products, and what plain modules do in a dozen passes over copies
is done in one gather a part, forwards and backwards. The layers' products see line lengths that are multiples of `STEP`,
with some padding left in, because the library below compiles a kernel for every new one.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from shared.modeling.plain_attention import chances_of, gradients_of

IMPLEMENTATION = "unpadded"
STEP = 32
FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
"""Types of models whose layers lie in an `encoder` that hands the mask on to attention."""


class Layout:
    """Where the tokens of a batch (rows x width, padding anywhere) lie in its line."""

    def __init__(self, real: Tensor) -> None:
        """`real` is bool, rows x width."""
        self.rows, self.width = real.shape
        places = torch.cat([real.flatten().nonzero(), (~real).flatten().nonzero()])[:, 0]
        count = int(real.sum())
        self.kept = places[: min(-(-count // STEP) * STEP, len(places))].sort().values
        """Of the padded places, those that are in the line, in its order."""
        self._real = real
        self._maps: tuple[Tensor, Tensor] | None = None
        self._masks: tuple[Tensor, Tensor] | None = None

    def line(self, padded: Tensor) -> Tensor:
        """Rows x width x size to 1 x tokens x size."""
        return padded.flatten(0, 1).index_select(0, self.kept)[None]

    def padded(self, line: Tensor) -> Tensor:
        """And back, with zeros where there was nothing."""
        empty = line.new_zeros(self.rows * self.width, line.shape[-1])
        return empty.index_copy(0, self.kept, line[0]).view(self.rows, self.width, -1)

    def maps(self, heads: int) -> tuple[Tensor, Tensor]:
        """For rows x heads x width the place in tokens x heads, and for tokens x heads the place in the former."""
        if self._maps is None:
            places = torch.zeros(self.rows * self.width, dtype=torch.long)
            places[self.kept] = torch.arange(len(self.kept))
            head = torch.arange(heads)
            spread = places.view(self.rows, 1, self.width) * heads + head[:, None]
            row, column = self.kept // self.width, self.kept % self.width
            gathered = (row[:, None] * heads + head) * self.width + column[:, None]
            self._maps = spread.flatten(), gathered.flatten()
        return self._maps

    def masks(self, heads: int, like: Tensor) -> tuple[Tensor, Tensor] | None:
        """What is added to the scores of each key, (rows x heads) x 1 x width, and what the chances of each query are
        multiplied by, (rows x heads) x width x 1; None where nothing is padded."""
        if self._masks is None and not bool(self._real.all()):
            real = self._real[:, None].expand(-1, heads, -1).flatten(0, 1)
            added = torch.zeros(real.shape, dtype=like.dtype).masked_fill_(~real, torch.finfo(like.dtype).min)
            self._masks = added[:, None], real[..., None].to(like.dtype)
        return self._masks


def drop_padding(model: PreTrainedModel) -> bool:
    """Change the model where its layers are known; whether they are."""
    typed: Any = model
    if typed.config.model_type not in FAMILIES or getattr(typed.config, "is_decoder", False):
        return False
    stack: nn.Module = next(module.encoder for module in typed.modules() if hasattr(module, "encoder"))
    ALL_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, _attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, _layout)
    typed.set_attn_implementation(IMPLEMENTATION)
    stack.register_forward_pre_hook(_lay_out, with_kwargs=True)
    stack.register_forward_hook(_pad, with_kwargs=True)
    return True


def _layout(batch_size: int, q_length: int, *, attention_mask: Tensor | None = None, **others: Any) -> Layout:
    """In transformers' form of a mask's maker; the layers hand it on to attention."""
    return Layout(torch.ones(batch_size, q_length).bool() if attention_mask is None else attention_mask.bool())


def _lay_out(stack: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    layout = named.get("attention_mask")
    if not isinstance(layout, Layout):
        return given, named
    if given:
        return (layout.line(given[0]), *given[1:]), named
    return given, {**named, "hidden_states": layout.line(named["hidden_states"])}


def _pad(stack: nn.Module, given: tuple[Any, ...], named: dict[str, Any], made: Any) -> Any:
    layout = named.get("attention_mask")
    if isinstance(layout, Layout):
        made.last_hidden_state = layout.padded(made.last_hidden_state)
    return made


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Layout, **others: Any
) -> tuple[Tensor, None]:
    """In transformers' form: 1 x heads x tokens x size to 1 x tokens x heads x size."""
    scaling = others.get("scaling") or query.shape[-1] ** -0.5
    return cast(Tensor, _Attention.apply(query, key, value, attention_mask, scaling)), None  # type: ignore[no-untyped-call]


class _Attention(torch.autograd.Function):
    """Keeps the probabilities in the type of its input."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float) -> Tensor:
        heads = query.shape[1]
        asked, keys, values = (_spread(part.transpose(1, 2), layout) for part in (query, key, value))
        masks = layout.masks(heads, query)
        chances = chances_of(asked, keys, None if masks is None else masks[0], scaling)
        if masks is not None:
            chances.mul_(masks[1])
        ctx.save_for_backward(asked, keys, values, chances)
        ctx.layout, ctx.scaling = layout, scaling
        return _gathered(torch.bmm(chances, values), layout, heads)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        asked, keys, values, chances = ctx.saved_tensors
        layout, heads = ctx.layout, gradients[0].shape[2]
        given = _spread(gradients[0], layout)
        padded = gradients_of(given, asked, keys, values, chances, ctx.scaling)
        of_query, of_key, of_value = (_gathered(part, layout, heads).transpose(1, 2) for part in padded)
        return of_query, of_key, of_value, None, None


def _spread(line: Tensor, layout: Layout) -> Tensor:
    """1 x tokens x heads x size to (rows x heads) x width x size. Padding holds copies of the first token: their keys
    are masked, their chances zero."""
    _, _, heads, size = line.shape
    places = layout.maps(heads)[0]
    return line.reshape(-1, size).index_select(0, places).view(layout.rows * heads, layout.width, size)


def _gathered(padded: Tensor, layout: Layout, heads: int) -> Tensor:
    """And back."""
    places = layout.maps(heads)[1]
    return padded.view(-1, padded.shape[-1]).index_select(0, places).view(1, -1, heads, padded.shape[-1])
