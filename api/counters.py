"""What the server counts and times from its start on: requests, tokens, loads. Knows no HTTP.

Labels are bounded: routes come from the route table, models are those that requests have found, and after
MAX_MODELS of them the others are one.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gristmill import __version__
from gristmill.runtime.events import Finished, Piece, Reading

from .quick_histogram import QuickHistogram

MAX_MODELS = 200
MANY = "(others)"
REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
LOAD_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counters and histograms of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._models: set[str] = set()
        self._of_model: dict[str, ModelCounters] = {}
        self._make_http()
        self._make_models()
        ProcessCollector(namespace="gristmill", registry=self.registry)
        build = Info("gristmill_build", "Versions", registry=self.registry)
        build.info({"version": __version__, "python": platform.python_version()})

    def _make_http(self) -> None:
        """By route, not by path."""
        self.requests = self._counter("requests", "Requests that have ended", "method", "route", "status")
        self.in_flight = Gauge("gristmill_requests_in_flight", "Requests being answered", registry=self.registry)
        self.request_seconds = self._histogram("request_seconds", "From a request to its end", "route", REQUEST_S)
        self.first_byte_seconds = self._histogram(
            "first_byte_seconds", "From a request to the first byte of its answer", "route", REQUEST_S
        )

    def _make_models(self) -> None:
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts", "model")
        self.cached_tokens = self._counter("prompt_cached_tokens", "Those of them that were in the cache", "model")
        self.output_tokens = self._counter("output_tokens", "Generated tokens", "model")
        self.first_token_seconds = self._histogram(
            "first_token_seconds", "From a request to its first token, with waiting and loading", "model", REQUEST_S
        )
        self.token_seconds = QuickHistogram(
            "gristmill_token_seconds", "From a token to the next", "model", TOKEN_S, self.registry
        )
        self.load_seconds = self._histogram("load_seconds", "Loading a model", "model", LOAD_S)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"gristmill_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, label: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"gristmill_{name}", text, [label], buckets=buckets, registry=self.registry)

    def label(self, model: str) -> str:
        """``model``, or one name for all that are too many."""
        if model not in self._models and len(self._models) >= MAX_MODELS:
            return MANY
        self._models.add(model)
        return model

    def of_model(self, model: str) -> ModelCounters:
        """The counters of ``model``, or of all that are too many."""
        label = self.label(model)
        if label not in self._of_model:
            self._of_model[label] = ModelCounters(self, label)
        return self._of_model[label]

    def loaded(self, model: str, seconds: float) -> None:
        """A model has been loaded."""
        self.load_seconds.labels(self.label(model)).observe(seconds)

    def page(self, models: list[Metric]) -> bytes:
        """Everything in Prometheus's text format, ``models`` at its end."""
        return generate_latest(_Page(self.registry, models))


class ModelCounters:
    """Those of one model; to find them by their label takes longer than to count."""

    def __init__(self, metrics: Metrics, label: str):
        self.prompt_tokens = metrics.prompt_tokens.labels(label)
        self.cached_tokens = metrics.cached_tokens.labels(label)
        self.output_tokens = metrics.output_tokens.labels(label)
        self.first_token_seconds = metrics.first_token_seconds.labels(label)
        self.token_seconds = metrics.token_seconds.of(label)


class TokenWatch:
    """Counts and times what one request is told. ``started_ns``: when it came, on the monotonic clock."""

    def __init__(self, metrics: Metrics, model: str, started_ns: int):
        self._counters = metrics.of_model(model)
        self._last_ns, self._n_seen, self._started_ns = 0, 0, started_ns

    def see(self, event: Piece | Reading | Finished, now_ns: int) -> None:
        """The next event of the request, which came at ``now_ns``."""
        if isinstance(event, Finished):
            usage, counters = event.usage, self._counters
            counters.prompt_tokens.inc(usage.prompt_tokens)
            counters.cached_tokens.inc(usage.cached_tokens)
            counters.output_tokens.inc(max(0, usage.output_tokens - self._n_seen))
        elif isinstance(event, Piece) and event.tokens:
            self._count(len(event.tokens), now_ns)

    def _count(self, n: int, now_ns: int) -> None:
        """Tokens that come together share the time since the ones before."""
        self._counters.output_tokens.inc(n)
        if self._n_seen:
            self._counters.token_seconds.observe((now_ns - self._last_ns) / n / 1e9, n)
        else:
            self._counters.first_token_seconds.observe((now_ns - self._started_ns) / 1e9)
        self._n_seen, self._last_ns = self._n_seen + n, now_ns


class _Page(Collector):
    """All families, without the times at which the library made each series: they would double their number."""

    def __init__(self, registry: CollectorRegistry, more: list[Metric]):
        self._registry, self._more = registry, more

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
        yield from self._more
