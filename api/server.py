"""The service: routes, middleware, what lives as long as the server, and running it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gristmill.runtime.chat.renderer import Renderer
from gristmill.runtime.grammar.checker import GrammarChecker
from gristmill.runtime.images.decoder import ImageDecoder
from gristmill.runtime.runner.client import Runner
from gristmill.runtime.runner.launch import Launcher

from . import blobs, chat, cloud, embed, generate, health, library, rerank, tokens, transfers
from .access import METRICS_PATH, check_keys
from .anthropic import handlers as anthropic
from .body import BODY_BYTES
from .counters import Metrics
from .error_shapes import error_body
from .errors import error_response
from .keys import load_keys
from .listen import listening, warn_about_exposure
from .manager import Manager, StartRunner
from .metrics import get_metrics, measure, note_first_byte
from .openai import handlers as openai
from .openai.responses import responses
from .openapi.document import openapi
from .output import json_response
from .request_ids import add_request_id, with_request_id
from .security import Check, add_cors_headers, check_host, check_origin
from .service import SERVICE, Service
from .settings import Settings
from .store import Store

log = logging.getLogger(__name__)

DRAIN_S = 10.0  # for running requests to end by themselves
CLOSE_S = 2.0  # for the error lines of the others to be sent
MAX_LINE_BYTES = 8 << 10


def routes() -> list[web.RouteDef]:
    """The route table. GET routes answer HEAD as well."""
    return [
        web.get("/", library.root),
        web.get("/openapi.json", openapi),
        web.get("/api/health", health.health),
        web.get("/api/health/ready", health.ready),
        web.get(METRICS_PATH, get_metrics),
        web.get("/api/version", library.version),
        web.get("/api/status", library.status),
        web.get("/api/tags", library.tags),
        web.get("/api/ps", library.ps),
        web.post("/api/show", library.show),
        web.post("/api/copy", library.copy),
        web.delete("/api/delete", library.delete),
        web.post("/api/generate", generate.generate),
        web.post("/api/chat", chat.chat),
        web.post("/api/embed", embed.embed),
        web.post("/api/embeddings", embed.embeddings),
        web.post("/api/rerank", rerank.rerank),
        web.post("/v1/rerank", rerank.rerank),
        web.post("/api/tokenize", tokens.tokenize),
        web.post("/v1/tokenize", tokens.tokenize),
        web.post("/api/detokenize", tokens.detokenize),
        web.post("/v1/detokenize", tokens.detokenize),
        web.post("/v1/chat/completions", openai.chat_completions),
        web.post("/v1/completions", openai.completions),
        web.post("/v1/embeddings", openai.embeddings),
        web.get("/v1/models", openai.models),
        web.get("/v1/models/{model:.+}", openai.model),
        web.post("/v1/responses", responses),
        web.post("/v1/messages", anthropic.messages),
        web.post("/v1/messages/count_tokens", anthropic.count_tokens),
        web.post("/api/me", cloud.unauthorized),
        web.post("/api/signout", cloud.unauthorized),
        web.delete("/api/user/keys/{key}", cloud.unauthorized),
        web.post("/api/experimental/web_search", cloud.web_search),
        web.post("/api/experimental/web_fetch", cloud.web_fetch),
        web.get("/api/experimental/model-recommendations", cloud.recommendations),
        web.post("/api/create", library.create),
        web.post("/api/pull", transfers.pull),
        web.post("/api/push", transfers.push),
        web.head("/api/blobs/{digest}", blobs.head_blob),
        web.post("/api/blobs/{digest}", blobs.post_blob),
    ]


def make_app(settings: Settings, *, start_runner: StartRunner | None = None) -> web.Application:
    """The application; ``start_runner`` lets tests bring runners of their own.

    Raises InvalidRequest for an origin that is none, and for API keys that cannot be used.
    """
    metrics, keys = Metrics(), load_keys(settings)
    checks = check_host(settings.host), check_origin(settings.origins), check_keys(keys, settings.metrics)
    app = web.Application(middlewares=[with_request_id, measure(metrics), log_requests, guard(checks), answer_errors])
    app.add_routes(routes())
    app.on_response_prepare.extend([add_cors_headers, add_request_id, note_first_byte])
    warn_about_exposure(settings, has_keys=bool(keys))

    async def service(app: web.Application) -> AsyncIterator[None]:
        store = Store(settings.models, keep_unused=settings.noprune)
        await asyncio.to_thread(store.prune)
        launcher = Launcher(keep_spare=settings.spare_runner and start_runner is None)
        start = start_runner or partial(Runner.start, launcher=launcher)
        manager = Manager(settings, start, on_load=metrics.loaded)
        renderer, grammars, images = Renderer(), GrammarChecker(), ImageDecoder()
        app[SERVICE] = Service(settings, store, manager, renderer, grammars, images, metrics)
        yield
        await app[SERVICE].transfers.close()
        await launcher.close()
        await manager.close()
        await renderer.close()
        await grammars.close()
        await images.close()

    app.cleanup_ctx.append(service)
    return app


@web.middleware
async def log_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One line per request, when it has ended, however it ended."""
    started, status = time.monotonic(), "left"
    try:
        response = await handler(request)
        status = str(response.status)
        return response
    finally:
        elapsed = time.monotonic() - started
        log.info("%s %s %s %.3f s", request.method, ascii(request.path)[1:-1][:200], status, elapsed)


