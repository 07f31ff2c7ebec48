import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.runtime.pages import PagePool


def test_allocation_is_all_or_nothing():
    pool = PagePool(4, 16)
    assert len(pool.allocate(3)) == 3
    assert pool.allocate(2) is None
    assert pool.n_free == 1


def test_tokens_round_up_to_pages():
    pool = PagePool(4, 16)
    assert [pool.pages_for(n) for n in (0, 1, 16, 17)] == [0, 1, 1, 2]


def test_a_page_cannot_be_released_twice():
    pool = PagePool(2, 16)
    pages = pool.allocate(1)
    pool.release(pages)
    with pytest.raises(AssertionError, match="released twice"):
        pool.release(pages)


@given(st.lists(st.integers(0, 5), max_size=40))
def test_pages_are_never_lost_or_shared(sizes):
    pool, held = PagePool(16, 8), []
    for size in sizes:
        pages = pool.allocate(size)
        if pages is None:
            pool.release(held.pop(0))
        else:
            held.append(pages)
        pool.check_integrity(held)


def test_a_prefix_is_found_page_by_page_and_only_behind_its_own_beginning():
    pool = PagePool(8, 4)
    first, second = pool.allocate(2)
    parent = pool.register(first, (), [1, 2, 3, 4])
    pool.register(second, parent, [5, 6, 7, 8])
    block = pool.find((), [1, 2, 3, 4])
    assert block.page == first
    assert pool.find(block.serial, [5, 6, 7, 8]).page == second
    assert pool.find((), [5, 6, 7, 8]) is None
    assert pool.find("another adapter", [1, 2, 3, 4]) is None


def test_cached_pages_live_until_they_are_needed_and_the_oldest_and_deepest_goes_first():
    pool = PagePool(4, 1)
    pages, parent = pool.allocate(4), ()
    parents = [parent := pool.register(page, parent, [token]) for token, page in enumerate(pages)]
    pool.release(pages)
    assert (pool.n_free, pool.n_cached) == (4, 4)
    assert pool.allocate(1) == [pages[3]]
    assert pool.find(parents[2], [3]) is None
    assert pool.find(parents[1], [2]).page == pages[2]
    assert pool.n_evicted == 1


def test_a_page_in_use_by_two_is_given_back_by_both():
    pool = PagePool(2, 1)
    pages = pool.allocate(1)
    pool.register(pages[0], (), [7])
    pool.use(pool.find((), [7]))
    pool.release(pages)
    assert (pool.n_free, pool.n_cached) == (1, 0)
    pool.check_integrity([pages])
    pool.release(pages)
    assert (pool.n_free, pool.n_cached) == (2, 1)


def test_the_same_content_twice_is_found_once():
    pool = PagePool(2, 1)
    first, second = pool.allocate(2)
    assert pool.register(first, (), [7]) == pool.register(second, (), [7])
    pool.release([first, second])
    assert (pool.n_free, pool.n_cached) == (2, 1)
    pool.check_integrity([])


def test_a_pool_that_keeps_nothing_finds_nothing():
    pool = PagePool(1, 1, keep=False)
    pages = pool.allocate(1)
    pool.register(pages[0], (), [7])
    assert pool.find((), [7]) is None
