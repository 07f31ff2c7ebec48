"""What becomes of prompts that fit, that do not, and of a context that is full."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.runtime.errors import InvalidRequest, PromptTooLong
from gristmill.runtime.params import Sampling
from gristmill.runtime.prompt import PromptReader, n_kept, shifted, without_middle


@pytest.fixture
def read(tiny):
    return PromptReader(tiny.tokenizer, 64)


def ids(read, text):
    return read.tokenizer.encode(text, parse_special=True)


def test_what_fits_stays_as_it_is(read):
    assert read("hello", [], Sampling(), True) == ids(read, "hello")
    assert read([5, 6], [3], Sampling(), False) == [3, 5, 6]
    assert len(read([5] * 63, [], Sampling(), False)) == 63


@pytest.mark.parametrize("n", [64, 65, 500])
def test_too_many_tokens_lose_their_middle(read, n):
    tokens = [i % 250 for i in range(n)]
    kept = 4 + read.tokenizer.add_bos
    cut = read(tokens, [], Sampling(num_keep=4), True)
    assert len(cut) == 64 - (64 - kept) // 2
    assert cut[:kept] == tokens[:kept]
    assert cut[kept:] == tokens[-(len(cut) - kept) :]


def test_a_text_far_too_long_is_cut_like_its_tokens(read):
    text = "begin " + "word " * 20_000 + "the end"
    cut = read(text, [], Sampling(), True)
    kept = 4 + read.tokenizer.add_bos
    assert cut[:kept] == ids(read, text)[:kept]
    assert cut[-4:] == ids(read, text)[-4:]


def test_without_truncation_or_shift_it_is_refused(read):
    with pytest.raises(PromptTooLong, match=r"^the input length exceeds the context length: the prompt of 64 tokens"):
        read([5] * 64, [], Sampling(), False)
    with pytest.raises(PromptTooLong, match=r"^the input length exceeds .* characters does not fit"):
        read("word " * 20_000, [], Sampling(), False)
    with pytest.raises(PromptTooLong, match=r"^the prompt is longer than the context length currently available"):
        read([5] * 64, [], Sampling(shift=False), True)


@pytest.mark.parametrize(("prompt", "context"), [([], []), ([10**6], []), ([-1], []), ([5], [10**6])])
def test_ids_that_are_none_are_refused(read, prompt, context):
    with pytest.raises(InvalidRequest):
        read(prompt, context, Sampling(), True)


def test_counting_is_exact_where_it_matters(read):
    assert read.count("hello there") == len(ids(read, "hello there"))
    assert read.count("word " * 20_000) > 64


@given(
    n_ctx=st.integers(4, 300),
    n_prompt=st.integers(1, 400),
    num_keep=st.integers(-1, 500),
    bos=st.booleans(),
)
def test_a_shift_makes_room_and_keeps_the_ends(n_ctx, n_prompt, num_keep, bos):
    kept = n_kept(Sampling(num_keep=num_keep), min(n_prompt, n_ctx - 1), n_ctx, bos)
    assert 0 <= kept <= n_ctx - 4
    tokens = list(range(n_ctx))
    rest = shifted(tokens, kept)
    assert kept < len(rest) < n_ctx
    assert rest[:kept] == tokens[:kept]
    assert rest[kept:] == tokens[len(tokens) - len(rest) + kept :]
    assert without_middle(tokens, kept, len(rest)) == rest
