"""OpenAI's endpoints of a server, in front of runners that follow a script."""

import asyncio
import base64
import json
import struct
import threading

import msgspec
import pytest
import zstandard
from support.tiny_model import write_tiny_model

from gristmill.api.body import MAX_BODIES_BYTES
from gristmill.api.openai import answers, handlers
from gristmill.api.openai.chat import chat_requests
from gristmill.api.openapi.answers import ModelList, ModelObject
from gristmill.runtime.errors import GristmillError

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
TEXT = {"model": "tiny", "prompt": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CHATML_HI = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


async def posted(api, path, body, kind):
    status, content_type, data = await api.send("POST", path, body)
    assert (status, content_type, data[-1:]) == (200, "application/json", b"\n"), data
    answer = json.loads(data)
    assert msgspec.to_builtins(msgspec.convert(answer, kind)) == answer
    return answer


async def events(api, path, body):
    """The data of all events: objects, and the text of one that is none."""
    status, content_type, data = await api.send("POST", path, {**body, "stream": True})
    assert (status, content_type) == (200, "text/event-stream"), data
    *blocks, rest = data.decode().split("\n\n")
    assert rest == ""
    found = [block.removeprefix("data: ") for block in blocks]
    assert all(block.startswith("data: ") for block in blocks)
    return [json.loads(event) if event.startswith("{") else event for event in found]


async def refused(api, path, body, **options):
    status, content_type, data = await api.send("POST", path, body, **options)
    error = json.loads(data)["error"]
    assert content_type == "application/json; charset=utf-8"
    assert list(error) == ["message", "type", "param", "code"]
    assert (error["param"], error["code"]) == (None, None)
    return status, error["type"], error["message"]


async def test_a_chat_whole_and_streamed(api):
    whole = await posted(api, "/v1/chat/completions", CHAT, answers.ChatCompletion)
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "Hello"}
    assert whole["usage"]["total_tokens"] == 5
    *frames, done = await events(api, "/v1/chat/completions", CHAT)
    assert done == "[DONE]"
    assert [frame["choices"][0]["delta"] for frame in frames] == [
        {"role": "assistant", "content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert len({(frame["id"], frame["created"], frame["model"]) for frame in frames}) == 1
    assert [prompt for prompt, *_ in api.runners.last.prompts] == [CHATML_HI] * 2


async def test_a_completion_whole_and_streamed(api):
    whole = await posted(api, "/v1/completions", TEXT, answers.Completion)
    assert whole["choices"] == [{"text": "Hello", "index": 0, "finish_reason": "stop"}]
    *frames, usage, done = await events(api, "/v1/completions", {**TEXT, "stream_options": {"include_usage": True}})
    assert done == "[DONE]"
    assert [frame["choices"][0]["text"] for frame in frames] == ["Hel", "lo", ""]
    assert usage["usage"]["total_tokens"] == 5
    assert api.runners.last.prompts[0][0] == CHATML_HI


async def test_an_empty_prompt_loads_in_a_stream_as_well(api):
    frame, done = await events(api, "/v1/completions", {"model": "tiny"})
    assert (frame["choices"][0]["finish_reason"], done) == ("load", "[DONE]")
    assert api.runners.last.prompts == []


async def test_fields_reach_the_sampler(api):
    body = {"max_completion_tokens": 9, "seed": 4, "stop": "x", "top_k": 3, "logit_bias": {"65": -100}}
    await posted(api, "/v1/chat/completions", {**CHAT, **body}, answers.ChatCompletion)
    sampling = api.runners.last.prompts[-1][1]
    assert (sampling.max_tokens, sampling.seed, sampling.stop, sampling.top_k) == (9, 4, ("x",), 3)
    assert (sampling.temperature, sampling.top_p, sampling.logit_bias) == (1.0, 1.0, {65: -100.0})


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/v1/chat/completions", {**CHAT, "logprobs": True, "top_logprobs": 2}, answers.ChatCompletion),
        ("/v1/completions", {**TEXT, "logprobs": 2}, answers.Completion),
        ("/v1/completions", {**TEXT, "logprobs": 0}, answers.Completion),
        ("/v1/completions", {"model": "tiny"}, answers.Completion),
    ],
)
async def test_answers_are_of_their_types(api, path, body, kind):
    await posted(api, path, body, kind)


