"""Guesses from the text, and when none are made."""

from hypothesis import given
from hypothesis import strategies as st

from gristmill.runtime.params import Sampling
from gristmill.runtime.sequence import Sequence
from gristmill.runtime.speculative import PromptLookup, Speculator
from gristmill.runtime.speculative.speculator import LONGEST_PAUSE


def slow_draft(tokens, n):
    """What followed the last tokens when they stood there before, by searching backwards."""
    for length in (3, 2):
        group = tokens[-length:]
        for at in range(len(tokens) - 1, length - 1, -1):
            if len(group) == length and tokens[at - length : at] == group:
                return tokens[at : at + n]
    return []


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 7))
def test_the_index_finds_what_searching_finds_however_the_text_came(tokens, n, piece):
    lookup = PromptLookup()
    for end in range(1, len(tokens) + 1, piece):
        assert lookup.draft(1, tokens[:end], n) == slow_draft(tokens[:end], n)


def test_a_forgotten_sequence_starts_anew():
    lookup = PromptLookup()
    assert lookup.draft(1, [1, 2, 3, 1, 2], 2) == [3, 1]
    lookup.forget(1)
    lookup.forget(2)
    assert lookup.draft(1, [5, 1, 2], 2) == []


class Always:
    """Guesses the same token."""

    def __init__(self):
        self.asked = []

    def draft(self, seq_id, tokens, n):
        self.asked.append(n)
        return [7] * n

    def forget(self, seq_id):
        pass


def decoding(n_draft=4, max_tokens=100, n_tokens=10):
    sampling = Sampling(n_draft=n_draft)
    seq = Sequence(id=1, tokens=[1] * n_tokens, max_tokens=max_tokens, sampling=sampling, sampler=None, text=None)
    seq.append(2)
    seq.n_computed = len(seq.tokens) - 1
    return seq


def proposed(seq, others=0, **options):
    speculator = Speculator(Always(), n_ctx=options.pop("n_ctx", 100), **options)
    speculator.propose([seq, *(decoding() for _ in range(others))])
    return seq.draft


def test_drafts_end_where_the_answer_or_the_context_ends():
    assert proposed(decoding()) == [7] * 4
    assert proposed(decoding(n_draft=0)) == []
    assert proposed(decoding(max_tokens=3)) == [7]
    assert proposed(decoding(max_tokens=2)) == []
    assert proposed(decoding(), n_ctx=14) == [7] * 2
    assert proposed(decoding(), n_ctx=12) == []


def test_nothing_is_guessed_for_a_prompt_or_among_too_many():
    prompt = decoding()
    prompt.n_computed -= 3
    assert proposed(prompt) == []
    assert proposed(decoding(), others=1) == []
    assert proposed(decoding(), others=1, max_sequences=2) == [7] * 4


def test_wrong_guesses_make_pauses_that_double_and_a_right_one_ends_them():
    speculator, seq = Speculator(Always(), n_ctx=1000), decoding()
    pauses, waited = [], 0
    while len(pauses) < 8:
        seq.draft = []
        speculator.propose([seq])
        if seq.draft:
            pauses.append(waited)
            speculator.learn(seq, 4, 0)
        waited = 0 if seq.draft else waited + 1
    assert pauses == [0, 1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE]
    speculator.learn(seq, 4, 1)
    seq.draft = []
    speculator.propose([seq])
    assert seq.draft
    assert (speculator.n_drafted, speculator.n_accepted) == (36, 1)
