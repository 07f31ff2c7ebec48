"""The whole path with real processes: server, runner, store, and the official client in front."""

import contextlib
import hashlib
import http.client
import json
import os
import signal
import threading
import time

import ollama
import pytest
from support.service import running_service
from support.tiny_model import SPECIALS, write_tiny_model

GREEDY = {"temperature": 0, "num_predict": 8}
ENDLESS = {"temperature": 1.0, "seed": 1, "num_predict": 100_000, "num_ctx": 4096}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    gguf = write_tiny_model(folder / "tiny.gguf", context=4096)
    with running_service(folder / "models", OLLAMA_NUM_PARALLEL="8") as service:
        statuses = [line["status"] for line in service.create("tiny", gguf, system="Be brief.")]
        assert statuses[0] == "parsing GGUF"
        assert statuses[-2:] == ["writing manifest", "success"]
        yield service


@contextlib.contextmanager
def official_client(service):
    client = ollama.Client(host=service.url)
    with contextlib.closing(client._client):
        yield client


@pytest.fixture
def client(service):
    with official_client(service) as client:
        yield client


def until(condition, what):
    for _ in range(600):
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"never happened: {what}")


def test_the_official_client_lists_and_shows(client):
    (listed,) = client.list().models
    assert listed.model == "tiny:latest"
    shown = client.show("tiny")
    assert shown.details.family == "llama"
    assert shown.capabilities == ["completion"]
    assert shown.modelinfo["llama.block_count"] == 2
    assert "Be brief." in shown.modelfile


def test_the_official_client_generates_whole_and_streamed_with_the_same_text(client):
    whole = client.generate("tiny", "Hello", options=GREEDY)
    pieces = list(client.generate("tiny", "Hello", options=GREEDY, stream=True))
    assert whole.done
    assert whole.done_reason in ("stop", "length")
    assert "".join(piece.response for piece in pieces) == whole.response
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    last = pieces[-1]
    assert last.prompt_eval_count > 0
    assert last.eval_count <= 8
    assert min(last.total_duration, last.load_duration, last.prompt_eval_duration, last.eval_duration) > 0


def test_the_official_client_chats_whole_and_streamed(client):
    messages = [{"role": "user", "content": "Hello"}]
    whole = client.chat("tiny", messages, options=GREEDY)
    pieces = list(client.chat("tiny", messages, options=GREEDY, stream=True))
    assert whole.message.role == "assistant"
    assert "".join(piece.message.content for piece in pieces) == whole.message.content


def test_context_continues_a_generation(client):
    first = client.generate("tiny", "one two", options=GREEDY)
    second = client.generate("tiny", " three", context=first.context, options=GREEDY)
    assert list(second.context[: len(first.context)]) == list(first.context)


def test_the_official_client_loads_lists_and_unloads(service, client):
    assert client.generate("tiny", "", keep_alive="10m").done_reason == "load"
    (running,) = client.ps().models
    assert running.name == "tiny:latest"
    assert running.size > 0
    (pid,) = service.runner_pids()
    assert client.generate("tiny", "", keep_alive=0).done_reason == "unload"
    assert client.ps().models == []
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the runner's end")


def test_greedy_output_is_the_same_alone_and_among_seven_others(service, client):
    prompts = [f"request number {i} " * (1 + i % 3) for i in range(8)]
    alone = [client.generate("tiny", prompt, options=GREEDY).response for prompt in prompts]
    together = [""] * len(prompts)

    def ask(i):
        with official_client(service) as client:
            together[i] = client.generate("tiny", prompts[i], options=GREEDY).response

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