@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/completions", TEXT)])
async def test_a_prompt_is_shown_once_and_not_run(api, path, body):
    shown = await api.json(path, {**body, "_debug_render_only": True, "stream": True, "n": 3})
    assert shown["_debug_info"] == {"rendered_template": CHATML_HI}
    assert [choice["finish_reason"] for choice in shown["choices"]] == [None]
    assert api.runners.last.prompts == []


async def test_several_choices_of_one_prompt(api):
    body = {**CHAT, "n": 3, "seed": 7}
    whole = await posted(api, "/v1/chat/completions", body, answers.ChatCompletion)
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert sorted(sampling.seed for _, sampling, _ in api.runners.last.prompts) == [7, 8, 9]
    assert whole["usage"]["prompt_tokens"] == 3
    assert whole["usage"]["completion_tokens"] == 6
    *frames, done = await events(api, "/v1/chat/completions", body)
    assert done == "[DONE]"
    for index in range(3):
        own = [frame["choices"][0] for frame in frames if frame["choices"][0]["index"] == index]
        assert "".join(entry["delta"].get("content", "") for entry in own) == "Hello"
        assert own[-1]["finish_reason"] == "stop"


async def test_several_prompts(api):
    body = {**TEXT, "prompt": ["a", "b"], "n": 2}
    whole = await posted(api, "/v1/completions", body, answers.Completion)
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2, 3]
    assert (whole["usage"]["prompt_tokens"], whole["usage"]["completion_tokens"]) == (6, 8)
    await posted(api, "/v1/completions", {**TEXT, "prompt": [[65], [66, 67]]}, answers.Completion)
    assert [prompt for prompt, *_ in api.runners.last.prompts[-2:]] == [[65], [66, 67]]


async def test_an_error_before_the_first_frame_has_its_status(api):
    api.runners.script = [GristmillError("broken")]
    for body in (CHAT, {**CHAT, "stream": True}, {**CHAT, "n": 2, "stream": True}):
        assert await refused(api, "/v1/chat/completions", body) == (500, "api_error", "broken")


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/completions", TEXT)])
async def test_an_error_after_the_first_frame_is_the_last_event(api, path, body, n):
    api.runners.script = ["Hel", GristmillError("broken")]
    first, *_, last = await events(api, path, {**body, "n": n})
    assert first["choices"][0]["finish_reason"] is None
    assert last == {"error": {"message": "broken", "type": "api_error", "param": None, "code": None}}


async def test_a_client_that_leaves_ends_all_its_choices(api):
    api.runners.script = ["Hel", asyncio.Event()]
    body = json.dumps({**CHAT, "n": 3, "stream": True})
    async with api.client.post("/v1/chat/completions", data=body) as response:
        for _ in range(3):
            await response.content.readuntil(b"\n\n")
    for _ in range(200):
        if api.runners.last.aborted == 3:
            break
        await asyncio.sleep(0.01)
    assert api.runners.last.aborted == 3


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/chat/completions", None, (400, "invalid_request_error", "EOF")),
        ("/v1/chat/completions", b"", (400, "invalid_request_error", "EOF")),
        ("/v1/chat/completions", b"null", (400, "invalid_request_error", "[] is too short - 'messages'")),
        ("/v1/chat/completions", b"{", (400, "invalid_request_error", "unexpected EOF")),
        ("/v1/chat/completions", {**CHAT, "model": ""}, (400, "invalid_request_error", "model is required")),
        ("/v1/chat/completions", {**CHAT, "model": "x"}, (404, "not_found_error", "model 'x' not found")),
        ("/v1/completions", {"model": "x"}, (404, "not_found_error", "model 'x' not found")),
        (
            *("/v1/chat/completions", {**CHAT, "top_logprobs": 21}),
            (400, "invalid_request_error", "top_logprobs must be between 0 and 20"),
        ),
        (
            *("/v1/chat/completions", {**CHAT, "tools": [TOOL]}),
            (400, "invalid_request_error", "registry.ollama.ai/library/tiny:latest does not support tools"),
        ),
        (
            *("/v1/chat/completions", {**CHAT, "tool_choice": "any"}),
            (400, "invalid_request_error", 'tool_choice: "any" is none of auto, none, required, nor a tool\'s name'),
        ),
        (
            *("/v1/chat/completions", {**CHAT, "reasoning_effort": "low"}),
            (400, "invalid_request_error", '"tiny" does not support thinking'),
        ),
        (
            *("/v1/chat/completions", {**CHAT, "logit_bias": {"x": 1}}),
            (400, "invalid_request_error", 'logit_bias: "x" is not a token id'),
        ),
        (
            *("/v1/chat/completions", {**CHAT, "model": "x:cloud"}),
            (403, "permission_error", "ollama cloud is disabled: remote model is unavailable"),
        ),
        ("/v1/embeddings", {"model": "tiny"}, (400, "invalid_request_error", "invalid input")),
        ("/v1/embeddings", {"model": "tiny", "input": []}, (400, "invalid_request_error", "invalid input")),
        ("/v1/embeddings", {"model": "tiny", "input": [1, "a"]}, (400, "invalid_request_error", "invalid input type")),
        (
            *("/v1/embeddings", {"model": "tiny", "input": "a", "dimensions": -1}),
            (400, "invalid_request_error", "dimensions: expected int >= 0"),
        ),
        (
            *("/v1/embeddings", {"model": "x", "input": "a"}),
            (404, "not_found_error", 'model "x" not found, try pulling it first'),
        ),
    ],
)
async def test_errors_have_openais_shape(api, path, body, expected):
    assert await refused(api, path, body) == expected


