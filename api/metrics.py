"""GET /metrics, in Prometheus's text format: what ``counters`` has counted, and what the engines do right now.

Who may see it is decided in ``access``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from gristmill.runtime.errors import RunnerStopped
from gristmill.runtime.runner.messages import Stats

from .access import route_of
from .counters import Metrics
from .loaded import Loaded
from .manager import Manager
from .service import SERVICE

__all__ = ["get_metrics", "measure", "note_first_byte"]

PING_S = 2.0
NO_ROUTE = "(none)"
LEFT = "left"  # the client was gone before the end
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ANSWERED = web.RequestKey("answered", float)
_GAUGES = {
    "gristmill_model_requests_running": "Requests that have a place in the model",
    "gristmill_model_requests_waiting": "Requests that wait for a place in the model",
    "gristmill_model_memory_bytes": "Memory of the model's process",
    "gristmill_model_weight_bytes": "Size of the weights",
    "gristmill_model_cache_bytes": "Size of the KV cache when it is full",
    "gristmill_engine_sequences_running": "Sequences that the engine works on",
    "gristmill_engine_sequences_waiting": "Sequences that wait for pages",
}
_COUNTERS = {  # since the model was loaded
    "gristmill_engine_steps": "Steps",
    "gristmill_engine_preempted": "Sequences that gave up their pages to others",
    "gristmill_engine_evicted_pages": "Cached pages that were overwritten",
    "gristmill_engine_drafted_tokens": "Tokens that were guessed",
    "gristmill_engine_accepted_tokens": "Guesses that were right",
}
PAGES = "gristmill_engine_pages"


async def get_metrics(request: web.Request) -> web.Response:
    """404 where metrics are switched off."""
    service = request.app[SERVICE]
    if service.settings.metrics is False:
        return web.Response(status=404, text="404 page not found")
    body = service.metrics.page(await _model_families(service.manager))
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


@dataclass
class _Figures:
    """Of all models of one name: there may be two for a while, when a name was given to another model."""

    values: dict[str, float] = field(default_factory=dict)
    pages: dict[str, float] = field(default_factory=dict)

    def add(self, values: Mapping[str, float], pages: Mapping[str, float]) -> None:
        for mine, more in ((self.values, values), (self.pages, pages)):
            for name, value in more.items():
                mine[name] = mine.get(name, 0) + value


async def _model_families(manager: Manager) -> list[Metric]:
    """Figures of the server's queue and of the loaded models. A runner that does not answer lacks its engine's."""
    loaded = [model for model in manager.models if model.runner is not None]
    stats = await asyncio.gather(*map(_stats, loaded))
    figures: dict[str, _Figures] = {}
    for model, stat in zip(loaded, stats, strict=True):
        figures.setdefault(model.name, _Figures()).add(_values(model, stat), _pages(stat))
    gauges = {name: GaugeMetricFamily(name, text, labels=["model"]) for name, text in _GAUGES.items()}
    counters = {name: CounterMetricFamily(name, text, labels=["model"]) for name, text in _COUNTERS.items()}
    pages = GaugeMetricFamily(PAGES, "Pages of the KV cache", labels=["model", "state"])
    for name, found in figures.items():
        for key, value in found.values.items():
            (gauges.get(key) or counters[key]).add_metric([name], value)
        for state, value in found.pages.items():
            pages.add_metric([name, state], value)
    return [*_server_families(manager), *gauges.values(), *counters.values(), pages]


def _server_families(manager: Manager) -> list[Metric]:
    n_loading = sum(model.runner is None for model in manager.models)
    texts = {
        "gristmill_requests_pending": ("Requests that wait for a model, or for a place in one", manager.n_pending),
        "gristmill_models_loaded": ("Models in memory", len(manager.models) - n_loading),
        "gristmill_models_loading": ("Models on their way there", n_loading),
    }
    return [GaugeMetricFamily(name, text, value=value) for name, (text, value) in texts.items()]


async def _stats(model: Loaded) -> Stats | None:
    assert model.runner is not None
    try:
        return await model.runner.ping(PING_S)
    except RunnerStopped:
        return None


def _values(model: Loaded, stats: Stats | None) -> dict[str, float]:
    assert model.runner is not None
    values: dict[str, float] = {
        "gristmill_model_requests_running": model.places.n - model.places.n_free,
        "gristmill_model_requests_waiting": model.places.n_waiting,
        "gristmill_model_memory_bytes": model.runner.memory_bytes,
        "gristmill_model_weight_bytes": model.runner.ready.weight_bytes,
        "gristmill_model_cache_bytes": model.runner.ready.kv_bytes,
    }
    if stats is not None:
        values |= {
            "gristmill_engine_sequences_running": stats.running,
            "gristmill_engine_sequences_waiting": stats.waiting,
            "gristmill_engine_steps": stats.steps,
            "gristmill_engine_preempted": stats.preempted,
            "gristmill_engine_evicted_pages": stats.evicted_pages,
            "gristmill_engine_drafted_tokens": stats.drafted_tokens,
            "gristmill_engine_accepted_tokens": stats.accepted_tokens,
        }
    return values


def _pages(stats: Stats | None) -> dict[str, float]:
    """A page that is free to take may still hold a known prefix: then it is cached."""
    if stats is None:
        return {}
    return {
        "used": stats.total_pages - stats.free_pages,
        "cached": stats.cached_pages,
        "free": stats.free_pages - stats.cached_pages,
    }


def measure(metrics: Metrics) -> Middleware:
    """Middleware: counts and times every request, however it ends."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started, status = time.monotonic(), LEFT
        metrics.in_flight.inc()
        try:
            response = await handler(request)
            status = str(response.status)
            return response
        finally:
            ended = time.monotonic()
            metrics.in_flight.dec()
            route, method = route_of(request) or NO_ROUTE, request.method if request.method in _METHODS else "other"
            metrics.requests.labels(method, route, status).inc()
            metrics.request_seconds.labels(route).observe(ended - started)
            if status != LEFT or _ANSWERED in request:  # a whole answer is sent when all is done
                metrics.first_byte_seconds.labels(route).observe(request.get(_ANSWERED, ended) - started)

    return middleware


async def note_first_byte(request: web.Request, response: web.StreamResponse) -> None:
    """Signal ``on_response_prepare``: the answer begins."""
    request[_ANSWERED] = time.monotonic()
