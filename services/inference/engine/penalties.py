"""What changes logits before a token is chosen, in this order: repetition, presence and frequency, bias, constraint,
forbidden tokens. Temperature and filters come after.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

import torch

from services.inference.engine.constraints import ConstraintState, allowed
from services.inference.engine.interface import Sampling
from shared.errors import InvalidArgument

NEVER = float("-inf")


@dataclass(frozen=True)
class Row:
    """What sampling has to know of one answer: its tokens so far, those forbidden now, what it must follow.

    `generated` may grow while the row is in use; the rest stays. `logprobs` asks for the log-probability of the token
    and of so many alternatives.
    """

    sampling: Sampling
    generator: Random
    prompt: Sequence[int]
    generated: Sequence[int]
    forbidden: Sequence[int] = ()
    constraint: ConstraintState | None = None
    logprobs: int | None = None

    @cached_property
    def adjusts(self) -> bool:
        """Whether anything but a constraint changes its logits."""
        return self.repeats or self.counts or bool(self.sampling.logit_bias) or bool(self.forbidden)

    @cached_property
    def repeats(self) -> bool:
        return self.sampling.repetition_penalty != 1.0

    @cached_property
    def counts(self) -> bool:
        return self.sampling.presence_penalty != 0.0 or self.sampling.frequency_penalty != 0.0

    @cached_property
    def prompt_ids(self) -> torch.Tensor:
        return torch.tensor(self.prompt, dtype=torch.long)

    @cached_property
    def bias(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and what is added to their logits."""
        bias = self.sampling.logit_bias
        return torch.tensor(list(bias), dtype=torch.long), torch.tensor(list(bias.values()), dtype=torch.float32)


def check_tokens(field: str, tokens: Iterable[int], vocabulary: int) -> None:
    """Raises `InvalidArgument` for a token that the model does not have."""
    strange = next((token for token in tokens if not 0 <= token < vocabulary), None)
    if strange is not None:
        raise InvalidArgument(
            f"{field} has token id {strange}; the vocabulary has {vocabulary} tokens", field=field, limit=vocabulary - 1
        )


def adjust_all(logits: torch.Tensor, rows: Sequence[Row]) -> None:
    """Change float32 logits (rows, vocabulary) in place. A row that nothing may follow becomes -inf throughout."""
    for row, values in zip(rows, logits, strict=True):
        if row.adjusts:
            adjust(values, row)
    bound = [(place, row.constraint) for place, row in enumerate(rows) if row.constraint is not None]
    if bound:
        masks = allowed([state for _, state in bound], logits.shape[1]).logical_not_().to(logits.device)
        for (place, _), mask in zip(bound, masks, strict=True):
            logits[place].masked_fill_(mask, NEVER)


def adjust(logits: torch.Tensor, row: Row) -> None:
    """All but the constraint, on one row (vocabulary), in place.

    The repetition penalty is that of CTRL (Keskar et al. 2019), over prompt and answer; presence and frequency
    penalties are OpenAI's, over the answer.
    """
    device = logits.device
    generated = torch.tensor(row.generated, dtype=torch.long) if row.repeats or row.counts else None
    if generated is not None and row.repeats:
        seen = torch.cat([row.prompt_ids, generated]).to(device)
        values, penalty = logits[seen], row.sampling.repetition_penalty
        logits[seen] = torch.where(values < 0, values * penalty, values / penalty)
    if generated is not None and row.counts and generated.numel():
        ids, times = (part.to(device) for part in torch.unique(generated, return_counts=True))
        logits[ids] -= row.sampling.presence_penalty + row.sampling.frequency_penalty * times
    if row.sampling.logit_bias:
        ids, amounts = (part.to(device) for part in row.bias)
        logits[ids] += amounts
    if row.forbidden:
        logits[torch.tensor(row.forbidden, dtype=torch.long, device=device)] = NEVER
