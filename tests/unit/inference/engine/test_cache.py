"""Pages have as many users as there are, and go to others only when they have none."""

import pytest
import torch

from services.inference.engine.cache import PAGE, PagedCache, pages_for
from services.inference.engine.prefix import PrefixIndex, next_key, root_key


def cache_of(pages: int) -> PagedCache:
    return PagedCache(2, pages, 1, 8, torch.float32)


def test_positions_round_up_to_pages() -> None:
    assert [pages_for(count) for count in (0, 1, PAGE, PAGE + 1)] == [0, 1, 1, 2]


def test_a_page_is_free_when_its_last_user_has_gone() -> None:
    cache = cache_of(2)
    page = cache.allocate()
    cache.retain(page)
    cache.release(page)
    assert (cache.used, cache.available) == (1, 1)
    cache.release(page)
    assert (cache.used, cache.available) == (0, 2)
    with pytest.raises(AssertionError):
        cache.release(page)


def test_kept_pages_are_evicted_least_recently_used_first_and_only_when_needed() -> None:
    cache = cache_of(3)
    index = PrefixIndex(cache)
    keys = [root_key(None, name) for name in "abc"]
    pages = [cache.allocate() for _ in keys]
    for key, page in zip(keys, pages, strict=True):
        index.add(key, page)
        cache.release(page)
    assert (cache.available, cache.kept) == (3, 3)
    cache.retain(pages[0])
    cache.release(pages[0])
    assert cache.allocate() == pages[1]
    assert [index.find(key) for key in keys] == [pages[0], None, pages[2]]
    cache.retain(pages[2])
    assert cache.allocate() == pages[0]
    with pytest.raises(AssertionError):
        cache.allocate()


def test_tainted_pages_come_back_zeroed_and_copies_are_of_all_layers() -> None:
    cache = cache_of(2)
    one, two = cache.allocate(), cache.allocate()
    for tensor in (*cache.keys, *cache.values):
        tensor[one] = float("nan")
        tensor[two] = 3.0
    cache.taint(one)
    cache.release(one)
    again = cache.allocate()
    assert again == one
    assert all((tensor[one] == 0).all() for tensor in (*cache.keys, *cache.values))
    cache.copy(two, one)
    assert all((tensor[one] == 3).all() for tensor in (*cache.keys, *cache.values))


def test_a_key_stands_for_the_whole_text_before_it() -> None:
    root = root_key(None, "")
    first, second = tuple(range(PAGE)), tuple(range(1, PAGE + 1))
    assert next_key(next_key(root, first), second) != next_key(next_key(root, second), first)
    assert next_key(root, first) == next_key(root, list(first))
    assert len({root, root_key("a", ""), root_key(None, "a"), root_key("", "a"), root_key("a", "a")}) == 5
