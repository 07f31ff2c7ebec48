"""The interactive prompt: commands, conversation, errors and Ctrl+C, with a scripted editor."""

import pytest

from gristmill.api.cli import terminal
from gristmill.api.cli.abilities import Abilities
from gristmill.api.cli.address import Address
from gristmill.api.cli.client import Client
from gristmill.api.cli.conversation import Conversation
from gristmill.api.cli.line_editor import HistoryFile
from gristmill.api.cli.repl import Repl
from gristmill.api.cli.repl_help import HELP, PARAMETER_HELP, SET_HELP, SHORTCUTS, SHOW_HELP
from gristmill.api.cli.view import View


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

    def run(*lines, view=None, conversation=None, pending=""):
        view = view or View(HistoryFile(None))
        Repl(client, conversation or Conversation("smollm2"), view, Script(*lines, pending=pending)).run()
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
        ("/set nothink", "Set 'nothink' mode.\n"),
        ("/set think highest", "Usage:\n  /set think [high|medium|low|max]\n"),
        ("/set parameter", PARAMETER_HELP + "\n"),
        ("/? set parameter", PARAMETER_HELP + "\n"),
        ("/save", "Usage:\n  /save <modelname>\n"),
        ("/save mine", "Created new model 'mine'\n"),
        ("/save a!b", "error: The model name 'a!b' is invalid\n"),
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
    assert chat("/set parameter temperature 0.0", "/set parameter stop a b", "/show parameters")[0] == (
        "Set parameter 'temperature' to '0.0'\n"
        "Set parameter 'stop' to 'a, b'\n"
        'Model defined parameters:\n  stop  "a"\n  top_k 5\n\n'
        "User defined parameters:\n"
        "  temperature                    0\n"
        "  stop                           a, b\n\n"
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


@pytest.fixture
def thinker(server):
    server.shown = {"capabilities": ["completion", "thinking"]}
    server.pieces = [{"thinking": "Hm."}, "Yes."]
    return server


def test_thinking_is_shown_and_remembered(chat, thinker):
    assert chat("hi", "and?")[0] == "Thinking...\nHm.\n...done thinking.\n\nYes.\n\n" * 2
    assert thinker.bodies("/api/chat")[1]["messages"][1] == {"role": "assistant", "content": "Yes.", "thinking": "Hm."}


def test_thinking_can_be_hidden(chat, thinker):
    assert chat("hi", view=View(HistoryFile(None), hides_thinking=True))[0] == "Yes.\n\n"


def test_thinking_is_switched(chat, thinker):
    out, err = chat("a", "/set nothink", "b", "/set think high", "c", "/set think", "d")
    assert [body["think"] for body in thinker.bodies("/api/chat")] == [True, False, "high", True]
    assert "Set 'think' mode to 'high'.\n" in out
    assert "Set 'think' mode.\n" in out
    assert err == ""


def test_a_model_that_cannot_think_is_warned_about(chat, server):
    warning = 'warning: model "smollm2" does not support thinking output\n'
    assert chat("/set think") == ("Set 'think' mode.\n", warning)


def test_another_model_has_its_own_abilities(chat, thinker):
    conversation = Conversation("smollm2", abilities=Abilities(takes_files=True))
    assert chat("a", conversation=conversation)[1] == ""
    assert conversation.abilities == Abilities(thinks=True)
    thinker.shown = {"capabilities": ["completion"]}
    thinker.models["other:latest"] = thinker.models["smollm2:latest"]
    chat("/load other", "b", conversation=conversation)
    assert [body.get("think") for body in thinker.bodies("/api/chat")] == [True, None]


def test_a_saved_model_holds_all_that_was_set_and_said(chat, server):
    server.shown = {"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]}
    chat("/set system Be brief.", "/set parameter top_k 7", "hi", "/save mine")
    assert server.bodies("/api/create") == [
        {
            "model": "mine",
            "from": "smollm2",
            "system": "Be brief.",
            "parameters": {"top_k": 7},
            "messages": [
                *server.shown["messages"],
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "Hello world."},
            ],
        }
    ]


def test_a_save_that_fails_is_an_error(chat, server):
    server.statuses = ["parsing GGUF"]
    assert chat("/save mine") == ("", "Error: the server did not say whether the model was created\n")


@pytest.fixture
def looker(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "bark.wav").write_bytes(b"RIFF\x10\0\0\0WAVEfmt ")
    server.shown = {"capabilities": ["completion", "vision"]}
    return server


def test_files_go_along_and_stay_in_the_conversation(chat, looker):
    out, _ = chat("see ./cat.png and ./bark.wav", "and?")
    assert out.startswith("Added image 'cat.png'\nAdded audio 'bark.wav'\nHello world.\n")
    first = looker.bodies("/api/chat")[1]["messages"][0]
    assert first["content"] == "see and"
    assert [image[:11] for image in first["images"]] == ["iVBORw0KGgo", "UklGRhAAAAB"]


def test_a_message_may_begin_with_a_path(chat, looker, tmp_path):
    out, _ = chat(f"{tmp_path}/cat.png what is it?", f"{tmp_path}/dog.png what is it?")
    assert "Unknown command" in out
    assert said(looker) == [[("user", "what is it?")]]


def test_a_file_that_cannot_be_sent_ends_the_turn_only(chat, looker, tmp_path):
    (tmp_path / "cat.png").write_text("hello")
    text = "Couldn't process file: cat.png is no JPEG, PNG or WebP image and no WAV sound\n"
    assert chat("see ./cat.png", "hi") == ("Hello world.\n\n", text)
    assert said(looker) == [[("user", "hi")]]


def test_a_model_without_eyes_reads_the_path(chat, looker):
    looker.shown = {}
    chat("see ./cat.png")
    assert said(looker) == [[("user", "see ./cat.png")]]


def test_tool_calls_are_shown_and_remembered(chat, server):
    calls = [{"function": {"name": "now", "arguments": {"zone": "UTC"}}}]
    server.pieces = [{"tool_calls": calls}]
    assert chat("hi", "and?")[0] == 'Tool call: now(zone="UTC")\n\n' * 2
    assert server.bodies("/api/chat")[1]["messages"][1] == {"role": "assistant", "content": "", "tool_calls": calls}


def test_an_answer_that_never_began_leaves_no_empty_lines(chat, server):
    server.pieces, server.error = [], "out of memory"
    assert chat("hi") == ("", "Error: out of memory\n")