@contextlib.contextmanager
def endless_stream(service):
    """The response to a request that goes on and on, its first line read."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)) as connection:
        body = {"model": "tiny", "prompt": "go", "raw": True, "options": ENDLESS}
        connection.request("POST", "/api/generate", json.dumps(body))
        response = connection.getresponse()
        assert response.status == 200
        assert "response" in json.loads(response.readline())
        yield response


def test_a_killed_runner_is_one_error_line_and_the_next_request_works(service, client):
    with endless_stream(service) as response:
        (pid,) = service.runner_pids()
        os.kill(pid, signal.SIGKILL)
        lines = response.read().splitlines()
    error = json.loads(lines[-1])
    assert "model runner has unexpectedly stopped" in error["error"]
    assert not any(json.loads(line).get("done") for line in lines)
    assert service.process.poll() is None
    assert client.generate("tiny", "Hello", options={**GREEDY, "num_ctx": 4096}).done
    assert service.runner_pids() != [pid]


def test_a_client_that_leaves_stops_the_work(service, client):
    with endless_stream(service):
        (pid,) = service.runner_pids()
    ticks = cpu_ticks(pid)

    def rests():
        nonlocal ticks
        before, ticks = ticks, cpu_ticks(pid)
        time.sleep(0.1)
        return cpu_ticks(pid) == ticks == before

    until(rests, "a runner at rest")


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_text_in_a_message_makes_no_control_tokens(service, client):
    end = SPECIALS[2]
    plain = client.chat("tiny", [{"role": "user", "content": "x" * len(end)}], options=GREEDY)
    forged = client.chat("tiny", [{"role": "user", "content": end}], options=GREEDY)
    assert forged.prompt_eval_count == plain.prompt_eval_count  # one token for each byte, none for the marker
    raw = client.generate("tiny", end, raw=True, options=GREEDY)
    assert raw.prompt_eval_count == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/api/generate", {"model": "none", "prompt": "x"}, 404, "model 'none' not found"),
        ("/api/chat", {"messages": []}, 400, "model is required"),
        ("/api/chat", {"model": "tiny", "messages": "x"}, 400, "messages: expected array, got str"),
        (
            *("/api/generate", {"model": "tiny", "prompt": "x" * 5000, "truncate": False}),
            *(400, "does not fit into the context of 4096"),
        ),
        ("/api/generate", {"model": "tiny", "prompt": "x", "options": {"num_ctx": "4"}}, 400, 'option "num_ctx"'),
        ("/api/generate", {"model": "tiny", "prompt": "x", "format": "xml"}, 400, "invalid format"),
        ("/api/chat", {"model": "tiny", "messages": [{"role": "user"}], "think": True}, 400, "does not support think"),
        ("/api/show", {"model": "none"}, 404, "model 'none:latest' not found"),
    ],
)
def test_what_cannot_be_served_is_one_clear_line(service, path, body, status, error):
    found, data = service.request("POST", path, body)
    assert found == status
    assert error in json.loads(data)["error"]


def test_answers_keep_to_their_format(service, client):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99}, "b": {"enum": ["x", "y"]}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    for seed in range(4):
        options = {"seed": seed, "num_predict": 300}
        for answer in (
            client.generate("tiny", "x", format=schema, options=options).response,
            client.chat("tiny", [{"role": "user", "content": "x"}], format=schema, options=options).message.content,
        ):
            value = json.loads(answer)
            assert list(value) == ["a", "b"]
            assert 0 <= value["a"] <= 99
            assert value["b"] in ("x", "y")
    assert client.generate("tiny", "x", format="json", options={"num_predict": 1}).response.startswith("{")


def test_a_malformed_file_never_becomes_a_model(service, tmp_path):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + b"\xff" * 60)
    digest = f"sha256:{hashlib.sha256(bad.read_bytes()).hexdigest()}"
    assert service.request("POST", f"/api/blobs/{digest}", bad.read_bytes())[0] == 201
    body = {"model": "bad", "files": {"bad.gguf": digest}, "stream": False}
    status, data = service.request("POST", "/api/create", body)
    assert status == 400
    assert json.loads(data)["error"].startswith("invalid gguf: ")
    assert [model["name"] for model in service.json("GET", "/api/tags")["models"]] == ["tiny:latest"]


def test_an_ollama_folder_runs_in_place(service, tmp_path):
    """A second server on the same folder finds and runs what the first one has stored."""
    with running_service(service.store) as other:
        assert other.json("GET", "/api/tags")["models"][0]["name"] == "tiny:latest"
        answer = other.json(
            "POST", "/api/generate", {"model": "tiny", "prompt": "x", "stream": False, "options": GREEDY}
        )
        assert answer["done"]
