"""Completions of prompts, OpenAI's older endpoint: to native generate requests, and from their lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gristmill.runtime.errors import InvalidRequest

from ..answer import Line
from ..inference import MAX_TOP_LOGPROBS
from ..schema import GenerateRequest
from ..values import texts_or_ids
from .options import go_type, nth_options, run_options
from .schema import CompletionRequest
from .token_logprobs import TokenLogprobs
from .wire import Head, finish_reason, usage

__all__ = ["MAX_CHOICES", "CompletionStream", "completion", "completion_requests"]

MAX_CHOICES = 128


def completion_requests(body: CompletionRequest) -> list[GenerateRequest]:
    """A native request for each choice: ``n`` of the first prompt, then of the next. Raises InvalidRequest."""
    if body.echo:
        raise InvalidRequest("echo: only false is supported; put the prompt in front of the text yourself")
    if not 0 <= (body.logprobs or 0) <= MAX_TOP_LOGPROBS:
        raise InvalidRequest(f"logprobs must be between 0 and {MAX_TOP_LOGPROBS}")
    prompts = _read_prompts(body.prompt)
    n = 1 if body.debug_render_only else body.n
    if len(prompts) * n > MAX_CHOICES:
        raise InvalidRequest(
            f"prompt: {len(prompts)} prompts with {n} choices each are over the limit of {MAX_CHOICES}; "
            "send them in parts"
        )
    options = _options(body)
    return [_request(body, prompt, nth_options(options, i)) for prompt in prompts for i in range(n)]


def _request(body: CompletionRequest, prompt: str | list[int], options: dict[str, Any]) -> GenerateRequest:
    return GenerateRequest(
        model=body.model,
        prompt=prompt if isinstance(prompt, str) else "",
        tokens=[] if isinstance(prompt, str) else prompt,
        suffix=body.suffix,
        options=options,
        keep_alive=body.keep_alive,
        logprobs=body.logprobs is not None,
        top_logprobs=body.logprobs or 0,
        logit_bias=body.logit_bias,
        debug_render_only=body.debug_render_only,
    )


def _options(body: CompletionRequest) -> dict[str, Any]:
    """A ``top_p`` of 0 is none; the penalties are 0, not the model's own."""
    options = run_options(
        body,
        _stop(body.stop),
        body.max_tokens,
        temperature=1.0,
        top_p=1.0,
        frequency_penalty=0.0,
        presence_penalty=0.0,
    )
    return {**options, "top_p": 1.0} if body.top_p == 0 else options


def _stop(given: str | list[Any] | None) -> list[str] | None:
    if given is None or isinstance(given, str):
        return None if given is None else [given]
    for item in given:
        if not isinstance(item, str):
            raise InvalidRequest(f"invalid type for 'stop' field: {go_type(item)}")
    return given


def _read_prompts(given: Any) -> list[str] | list[list[int]]:
    """A text, texts, token ids or lists of token ids, as a list of prompts. Raises InvalidRequest."""
    prompts = texts_or_ids(given)
    if not prompts:
        raise InvalidRequest("prompt: expected a text, a list of texts, token ids, or a list of lists of token ids")
    return prompts


def completion(head: Head, lines: Sequence[Line], n: int, n_top: int = 0) -> dict[str, Any]:
    """The whole answer; ``lines`` has one line for each choice, of which ``n`` each share a prompt."""
    choices = [
        {
            "text": line["response"],
            "index": index,
            "finish_reason": finish_reason(line),
            **_logprobs(line, TokenLogprobs(n_top)),
        }
        for index, line in enumerate(lines)
    ]
    debug = {key: lines[0][key] for key in ("_debug_info",) if key in lines[0]}
    return head.with_fields(choices=choices, usage=usage(lines, n), **debug)


class CompletionStream:
    """The frames of ``n_choices``, ``n`` of each prompt, whose lines come in any order among each other.

    With ``include_usage`` every frame has a usage, of zeros before the last one: so does Ollama.
    """

    def __init__(self, head: Head, n_choices: int, n: int, *, n_top: int = 0, include_usage: bool = False):
        self._head, self._n = head, n
        self._no_usage = {"usage": usage([], n)} if include_usage else {}
        self._last: list[Line] = [{}] * n_choices
        self._logprobs = [TokenLogprobs(n_top) for _ in range(n_choices)]

    def frames(self, index: int, line: Line) -> Iterator[dict[str, Any]]:
        """One frame; none of a line that has nothing to show, as one of thinking."""
        logprobs = _logprobs(line, self._logprobs[index])
        if not (line["response"] or logprobs or line["done"]):
            return
        reason = None
        if line["done"]:
            self._last[index], reason = line, finish_reason(line)
        choice = {"text": line["response"], "index": index, "finish_reason": reason, **logprobs}
        yield self._head.with_fields(choices=[choice], **self._no_usage)

    def end(self) -> Iterator[dict[str, Any]]:
        if self._no_usage:
            yield self._head.with_fields(choices=[], usage=usage(self._last, self._n))


def _logprobs(line: Line, shown: TokenLogprobs) -> dict[str, Any]:
    entries = line.get("logprobs")
    return {"logprobs": shown.shown(entries)} if entries else {}
