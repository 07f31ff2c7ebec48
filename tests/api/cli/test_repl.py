"""The interactive prompt: commands, conversation, errors and Ctrl+C, with a scripted editor."""

import pytest

from gristmill.api.cli import terminal
from gristmill.api.cli.address import Address
from gristmill.api.cli.client import Client
from gristmill.api.cli.conversation import Conversation
from gristmill.api.cli.line_editor import HistoryFile
from gristmill.api.cli.repl import Repl
from gristmill.api.cli.repl_commands import View
from gristmill.api.cli.repl_help import HELP, SET_HELP, SHORTCUTS, SHOW_HELP


class Script:
    """An editor that gives one line after another; an exception in the list is raised."""

    def __init__(self, *lines, pending=""):
        self.lines = list(lines)
        self.pending = pending

    def read(self):
        if not self.lines:
            raise EOFError
        line = self.lines.pop(0)
        if isinstance(line, str):
            return line
        raise line


@pytest.fixture
def chat(server, capsys):
    """Runs a chat over the given lines: what it printed on stdout and stderr."""
    client = Client(Address("http", "127.0.0.1", int(server.address.partition(":")[2])))

    def run(*lines, view=None, pending=""):
        Repl(client, Conversation("smollm2"), view or View(HistoryFile(None)), Script(*lines, pending=pending)).run()
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run


def said(server):
    """The messages of each chat request."""
    return [[(m["role"], m["content"]) for m in body["messages"]] for body in server.bodies("/api/chat")]


def test_the_model_is_loaded_first(chat, server):
    assert chat() == ("", "")
    assert server.requests[0] == ("POST", "/api/generate", {"model": "smollm2"})


def test_each_turn_knows_the_ones_before(chat, server):
    assert chat("hi", "and?") == ("Hello world.\n\n" * 2, "")
    assert said(server) == [
        [("user", "hi")],
        [("user", "hi"), ("assistant", "Hello world."), ("user", "and?")],
    ]


def test_empty_lines_say_nothing(chat, server):
    assert chat("", "  ", '""""""') == ("", "")
    assert said(server) == []


def test_three_quotes_hold_several_lines(chat, server):
    chat('"""one\ntwo"""')
    assert said(server) == [[("user", "one\ntwo")]]


def test_stored_messages_are_shown_and_left_to_the_server(chat, server):
    server.shown = {"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]}
    assert chat("hi")[0] == ">>> 1+1?\n2\n\nHello world.\n\n"
    assert said(server) == [[("user", "hi")]]


def test_clear_forgets_what_was_said_but_not_the_system_message(chat, server):
    out, _ = chat("/set system Be brief.", "hi", "/clear", "again")
    assert out == "Set system message.\nHello world.\n\nCleared session context\nHello world.\n\n"
    assert said(server)[1] == [("system", "Be brief."), ("user", "again")]


def test_a_system_message_may_span_lines(chat, server):
    chat('/set system """a\nb"""', "hi")
    assert said(server)[0][0] == ("system", "a\nb")


def test_a_format_goes_along_until_it_is_taken_back(chat, server):
    out, _ = chat("/set format json", "hi", "/set noformat", "hi")
    assert out.startswith("Set format to 'json' mode.\n")
    assert "Disabled format.\n" in out
    assert [body.get("format") for body in server.bodies("/api/chat")] == ["json", None]


def test_parameters_go_along_with_their_types(chat, server):
    out, _ = chat(
        "/set parameter temperature 0.5",
        "/set parameter num_ctx 4096",
        "/set parameter stop a b",
        "hi",
    )
    assert out.startswith(
        "Set parameter 'temperature' to '0.5'\nSet parameter 'num_ctx' to '4096'\nSet parameter 'stop' to 'a, b'\n"
    )
    assert server.bodies("/api/chat")[0]["options"] == {"temperature": 0.5, "num_ctx": 4096, "stop": ["a", "b"]}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("/set parameter num_ctx x", 'Couldn\'t set parameter: "invalid int value [x]"\n'),
        ("/set parameter wibble 1", "Couldn't set parameter: \"unknown parameter 'wibble'\"\n"),
        ("/set parameter num_ctx", "Usage:\n  /set parameter <name> <value>\n"),
        ("/set system", "Usage:\n  /set system <text>\n"),
        ("/set format", "Invalid or missing format. For 'json' mode use '/set format json'\n"),
        ("/set format xml", "Invalid or missing format. For 'json' mode use '/set format json'\n"),
        ("/set wordwrap", "Set 'wordwrap' mode.\n"),
        ("/set nowordwrap", "Set 'nowordwrap' mode.\n"),
        ("/set verbose", "Set 'verbose' mode.\n"),
        ("/set quiet", "Set 'quiet' mode.\n"),
        ("/set history", ""),
        ("/set nohistory", ""),
        ("/set", SET_HELP + "\n"),
        ("/set x", "Unknown command '/set x'. Type /? for help\n"),
        ("/show", SHOW_HELP + "\n"),
        ("/show x", "Unknown command '/show x'. Type /? for help\n"),
        ("/show license", "No license was specified for this model.\n"),
        ("/show system", "No system message was specified for this model.\n"),
        ("/show template", "No prompt template was specified for this model.\n"),
        ("/load", "Usage:\n  /load <model>\n"),
        ("/load nope", "Loading model 'nope'\nCouldn't find model 'nope'\n"),
        ("/wibble", "Unknown command '/wibble'. Type /? for help\n"),
        ("/?", HELP + "\n"),
        ("/help", HELP + "\n"),
        ("/? set", SET_HELP + "\n"),
        ("/help show", SHOW_HELP + "\n"),
        ("/? shortcuts", SHORTCUTS + "\n"),
    ],
)
def test_commands_say(chat, line, text):
    assert chat(line) == (text, "")


