"""The line editor, typed into through a pipe: lines, several lines, history, Ctrl+C and Ctrl+D."""

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from gristmill.api.cli.line_editor import HistoryFile, LineEditor, is_open, unquoted
from gristmill.runtime.errors import GristmillError


@pytest.fixture
def typed():
    """A function that makes an editor into which the given keys are typed; ``more`` types further ones."""
    with create_pipe_input() as pipe:

        def editor(keys, history=None, edit=str.upper):
            pipe.send_text(keys)
            return LineEditor(history or HistoryFile(None), edit, input=pipe, output=DummyOutput())

        editor.more = pipe.send_text
        yield editor


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("hello\r", "hello"),
        ("helo\x1b[Dl\r", "hello"),  # left, then the missing letter
        ("two words\x17three\r", "two three"),  # Ctrl+W
        ("end\x01start \r", "start end"),  # Ctrl+A
        ("one\ntwo\r", "one\ntwo"),  # Ctrl+J
        ('"""one\rtwo"""\r', '"""one\ntwo"""'),
        ('/set system """a\rb"""\r', '/set system """a\nb"""'),
        ("\x1b[200~pasted\ntext\x1b[201~\r", "pasted\ntext"),
        ("日本\r", "日本"),
    ],
)
def test_keys_become_a_message(typed, keys, text):
    assert typed(keys).read() == text


def test_ctrl_g_changes_the_message_elsewhere(typed):
    def edit(text):
        typed.more(" more\r")
        return text.upper()

    assert typed("half\x07", edit=edit).read() == "HALF more"


def test_an_editor_that_fails_leaves_the_message(typed, capsys):
    def fail(text):
        typed.more(" more\r")
        raise GristmillError("no such editor")

    assert typed("half\x07", edit=fail).read() == "half more"
    assert capsys.readouterr().err == "Error: no such editor\n"


def test_ctrl_d_on_an_empty_line_ends(typed):
    with pytest.raises(EOFError):
        typed("\x04").read()


def test_ctrl_c_leaves_what_stood_there(typed):
    editor = typed("half\x03")
    with pytest.raises(KeyboardInterrupt):
        editor.read()
    assert editor.pending == "half"


def test_ctrl_c_on_an_empty_line_leaves_nothing(typed):
    editor = typed("before\r\x03")
    editor.read()
    with pytest.raises(KeyboardInterrupt):
        editor.read()
    assert editor.pending == ""


def test_history_is_a_plain_file_shared_between_sessions(typed, tmp_path):
    path = tmp_path / "folder" / "history"
    editor = typed("first\rsecond\r", HistoryFile(path))
    assert [editor.read(), editor.read()] == ["first", "second"]
    assert editor.history.get_strings() == ["first", "second"]
    assert path.read_text() == "first\nsecond\n"
    assert path.stat().st_mode & 0o077 == 0
    assert list(HistoryFile(path).load_history_strings()) == ["second", "first"]


def test_nothing_is_kept_when_history_is_off(tmp_path):
    history = HistoryFile(tmp_path / "history")
    history.is_kept = False
    history.append_string("secret")
    assert not (tmp_path / "history").exists()
    assert history.get_strings() == []


def test_the_file_holds_a_hundred_lines(tmp_path):
    history = HistoryFile(tmp_path / "history")
    for i in range(120):
        history.store_string(f"line {i}\nmore")
    lines = (tmp_path / "history").read_text().splitlines()
    assert (len(lines), lines[-1], lines[-2]) == (100, "more", "line 119")


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    history = HistoryFile(tmp_path / "file" / "history")
    history.append_string("kept in memory")
    assert history.get_strings() == ["kept in memory"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [("", False), ("a", False), ('"""a', True), ('"""a"""', False), ('say """', False), ('/set system """', True)],
)
def test_three_quotes_open_a_message(text, answer):
    assert is_open(text) is answer


@pytest.mark.parametrize(
    ("text", "message"),
    [("a", "a"), (' """a\nb""" ', "a\nb"), ('"""\na\n"""', "a"), ('"""a', "a"), ('say """x"""', 'say """x"""')],
)
def test_quotes_are_not_part_of_the_message(text, message):
    assert unquoted(text) == message
