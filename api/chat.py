"""POST /api/chat: a conversation in, the assistant's next message out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import Any

from aiohttp import web

from gristmill.runtime.runner.client import Runner

from .answer import Answer, one_line, whole_chat
from .inference import Line, Run, check_completion, check_supported, check_think, needs, read_format
from .logprobs import logprob_fields
from .output import json_response
from .pictures import check_places, marked_messages, picture_tokens, read_pictures
from .schema import ChatRequest, Message
from .service import SERVICE, Service, read_request, required, single_quoted
from .stream import Lines, send_lines
from .tools import Choice, plain_tools, read_choice
from .truncate import fitting_prompt, without_old_thinking
from .turn import Delta, Turn

log = logging.getLogger(__name__)

ROLE = "assistant"


async def chat(request: web.Request) -> web.StreamResponse:
    """See docs/api.md."""
    body = await read_request(request, ChatRequest)
    answer = await start_chat(request.app[SERVICE], body, request.remote or "")
    if body.stream and answer.is_stream:
        return await send_lines(request, answer.lines)
    return json_response(await whole_chat(answer.lines))


async def start_chat(service: Service, body: ChatRequest, client: str) -> Answer:
    """Check a request of ``client`` (its address, for fairness), and answer it. Every chat API comes here.

    Raises InvalidRequest, NotFound and the others of ``errors`` for what can be seen before the model runs.
    """
    check_supported(body)
    run = Run(service, await service.find(required(body.model), single_quoted), body, client)
    if not body.messages and run.wants_unload:
        return one_line(await run.load_or_unload(message=_message("")))
    check_think(body, run.target)
    check_completion(run.target, "chat")
    if body.tools:
        needs(run.target, "tools")
    choice = read_choice(body.tools, body.tool_choice)
    if not body.messages:
        return one_line(await run.load_or_unload(message=_message("")))
    return Answer(_lines(run, body, choice), is_stream=not body.debug_render_only)


async def count_chat(service: Service, body: ChatRequest, client: str) -> int:
    """How many tokens the prompt of a chat has. Loads the model. Raises as ``start_chat`` does."""
    run = Run(service, await service.find(required(body.model), single_quoted), body, client)
    check_completion(run.target, "chat")
    if body.tools:
        needs(run.target, "tools")
    choice = read_choice(body.tools, body.tool_choice)
    prompt = await _render(run, body, choice, _conversation(run, body.messages))
    async with run.lease() as lease:
        return await lease.runner.count(prompt) + picture_tokens(prompt, len(_images(body)))


async def _lines(run: Run, body: ChatRequest, choice: Choice) -> Lines:
    run.pictures = await read_pictures(_images(body), run.target)
    grammar = await read_format(body, run.service.grammars)
    conversation = _conversation(run, body.messages)
    prompt = await _render(run, body, choice, conversation)
    check_places(prompt, len(run.pictures))
    if body.debug_render_only:
        yield await run.rendered(prompt, message={"role": "", "content": ""})
        return
    n_dropped = 0

    async def shorten(runner: Runner) -> str:
        nonlocal n_dropped
        n_ctx = runner.ready.n_ctx

        async def n_tokens(text: str) -> int:
            return await runner.count(text) + picture_tokens(text, len(run.pictures))

        shorter, n_dropped = await fitting_prompt(
            conversation, lambda rest: _render(run, body, choice, rest), n_tokens, n_ctx
        )
        if n_dropped:
            log.warning("%d of %d messages do not fit into a context of %d", n_dropped, len(conversation), n_ctx)
        return shorter

    think = check_think(body, run.target)
    parser = run.target.template.parser_of(prompt, tools=plain_tools(choice), think=think, messages=conversation)
    turn = Turn(run, prompt, parser, grammar, choice, shorten=shorten)
    async with aclosing(turn.deltas()) as deltas:
        async for delta in deltas:
            for line in _shown(run, delta):
                yield line
            if delta.last:
                dropped = {"truncated_messages": n_dropped} if n_dropped else {}
                reason = delta.last.reason
                metrics = run.metrics(delta.last, delta.load_ns)
                yield run.line(message=_message(""), done=True, done_reason=reason, **metrics, **dropped)


def _shown(run: Run, delta: Delta) -> Iterator[Line]:
    """The lines before the last one: thinking, content and calls each in their own."""
    if delta.reading:
        yield run.progress_line(delta.reading, message=_message(""))
    logprobs = logprob_fields(delta.logprobs)
    if delta.thinking:
        yield run.line(message=_message("", thinking=delta.thinking), done=False, **logprobs)
        logprobs = {}
    if delta.content or logprobs:
        yield run.line(message=_message(delta.content), done=False, **logprobs)
    if delta.calls:
        calls = run.shown_calls(delta.calls)
        yield run.line(message=_message("", tool_calls=calls), done=False)


async def _render(run: Run, body: ChatRequest, choice: Choice, conversation: Sequence[dict[str, Any]]) -> str:
    target = run.target
    return await target.template.prompt(
        run.service.renderer,
        conversation,
        guard=target.guard,
        facts=target.facts,
        tools=plain_tools(choice),
        think=check_think(body, target),
    )


def _conversation(run: Run, messages: list[Message]) -> list[dict[str, Any]]:
    """The model's stored messages, then the request's; the model's system text first, unless the request has one."""
    model = run.target.model
    given = marked_messages([message.as_dict() for message in messages])
    conversation = [*model.messages, *given]
    if run.target.facts.family == "qwen3" or model.name.model.lower() == "deepseek-r1":
        conversation = without_old_thinking(conversation)
    if model.system and not (given and given[0]["role"] == "system"):
        conversation.insert(0, {"role": "system", "content": model.system})
    return conversation


def _images(body: ChatRequest) -> list[str]:
    """In the order of their numbers."""
    return [image for message in body.messages for image in message.images]


def _message(content: str, **more: Any) -> dict[str, Any]:
    return {"role": ROLE, "content": content, **more}