@pytest.mark.parametrize("line", ["/bye", "/exit", " /bye "])
def test_leaving(chat, server, line):
    assert chat(line, "never said") == ("", "")
    assert said(server) == []


def test_show_prints_the_models_texts(chat, server):
    server.shown = {
        "license": "free",
        "modelfile": "FROM x",
        "parameters": 'stop  "a"\ntop_k 5',
        "system": "Be kind.",
        "template": "{{ .Prompt }}",
        "capabilities": ["completion"],
    }
    assert chat("/show license", "/show modelfile", "/show system", "/show template")[0] == (
        "free\nFROM x\nBe kind.\n\n{{ .Prompt }}\n"
    )
    assert chat("/show info")[0].startswith("  Capabilities\n    completion    \n\n")
    assert chat("/set parameter top_k 7", "/show parameters")[0] == (
        "Set parameter 'top_k' to '7'\n"
        'Model defined parameters:\n  stop  "a"\n  top_k 5\n\n'
        "User defined parameters:\n  top_k                          7\n\n"
    )


def test_load_changes_the_model_and_starts_anew(chat, server):
    server.models["other:latest"] = server.models["smollm2:latest"]
    assert chat("hi", "/load other", "hello")[0] == "Hello world.\n\nLoading model 'other'\nHello world.\n\n"
    assert server.bodies("/api/chat")[1]["model"] == "other"
    assert said(server)[1] == [("user", "hello")]


def test_a_model_that_is_not_there_leaves_the_old_one(chat, server):
    chat("hi", "/load nope", "and?")
    assert server.bodies("/api/chat")[1]["model"] == "smollm2"
    assert len(said(server)[1]) == 3


def test_list_is_the_table_of_models(chat):
    assert chat("/list smol")[0].startswith("NAME              ID              SIZE      MODIFIED")


def test_ctrl_c_on_an_empty_line_says_how_to_leave(chat):
    assert chat(KeyboardInterrupt(), "/bye") == ("\nUse Ctrl + d or /bye to exit.\n", "")


def test_ctrl_c_on_a_line_with_text_drops_it(chat):
    assert chat(KeyboardInterrupt(), "/bye", pending="half a mess") == ("", "")


def test_ctrl_c_during_an_answer_stops_it_and_keeps_what_came(chat, server, monkeypatch):
    def push(self, text, push=terminal.Verbatim.push):
        push(self, text)
        if text == "lo ":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(terminal.Verbatim, "push", push)
        out, _ = chat("hi", "and?")
    assert out == "Hello \n\n" * 2
    assert said(server)[1] == [("user", "hi"), ("assistant", "Hello "), ("user", "and?")]


def test_an_error_is_one_line_and_the_chat_goes_on(chat, server):
    server.error = "out of\nmemory"
    out, err = chat("hi", "/bye")
    assert (out, err) == ("Hello world.\n\n", "Error: out of memory\n")


def test_a_failed_turn_is_not_remembered(chat, server):
    server.error = "out of memory"
    chat("hi", "again")
    assert said(server)[1] == [("user", "again")]


def test_verbose_prints_timings_on_stderr(chat):
    out, err = chat("/set verbose", "hi", "/set quiet", "hi")
    assert err.count("eval rate:") == 2
    assert err.startswith("total duration:       1.234567891s\n")
    assert out.count("Hello world.") == 2


def test_keep_alive_goes_along(server, capsys):
    client = Client(Address("http", "127.0.0.1", int(server.address.partition(":")[2])))
    Repl(client, Conversation("smollm2", "7m"), View(HistoryFile(None)), Script("hi")).run()
    assert server.bodies("/api/generate")[0]["keep_alive"] == "7m"
    assert server.bodies("/api/chat")[0]["keep_alive"] == "7m"
