"""What processes of a run say to each other besides gradients: a few numbers, in the processor's memory."""

import torch
from torch import distributed


def word_of_the_leader(word: bool) -> bool:
    """The word that process 0 gave."""
    said = torch.tensor([word], dtype=torch.uint8)
    distributed.broadcast(said, 0)
    return bool(said)


def told_by_all(numbers: list[float]) -> list[list[float]]:
    """The numbers that each process gave, in the order of processes; all give equally many."""
    size = distributed.get_world_size()
    mine = torch.tensor(numbers, dtype=torch.float64)
    told = torch.empty(size * len(numbers), dtype=torch.float64)
    distributed.all_gather_single(told, mine)
    found: list[list[float]] = told.view(size, -1).tolist()
    return found
