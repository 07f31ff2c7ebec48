"""The whole command on a terminal: a real one, as far as the command can tell."""

import os
import select
import subprocess
import sys
import time

import pytest

pty = pytest.importorskip("pty")

TIMEOUT_S = 60


class Terminal:
    """``gristmill`` on a pseudo terminal."""

    def __init__(self, *argv):
        self._ours, theirs = pty.openpty()
        environment = {**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gristmill", *argv],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.seen = ""

    def type(self, keys):
        os.write(self._ours, keys.encode())

    def wait_for(self, text, after=0):
        """Reads until ``text`` has come behind position ``after``; returns the position behind it."""
        deadline = time.monotonic() + TIMEOUT_S
        while (at := self.seen.find(text, after)) < 0:
            left_s = deadline - time.monotonic()
            assert left_s > 0, self.seen
            assert select.select([self._ours], [], [], left_s)[0], self.seen
            self.seen += os.read(self._ours, 4096).decode(errors="replace")
        return at + len(text)

    def end(self):
        try:
            while block := os.read(self._ours, 4096):
                self.seen += block.decode(errors="replace")
        except OSError:  # the other side has closed
            pass
        os.close(self._ours)
        return self.process.wait(TIMEOUT_S)


def test_a_chat(server):
    terminal = Terminal("run", "smollm2")
    at = terminal.wait_for("Send a message (/? for help)")
    terminal.type("hi there\r")
    at = terminal.wait_for("Hello world.", at)
    at = terminal.wait_for(">>> ", at)
    terminal.type("\x03")
    at = terminal.wait_for("Use Ctrl + d or /bye to exit.", at)
    at = terminal.wait_for(">>> ", at)
    terminal.type("/bye\r")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.seen
    assert server.bodies("/api/chat")[0]["messages"] == [{"role": "user", "content": "hi there"}]


def test_what_is_typed_during_an_answer_is_the_next_message(server):
    terminal = Terminal("run", "smollm2")
    at = terminal.wait_for("Send a message (/? for help)")
    server.pieces = ["Hello ", "world."]
    server.may_go_on.clear()
    terminal.type("first\r")
    at = terminal.wait_for("Hello", at)
    terminal.type("second\r")
    server.may_go_on.set()
    at = terminal.wait_for(" world.", at)
    at = terminal.wait_for("Hello world.", at)
    terminal.wait_for(">>> ", at)
    terminal.type("/bye\r")
    assert terminal.end() == 0
    assert [body["messages"][-1]["content"] for body in server.bodies("/api/chat")] == ["first", "second"]


def test_ctrl_g_opens_the_editor(server, monkeypatch):
    monkeypatch.setenv("OLLAMA_EDITOR", """sh -c 'printf " edited" >> "$0"'""")
    terminal = Terminal("run", "smollm2")
    at = terminal.wait_for("Send a message (/? for help)")
    terminal.type("half\x07")
    at = terminal.wait_for("half edited", at)
    terminal.type("\r")
    at = terminal.wait_for("Hello world.", at)
    terminal.wait_for(">>> ", at)
    terminal.type("/bye\r")
    assert terminal.end() == 0
    assert server.bodies("/api/chat")[0]["messages"] == [{"role": "user", "content": "half edited"}]


def test_a_continued_message_has_its_prompt_and_hint(server):
    terminal = Terminal("run", "smollm2")
    at = terminal.wait_for("Send a message (/? for help)")
    terminal.type("one\n")
    at = terminal.wait_for("... ", at)
    at = terminal.wait_for("Press Enter to send", at)
    terminal.type("two\r")
    at = terminal.wait_for("Hello world.", at)
    terminal.wait_for(">>> ", at)
    terminal.type("/bye\r")
    assert terminal.end() == 0
    assert server.bodies("/api/chat")[0]["messages"] == [{"role": "user", "content": "one\ntwo"}]


def test_the_prompts_progress_is_in_the_spinner(server):
    server.pieces = [{"progress": {"prompt_eval_completed": 45, "prompt_eval_total": 100}}, "Hello"]
    server.may_go_on.clear()
    terminal = Terminal("run", "smollm2", "hi")
    at = terminal.wait_for("reading prompt 45%")
    server.may_go_on.set()
    terminal.wait_for("Hello", at)
    assert terminal.end() == 0
    assert server.bodies("/api/generate")[0]["progress"] is True


def test_one_answer_with_a_spinner_before_it(server):
    terminal = Terminal("run", "smollm2", "hi")
    assert terminal.end() == 0
    assert "loading model" in terminal.seen
    assert terminal.seen.endswith("Hello world.\r\n\r\n")


def test_list_is_the_same_as_in_a_pipe(server, gristmill):
    terminal = Terminal("list")
    assert terminal.end() == 0
    assert terminal.seen.replace("\r\n", "\n") == gristmill("list")[1]
