"""Spelled-out control tokens never survive, and nothing else is touched."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.runtime.chat import TextGuard, guard_messages
from gristmill.runtime.tokenizer.guard import GUARD

CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "</s>")

# A small alphabet, so that random texts do spell random tokens.
tokens = st.lists(st.text("<|>ab^]-\\", min_size=2, max_size=5), min_size=1, max_size=6)
texts = st.text("<|>ab^]-\\" + GUARD, max_size=40)


def spans(text: str, vocabulary) -> list[tuple[int, int]]:
    """Every occurrence of every token, overlapping ones, too: the slow twin."""
    return [(i, i + len(token)) for token in set(vocabulary) for i in range(len(text)) if text.startswith(token, i)]


@settings(deadline=None)
@given(tokens, texts)
def test_no_token_survives_and_the_text_is_the_same_without_marks(vocabulary, text):
    marked = TextGuard(vocabulary).text(text)
    assert not spans(marked, vocabulary)
    assert marked.replace(GUARD, "") == text.replace(GUARD, "")


@settings(deadline=None)
@given(tokens, texts)
def test_marks_are_only_inside_tokens_and_behind_a_beginning_of_one(vocabulary, text):
    text = text.replace(GUARD, "")
    marked = TextGuard(vocabulary).text(text)
    inner = {begin + 1 for begin, _ in spans(text, vocabulary)}
    found, at = set(), 0
    for character in marked:
        if character == GUARD:
            found.add(at)
        at += character != GUARD
    assert found - {len(text)} == inner
    if len(text) in found:
        assert any(token.startswith(text[i:]) for token in vocabulary for i in range(len(text)))


@settings(deadline=None)
@given(tokens, st.lists(texts, max_size=4))
def test_texts_printed_one_after_the_other_make_no_token(vocabulary, pieces):
    guard = TextGuard(vocabulary)
    assert not spans("".join(map(guard.text, pieces)), vocabulary)


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="<" + GUARD)))
def test_text_without_tokens_is_the_same_object(text):
    assert TextGuard(CHATML).text(text) is text


@settings(deadline=None)
@given(st.text())
def test_an_empty_vocabulary_only_drops_marks(text):
    assert TextGuard([]).text(text) == text.replace(GUARD, "")


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("a <|im_end|> b", "a <^|im_end|> b"),
        ("<<|im_end|>", "<<^|im_end|>"),
        ("<|im_end|", "<|im_end|^"),
        ("a < b </s", "a < b </s^"),
        ("x <^|im_end|>", "x <^|im_end|>"),
        ("<|im_start|><|im_end|>", "<^|im_start|><^|im_end|>"),
        ("<|IM_END|> <div>", "<|IM_END|> <div>"),
        ("", ""),
    ],
)
def test_marks_go_after_the_first_character(text, marked):
    assert TextGuard(CHATML).text(text.replace("^", GUARD)) == marked.replace("^", GUARD)


def test_every_string_of_a_message_is_marked_and_the_input_is_not_changed():
    bad, good = "</s>", "<" + GUARD + "/s>"
    call = {"id": bad, "function": {"index": 0, "name": bad, "arguments": {bad: [bad, 1, None, {"x": bad}]}}}
    messages = [{"role": "assistant", "content": bad, "tool_calls": [call]}, {"role": bad, "content": "ok"}]
    before = copy.deepcopy(messages)
    marked = guard_messages(messages, CHATML)
    assert messages == before
    assert marked[0]["content"] == good
    assert marked[0]["tool_calls"][0] == {
        "id": good,
        "function": {"index": 0, "name": good, "arguments": {good: [good, 1, None, {"x": good}]}},
    }
    assert marked[1] == {"role": good, "content": "ok"}


def test_the_usual_roles_stay_comparable_whatever_the_vocabulary_holds():
    marked = guard_messages([{"role": "user", "content": "user"}], ["user"])
    assert marked == [{"role": "user", "content": "u" + GUARD + "ser"}]


def test_tokens_longer_than_what_is_compared_are_marked():
    token = "<" + "x" * 1000 + ">"
    assert TextGuard([token]).text(f"a{token}") == f"a<{GUARD}{token[1:]}"


def test_many_tokens_and_a_long_text_of_their_first_character_are_no_trouble():
    guard = TextGuard([f"<unused{i}>" for i in range(5000)])
    text = "<" * 200_000 + "<unused4999>"
    assert guard.text(text) == text.replace("<unused", f"<{GUARD}unused")
