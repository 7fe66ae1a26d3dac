"""Keys and values of all requests, in pages that requests may share.

A request holds a list of pages instead of a stretch of memory, so that memory is cut to what is used and equal
beginnings are held once (PagedAttention, Kwon et al., SOSP 2023). On a CPU the system hands memory out when a page
is first written.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch.nn import functional

PAGE = 32  # positions
Order = Callable[[torch.Tensor], torch.Tensor]


class PagedCache:
    """Per layer two tensors of shape (pages, kv heads, PAGE, head size), and who uses which page.

    `capacity` is how many positions one request may use. The bookkeeping is not safe for threads.
    """

    def __init__(
        self,
        layers: int,
        pages: int,
        kv_heads: int,
        head_size: int,
        dtype: torch.dtype,
        device: str = "cpu",
        capacity: int | None = None,
    ) -> None:
        shape = (pages, kv_heads, PAGE, head_size)
        self.pages, self.kv_heads, self.head_size = pages, kv_heads, head_size
        self.capacity = min(capacity or pages * PAGE, pages * PAGE)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.on_evict: Callable[[int], None] = lambda page: None
        # How a page (kv heads, PAGE, head size) lies in memory; a forward pass may have an order of its own.
        self.key_order: Order = lambda page: page
        self.value_order: Order = lambda page: page
        self._users = [0] * pages
        self._tainted: set[int] = set()
        self.reset()

    @property
    def available(self) -> int:
        """Pages that can be allocated now; those that are only kept for reuse count."""
        return len(self._free) + len(self._idle)

    @property
    def used(self) -> int:
        """Pages that a request holds."""
        return self.pages - self.available

    @property
    def kept(self) -> int:
        """Pages that no request holds, kept for reuse."""
        return len(self._idle)

    def reset(self) -> None:
        """Forget every user and what is kept, and zero what was in use."""
        for page in {*self._tainted, *(page for page in range(self.pages) if self._users[page])}:
            self._clear(page)
        self._free = list(range(self.pages - 1, -1, -1))
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._users = [0] * self.pages
        self._keep: set[int] = set()

    def allocate(self) -> int:
        """A page for one user. What it held is lost to the prefix index when memory is short (least recently used)."""
        assert self.available, "admission promises pages only once"
        if self._free:
            page = self._free.pop()
        else:
            page, _ = self._idle.popitem(last=False)
            self._keep.discard(page)
            self.on_evict(page)
        self._users[page] = 1
        return page

    def retain(self, page: int) -> None:
        """One more user of a page that is held or kept."""
        self._idle.pop(page, None)
        self._users[page] += 1

    def release(self, page: int) -> None:
        """One user less; the last one frees the page, unless it is kept for reuse."""
        self._users[page] -= 1
        assert self._users[page] >= 0
        if self._users[page]:
            return
        if page in self._keep:
            self._idle[page] = None
            return
        if page in self._tainted:
            self._clear(page)
        self._free.append(page)

    def users(self, page: int) -> int:
        return self._users[page]

    def keep(self, page: int) -> None:
        """Hold the page back from reuse by others as long as memory allows."""
        self._keep.add(page)

    def taint(self, page: int) -> None:
        """Zero the page before its next use: a masked NaN still spoils a sum."""
        self._keep.discard(page)
        self._tainted.add(page)

    def copy(self, source: int, target: int) -> None:
        """The contents of one page into another, of all layers."""
        for tensor in (*self.keys, *self.values):
            tensor[target] = tensor[source]

    def put(self, layer: int, page: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write the first positions of a page: keys and values (kv heads, positions up to PAGE, head size)."""
        for order, part, target in ((self.key_order, keys, self.keys), (self.value_order, values, self.values)):
            whole = functional.pad(part, (0, 0, 0, PAGE - part.shape[1]))
            target[layer][page] = order(whole).reshape(whole.shape).to(target[layer])

    def _clear(self, page: int) -> None:
        self._tainted.discard(page)
        for tensor in (*self.keys, *self.values):
            tensor[page] = 0


def pages_for(positions: int) -> int:
    """How many pages so many positions take."""
    return -(-positions // PAGE)
