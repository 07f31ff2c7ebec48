"""Native chat lines become chat completions and their frames."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.native_lines import call, chat_line, chat_lines, logprob, shuffled

from gristmill.api.answer import whole_chat
from gristmill.api.openai.answers import ChatCompletion, ChatCompletionChunk
from gristmill.api.openai.chat_answer import ChatStream, chat_completion
from gristmill.api.openai.wire import Head, usage

WHOLE = Head("chatcmpl-1", "chat.completion", 1755770000, "m")
CHUNK = Head("chatcmpl-1", "chat.completion.chunk", 1755770000, "m")
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 0},
}
CALL = {"id": "call_0", "index": 0, "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


def is_a(kind, value):
    """Whether ``value`` has the keys of ``kind`` with values of their types, and no others."""
    return msgspec.to_builtins(msgspec.convert(value, kind)) == value


def test_a_whole_answer_has_the_documented_keys_in_their_order():
    answer = chat_completion(WHOLE, [chat_line("Hi", "stop")])
    assert json.dumps(answer) == json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1755770000,
            "model": "m",
            "system_fingerprint": "fp_ollama",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
            "usage": USAGE,
        }
    )
    assert is_a(ChatCompletion, answer)


@pytest.mark.parametrize(
    ("line", "message", "reason"),
    [
        (chat_line("Hi", "length"), {"content": "Hi"}, "length"),
        (chat_line("", "load"), {"content": ""}, "load"),
        (chat_line("Hi", ""), {"content": "Hi"}, None),
        (chat_line("Hi", "stop", thinking="hm"), {"content": "Hi", "reasoning": "hm"}, "stop"),
        (chat_line("", "stop", tool_calls=[call(a=1)]), {"content": "", "tool_calls": [CALL]}, "tool_calls"),
        (chat_line("", "length", tool_calls=[call(a=1)]), {"content": "", "tool_calls": [CALL]}, "length"),
    ],
)
def test_one_choice(line, message, reason):
    (choice,) = chat_completion(WHOLE, [line])["choices"]
    assert choice == {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}


def test_only_the_first_call_is_kept_where_one_is_wanted():
    line = chat_line("", "stop", tool_calls=[call(a=1), call("g", 1)])
    (choice,) = chat_completion(WHOLE, [line], one_call=True)["choices"]
    assert choice["message"]["tool_calls"] == [CALL]


def test_log_probabilities_have_all_keys():
    top = [logprob("H", -0.5), logprob("J", -2)]
    line = chat_line("Hi", "stop", [logprob("H", top=top), {"token": "", "logprob": -1.0}])
    answer = chat_completion(WHOLE, [line])
    assert answer["choices"][0]["logprobs"] == {
        "content": [
            {"token": "H", "logprob": -0.5, "bytes": [72], "top_logprobs": top},
            {"token": "", "logprob": -1.0, "bytes": None, "top_logprobs": []},
        ]
    }
    assert is_a(ChatCompletion, answer)


def test_a_shown_prompt_is_passed_on():
    line = {**chat_line(), "_debug_info": {"rendered_template": "x"}}
    answer = chat_completion(WHOLE, [line])
    assert answer["_debug_info"] == {"rendered_template": "x"}
    assert answer["choices"][0]["finish_reason"] is None


def test_a_prompt_counts_once_and_is_cached_as_far_as_the_first_run_found_it():
    lines = [chat_line("a", "stop"), {**chat_line("b", "stop"), "prompt_cached_count": 9}]
    assert usage(lines, 2) == {**USAGE, "completion_tokens": 10, "total_tokens": 20}
    assert usage(lines[1:], 1)["prompt_tokens_details"] == {"cached_tokens": 9}
    two_prompts = usage(lines, 1)
    assert (two_prompts["prompt_tokens"], two_prompts["prompt_tokens_details"]) == (20, {"cached_tokens": 9})
    assert usage([{"done": True}], 1)["total_tokens"] == 0


def stream(*lines, **options):
    maker = ChatStream(CHUNK, 1, **options)
    frames = [frame for line in lines for frame in maker.frames(0, line)]
    return [*frames, *maker.end()]


def deltas(*lines, **options):
    choices = [frame["choices"][0] for frame in stream(*lines, **options)]
    return [(choice["delta"], choice["finish_reason"]) for choice in choices]


def opened(**delta):
    return {"role": "assistant", **delta}


END = chat_line("", "stop")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([chat_line("He"), chat_line("llo"), END], [opened(content="He"), {"content": "llo"}, {}]),
        ([END], [opened(content=""), {}]),
        ([chat_line("all", "stop")], [opened(content="all"), {}]),
        ([chat_line(), END], [opened(content=""), {}]),
        (
            [chat_line(thinking="hm"), chat_line("Hi"), END],
            [opened(content="", reasoning="hm"), {"content": "Hi"}, {}],
        ),
        ([chat_line("Hi", thinking="hm"), END], [opened(reasoning="hm"), {"content": "Hi"}, {}]),
        (
            [chat_line(tool_calls=[call(a=1)]), END],
            [opened(content="", tool_calls=[CALL]), {}],
        ),
        (
            [chat_line(thinking="hm", tool_calls=[call(a=1)]), END],
            [opened(reasoning="hm"), {"content": "", "tool_calls": [CALL]}, {}],
        ),
    ],
)
def test_lines_become_deltas(lines, expected):
    assert [delta for delta, _ in deltas(*lines)] == expected


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([chat_line("a"), END], "stop"),
        ([chat_line("a"), chat_line("", "length")], "length"),
        ([chat_line(tool_calls=[call(a=1)]), END], "tool_calls"),
        ([chat_line(tool_calls=[call(a=1)]), chat_line("", "length")], "length"),
        ([chat_line("a"), chat_line("", "")], None),
    ],
)
def test_the_last_frame_says_why(lines, reason):
    *first, last = deltas(*lines)
    assert last == ({}, reason)
    assert {reason for _, reason in first} == {None}


def test_where_one_call_is_wanted_later_ones_are_left_out():
    lines = [chat_line(tool_calls=[call(a=1), call("g", 1)]), chat_line(tool_calls=[call("h", 2)]), END]
    assert deltas(*lines, one_call=True) == [
        (opened(content="", tool_calls=[CALL]), None),
        ({}, "tool_calls"),
    ]


def test_log_probabilities_are_with_the_first_of_two_frames_of_a_line():
    lines = [chat_line("a", logprobs=[logprob("a")]), chat_line("b", logprobs=[logprob("b")], thinking="hm"), END]
    found = [frame["choices"][0].get("logprobs") for frame in stream(*lines)]
    tokens = [entry and [token["token"] for token in entry["content"]] for entry in found]
    assert tokens == [["a"], ["b"], None, None]


def test_half_a_character_has_a_frame_for_its_log_probability():
    first, *_ = stream(chat_line("", logprobs=[logprob(b"\xe2")]), END)
    assert first["choices"][0]["delta"] == opened(content="")
    assert first["choices"][0]["logprobs"]["content"][0]["bytes"] == [0xE2]


def test_usage_comes_after_all_only_where_it_was_asked_for():
    *first, last = stream(chat_line("a"), END, include_usage=True)
    assert (last["choices"], last["usage"]) == ([], USAGE)
    assert not any("usage" in frame for frame in [*first, *stream(END)])


async def whole(lines):
    async def again():
        for line in lines:
            yield line

    return await whole_chat(again())


@given(mixed=shuffled(st.lists(chat_lines(), min_size=1, max_size=3)), include_usage=st.booleans(), one=st.booleans())
async def test_frames_of_any_lines_are_in_order_and_add_up_to_the_whole_answer(mixed, include_usage, one):
    n = 1 + max(index for index, _ in mixed)
    maker = ChatStream(CHUNK, n, include_usage=include_usage, one_call=one)
    frames = [frame for index, line in mixed for frame in maker.frames(index, line)]
    assert all(is_a(ChatCompletionChunk, frame) for frame in frames)
    assert all(len(frame["choices"]) == 1 and "usage" not in frame for frame in frames)
    lines = [await whole([line for i, line in mixed if i == index]) for index in range(n)]
    answer = chat_completion(WHOLE, lines, one_call=one)
    for index, expected in enumerate(answer["choices"]):
        entries = [frame["choices"][0] for frame in frames if frame["choices"][0]["index"] == index]
        assert ["role" in entry["delta"] for entry in entries] == [True] + [False] * (len(entries) - 1)
        assert [entry["delta"] == {} for entry in entries] == [False] * (len(entries) - 1) + [True]
        assert [entry["finish_reason"] for entry in entries[:-1]] == [None] * (len(entries) - 1)
        assert added_up(entries) == expected
    end = list(maker.end())
    assert [frame["usage"] for frame in end] == [answer["usage"]] * include_usage


def added_up(entries):
    """A choice of the whole answer, from those of the frames."""
    message = {"role": entries[0]["delta"]["role"], "content": ""}
    tokens = []
    for entry in entries:
        for key, value in entry["delta"].items():
            if key != "role" and value:
                message[key] = message.get(key, type(value)()) + value
        tokens += entry.get("logprobs", {"content": []})["content"]
    logprobs = {"logprobs": {"content": tokens}} if tokens else {}
    return {"index": entries[0]["index"], "message": message, "finish_reason": entries[-1]["finish_reason"], **logprobs}
