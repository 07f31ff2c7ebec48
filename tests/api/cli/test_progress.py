"""Spinners and bars: on a terminal, off a terminal, and their figures."""

import io
import threading

import pytest

from gristmill.api.cli.progress import Bar, Progress, spinner, time_left


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_shows_percent_bytes_rate_and_time_left():
    time = [0.0]
    bar = Bar("pulling dde5aa3fc5ff", 2_000_000_000, clock=lambda: time[0])
    bar.update(0)
    time[0] = 20.0
    bar.update(840_000_000)
    assert bar.line(80) == "pulling dde5aa3fc5ff:  42% ▕" + "█" * 7 + " " * 12 + "▏ 840 MB/  2 GB   42 MB/s     27s"


def test_a_finished_bar_is_full_and_shows_only_the_size():
    bar = Bar("pulling x", 2_019_377_376)
    bar.update(2_019_377_376)
    assert bar.line(40) == "pulling x: 100% ▕" + "█" * 15 + "▏ 2.0 GB"


def test_what_was_there_before_does_not_count_as_speed():
    time = [0.0]
    bar = Bar("x", 100_000_000, clock=lambda: time[0])
    bar.update(50_000_000)
    time[0] = 1.0
    bar.update(60_000_000)
    assert "10 MB/s" in bar.line(80)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (30, "30s"), (90, "1m30s"), (7500, "2h5m"), (400_000, "99h+")],
)
def test_time_left_is_short(seconds, text):
    assert time_left(seconds) == text


def test_off_a_terminal_each_phase_is_one_plain_line():
    out = io.StringIO()
    with Progress(stream=out) as progress:
        progress.show("parsing GGUF")
        progress.show("copying", 1, 10)
        progress.show("copying", 10, 10)
        progress.show("success")
    assert out.getvalue() == "parsing GGUF\ncopying\nsuccess\n"


def test_off_a_terminal_a_spinner_is_silent(capsys):
    with spinner("loading model"):
        pass
    assert capsys.readouterr().err == ""


def test_on_a_terminal_a_kept_phase_stays_as_a_line():
    out = FakeTerminal()
    with Progress(stream=out) as progress:
        progress.show("parsing GGUF")
        progress.show("success")
    assert out.getvalue().endswith("\r\x1b[Ksuccess\n")
    assert "\r\x1b[Kparsing GGUF\n" in out.getvalue()


def test_on_a_terminal_a_spinner_leaves_nothing_behind():
    out = FakeTerminal()
    with Progress(keep=False, stream=out) as progress:
        progress.show("loading model")
    assert out.getvalue().endswith("\r\x1b[K")


def test_a_status_cannot_move_the_cursor():
    out = io.StringIO()
    with Progress(stream=out) as progress:
        progress.show("a\x1b[2Jb\nc")
    assert out.getvalue() == "a[2Jb c\n"


def test_what_is_polled_turns_a_spinner_into_a_bar():
    terminal, polled = FakeTerminal(), threading.Event()

    def poll():
        polled.set()
        return 25, 100

    with Progress(keep=False, stream=terminal, poll=poll) as progress:
        progress.show("loading model")
        assert polled.wait(10)
    assert "loading model:  25% ▕" in terminal.getvalue()


def test_polling_without_an_answer_leaves_the_spinner():
    terminal, polled = FakeTerminal(), threading.Event()
    with Progress(keep=False, stream=terminal, poll=lambda: polled.set()) as progress:
        progress.show("loading model")
        assert polled.wait(10)
    assert "%" not in terminal.getvalue()
