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
