"""Native lines of chat and generate, as the translations to other APIs get them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from gristmill.api.body import decode_json
from gristmill.api.schema import decode_hook

COUNTS = {"prompt_eval_count": 10, "eval_count": 5}


def read(kind: Any, **body: Any) -> Any:
    """A request as the service reads it."""
    return decode_json(json.dumps(body).encode(), kind, decode_hook)


def call(name: str = "f", index: int = 0, **arguments: Any) -> dict[str, Any]:
    return {"id": f"call_{index}", "function": {"index": index, "name": name, "arguments": arguments}}


def logprob(text: str | bytes, value: float = -0.5, top: list[Any] | None = None) -> dict[str, Any]:
    data = text.encode() if isinstance(text, str) else text
    entry = {"token": data.decode(errors="replace"), "logprob": value, "bytes": list(data)}
    return {**entry, "top_logprobs": top} if top else entry


def chat_line(content: str = "", reason: str | None = None, logprobs: Any = (), **message: Any) -> dict[str, Any]:
    """``reason`` makes it the last line."""
    shown = {"role": "assistant", "content": content, **{key: value for key, value in message.items() if value}}
    return {"model": "m", "message": shown, **_rest(reason, logprobs)}


def text_line(text: str = "", reason: str | None = None, logprobs: Any = (), **more: Any) -> dict[str, Any]:
    return {"model": "m", "response": text, **more, **_rest(reason, logprobs)}


def _rest(reason: str | None, logprobs: Any) -> dict[str, Any]:
    last = {"done": False} if reason is None else {"done": True, "done_reason": reason, **COUNTS}
    return {**last, **({"logprobs": list(logprobs)} if logprobs else {})}


@st.composite
def chat_lines(draw: Any) -> list[dict[str, Any]]:
    """The lines of one answer, the last one with or without text of its own."""
    lines, n_calls = [], 0
    texts = st.text(max_size=3)
    for _ in range(draw(st.integers(0, 6))):
        n = draw(st.sampled_from([0, 0, 0, 1, 2]))
        calls = [call("f", n_calls + i, a=draw(st.integers())) for i in range(n)]
        n_calls += n
        entries = [logprob("x")] * draw(st.integers(0, 2))
        lines.append(chat_line(draw(texts), logprobs=entries, thinking=draw(texts), tool_calls=calls))
    reason = draw(st.sampled_from(["stop", "length"]))
    return [*lines, chat_line(draw(st.sampled_from(["", "", "end"])), reason)]


@st.composite
def shuffled(draw: Any, choices: Any) -> list[tuple[int, dict[str, Any]]]:
    """(choice, line) of several lists of lines, mixed; each list keeps its order."""
    rests = [list(lines) for lines in draw(choices)]
    mixed = []
    while any(rests):
        index = draw(st.sampled_from([i for i, rest in enumerate(rests) if rest]))
        mixed.append((index, rests[index].pop(0)))
    return mixed
