"""The largest of many numbers a row, fast on a CPU and exact."""

import torch

BLOCK = 32


def likeliest(logits: torch.Tensor) -> list[int | None]:
    """Where each row (rows, vocabulary) is largest; None where that is not a finite number.

    numpy finds it ten times faster than torch on a CPU; both point at a NaN where there is one.
    """
    on_cpu = logits.device.type == "cpu"
    ids = torch.from_numpy(logits.numpy().argmax(axis=-1)) if on_cpu else logits.argmax(dim=-1)
    finite = logits.gather(1, ids[:, None])[:, 0].isfinite()
    return [token if ok else None for token, ok in zip(ids.tolist(), finite.tolist(), strict=True)]


def top(values: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` largest of each row (rows, columns), best first, and their columns.

    They lie in the `count` blocks with the largest maxima, so most blocks need no second look.
    """
    columns = values.shape[1]
    body = columns // BLOCK * BLOCK
    blocks = values[:, :body].reshape(len(values), -1, BLOCK)
    if blocks.shape[1] <= 4 * count:
        return values.topk(min(count, columns))
    chosen = blocks.amax(dim=-1).topk(count, sorted=False).indices
    inside = blocks.gather(1, chosen[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    found, places = torch.cat([inside, values[:, body:]], dim=1).topk(count)
    starts = chosen.gather(1, (places // BLOCK).clamp(max=count - 1)) * BLOCK
    behind = places - count * BLOCK  # columns behind the last whole block follow the chosen ones
    return found, torch.where(behind < 0, starts + places % BLOCK, behind + body)
