"""A draft model keeps its own cache right, whatever became of its guesses."""

import pytest
from support.tiny_model import SPECIALS, write_tiny_model

from gristmill.runtime import open_model
from gristmill.runtime.errors import UnsupportedModel
from gristmill.runtime.params import Sampling
from gristmill.runtime.speculative import DraftModel


@pytest.fixture(scope="module")
def model(tiny_path):
    return open_model(tiny_path, backend="cpu", n_threads=1)


@pytest.fixture
def drafter(model):
    return DraftModel(model.forward(1), model.ops.top_k, model.n_ctx)


def greedy(model, tokens, n):
    pieces = model.generate(list(tokens), Sampling(temperature=0, max_tokens=n))
    return [token for piece in pieces for token in piece.tokens]


def test_guesses_are_the_models_own_greedy_tokens(model, drafter):
    assert drafter.draft(1, [1, 50, 60], 5) == greedy(model, [1, 50, 60], 5)


def test_wrong_guesses_leave_no_trace(model, drafter):
    tokens = [1, 50, 60]
    for n_right in (0, 2, 5, 1):
        guesses = drafter.draft(1, tokens, 5)
        assert guesses == greedy(model, tokens, 5)
        tokens = [*tokens, *guesses[:n_right], 70 + n_right]


def test_a_long_text_is_read_in_chunks_and_guessed_after_the_last(model):
    drafter = DraftModel(model.forward(1), model.ops.top_k, model.n_ctx, chunk=100)
    tokens = [1 + i % 100 for i in range(250)]
    assert [len(drafter.draft(1, tokens, 3)) for _ in range(3)] == [0, 0, 3]
    assert drafter.draft(1, tokens, 3) == greedy(model, tokens, 3)


def test_nothing_is_guessed_behind_its_context(model, drafter):
    assert drafter.draft(1, [5] * model.n_ctx, 3) == []
    assert len(drafter.draft(2, [5] * (model.n_ctx - 1), 3)) == 1


def test_a_full_cache_forgets_who_was_there_longest_ago(model, drafter):
    third = model.n_ctx // 3 + 20
    for seq_id in (1, 2, 1, 3):
        assert drafter.draft(seq_id, [5 + seq_id] * third, 2) == greedy(model, [5 + seq_id] * third, 2)
    assert set(drafter._states) == {1, 3}
    drafter.forget(1)
    drafter.forget(3)
    drafter._pool.check_integrity([])


def test_another_vocabulary_is_refused(tiny, tmp_path):
    other = open_model(write_tiny_model(tmp_path / "other.gguf", specials=(*SPECIALS, "<new>")), backend="reference")
    with pytest.raises(UnsupportedModel, match="another vocabulary"):
        tiny.engine(n_slots=1, draft=other)
