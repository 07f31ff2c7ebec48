"""Completion requests become native generate requests, and their lines completions and frames."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.native_lines import logprob, read, shuffled, text_line

from gristmill.api.answer import whole_generate
from gristmill.api.openai.answers import Completion
from gristmill.api.openai.completions import CompletionStream, completion, completion_requests
from gristmill.api.openai.schema import CompletionRequest
from gristmill.api.openai.token_logprobs import TokenLogprobs
from gristmill.api.openai.wire import Head
from gristmill.runtime.errors import InvalidRequest

DEFAULTS = {"temperature": 1.0, "top_p": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}
HEAD = Head("cmpl-1", "text_completion", 1755770000, "m")
PROMPT_ERROR = "prompt: expected a text, a list of texts, token ids, or a list of lists of token ids"


def natives(**body):
    return completion_requests(read(CompletionRequest, **{"model": "m", "prompt": "Hi", **body}))


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({}, {}),
        ({"max_tokens": 7}, {"num_predict": 7}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"top_p": 0}, {}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"options": {"top_p": 0.4}}, {"top_p": 0.4}),
        ({"seed": 3}, {"seed": 3}),
        ({"stop": "x"}, {"stop": ["x"]}),
        ({"stop": ["x", "y"]}, {"stop": ["x", "y"]}),
        ({"frequency_penalty": 0.5, "presence_penalty": -1}, {"frequency_penalty": 0.5, "presence_penalty": -1}),
        ({"top_k": 4, "min_p": 0.1, "repeat_penalty": 1.1}, {"top_k": 4, "min_p": 0.1, "repeat_penalty": 1.1}),
        ({"echo": False, "best_of": 3, "user": "u"}, {}),
    ],
)
def test_fields_become_options(body, options):
    (request,) = natives(**body)
    assert request.options == {**DEFAULTS, **options}


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Hi", [("Hi", [])]),
        ("", [("", [])]),
        (None, [("", [])]),
        (["a", "b"], [("a", []), ("b", [])]),
        ([1, 2], [("", [1, 2])]),
        ([[1, 2], [3]], [("", [1, 2]), ("", [3])]),
    ],
)
def test_prompts_are_texts_or_token_ids(prompt, expected):
    assert [(request.prompt, request.tokens) for request in natives(prompt=prompt)] == expected


def test_each_prompt_has_its_choices_with_seeds_of_their_own():
    requests = natives(prompt=["a", "b"], n=2, seed=5)
    assert [(r.prompt, r.options["seed"]) for r in requests] == [("a", 5), ("a", 6), ("b", 5), ("b", 6)]


@pytest.mark.parametrize(
    ("body", "logprobs", "n_top"),
    [({}, False, 0), ({"logprobs": None}, False, 0), ({"logprobs": 0}, True, 0), ({"logprobs": 5}, True, 5)],
)
def test_log_probabilities_are_asked_for_by_a_number(body, logprobs, n_top):
    (request,) = natives(**body)
    assert (request.logprobs, request.top_logprobs) == (logprobs, n_top)


def test_other_fields_keep_their_meaning():
    (request,) = natives(suffix="end", logit_bias={"5": 1}, keep_alive="1m", _debug_render_only=True, n=3)
    assert (request.suffix, request.logit_bias, request.keep_alive_s) == ("end", {"5": 1}, 60)
    assert request.debug_render_only


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"prompt": 5}, PROMPT_ERROR),
        ({"prompt": []}, PROMPT_ERROR),
        ({"prompt": [[]]}, PROMPT_ERROR),
        ({"prompt": ["a", 1]}, PROMPT_ERROR),
        ({"prompt": ["a", [1]]}, PROMPT_ERROR),
        ({"prompt": [-1]}, PROMPT_ERROR),
        ({"prompt": [2**31]}, PROMPT_ERROR),
        ({"prompt": [True]}, PROMPT_ERROR),
        (
            {"prompt": ["a"] * 65, "n": 2},
            "prompt: 65 prompts with 2 choices each are over the limit of 128; send them in parts",
        ),
        ({"stop": ["a", 5]}, "invalid type for 'stop' field: float64"),
        ({"stop": [None]}, "invalid type for 'stop' field: <nil>"),
        ({"stop": [[]]}, "invalid type for 'stop' field: []interface {}"),
        ({"echo": True}, "echo: only false is supported; put the prompt in front of the text yourself"),
        ({"logprobs": 21}, "logprobs must be between 0 and 20"),
        ({"logprobs": -1}, "logprobs must be between 0 and 20"),
        ({"logprobs": True}, "logprobs: expected int | null, got bool"),
        ({"suffix": 5}, "suffix: expected str, got int"),
    ],
)
def test_what_cannot_be_read_is_refused(body, text):
    with pytest.raises(InvalidRequest) as raised:
        natives(**body)
    assert str(raised.value) == text


def is_a_completion(value):
    return msgspec.to_builtins(msgspec.convert(value, Completion)) == value


def test_a_whole_answer_has_the_documented_keys():
    answer = completion(HEAD, [text_line("Hi", "stop", thinking="dropped")], 1)
    assert list(answer) == ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"]
    assert answer["choices"] == [{"text": "Hi", "index": 0, "finish_reason": "stop"}]
    assert answer["usage"]["total_tokens"] == 15
    assert is_a_completion(answer)


def test_an_empty_prompt_only_loads():
    answer = completion(HEAD, [{"model": "m", "response": "", "done": True, "done_reason": "load"}], 1)
    assert answer["choices"] == [{"text": "", "index": 0, "finish_reason": "load"}]
    assert answer["usage"]["total_tokens"] == 0


def stream(*lines, **options):
    maker = CompletionStream(HEAD, 1, 1, **options)
    return [*(frame for line in lines for frame in maker.frames(0, line)), *maker.end()]


def test_one_frame_for_each_line_that_shows_something():
    lines = [text_line("He"), text_line("", thinking="hm"), text_line("llo"), text_line("", "length")]
    frames = stream(*lines)
    assert [frame["choices"][0]["text"] for frame in frames] == ["He", "llo", ""]
    assert [frame["choices"][0]["finish_reason"] for frame in frames] == [None, None, "length"]
    assert not any("usage" in frame for frame in frames)


def test_usage_is_zero_until_the_last_frame():
    *first, last = stream(text_line("He"), text_line("", "stop"), include_usage=True)
    assert [frame["usage"]["total_tokens"] for frame in first] == [0, 0]
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 15)


def test_log_probabilities_are_lists_of_equal_length():
    top = [logprob("He", -0.5), logprob(b"\xe2\x98", -2.0)]
    shown = TokenLogprobs(2).shown([logprob("He", -0.5, top), logprob(b"\xe2\x98", -1.5, top[:1]), logprob(b"\x83!")])
    assert shown == {
        "tokens": ["He", "bytes:\\xe2\\x98", "bytes:\\x83\\x21"],
        "token_logprobs": [-0.5, -1.5, -0.5],
        "top_logprobs": [
            {"He": -0.5, "bytes:\\xe2\\x98": -2.0},
            {"He": -0.5, "bytes:\\xe2\\x98": -1.5},
            {"bytes:\\x83\\x21": -0.5},
        ],
        "text_offset": [0, 2, 2],
    }


def test_without_alternatives_there_are_none():
    assert TokenLogprobs(0).shown([logprob("a")])["top_logprobs"] is None


@st.composite
def text_lines(draw):
    texts = draw(st.lists(st.text(max_size=3), max_size=5))
    lines = [text_line(text, logprobs=[logprob(text)] if draw(st.booleans()) else ()) for text in texts]
    return [*lines, text_line(draw(st.sampled_from(["", "end"])), draw(st.sampled_from(["stop", "length", "load"])))]


async def whole(lines):
    async def again():
        for line in lines:
            yield line

    return await whole_generate(again())


@given(mixed=shuffled(st.lists(text_lines(), min_size=1, max_size=3)), include_usage=st.booleans())
async def test_frames_of_any_lines_are_in_order_and_add_up_to_the_whole_answer(mixed, include_usage):
    n = 1 + max(index for index, _ in mixed)
    maker = CompletionStream(HEAD, n, n, include_usage=include_usage)
    frames = [frame for index, line in mixed for frame in maker.frames(index, line)]
    assert all(is_a_completion(frame) for frame in frames)
    lines = [await whole([line for i, line in mixed if i == index]) for index in range(n)]
    answer = completion(HEAD, lines, n)
    for index, expected in enumerate(answer["choices"]):
        entries = [frame["choices"][0] for frame in frames if frame["choices"][0]["index"] == index]
        assert [entry["finish_reason"] for entry in entries[:-1]] == [None] * (len(entries) - 1)
        assert entries[-1]["finish_reason"] == expected["finish_reason"]
        assert "".join(entry["text"] for entry in entries) == expected["text"]
        for key in ("tokens", "token_logprobs", "text_offset"):
            found = [value for entry in entries for value in entry.get("logprobs", {}).get(key, [])]
            assert found == expected.get("logprobs", {}).get(key, [])
    assert [frame["usage"] for frame in maker.end()] == [answer["usage"]] * include_usage
