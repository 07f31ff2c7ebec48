"""The ``perplexity`` command: how well a model predicts a text."""

from __future__ import annotations

import time
from argparse import Namespace

from .progress import Progress
from .research_model import figure, on_window, open_named, print_result, windows_of


def perplexity(arguments: Namespace) -> int:
    """Raises GristmillError, OSError."""
    from gristmill.runtime.measure import perplexity as measure

    model = open_named(arguments.model, arguments.ctx, arguments.backend)
    windows = windows_of(model, arguments)
    started = time.monotonic()
    with Progress(keep=False) as progress:
        found = measure(model, windows, on_window(progress, len(windows)))
    n_read = sum(len(window.tokens) for window in windows)
    speed = n_read / (time.monotonic() - started)
    result = {
        "model": arguments.model,
        "perplexity": found.value,
        "error": found.error,
        "nll": found.nll,
        "tokens": found.n_tokens,
        "windows": len(windows),
        "ctx": arguments.ctx,
        "tokens_per_s": speed,
    }
    rows = [
        ["perplexity", f"{found.value:.4f} +/- {found.error:.4f}"],
        ["nats per token", f"{found.nll:.5f}"],
        ["tokens scored", str(found.n_tokens)],
        ["windows", f"{len(windows)} of {arguments.ctx}"],
        ["tokens read per s", figure(speed)],
    ]
    return print_result(arguments, result, rows)
