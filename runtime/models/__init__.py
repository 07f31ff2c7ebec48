"""Architectures, one file each, found by the names in the file's ``ARCHITECTURES``.

A file's ``build(meta, weights, n_ctx)`` reads its own metadata, pulls its tensors and returns a ``Decoder`` or an
``Encoder``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

from ..config import Metadata
from ..errors import UnsupportedModel, cut
from ..layers import Decoder, Encoder, Pooling
from ..weights import Weights

Network = Decoder | Encoder
Builder = Callable[[Metadata, Weights, int], Network]


@cache
def architectures() -> dict[str, Builder]:
    """Every architecture that can be built, by its name in ``general.architecture``."""
    table: dict[str, Builder] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        table.update(dict.fromkeys(module.ARCHITECTURES, module.build))
    return table


def build_model(meta: Metadata, weights: Weights, n_ctx: int) -> tuple[Network, Pooling]:
    """The model that ``meta`` describes, to run with contexts of ``n_ctx`` tokens, and how its states become vectors.

    Raises UnsupportedModel for an unknown architecture or value, and for a missing, misshapen or unread tensor.
    """
    builder = architectures().get(meta.architecture)
    if builder is None:
        known = ", ".join(sorted(architectures()))
        raise UnsupportedModel(f"unsupported architecture {cut(meta.architecture)}; supported: {known}")
    network = builder(meta, weights, n_ctx)
    pooling = Pooling(meta, weights, network.config, causal=network.causal)
    weights.finish()
    return network, pooling
