"""Typing ahead: the keys stay as they were typed, and the terminal is afterwards as it was before."""

import io
import os

import pytest

from gristmill.api.cli.keyboard import typed_ahead

pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")


@pytest.fixture
def keyboard():
    """Our end of a terminal, and the end a program reads."""
    ours, theirs = pty.openpty()
    with open(theirs) as stream:
        yield ours, stream
    os.close(ours)


def test_enter_stays_enter_and_nothing_is_echoed(keyboard):
    ours, stream = keyboard
    with typed_ahead(stream):
        os.write(ours, b"hi\r")
        assert os.read(stream.fileno(), 10) == b"hi\r"
    os.set_blocking(ours, False)
    with pytest.raises(BlockingIOError):
        os.read(ours, 10)


def test_the_terminal_is_put_back_also_after_an_error(keyboard):
    _, stream = keyboard
    before = termios.tcgetattr(stream)

    def interrupted():
        with typed_ahead(stream):
            assert termios.tcgetattr(stream) != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert termios.tcgetattr(stream) == before


def test_elsewhere_it_does_nothing():
    with typed_ahead(io.StringIO("x")) as nothing:
        assert nothing is None
