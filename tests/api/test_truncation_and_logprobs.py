"""Long conversations lose old messages; log-probabilities are shown as Ollama shows them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.api.truncate import fitting_prompt, without_oldest

LOGPROBS = {"model": "tiny", "prompt": "Hi", "logprobs": True}


async def render(messages):
    return "".join(message["content"] for message in messages)


async def count(text):
    return len(text)


messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text(max_size=9)}),
    min_size=1,
    max_size=12,
)


@given(messages=messages, n_ctx=st.integers(1, 60))
async def test_the_fewest_oldest_messages_go(messages, n_ctx):
    prompt, n_dropped = await fitting_prompt(messages, render, count, n_ctx)
    rests = [without_oldest(messages, n) for n in range(len(messages))]
    fitting = [rest for rest in rests if len(await render(rest)) <= n_ctx]
    expected = fitting[0] if fitting else rests[-1]
    assert prompt == await render(expected)
    assert n_dropped == len(messages) - len(expected)
    assert [m for m in messages[:-1] if m["role"] == "system"] == [m for m in expected[:-1] if m["role"] == "system"]


def chat(**fields):
    turns = [{"role": "system", "content": "Be brief."}]
    turns += [{"role": role, "content": f"{role} {i} " + 10 * "x"} for i in range(4) for role in ("user", "assistant")]
    turns.append({"role": "user", "content": "last"})
    return {"model": "tiny", "messages": turns, "stream": False, **fields}


async def test_a_chat_that_is_too_long_keeps_the_system_message_and_the_end(api):
    await api.json("/api/chat", chat(options={"num_ctx": 200}))
    prompt, *_ = api.runners.last.prompts[-1]
    assert len(prompt) <= 200
    assert "Be brief." in prompt
    assert "last" in prompt
    assert "assistant 3" in prompt
    assert "user 0" not in prompt


async def test_a_chat_that_fits_is_sent_once(api):
    await api.json("/api/chat", chat())
    assert len(api.runners.last.prompts) == 1
    assert "user 0" in api.runners.last.prompts[-1][0]


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_without_truncation_a_long_prompt_is_refused(api, path):
    body = chat(truncate=False, options={"num_ctx": 100}, prompt="x" * 200)
    status, text = await api.error(path, body)
    assert status == 400
    assert text.startswith("the input length exceeds the context length")


async def test_shift_and_num_keep_reach_the_engine(api):
    body = {"model": "tiny", "prompt": "Hi", "stream": False, "shift": False, "options": {"num_keep": 9}}
    await api.json("/api/generate", body)
    sampling = api.runners.last.prompts[-1][1]
    assert (sampling.shift, sampling.num_keep) == (False, 9)


async def test_logprobs_stand_beside_the_text_of_each_chunk(api):
    lines = await api.lines("/api/generate", {**LOGPROBS, "top_logprobs": 1})
    top = [{"token": "�", "logprob": -2.0, "bytes": [255]}]
    entry = {"token": "Hel", "logprob": -0.5, "bytes": [72, 101, 108], "top_logprobs": top}
    assert lines[0]["logprobs"] == [entry]
    assert "logprobs" not in lines[-1]


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_joined_answers_have_all_logprobs(api, path):
    body = {**LOGPROBS, "stream": False, "messages": [{"role": "user", "content": "Hi"}]}
    answer = await api.json(path, body)
    assert [entry["token"] for entry in answer["logprobs"]] == ["Hel", "lo"]
    assert all("top_logprobs" not in entry for entry in answer["logprobs"])


async def test_a_chunk_without_text_is_sent_for_its_logprobs(api):
    api.runners.script = ["", "lo"]
    lines = await api.lines("/api/generate", LOGPROBS)
    assert [(line["response"], "logprobs" in line) for line in lines] == [("", True), ("lo", True), ("", False)]
    lines = await api.lines("/api/generate", {"model": "tiny", "prompt": "Hi"})
    assert [line["response"] for line in lines] == ["lo", ""]


def test_thinking_of_earlier_answers_goes():
    from gristmill.api.truncate import without_old_thinking

    def turns(*texts):
        return [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(texts)]

    before = turns("<think>a</think>b", "\n<think>hm</think>\n\nyes", "so?", "<think>open", "and?", "<think>x</think>y")
    after = [message["content"] for message in without_old_thinking(before)]
    assert after == ["<think>a</think>b", "yes", "so?", "<think>open", "and?", "<think>x</think>y"]
