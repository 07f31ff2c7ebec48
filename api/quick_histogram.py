"""A histogram for what happens at every token: the library's takes several locks and a loop for each observation.

It counts in one thread only, the event loop's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

__all__ = ["Observed", "QuickHistogram"]


class Observed:
    """The observations of one label value. ``bounds``: the upper ends of the buckets, which belong to them."""

    def __init__(self, bounds: tuple[float, ...]):
        self._bounds = bounds
        self.counts, self.total = [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float, n: int = 1) -> None:
        """``value``, ``n`` times."""
        self.counts[bisect_left(self._bounds, value)] += n
        self.total += value * n


class QuickHistogram(Collector):
    """By the values of ``label``; counts are shown from when ``of`` is first asked for one."""

    def __init__(self, name: str, text: str, label: str, bounds: tuple[float, ...], registry: CollectorRegistry):
        self._name, self._text, self._label, self._bounds = name, text, label, bounds
        self._observed: dict[str, Observed] = {}
        registry.register(self)

    def of(self, value: str) -> Observed:
        return self._observed.setdefault(value, Observed(self._bounds))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._text, labels=[self._label])
        ends = [*map(floatToGoString, self._bounds), "+Inf"]
        for value, observed in self._observed.items():
            buckets = list(zip(ends, accumulate(observed.counts), strict=True))
            family.add_metric([value], buckets, observed.total)
        yield family
