"""Reading a paged list to its end, or to a limit."""

from collections.abc import Callable, Iterator
from typing import Any

from shared.client.connection import Connection

PAGE_SIZE = 200


def every(connection: Connection, method: Callable[..., Any], request: Any, field: str, limit: int) -> Iterator[Any]:
    """The first `limit` entries of `field`, page by page; all of them when `limit` is 0."""
    left = limit or None
    while True:
        request.page_size = PAGE_SIZE if left is None else min(PAGE_SIZE, left)
        page = connection.call(method, request)
        found = getattr(page, field)
        yield from found if left is None else found[:left]
        left = None if left is None else left - len(found)
        if not page.next_page_token or (left is not None and left <= 0):
            return
        request.page_token = page.next_page_token
