"""The models that are there: tags, show, ps, create, copy, delete; and the server's own small answers."""

from __future__ import annotations

import asyncio
import datetime
import logging
from contextlib import aclosing
from typing import Any

from aiohttp import web

from gristmill.runtime.errors import InvalidRequest, ModelError, cut

from .create import create_model
from .create_template import with_detected_template
from .errors import Forbidden, NotFound
from .loaded import Loaded
from .ollama_version import OLLAMA_VERSION
from .output import json_response, local_time
from .schema import CopyRequest, CreateRequest, DeleteRequest, ShowRequest
from .service import SERVICE, Service, Target, is_cloud, read_request, required, single_quoted
from .store import ModelNotFound, Name, StoredModel
from .store.manifests import MediaType
from .store.show import NO_TEMPLATE, details, model_info, modelfile_text, parameters_text, projector_info, tensor_list
from .stream import Lines, send_last, send_lines
from .transfers import missing_base

Line = dict[str, Any]
log = logging.getLogger(__name__)

COPILOT = "GitHubCopilotChat/"


async def root(request: web.Request) -> web.Response:
    return web.Response(text="Ollama is running")


async def version(request: web.Request) -> web.Response:
    return json_response({"version": OLLAMA_VERSION})


async def status(request: web.Request) -> web.Response:
    return json_response({"cloud": {"disabled": True, "source": "config"}})


async def tags(request: web.Request) -> web.Response:
    """GET /api/tags: all models, newest first."""
    service = request.app[SERVICE]
    return json_response({"models": [line for _, line in await listed(service)]})


async def listed(service: Service) -> list[tuple[StoredModel, Line]]:
    """All models that can be read, newest first, each with its line of /api/tags."""
    found = []
    for model in await asyncio.to_thread(service.store.list):
        try:
            found.append((model, await _tag(service, model)))
        except ModelError as error:
            log.warning("%s is left out of the list: %s", model.name.short, error)
    return found


async def _tag(service: Service, model: StoredModel) -> Line:
    about, more = details(model), {}
    capabilities: list[str] = []
    if about["format"] == "gguf":
        facts = await service.facts(model)
        capabilities = list(facts.capabilities)
        more = {"context_length": facts.context_length, "embedding_length": facts.embedding_length}
        about |= {key: value for key, value in more.items() if value}
    return {
        "name": model.name.short,
        "model": model.name.short,
        "modified_at": local_time(model.modified_at),
        "size": model.size,
        "digest": model.digest,
        "details": about,
        **({"capabilities": capabilities} if capabilities else {}),
    }


async def ps(request: web.Request) -> web.Response:
    """GET /api/ps: loaded and loading models."""
    service = request.app[SERVICE]
    lines = []
    for model in service.manager.models:
        first, *others = model.names.values() or [model.name]
        lines += [await _loaded(service, model, first)]
        lines += [await _loaded(service, model, name, shares=True) for name in others]
    return json_response({"models": [line for line in lines if line]})


async def _loaded(service: Service, loaded: Loaded, name: str, *, shares: bool = False) -> Line | None:
    """``shares``: a line before this one counts the memory of its weights; left are its adapters."""
    try:
        model = await asyncio.to_thread(service.store.find, name)
        about = details(model)
    except (InvalidRequest, ModelError):
        return None  # deleted while it was loaded
    ready = loaded.runner.ready if loaded.runner else None
    size = ready.memory_bytes + ready.kv_bytes if ready else 0  # the cache was not yet in memory then
    if shares:
        size = sum(layer.size for layer in model.manifest.of_type(MediaType.ADAPTER))
    done = loaded.progress if ready is None else None
    return {
        "name": name,
        "model": name,
        "size": size,
        "digest": model.digest,
        "details": about,
        "expires_at": local_time(datetime.datetime.now(), service.manager.seconds_left(loaded)),
        "size_vram": 0,
        "context_length": ready.n_ctx if ready else loaded.options.num_ctx,
        **({"loading": {"completed": done.done, "total": done.total}} if done else {}),
    }


async def show(request: web.Request) -> web.Response:
    """POST /api/show: everything about one model."""
    service = request.app[SERVICE]
    body = await read_request(request, ShowRequest)
    sent = required(body.model_name)
    if is_cloud(sent):
        raise Forbidden("ollama cloud is disabled: remote model details are unavailable")
    target = await service.find(sent, lambda sent: single_quoted(Name.parse(sent).short))
    answer = await asyncio.to_thread(_show, target, body)
    if request.headers.get("User-Agent", "").startswith(COPILOT):
        answer["model_info"]["general.basename"] = sent
    return json_response(answer)


def _show(target: Target, body: ShowRequest) -> dict[str, Any]:
    model, facts = target.model, target.facts
    system = body.system or model.system
    messages = [{"role": m.get("role", ""), "content": m.get("content", "")} for m in model.messages]
    optional = {
        "license": model.license,
        "modelfile": modelfile_text(model, body.options, body.system or None),
        "parameters": parameters_text(model.params),
        "template": target.template.source or NO_TEMPLATE,
        "system": system,
    }
    seen_by = projector_info(model)
    tail = {
        **({"projector_info": seen_by} if seen_by else {}),
        "tensors": tensor_list(model),
        "capabilities": list(facts.capabilities),
    }
    return {
        **{key: value for key, value in optional.items() if value},
        "details": details(model),
        **({"messages": messages} if messages else {}),
        "model_info": model_info(model, verbose=bool(body.verbose)),
        **{key: value for key, value in tail.items() if value},
        "modified_at": local_time(model.modified_at),
        **({"requires": model.config.requires} if model.config.requires else {}),
    }


async def copy(request: web.Request) -> web.Response:
    """POST /api/copy: a second name for a model."""
    body = await read_request(request, CopyRequest)
    source, destination = body.source or "", body.destination or ""
    try:
        await asyncio.to_thread(request.app[SERVICE].store.copy, source, destination)
    except ModelNotFound:
        raise NotFound(f"model {cut(source)} not found") from None
    return web.Response()


async def create(request: web.Request) -> web.StreamResponse:
    """POST /api/create: a new model, from another or from uploaded files; progress as it goes."""
    body = await read_request(request, CreateRequest)
    lines = _create_lines(request.app[SERVICE], body)
    return await send_lines(request, lines) if body.stream else await send_last(lines)


async def _create_lines(service: Service, body: CreateRequest) -> Lines:
    async with aclosing(missing_base(service, body.from_)) as lines:
        async for line in lines:
            yield line
    if body.template:
        await service.renderer.inspect_go(body.template)  # raises TemplateError for one that is none
    body, name = await with_detected_template(service, body)
    async with aclosing(create_model(service.store, body)) as lines:
        async for line in lines:
            if name and line["status"] == "writing manifest":
                yield {"status": f"using autodetected template {name}"}
            yield line


async def delete(request: web.Request) -> web.Response:
    """DELETE /api/delete: forget a model. One that is loaded goes on until it is idle."""
    body = await read_request(request, DeleteRequest)
    sent = required(body.model_name)
    try:
        await asyncio.to_thread(request.app[SERVICE].store.delete, sent)
    except ModelNotFound:
        raise NotFound(single_quoted(sent)) from None
    except InvalidRequest:
        raise InvalidRequest(f"name {cut(sent)} is invalid") from None
    return web.Response()
