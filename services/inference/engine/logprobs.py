"""Log-probabilities of the model itself: before penalties, bias, constraints, temperature and filters."""

from collections.abc import Sequence

import torch

from services.inference.engine.interface import TokenLogprob
from services.inference.engine.selecting import top


def token_logprobs(logits: torch.Tensor, tokens: Sequence[int], alternatives: int) -> list[TokenLogprob]:
    """One entry a row of raw float32 logits (rows, vocabulary): of `tokens[row]`, and of the likeliest tokens."""
    assert logits.shape[0] == len(tokens)
    if not tokens:
        return []
    totals = logits.logsumexp(dim=-1)
    chosen = logits.gather(1, torch.tensor(tokens, device=logits.device)[:, None])[:, 0] - totals
    width = min(alternatives, logits.shape[1])
    if not width:
        return [TokenLogprob(token, value) for token, value in zip(tokens, chosen.tolist(), strict=True)]
    values, ids = top(logits, width)
    likeliest = zip(ids.tolist(), (values - totals[:, None]).tolist(), strict=True)
    return [
        TokenLogprob(token, value, tuple(zip(others, theirs, strict=True)))
        for token, value, (others, theirs) in zip(tokens, chosen.tolist(), likeliest, strict=True)
    ]