def guard(checks: Sequence[Check]) -> Middleware:
    """Middleware: a request goes on only if none of ``checks`` has an answer to it."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        for check in checks:
            refused = check(request)
            if refused is not None:
                return refused
        return await handler(request)

    return middleware


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Exceptions become answers; aiohttp's own pages for unknown paths and methods become Ollama's texts."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _redirect(request) or web.Response(status=404, text="404 page not found")
    except web.HTTPMethodNotAllowed as error:
        return web.Response(status=405, text="405 method not allowed", headers={"Allow": error.headers["Allow"]})
    except web.HTTPException as error:
        return json_response(error_body(request.path, error.status, error.reason.lower()), error.status)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:
        return error_response(error, path=request.path)
    finally:
        request.app[SERVICE].bodies.give_back(request.get(BODY_BYTES, 0))


def _redirect(request: web.Request) -> web.Response | None:
    """A path with a slash too many at its end leads to the path without it."""
    path = request.path.rstrip("/")
    known = {route.resource.canonical for route in request.app.router.routes() if route.resource is not None}
    if path not in known:
        return None
    status = 301 if request.method in ("GET", "HEAD") else 307
    location = f"{path}?{request.query_string}" if request.query_string else path
    return web.Response(status=status, headers={"Location": location})


def run_server(settings: Settings, *, ready: Callable[[], None] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; ``ready`` is called once connections are accepted. Returns the exit code.

    Raises OSError when the address cannot be used, InvalidRequest for settings that cannot be.
    """
    asyncio.run(serve(settings, ready or (lambda: None)))
    return 0


def _stop_or_leave(stop: asyncio.Event) -> None:
    """The first signal stops the server in good order, a second one at once; its runners end with it."""
    if stop.is_set():
        os._exit(1)
    stop.set()


async def _finish(manager: Manager) -> None:
    """Requests that do not end in time get an error, because their runners are gone."""
    await manager.drain(DRAIN_S)
    await manager.close()


async def serve(settings: Settings, ready: Callable[[], None]) -> None:
    """One server, from start to stop."""
    app = make_app(settings)
    runner = web.AppRunner(
        app,
        handler_cancellation=True,  # a client that leaves stops the work
        access_log=None,
        shutdown_timeout=CLOSE_S,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_LINE_BYTES,
        auto_decompress=False,
    )
    await runner.setup()
    stop = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows has no signal handlers here
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, _stop_or_leave, stop)
    try:
        async with listening(runner, settings) as site:
            log.info("listening on %s", site.name)
            gc.freeze()  # what is there now stays, so it need not be looked through again and again
            ready()
            await stop.wait()
            log.info("stopping")
            await site.stop()
            app[SERVICE].transfers.stop()
            await _finish(app[SERVICE].manager)
    finally:
        await runner.cleanup()
