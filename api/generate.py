"""POST /api/generate: one prompt in, its continuation out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

from aiohttp import web

from gristmill.runtime.chat.go_prompt import render_go_generate
from gristmill.runtime.chat.output import Call, OutputParser, Passthrough
from gristmill.runtime.chat.prompt import plain_prompt
from gristmill.runtime.errors import InvalidRequest

from .answer import Answer, one_line, whole_generate
from .errors import NotFound
from .inference import Line, Run, check_completion, check_supported, check_think, needs, read_format
from .logprobs import logprob_fields
from .output import json_response
from .pictures import check_places, marked, read_pictures
from .schema import GenerateRequest
from .service import SERVICE, Service, read_request, single_quoted
from .stream import Lines, send_lines
from .turn import Delta, Turn


async def generate(request: web.Request) -> web.StreamResponse:
    """See docs/api.md."""
    body = await read_request(request, GenerateRequest)
    answer = await start_generate(request.app[SERVICE], body, request.remote or "")
    if body.stream and answer.is_stream:
        return await send_lines(request, answer.lines)
    return json_response(await whole_generate(answer.lines))


async def start_generate(service: Service, body: GenerateRequest, client: str) -> Answer:
    """Check a request of ``client`` (its address, for fairness), and answer it. Every completion API comes here.

    Raises InvalidRequest, NotFound and the others of ``errors`` for what can be seen before the model runs.
    """
    check_supported(body)
    if not body.model:
        raise NotFound(single_quoted(""))
    run = Run(service, await service.find(body.model, single_quoted), body, client)
    is_empty = not body.prompt and not body.tokens
    if is_empty and run.wants_unload:
        return one_line(await run.load_or_unload(response=""))
    _check_raw(body)
    check_think(body, run.target)
    check_completion(run.target, "generate")
    if is_empty:
        return one_line(await run.load_or_unload(response=""))
    return Answer(_lines(run, body), is_stream=not body.debug_render_only)


def _check_raw(body: GenerateRequest) -> None:
    if body.tokens and (body.prompt or body.system or body.template or body.suffix):
        raise InvalidRequest("tokens: ids are the whole prompt, without prompt, system, template or suffix beside them")
    if body.raw and (body.template or body.system or body.context):
        raise InvalidRequest("raw mode does not support template, system, or context")


async def _lines(run: Run, body: GenerateRequest) -> Lines:
    if body.suffix:
        needs(run.target, "insert")
    run.pictures = await read_pictures(body.images, run.target)
    grammar = await read_format(body, run.service.grammars)
    prompt = await _prompt(run, body)
    check_places(prompt, len(run.pictures))
    if body.debug_render_only:
        yield await run.rendered(prompt, response="")
        return
    turn = Turn(run, body.tokens or prompt, _parser(run, body, prompt), grammar, context=list(body.context))
    calls: list[Call] = []
    async with aclosing(turn.deltas()) as deltas:
        async for delta in deltas:
            calls += delta.calls
            for line in _shown(run, delta):
                yield line
            if delta.last:
                context = {} if body.raw else {"context": delta.last.prompt_ids + run.output_ids}
                reason = delta.last.reason
                metrics = run.metrics(delta.last, delta.load_ns)
                called = {"tool_calls": run.shown_calls(calls)} if calls else {}
                yield run.line(response="", done=True, done_reason=reason, **context, **metrics, **called)


def _parser(run: Run, body: GenerateRequest, prompt: str) -> OutputParser:
    if body.raw or body.tokens:
        return Passthrough()
    messages = [{"role": "user", "content": body.prompt}]
    think = check_think(body, run.target)
    return run.target.template.parser_of(prompt, tools=(), think=think, messages=messages)


def _shown(run: Run, delta: Delta) -> Iterator[Line]:
    """The lines before the last one, where calls are."""
    if delta.reading:
        yield run.progress_line(delta.reading, response="")
    thinking = {"thinking": delta.thinking} if delta.thinking else {}
    if delta.content or thinking or delta.logprobs:
        yield run.line(response=delta.content, **thinking, done=False, **logprob_fields(delta.logprobs))


async def _prompt(run: Run, body: GenerateRequest) -> str:
    """The prompt, as the request's own template makes it, or the model's; none beside token ids."""
    if body.raw or body.tokens:
        return body.prompt
    target, model = run.target, run.target.model
    system, think = body.system or model.system, check_think(body, target)
    text = marked(body.prompt, range(len(run.pictures)))
    source = body.template or (target.template.source if target.template.dialect == "go" else "")
    if source:
        return await render_go_generate(
            run.service.renderer,
            source,
            prompt=text,
            suffix=body.suffix,
            system=system,
            history=[] if body.context else model.messages,
            think=think,
            guard=target.guard,
        )
    if not target.template.source:
        return target.guard.text(plain_prompt(system, text))
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    messages += [] if body.context else model.messages
    messages.append({"role": "user", "content": text})
    return await target.template.prompt(
        run.service.renderer, messages, guard=target.guard, facts=target.facts, think=think
    )
