"""Reading text that comes in pieces: tags, brackets, white space, and how much is looked at and held."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.runtime.chat.output.reader import MAX_SPACE, Brackets, Held, Reader, Tags, Trimmed
from gristmill.runtime.errors import OutputError


def until(tags, pieces):
    reader, passed = Reader(), []

    def flow():
        found = []
        while tag := (yield from reader.until(tags, passed.append)):
            found.append(tag)
        return found

    generator = flow()
    for piece in pieces:
        reader.feed(piece)
        next(generator)
    reader.end()
    with pytest.raises(StopIteration) as stop:
        next(generator)
    return stop.value.value, "".join(passed), reader.rest(), reader.n_scanned


TEXTS = st.text(st.sampled_from("<ab>/"), max_size=40)


@given(TEXTS, st.data())
def test_tags_are_found_wherever_the_text_is_cut(text, data):
    tags = Tags("<a>", "<ab>", "</a>", "b<")
    pieces, left = [], text
    while left:
        n = data.draw(st.integers(1, len(left)))
        pieces, left = [*pieces, left[:n]], left[n:]
    found, passed, rest, _ = until(tags, pieces)
    slow = tags.pattern.findall(text)
    assert found == slow
    assert passed + rest == tags.pattern.sub("", text)
    assert not rest or any(tag.startswith(rest) for tag in tags.tags)


@pytest.mark.parametrize("text", ["<" * 4000, "<tool_cal" * 500, "x" * 4000, "<tool_call>" * 400])
def test_each_character_is_looked_at_a_bounded_number_of_times(text):
    tags = Tags("<tool_call>", "</tool_call>")
    *_, n_scanned = until(tags, text)
    assert n_scanned <= (tags.longest + 1) * len(text)
    assert until(tags, [text])[-1] <= len(text)


def test_a_tag_must_not_begin_with_another():
    with pytest.raises(AssertionError, match="begins with"):
        Tags("<a", "<ab")


JSON = st.recursive(
    st.text(max_size=6) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4), st.text(max_size=5), st.integers(1, 7), st.booleans())
def test_brackets_end_where_a_json_parser_says(value, after, size, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    _, end = json.JSONDecoder().raw_decode(text + after)
    brackets, whole = Brackets(), text + after
    ends = [(at, brackets.end(whole[at : at + size], 0)) for at in range(0, len(whole), size)]
    assert next(at + found for at, found in ends if found >= 0) == end


def test_what_is_held_is_bounded():
    held = Held(10)
    held("x" * 10)
    with pytest.raises(OutputError, match="more than 10 characters"):
        held("x")


@given(st.lists(st.sampled_from(["a", " ", "\n", "b c", "  ", ""]), max_size=30))
def test_white_space_at_the_end_is_held_back(pieces):
    out = []
    put = Trimmed(out.append)
    for piece in pieces:
        put(piece)
        assert not out or not out[-1][-1].isspace()
    assert "".join(out) == "".join(pieces).rstrip()


def test_endless_white_space_is_let_go():
    for size in (1, 1000, 3 * MAX_SPACE):
        out = []
        put = Trimmed(out.append)
        for _ in range(3 * MAX_SPACE // size):
            put(" " * size)
        assert sum(map(len, out)) == 3 * MAX_SPACE // size * size // MAX_SPACE * MAX_SPACE
