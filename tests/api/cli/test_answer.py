"""A stream of chunks: what it adds up to, and what the spinner says meanwhile."""

import io

import pytest

from gristmill.api.cli import answer, terminal
from gristmill.api.cli.address import Address
from gristmill.api.cli.client import Client
from gristmill.api.cli.display import Display, Part
from gristmill.runtime.errors import GristmillError

CALLS = [{"function": {"name": "f", "arguments": {}}}]


class Spinner:
    """Remembers what it was asked to show, in order with the closing."""

    def __init__(self):
        self.seen = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def show(self, status):
        self.seen.append(status)

    def close(self):
        if self.seen[-1:] != ["closed"]:
            self.seen.append("closed")


def run(*chunks, part_of=answer.generated, **options):
    stream, reply, spinner = io.StringIO(), answer.Answer(), Spinner()
    display = Display(stream, wrap=False, **options)
    answer.print_stream((c for c in chunks), part_of, display, reply, spinner)
    return reply, stream.getvalue(), spinner.seen


def progress(done, total):
    return {"response": "", "progress": {"prompt_eval_completed": done, "prompt_eval_total": total}}


def test_a_chunk_of_either_endpoint_has_three_parts():
    parts = {"thinking": "Hm.", "tool_calls": CALLS}
    part = Part("42", "Hm.", CALLS)
    assert answer.generated({"response": "42", **parts}) == part
    assert answer.chatted({"message": {"content": "42", **parts}}) == part
    assert answer.generated({"done": True}) == answer.chatted({"done": True}) == Part()


def test_parts_add_up_to_a_message():
    reply, _, _ = run(
        {"response": "", "thinking": "H"}, {"thinking": "m."}, {"response": "4"}, {"response": "2"}, {"done": True}
    )
    assert reply.message() == {"role": "assistant", "content": "42", "thinking": "Hm."}
    assert reply.final == {"done": True}


def test_tool_calls_are_part_of_the_message():
    reply, out, _ = run({"tool_calls": CALLS}, {"done": True})
    assert reply.message() == {"role": "assistant", "content": "", "tool_calls": CALLS}
    assert out == "Tool call: f()"


def test_the_prompts_progress_is_shown_until_the_first_text():
    _, out, seen = run(progress(0, 0), progress(450, 1000), {"response": "4"}, progress(1000, 1000), {"done": True})
    assert seen == ["reading prompt 0%", "reading prompt 45%", "closed"]
    assert out == "4"


def test_hidden_thinking_is_a_spinner():
    _, out, seen = run({"thinking": "Hm."}, {"response": "42"}, {"done": True}, hides_thinking=True)
    assert (out, seen) == ("42", ["thinking", "closed"])


def test_shown_thinking_ends_the_spinner():
    assert run({"thinking": "Hm."}, {"response": "42"}, {"done": True})[2] == ["closed"]


def test_a_stream_without_an_end_is_an_error():
    with pytest.raises(GristmillError, match="before it was complete"):
        run({"response": "4"})


@pytest.mark.parametrize("watched", [True, False])
def test_progress_is_asked_for_on_terminals_only(server, monkeypatch, watched):
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: watched)
    client = Client(Address("http", "127.0.0.1", int(server.address.partition(":")[2])))
    list(answer.stream(client, "/api/generate", {"model": "smollm2", "prompt": "hi"}))
    assert server.bodies("/api/generate")[0].get("progress") is (True if watched else None)
