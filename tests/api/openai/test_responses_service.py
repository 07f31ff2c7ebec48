"""The Responses API of a server, in front of runners that follow a script."""

import json

import pytest
from support.event_stream import sent_events

from gristmill.runtime.errors import GristmillError, RunnerStopped

PATH = "/v1/responses"
ASK = {"model": "tiny", "input": "Hi"}


async def posted(api, body):
    status, content_type, data = await api.send("POST", PATH, body)
    assert (status, content_type, data[-1:]) == (200, "application/json", b"\n"), data
    return json.loads(data)


async def refused(api, body):
    status, _, data = await api.send("POST", PATH, body)
    error = json.loads(data)["error"]
    return status, error["type"], error["message"]


async def test_an_answer_whole_and_streamed(api):
    whole = await posted(api, ASK)
    assert whole["output"][0]["content"][0]["text"] == "Hello"
    assert (whole["status"], whole["usage"]["total_tokens"]) == ("completed", 5)
    events = await sent_events(api, PATH, ASK)
    assert [event["type"].removeprefix("response.") for event in events] == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    last = events[-1]["response"]
    assert last["output"][0]["content"] == whole["output"][0]["content"]
    assert last["usage"] == whole["usage"]


async def test_fields_reach_the_sampler(api):
    await posted(api, {**ASK, "max_output_tokens": 7, "top_p": 0.25})
    _, sampling, _ = api.runners.last.prompts[-1]
    assert (sampling.max_tokens, sampling.top_p, sampling.temperature) == (7, 0.25, 1.0)


async def test_an_empty_input_loads_and_answers_in_the_form_that_was_asked_for(api):
    body = {"model": "tiny", "input": ""}
    whole = await posted(api, body)
    assert whole["output"][0]["content"][0]["text"] == ""
    events = await sent_events(api, PATH, body)
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == ""
    assert api.runners.last.prompts == []


async def test_an_error_before_the_first_event_has_its_status(api):
    api.runners.script = [GristmillError("broken")]
    for body in (ASK, {**ASK, "stream": True}):
        assert await refused(api, body) == (500, "api_error", "broken")


@pytest.mark.parametrize("error", [GristmillError("broken"), RunnerStopped("broken")])
async def test_a_run_that_fails_is_told_by_the_last_event(api, error):
    api.runners.script = ["Hel", error]
    events = await sent_events(api, PATH, ASK)
    last = events[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"] == {"code": "server_error", "message": "broken"}
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (400, "invalid_request_error", "EOF")),
        ({"input": "x"}, (400, "invalid_request_error", "model is required")),
        ({**ASK, "model": "x"}, (404, "not_found_error", "model 'x' not found")),
        ({**ASK, "input": 5}, (400, "invalid_request_error", "input must be a string or array: 5")),
        ({**ASK, "stream": "yes"}, (400, "invalid_request_error", "stream: expected bool, got str")),
        (
            {**ASK, "tools": [{"type": "namespace", "name": "n", "tools": 5}]},
            (400, "invalid_request_error", 'tools: tools of the namespace "n" must be a list of objects'),
        ),
        (
            {**ASK, "tools": [{"type": "function", "name": "f"}]},
            (400, "invalid_request_error", "registry.ollama.ai/library/tiny:latest does not support tools"),
        ),
        (
            {**ASK, "reasoning": {"effort": "low"}},
            (400, "invalid_request_error", '"tiny" does not support thinking'),
        ),
    ],
)
async def test_errors_have_openais_shape(api, body, expected):
    assert await refused(api, body) == expected
