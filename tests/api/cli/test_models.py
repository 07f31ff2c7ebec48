"""list, ps, cp, rm, stop and version, to the letter."""

from datetime import UTC, datetime, timedelta

import pytest
from support.fake_ollama import DIGEST, model

from gristmill import __version__
from gristmill.api.cli.models import processor
from gristmill.api.ollama_version import OLLAMA_VERSION


def ago(**span):
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def test_list(gristmill, server):
    server.models = {
        "llama3.2:latest": model("llama3.2:latest", modified_at=ago(days=3, hours=1)),
        "mattw/pygmalion:7b": model("mattw/pygmalion:7b", size=13_900_000_000, modified_at=ago(seconds=90)),
    }
    assert gristmill("list") == (
        0,
        "NAME                  ID              SIZE      MODIFIED              \n"
        "llama3.2:latest       a80c4f17acd5    2.0 GB    3 days ago            \n"
        "mattw/pygmalion:7b    a80c4f17acd5    13 GB     About a minute ago    \n",
        "",
    )


def test_list_filters_by_prefix_in_any_letter_case(gristmill, server):
    server.models = {name: model(name) for name in ("Llama:latest", "llava:latest", "qwen:latest")}
    _, out, _ = gristmill("ls", "LL")
    assert [line.split()[0] for line in out.splitlines()] == ["NAME", "Llama:latest", "llava:latest"]


def test_list_has_no_size_for_a_model_elsewhere(gristmill, server):
    server.models = {"far:cloud": {**model("far:cloud", modified_at=ago(days=3)), "remote_model": "far"}}
    assert gristmill("list")[1].splitlines()[1] == "far:cloud    a80c4f17acd5    -       3 days ago    "


def test_list_without_models_is_a_header(gristmill, server):
    server.models = {}
    assert gristmill("list") == (0, "NAME    ID    SIZE    MODIFIED    \n", "")


def test_ps(gristmill, server):
    until = (datetime.now(UTC) + timedelta(minutes=4, seconds=30)).isoformat()
    server.loaded = [
        {"name": "a:latest", "digest": DIGEST, "size": 3_456_789_000, "size_vram": 0,
         "context_length": 4096, "expires_at": until},
        {"name": "b:latest", "digest": DIGEST, "size": 100, "size_vram": 100,
         "context_length": 131072, "expires_at": "2318-01-01T00:00:00Z"},
        {"name": "c:latest", "digest": DIGEST, "size": 1000, "size_vram": 630,
         "context_length": 1, "expires_at": "2020-01-01T00:00:00Z"},
    ]  # fmt: skip
    assert gristmill("ps") == (
        0,
        "NAME        ID              SIZE      PROCESSOR          CONTEXT    UNTIL                 \n"
        "a:latest    a80c4f17acd5    3.5 GB    100% CPU           4096       4 minutes from now    \n"
        "b:latest    a80c4f17acd5    100 B     100% GPU           131072     Forever               \n"
        "c:latest    a80c4f17acd5    1 KB      37%/63% CPU/GPU    1          Stopping...           \n",
        "",
    )


@pytest.mark.parametrize(
    ("n_bytes", "n_gpu_bytes", "text"),
    [(0, 0, "100% CPU"), (10, 20, "Unknown"), (8, 1, "88%/12% CPU/GPU")],
)
def test_where_a_model_is(n_bytes, n_gpu_bytes, text):
    assert processor(n_bytes, n_gpu_bytes) == text


def test_cp(gristmill, server):
    assert gristmill("cp", "smollm2", "mine") == (0, "copied 'smollm2' to 'mine'\n", "")
    assert server.bodies("/api/copy") == [{"source": "smollm2", "destination": "mine"}]


def test_rm_unloads_then_deletes_each(gristmill, server):
    server.models["b:latest"] = model("b:latest")
    assert gristmill("rm", "smollm2", "b") == (0, "deleted 'smollm2'\ndeleted 'b'\n", "")
    assert server.models == {}
    assert server.paths() == ["POST /api/generate", "DELETE /api/delete"] * 2
    assert server.bodies("/api/generate")[0] == {"model": "smollm2", "keep_alive": 0}


def test_rm_of_a_missing_model(gristmill, server):
    assert gristmill("rm", "x") == (1, "", "Error: model 'x' not found\n")


def test_stop_says_nothing(gristmill, server):
    assert gristmill("stop", "smollm2") == (0, "", "")
    assert server.bodies("/api/generate") == [{"model": "smollm2", "keep_alive": 0}]


def test_stop_of_a_missing_model(gristmill, server):
    assert gristmill("stop", "x") == (1, "", 'Error: couldn\'t find model "x" to stop\n')


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_version(gristmill, server, flag):
    assert gristmill(flag) == (0, f"gristmill version is {__version__}\nserver version is {OLLAMA_VERSION}\n", "")


def test_version_warns_of_a_server_with_another_api(gristmill, server):
    server.version = "0.99.1"
    out = f"gristmill version is {__version__}\nserver version is 0.99.1\n"
    assert gristmill("-v") == (0, out, f"Warning: client version is {OLLAMA_VERSION}\n")


def test_version_without_a_server(gristmill, free_address):
    warning = "Warning: could not connect to a running server\n"
    assert gristmill("-v") == (0, f"gristmill version is {__version__}\n", warning)


@pytest.mark.parametrize("argv", [("list",), ("ps",), ("show", "m"), ("stop", "m"), ("rm", "m"), ("cp", "a", "b")])
def test_without_a_server_each_command_says_how_to_start_one(gristmill, free_address, argv):
    text = f"Error: could not connect to a server at {free_address}, run 'gristmill serve' to start it\n"
    assert gristmill(*argv) == (1, "", text)


def test_a_bad_setting_is_one_line(gristmill, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "ftp://localhost")
    text = 'Error: OLLAMA_HOST has the scheme "ftp", use http, https or unix\n'
    assert gristmill("list") == (1, "", text)
