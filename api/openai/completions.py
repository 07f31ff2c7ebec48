"""Text completions: OpenAI's older form, with one text in, or several, or token ids."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from gristmill.runtime.errors import InvalidRequest

from ..schema import GenerateRequest, KeepAlive
from .chat import MAX_CHOICES
from .wire import FINGERPRINT, StreamOptions, Usage, finish_reason, new_id, sampling_of

__all__ = ["CompletionChunks", "CompletionRequest", "completion", "native_requests"]

Prompt = str | list[int]


class CompletionRequest(Struct, kw_only=True):
    """Unknown fields are ignored. From ``top_k`` on, and prompts that are no text: beyond Ollama."""

    model: str = ""
    prompt: Any = ""
    suffix: str = ""
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[Any] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: Annotated[int, Meta(ge=0)] = 0
    logit_bias: dict[str, float] = {}
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] = 1
    echo: bool = False
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    options: dict[str, Any] = {}
    keep_alive: KeepAlive | None = None
    debug_render_only: bool = field(default=False, name="_debug_render_only")


def native_requests(body: CompletionRequest) -> list[GenerateRequest]:
    """One for each choice: ``n`` for each prompt. Raises InvalidRequest naming the field."""
    if body.echo:
        raise InvalidRequest("echo: the prompt is not given back")
    prompts = _prompts(body.prompt)
    if len(prompts) * body.n > MAX_CHOICES:
        raise InvalidRequest(f"prompt and n: more than {MAX_CHOICES} choices in one request")
    return [_native(body, prompt, choice) for prompt in prompts for choice in range(body.n)]


def _prompts(given: Any) -> list[Prompt]:
    if isinstance(given, str) or _is_ids(given):
        return [given]
    if isinstance(given, list) and given and (all(isinstance(p, str) for p in given) or all(map(_is_ids, given))):
        return list(given)
    raise InvalidRequest("prompt: expected a text, token ids, or a list of either")


def _is_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(i) is int and 0 <= i < 1 << 31 for i in value)


def _native(body: CompletionRequest, prompt: Prompt, choice: int) -> GenerateRequest:
    options = sampling_of(body, choice, default_temperature=1.0, default_top_p=1.0)
    options["top_p"] = options["top_p"] or 1.0
    options |= {"frequency_penalty": body.frequency_penalty or 0.0, "presence_penalty": body.presence_penalty or 0.0}
    if body.stop is not None:
        options["stop"] = _stop(body.stop)
    if body.max_tokens is not None:
        options["num_predict"] = body.max_tokens
    return GenerateRequest(
        model=body.model,
        prompt=prompt if isinstance(prompt, str) else "",
        tokens=prompt if isinstance(prompt, list) else [],
        suffix=body.suffix,
        stream=body.stream,
        options=options,
        keep_alive=body.keep_alive,
        logprobs=body.logprobs > 0,
        top_logprobs=body.logprobs,
        logit_bias=body.logit_bias,
        debug_render_only=body.debug_render_only,
    )


def _stop(stop: str | list[Any]) -> list[str]:
    texts = [stop] if isinstance(stop, str) else stop
    for text in texts:
        if not isinstance(text, str):
            kind = "float64" if isinstance(text, int | float) else type(text).__name__
            raise InvalidRequest(f"invalid type for 'stop' field: {kind}")
    return texts


def completion(body: CompletionRequest, wholes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The whole answer; ``wholes`` are the native answers of its choices."""
    usage = Usage()
    choices = []
    for index, whole in enumerate(wholes):
        usage.add(whole)
        choice: dict[str, Any] = {"text": whole["response"], "index": index, "finish_reason": finish_reason(whole)}
        if entries := whole.get("logprobs"):
            choice["logprobs"] = _logprobs(entries, 0)
        choices.append(choice)
    return {**_common(body), "choices": choices, "usage": usage.shown()}


def _common(body: CompletionRequest) -> dict[str, Any]:
    return {
        "id": new_id("cmpl"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": body.model,
        "system_fingerprint": FINGERPRINT,
    }


def _logprobs(entries: Sequence[dict[str, Any]], offset: int) -> dict[str, Any]:
    """The older shape: lists side by side; ``text_offset`` counts characters from the text's beginning."""
    offsets = []
    for entry in entries:
        offsets.append(offset)
        offset += len(entry["token"])
    return {
        "tokens": [entry["token"] for entry in entries],
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [{top["token"]: top["logprob"] for top in entry.get("top_logprobs", [])} for entry in entries],
        "text_offset": offsets,
    }


class CompletionChunks:
    """Makes the chunks of one streamed answer."""

    def __init__(self, body: CompletionRequest):
        self._body, self._common = body, _common(body)
        self._usage = Usage()
        self._offsets: dict[int, int] = {}

    def of(self, line: dict[str, Any], index: int = 0) -> Iterator[dict[str, Any]]:
        """The chunk for a native line of choice ``index``; thinking is left out."""
        is_last = bool(line.get("done"))
        if is_last:
            self._usage.add(line)
        if not line["response"] and not is_last:
            return
        choice: dict[str, Any] = {"text": line["response"], "index": index, "finish_reason": finish_reason(line)}
        if entries := line.get("logprobs"):
            offset = self._offsets.get(index, 0)
            choice["logprobs"] = _logprobs(entries, offset)
            self._offsets[index] = offset + sum(len(entry["token"]) for entry in entries)
        zeros = {"usage": Usage().shown()} if self._counts else {}
        yield {**self._common, "choices": [choice], **zeros}

    def end(self) -> Iterator[dict[str, Any]]:
        """What comes when all choices are done."""
        if self._counts:
            yield {**self._common, "choices": [], "usage": self._usage.shown()}

    @property
    def _counts(self) -> bool:
        return bool(self._body.stream_options and self._body.stream_options.include_usage)
