"""POST /api/pull and /api/push: models from and to registries, with progress as it goes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from aiohttp import web

from gristmill.runtime.errors import GristmillError, InvalidRequest

from .errors import Forbidden
from .registry.addresses import Repository
from .schema import PullRequest, PushRequest
from .service import SERVICE, Service, is_cloud, read_request, required
from .store import ModelNotFound, Name
from .stream import Lines, send_last, send_lines

__all__ = ["missing_base", "pull", "push"]


async def pull(request: web.Request) -> web.StreamResponse:
    """POST /api/pull: a model from its registry. A client that leaves ends what nobody else waits for."""
    body = await read_request(request, PullRequest)
    _check_name(body.model_name, body.insecure)
    lines = request.app[SERVICE].transfers.pull(body.model_name, insecure=body.insecure)
    return await send_lines(request, lines) if body.stream else await send_last(lines)


async def push(request: web.Request) -> web.StreamResponse:
    """POST /api/push: a model to the registry that its name says."""
    body = await read_request(request, PushRequest)
    name = required(body.model_name)
    _check_name(name, body.insecure)
    lines = _push_lines(request.app[SERVICE], name, body.insecure)
    return await send_lines(request, lines) if body.stream else await send_last(lines)


def _check_name(name: str, insecure: bool) -> None:
    if is_cloud(name):
        raise Forbidden("ollama cloud is disabled: remote models are unavailable")
    Repository.of(name, insecure=insecure)


async def _push_lines(service: Service, name: str, insecure: bool) -> Lines:
    yield {"status": "retrieving manifest"}
    try:
        model = await asyncio.to_thread(service.store.find, name)
    except ModelNotFound as error:
        yield {"status": "couldn't retrieve manifest"}
        raise GristmillError(f"{error}: no such file or directory") from None
    async with aclosing(service.transfers.push(model, insecure=insecure)) as lines:
        async for line in lines:
            yield line


async def missing_base(service: Service, name: str) -> Lines:
    """Pulls the model that another is to be made from, if the store has none of that name. No line says success."""
    try:
        known = await asyncio.to_thread(service.store.has_manifest, Name.parse(name))
    except InvalidRequest:
        return  # for those who make the model to say
    if known or is_cloud(name):
        return
    async with aclosing(service.transfers.pull(name)) as lines:
        async for line in lines:
            if line["status"] != "success":
                yield line
