"""Settings come from the environment, by Ollama's rules."""

import logging
import math
import os
from pathlib import Path

import pytest

from gristmill.api.settings import Settings


def read(**env):
    return Settings.from_env({"HOME": "/home/me", **env})


def test_defaults():
    settings = read()
    assert (settings.scheme, settings.host, settings.port, settings.path) == ("http", "127.0.0.1", 11434, "")
    assert settings.models == Path("/home/me/.ollama/models")
    assert (settings.keep_alive_s, settings.load_timeout_s) == (300, 300)
    assert (settings.max_loaded_models, settings.num_parallel, settings.max_queue) == (0, 0, 512)
    assert (settings.n_slots, settings.n_contexts) == (16, 4)
    assert (settings.context_length, settings.kv_cache_type, settings.origins) == (0, "f16", ())
    assert (settings.noprune, settings.nohistory, settings.debug, settings.backend) == (False, False, 0, "auto")
    assert settings.spare_runner


@pytest.mark.parametrize(("text", "expected"), [("", True), ("1", True), ("0", False), ("false", False)])
def test_the_spare_runner_can_be_switched_off(text, expected):
    assert read(GRISTMILL_SPARE_RUNNER=text).spare_runner is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("http", "127.0.0.1", 11434, "")),
        ("0.0.0.0", ("http", "0.0.0.0", 11434, "")),
        ("1.2.3.4:80", ("http", "1.2.3.4", 80, "")),
        (":8080", ("http", "", 8080, "")),
        ("example.com", ("http", "example.com", 11434, "")),
        ("example.com:1234", ("http", "example.com", 1234, "")),
        ("http://example.com", ("http", "example.com", 80, "")),
        ("https://example.com", ("https", "example.com", 443, "")),
        ("https://example.com:1234", ("https", "example.com", 1234, "")),
        ("http://example.com/ollama/", ("http", "example.com", 80, "/ollama")),
        ("example.com:56/a/b", ("http", "example.com", 56, "/a/b")),
        ("::1", ("http", "::1", 11434, "")),
        ("[::1]", ("http", "::1", 11434, "")),
        ("[::1]:99", ("http", "::1", 99, "")),
        ("https://[::]:99", ("https", "::", 99, "")),
        (' "1.2.3.4" ', ("http", "1.2.3.4", 11434, "")),
        ("1.2.3.4:0", ("http", "1.2.3.4", 0, "")),
        ("1.2.3.4:65536", ("http", "1.2.3.4", 11434, "")),
        ("1.2.3.4:-1", ("http", "1.2.3.4", 11434, "")),
        ("1.2.3.4:http", ("http", "1.2.3.4", 11434, "")),
        ("https://h:x", ("https", "h", 443, "")),
    ],
)
def test_hosts(text, expected):
    settings = read(OLLAMA_HOST=text)
    assert (settings.scheme, settings.host, settings.port, settings.path) == expected


@pytest.mark.parametrize(
    ("text", "keep_alive", "load_timeout"),
    [
        ("", 300, 300),
        ("10m", 600, 600),
        ("30", 30, 30),
        ("0", 0, math.inf),
        ("0s", 0, math.inf),
        ("-1", math.inf, math.inf),
        ("-1m", math.inf, math.inf),
        ("1.5", 300, 300),
        ("soon", 300, 300),
        (" '2h' ", 7200, 7200),
    ],
)
def test_durations(text, keep_alive, load_timeout):
    assert read(OLLAMA_KEEP_ALIVE=text).keep_alive_s == keep_alive
    assert read(OLLAMA_LOAD_TIMEOUT=text).load_timeout_s == load_timeout


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", False), ("0", False), ("F", False), ("false", False), ("FALSE", False), ("1", True), ("t", True),
     ("True", True), ("yes", True), ("no", True), ('"0"', False)],
)  # fmt: skip
def test_booleans(text, expected):
    assert read(OLLAMA_NOPRUNE=text).noprune is expected
    assert read(OLLAMA_NOHISTORY=text).nohistory is expected


@pytest.mark.parametrize("text", ["many", "-1", "1.5", "1e3", "9" * 30, "0x10", "٣"])
def test_bad_integers_warn_and_leave_the_default(text, caplog):
    with caplog.at_level(logging.WARNING):
        assert read(OLLAMA_MAX_QUEUE=text).max_queue == 512
    assert "OLLAMA_MAX_QUEUE=" in caplog.text


def test_a_cache_type_that_is_none_warns_and_leaves_the_default(caplog):
    with caplog.at_level(logging.WARNING):
        assert read(OLLAMA_KV_CACHE_TYPE="q5_1").kv_cache_type == "f16"
    assert "OLLAMA_KV_CACHE_TYPE=" in caplog.text


def test_integers():
    settings = read(
        OLLAMA_MAX_QUEUE="7", OLLAMA_NUM_PARALLEL=" 2 ", OLLAMA_MAX_LOADED_MODELS="'3'", OLLAMA_CONTEXT_LENGTH="8192"
    )
    assert (settings.max_queue, settings.num_parallel, settings.max_loaded_models) == (7, 2, 3)
    assert settings.context_length == 8192
    assert (settings.n_slots, settings.n_contexts) == (2, 2)
    assert read(OLLAMA_NUM_PARALLEL="0").n_slots == 16
    assert read(OLLAMA_MAX_QUEUE="0").max_queue == 512


@pytest.mark.parametrize(
    ("text", "level"), [("", 0), ("0", 0), ("false", 0), ("1", 1), ("true", 1), ("2", 2), ("9", 2), ("x", 0)]
)
def test_debug_levels(text, level):
    assert read(OLLAMA_DEBUG=text).debug == level


def test_texts():
    settings = read(
        OLLAMA_ORIGINS="http://a.example, app://*,,",
        OLLAMA_KV_CACHE_TYPE="Q8_0",
        GRISTMILL_BACKEND="CPU",
        OLLAMA_MODELS="~/models",
    )
    assert settings.origins == ("http://a.example", "app://*")
    assert (settings.kv_cache_type, settings.backend) == ("q8_0", "cpu")
    assert settings.models == Path("/home/me/models")
    assert read(OLLAMA_MODELS="/data/my models").models == Path("/data/my models")


def test_old_and_unknown_names_are_ignored():
    assert read(OLLAMA_MAX_VRAM="1", OLLAMA_RUNNERS_DIR="/x", OLLAMA_BOGUS="1") == read()


def test_the_real_environment_will_do():
    assert Settings.from_env(os.environ).port >= 0