async def test_the_wrong_encoding_of_vectors_names_the_right_ones(api):
    body = {"model": "tiny", "input": "a", "encoding_format": "int8"}
    *_, text = await refused(api, "/v1/embeddings", body)
    assert text == "Invalid value for 'encoding_format' = int8. Supported values: ['float', 'base64']."


async def test_a_zstd_body_is_read(api):
    body = zstandard.compress(json.dumps(CHAT).encode())
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat"):
        asked = body if "messages" in path else zstandard.compress(json.dumps({**CHAT, "input": "Hi"}).encode())
        if path == "/v1/messages":
            asked = zstandard.compress(json.dumps({**CHAT, "max_tokens": 4}).encode())
        status, _, data = await api.send("POST", path, asked, headers={"Content-Encoding": " ZSTD"})
        assert status == 200, data


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", (400, "invalid_request_error", "request body is no zstd stream, is damaged, or needs")),
        (zstandard.compress(b"{}")[:-1], (400, "invalid_request_error", "unexpected EOF")),
        (zstandard.compress(b" " * (2 << 20)), (413, "api_error", "request body too large (limit 1048576 bytes after")),
        (b"", (400, "invalid_request_error", "EOF")),
    ],
    ids=["plain", "cut", "bomb", "empty"],
)
async def test_a_zstd_body_that_cannot_be_used_is_refused(api, body, expected):
    status, kind, text = await refused(api, "/v1/chat/completions", body, headers={"Content-Encoding": "zstd"})
    assert (status, kind, text[: len(expected[2])]) == expected
    assert api.service.bodies._left == MAX_BODIES_BYTES


@pytest.mark.parametrize("coding", ["compress", "gzip", "deflate", "br", "zstd, zstd", "gzip,zstd"])
async def test_a_body_in_another_coding_is_refused(api, coding):
    found = await refused(api, "/v1/chat/completions", CHAT, headers={"Content-Encoding": coding})
    assert found == (415, "api_error", "content-encoding is not supported, send the body as it is")


async def test_a_large_body_is_translated_in_a_thread(api, monkeypatch):
    threads = []

    def translated(body):
        threads.append(threading.current_thread())
        return chat_requests(body)

    monkeypatch.setattr(handlers, "chat_requests", translated)
    many = [{"role": "user", "content": "x" * 100}] * 3000
    for messages in (CHAT["messages"], many):
        await api.send("POST", "/v1/chat/completions", {**CHAT, "messages": messages})
    small, large = (thread is threading.main_thread() for thread in threads)
    assert (small, large) == (True, False)


async def test_a_body_that_is_no_text_is_refused(api):
    status, kind, _ = await refused(api, "/v1/completions", b"\xff")
    assert (status, kind) == (400, "invalid_request_error")


async def test_other_methods_and_paths_have_plain_texts(api):
    found, content_type, data = await api.send("GET", "/v1/chat/completions")
    assert (found, content_type, data) == (405, "text/plain; charset=utf-8", b"405 method not allowed")
    found, content_type, data = await api.send("POST", "/v1/files")
    assert (found, content_type, data) == (404, "text/plain; charset=utf-8", b"404 page not found")


