"""host:port and pages, checked at the door."""

import pytest

from shared.errors import InvalidArgument
from shared.rpc.addresses import parse_address
from shared.rpc.paging import next_token, page


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:50051", ("127.0.0.1", 50051)), ("host:0", ("host", 0)), ("[::1]:1", ("[::1]", 1))],
)
def test_an_address_is_split(address: str, parts: tuple[str, int]) -> None:
    assert parse_address(address, "FLYWHEEL_LISTEN") == parts


@pytest.mark.parametrize("address", ["", "host", "host:", ":50051", "host:port", "host:65536", "host:-1"])
def test_a_malformed_address_names_its_setting(address: str) -> None:
    with pytest.raises(InvalidArgument, match="FLYWHEEL_LISTEN") as caught:
        parse_address(address, "FLYWHEEL_LISTEN")
    assert caught.value.metadata == {"field": "FLYWHEEL_LISTEN"}


def test_pages_follow_each_other_to_the_end() -> None:
    rows = list(range(23))
    seen: list[int] = []
    token = ""
    while True:
        limit, offset = page(10, token)
        found = rows[offset : offset + limit + 1]
        seen += found[:limit]
        token = next_token(limit, offset, len(found))
        if not token:
            break
    assert seen == rows


def test_a_page_has_a_default_size_and_a_largest_one() -> None:
    assert page(0, "") == (50, 0)
    for size, token, field in ((501, "", "page_size"), (-1, "", "page_size"), (1, "x", "page_token")):
        with pytest.raises(InvalidArgument) as caught:
            page(size, token)
        assert caught.value.metadata["field"] == field
