"""POST /api/chat: a conversation in, the assistant's next message out."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web

from gristmill.runtime.chat.prompt import CHATML_TEMPLATE, render_chat
from gristmill.runtime.events import Piece

from .inference import Line, Run, check_completion, check_supported, check_think, needs, read_format, refuse_images
from .output import json_response
from .schema import ChatRequest, Message
from .service import SERVICE, read_request, required, single_quoted
from .stream import Lines, send_lines

ROLE = "assistant"


async def chat(request: web.Request) -> web.StreamResponse:
    """See docs/api.md."""
    service = request.app[SERVICE]
    body = await read_request(request, ChatRequest)
    check_supported(body)
    run = Run(service, await service.find(required(body.model), single_quoted), body)
    if not body.messages and run.wants_unload:
        return json_response(await run.load_or_unload(message=_message("")))
    check_think(body, run.target)
    check_completion(run.target, "chat")
    if body.tools:
        needs(run.target, "tools")
    if not body.messages:
        return json_response(await run.load_or_unload(message=_message("")))
    lines = _lines(run, body, body.messages)
    streams = body.stream and not body.debug_render_only
    return await send_lines(request, lines) if streams else json_response(await _joined(lines))


async def _lines(run: Run, body: ChatRequest, messages: list[Message]) -> Lines:
    for message in messages:
        refuse_images(message.images, run.target)
    grammar = await read_format(body, run.service.grammars)
    facts = run.target.facts
    prompt = await render_chat(
        run.service.renderer,
        facts.chat_template or CHATML_TEMPLATE,
        _conversation(run, messages),
        guard=run.target.guard,
        tools=[msgspec.to_builtins(tool) for tool in body.tools],
        bos_token=facts.bos_token or "",
        eos_token=facts.eos_token or "",
        think=check_think(body, run.target),
    )
    if body.debug_render_only:
        yield await run.rendered(prompt, message={"role": "", "content": ""})
        return
    async with aclosing(run.events(prompt, grammar=grammar)) as events:
        async for event, load_ns in events:
            if isinstance(event, Piece):
                if event.text:
                    yield run.line(message=_message(event.text), done=False)
                continue
            yield run.line(message=_message(""), done=True, done_reason=event.reason, **run.metrics(event, load_ns))


def _conversation(run: Run, messages: list[Message]) -> list[dict[str, Any]]:
    """The model's stored messages, then the request's; the model's system text first, unless the request has one."""
    model = run.target.model
    given = [message.as_dict() for message in messages]
    conversation = [*model.messages, *given]
    if model.system and given[0]["role"] != "system":
        conversation.insert(0, {"role": "system", "content": model.system})
    return conversation


def _message(content: str) -> dict[str, str]:
    return {"role": ROLE, "content": content}


async def _joined(lines: Lines) -> Line:
    """The stream as one object: texts joined, everything else from the last line."""
    texts, last = [], {}
    async for last in lines:
        texts.append(last["message"]["content"])
    return {**last, "message": {**last["message"], "content": "".join(texts)}}