async def test_vectors_of_texts_and_of_token_ids(api):
    for given, n, n_tokens in (("abc", 1, 3), (["a", "", "bc"], 3, 3), ("", 1, 0), ([5, 6], 1, 2), ([[5], [6]], 2, 2)):
        answer = await posted(api, "/v1/embeddings", {"model": "tiny", "input": given}, answers.EmbeddingList)
        assert [item["index"] for item in answer["data"]] == list(range(n))
        assert answer["data"][0]["embedding"] == [0.6, 0.8, 0.0]
        assert answer["usage"] == {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    assert [inputs for inputs, _ in api.runners.last.embedded][2] == [""]


@pytest.mark.parametrize(("dimensions", "vector"), [(0, (0.6, 0.8, 0.0)), (2, (0.6, 0.8)), (1, (1.0,))])
async def test_vectors_in_base64_and_of_fewer_dimensions(api, dimensions, vector):
    body = {"model": "tiny", "input": "abc", "encoding_format": "Base64", "dimensions": dimensions}
    answer = await posted(api, "/v1/embeddings", body, answers.EmbeddingList)
    data = base64.b64decode(answer["data"][0]["embedding"])
    assert struct.unpack(f"<{len(vector)}f", data) == pytest.approx(vector)


async def got(api, path, kind):
    status, content_type, data = await api.send("GET", path)
    assert (status, content_type) == (200, "application/json")
    answer = json.loads(data)
    assert msgspec.to_builtins(msgspec.convert(answer, kind)) == answer
    return answer


async def test_models_are_listed_as_tags_are(api):
    await api.create("me/poet:small", from_="tiny", system="Rhyme.")
    listed = await got(api, "/v1/models", ModelList)
    _, _, tags = await api.send("GET", "/api/tags")
    assert [model["id"] for model in listed["data"]] == [line["name"] for line in json.loads(tags)["models"]]
    assert {(model["id"], model["owned_by"]) for model in listed["data"]} == {
        ("tiny:latest", "library"),
        ("me/poet:small", "me"),
    }


async def test_without_models_the_list_is_empty(api):
    api.service.store.delete("tiny")
    assert (await got(api, "/v1/models", ModelList))["data"] == []


@pytest.mark.parametrize(
    ("sent", "shown", "owner"),
    [
        ("tiny", "tiny", "library"),
        ("tiny:latest", "tiny:latest", "library"),
        ("me/poet:small", "me/poet:small", "me"),
        ("me%2Fpoet:small", "me/poet:small", "me"),
    ],
)
async def test_one_model(api, sent, shown, owner):
    await api.create("me/poet:small", from_="tiny")
    found = await got(api, f"/v1/models/{sent}", ModelObject)
    assert (found["id"], found["owned_by"]) == (shown, owner)


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [("no", 404, "model 'no:latest' not found"), ("a/b/c/d/e f", 400, "invalid model name")],
)
async def test_a_model_that_is_not_there(api, name, status, text):
    found, _, data = await api.send("GET", f"/v1/models/{name}")
    assert (found, json.loads(data)["error"]["message"]) == (status, text)


@pytest.fixture
async def caller(api, tmp_path):
    """A model whose template takes tools."""
    template = "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
    path = write_tiny_model(tmp_path / "caller.gguf", chat_template=template)
    digest, _ = api.service.store.blobs.add(path.read_bytes())
    await api.create("caller", files={"caller.gguf": str(digest)})
    await api.json("/api/chat", {"model": "caller"})
    return api


async def test_a_forced_call_comes_whole_and_streamed(caller):
    body = {**CHAT, "model": "caller", "tools": [TOOL], "tool_choice": "required"}
    script = ['{"name": "f", "param', 'eters": {"a": 1}}']
    caller.runners.last.next_scripts = [script, script]
    whole = await posted(caller, "/v1/chat/completions", body, answers.ChatCompletion)
    (choice,) = whole["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "")
    assert (call["type"], call["function"]) == ("function", {"name": "f", "arguments": '{"a":1}'})
    *frames, done = await events(caller, "/v1/chat/completions", body)
    first, last = (frame["choices"][0] for frame in frames)
    assert done == "[DONE]"
    assert first["delta"]["tool_calls"][0]["function"] == call["function"]
    assert last["finish_reason"] == "tool_calls"
