"""Ids of pictures' rows in a sequence."""

from hypothesis import given
from hypothesis import strategies as st

from gristmill.runtime.vision.places import (
    digest_of,
    end_of,
    place_of,
    places,
    whole_squares,
    without_parts,
)

A, B = places(digest_of(2, bytes(12)), 5), places(digest_of(2, bytes(11) + b"\1"), 5)


def test_an_id_tells_its_square_and_row():
    assert [place_of(token) for token in A] == [(digest_of(2, bytes(12)), row) for row in range(5)]
    assert all(token < 0 for token in A)


def test_size_and_every_byte_count():
    """As many bytes, the same bytes: but another size, or one bit."""
    digests = {digest_of(size, data) for size in (2, 4) for data in (bytes(12), bytes(11) + b"\1", b"\1" + bytes(11))}
    assert len(digests) == 6
    assert not set(A) & set(B)


def test_neighbours_are_told_apart():
    tokens = [7, *A, *A, *B, 8]
    assert [end_of(tokens, at) for at in (1, 3, 6, 11, 15)] == [6, 6, 11, 16, 16]


def test_a_chunk_ends_before_a_square_or_holds_all_of_it():
    tokens = [1, 2, *A, 3, *B, 4]
    assert [whole_squares(tokens, 0, n) for n in range(1, 9)] == [1, 2, 2, 2, 2, 2, 7, 8]
    assert [whole_squares(tokens, 2, n) for n in range(1, 7)] == [5, 5, 5, 5, 5, 6]
    assert whole_squares(tokens, 4, 1) == 3  # what has begun is brought to its end
    assert whole_squares(tokens, 0, 0) == 0
    assert whole_squares(tokens, 0, len(tokens)) == len(tokens)


@given(st.lists(st.sampled_from([[1], [2, 3], A, B]), max_size=8), st.data())
def test_chunks_never_cut_a_square(parts, data):
    tokens = [token for part in parts for token in part]
    at = 0
    while at < len(tokens):
        n = whole_squares(tokens, at, data.draw(st.integers(1, min(6, len(tokens) - at))))
        assert n >= 1
        at += n
        assert at <= len(tokens)
        assert at == len(tokens) or tokens[at] >= 0 or place_of(tokens[at])[1] == 0


def test_squares_that_have_lost_rows_go():
    sizes = {place_of(A[0])[0]: 5, place_of(B[0])[0]: 5}
    assert without_parts([1, *A[:3], 2, *B, 3, *A[2:], *A], sizes) == [1, 2, *B, 3, *A]
    assert without_parts([1, 2], sizes) == [1, 2]
