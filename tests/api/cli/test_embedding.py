"""``run`` with an embedding model: one JSON array on standard output."""

import pytest


@pytest.fixture
def embedder(server):
    server.shown = {"details": {}, "model_info": {}, "capabilities": ["embedding"]}
    return server


def test_the_vector_is_one_json_array(gristmill, embedder):
    assert gristmill("run", "smollm2", "some", "text") == (0, "[0.25,-0.5]\n", "")
    assert embedder.bodies("/api/embed") == [{"model": "smollm2", "input": "some text"}]
    assert embedder.bodies("/api/generate") == []


def test_piped_text_is_embedded(gristmill, embedder):
    gristmill("run", "smollm2", stdin=b"a file\n")
    assert embedder.bodies("/api/embed")[0]["input"] == "a file\n"


@pytest.mark.parametrize(
    ("flags", "fields"),
    [
        (["--truncate"], {"truncate": True}),
        (["--truncate=false"], {"truncate": False}),
        (["--dimensions", "64"], {"dimensions": 64}),
        (["--keepalive", "7m"], {"keep_alive": "7m"}),
    ],
)
def test_flags_go_along(gristmill, embedder, flags, fields):
    assert gristmill("run", "smollm2", *flags, "text")[0] == 0
    assert embedder.bodies("/api/embed") == [{"model": "smollm2", "input": "text", **fields}]


def test_without_text_it_says_how(gristmill, embedder):
    text = 'embedding models require input text. Usage: gristmill run smollm2 "your text here"'
    assert gristmill("run", "smollm2") == (1, "", f"Error: {text}\n")


def test_verbose_shows_the_timings(gristmill, embedder):
    status, out, err = gristmill("run", "smollm2", "text", "--verbose")
    assert (status, out) == (0, "[0.25,-0.5]\n")
    assert err.startswith("total duration:       1.234567891s\n")


def test_a_server_that_sends_no_vector(gristmill, embedder):
    embedder.embeddings = []
    assert gristmill("run", "smollm2", "text") == (1, "", "Error: the server sent no embedding\n")


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--truncate=no", 'invalid value for --truncate: "no" (must be true or false)'),
        ("--dimensions=x", "argument --dimensions: invalid int value: 'x', see 'gristmill run --help'"),
    ],
)
def test_a_bad_flag_is_one_line(gristmill, embedder, flag, text):
    assert gristmill("run", "smollm2", "text", flag) == (1, "", f"Error: {text}\n")
