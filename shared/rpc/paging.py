"""Pages of lists, the same for every service."""

from shared.errors import InvalidArgument

DEFAULT_SIZE = 50
MAX_SIZE = 500


def page(size: int, token: str) -> tuple[int, int]:
    """Limit and offset for a request's `page_size` and `page_token`. Raises InvalidArgument naming the field."""
    if not 0 <= size <= MAX_SIZE:
        raise InvalidArgument(f"page_size={size} must be 0 to {MAX_SIZE}", field="page_size")
    if token and not token.isdigit():
        raise InvalidArgument(f"page_token={token!r} is none of ours; take it from the last answer", field="page_token")
    return size or DEFAULT_SIZE, int(token or 0)


def next_token(limit: int, offset: int, found: int) -> str:
    """The next page's token, given that `limit + 1` rows were asked for and `found` came; empty on the last page."""
    return str(offset + limit) if found > limit else ""
