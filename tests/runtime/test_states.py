"""Rows of states: in place where nobody else needs them, elsewhere where they are shared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.runtime.states import NONE, StatePool


def step(pool, row):
    """A sequence's step; its new row."""
    target = pool.next_row(row)
    pool.release(row)
    return target


def test_a_state_of_one_owner_is_written_in_place():
    pool = StatePool(2, 2)
    row = step(pool, NONE)
    assert step(pool, row) == row
    pool.check_integrity([row])


def test_who_goes_on_from_a_snapshot_leaves_it_as_it_is():
    pool = StatePool(2, 2)
    row = step(pool, NONE)
    assert pool.keep("page", row)
    after = step(pool, row)
    assert after != row
    other = pool.use("page")
    assert other == row
    pool.check_integrity([after, other])


def test_two_that_share_a_state_never_write_to_it():
    pool = StatePool(2, 1)
    first = step(pool, NONE)
    pool.keep("page", first)
    second = pool.use("page")
    pool.forget("page")
    assert pool.next_row(second) != second
    assert pool.next_row(first) != first


def test_the_snapshot_that_was_found_longest_ago_goes_first():
    pool = StatePool(1, 2)
    for serial in ("a", "b"):
        row = step(pool, NONE)
        pool.keep(serial, row)
        pool.release(row)
    pool.release(pool.use("a"))
    row = step(pool, NONE)
    pool.keep("c", row)
    assert ["a" in pool, "b" in pool, "c" in pool] == [True, False, True]
    pool.check_integrity([row])


def test_a_page_has_one_snapshot():
    pool = StatePool(2, 2)
    assert pool.keep("page", step(pool, NONE))
    assert not pool.keep("page", step(pool, NONE))


def test_without_room_for_snapshots_none_is_kept():
    pool = StatePool(1, 0)
    assert not pool.keep("page", step(pool, NONE))
    assert pool.n_snapshots == 0


def test_a_model_without_states_has_no_rows():
    pool = StatePool(0, 0)
    assert pool.next_row(NONE) == NONE
    pool.release(NONE)
    assert not pool.keep("page", NONE)
    pool.check_integrity([NONE])


def test_a_row_is_given_back_once():
    pool = StatePool(1, 0)
    row = step(pool, NONE)
    pool.release(row)
    with pytest.raises(AssertionError, match="released twice"):
        pool.release(row)


@given(st.data(), st.integers(1, 4), st.integers(0, 3))
def test_there_is_always_a_row_to_write_to(data, n_running, n_snapshots):
    pool = StatePool(n_running, n_snapshots)
    states, serials = [NONE] * n_running, iter(range(10_000))
    for _ in range(data.draw(st.integers(1, 20))):
        going = data.draw(st.lists(st.integers(0, n_running - 1), unique=True))
        targets = {i: pool.next_row(states[i]) for i in going}
        assert len(set(targets.values())) == len(going)
        for i, row in targets.items():
            pool.release(states[i])
            states[i] = row
            if data.draw(st.booleans()):
                pool.keep(next(serials), row)
        pool.check_integrity(states)
        for i in data.draw(st.lists(st.integers(0, n_running - 1), unique=True)):
            pool.release(states[i])
            found = list(pool._snapshots)
            states[i] = pool.use(data.draw(st.sampled_from(found))) if found and data.draw(st.booleans()) else NONE
