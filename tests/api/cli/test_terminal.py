"""Word wrap of streamed text, and nothing on the terminal that a model made up."""

import io

import pytest

from gristmill.api.cli import terminal


def wrapped(pieces, width):
    out = io.StringIO()
    writer = terminal.WordWrap(out.write, width)
    for piece in pieces:
        writer.push(piece)
    writer.finish()
    return out.getvalue()


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
def test_words_never_cross_the_edge_however_the_text_was_cut(n):
    text = "The quick brown fox jumps over\nthe lazy dog, twice."
    pieces = [text[i : i + n] for i in range(0, len(text), n)]
    assert wrapped(pieces, 10) == "The quick\nbrown fox\njumps over\nthe lazy\ndog,\ntwice."


def test_indentation_is_kept():
    assert wrapped(["def f():\n    return 1\n"], 40) == "def f():\n    return 1\n"


def test_wide_characters_break_anywhere_and_count_double():
    assert wrapped(["日本語日本語"], 6) == "日本語\n日本語"


def test_a_word_longer_than_the_line_is_not_held_back():
    out = io.StringIO()
    terminal.WordWrap(out.write, 5).push("abcdefgh")
    assert out.getvalue() == "abcdef"


def test_control_characters_do_not_reach_the_terminal():
    assert wrapped(["a\x1b[31mb\x07\r\x9bc"], 80) == "a[31mbc"
    assert terminal.printable("tab\tand\nline") == "tab\tand\nline"


def test_a_pipe_gets_the_text_unchanged():
    out = io.StringIO()
    writer = terminal.answer_writer(out, wrap=True)
    writer.push("a\x1b[0m " + "word " * 40)
    writer.finish()
    assert out.getvalue() == "a\x1b[0m " + "word " * 40


def test_columns_count_what_a_terminal_shows():
    assert terminal.columns("abc") == 3
    assert terminal.columns("日本") == 4
    assert terminal.columns("e\u0301") == 1
