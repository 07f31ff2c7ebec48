"""The ``divergence`` command: how far a model's predictions are from those of a reference."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from .plot import save_plot
from .progress import Progress
from .research_model import figure, on_window, open_named, print_result, windows_of

_PERCENT = ("same_top", "p_change_mean", "p_change_rms")


def divergence(arguments: Namespace) -> int:
    """Raises GristmillError, OSError."""
    from gristmill.runtime.measure import diverge

    model = open_named(arguments.model, arguments.ctx, arguments.backend)
    reference = open_named(arguments.reference, arguments.ctx, arguments.reference_backend)
    windows = windows_of(reference, arguments)
    with Progress(keep=False) as progress:
        found = diverge(model, reference, windows, on_window(progress, len(windows)))
    summary = found.summary()
    if arguments.plot:
        save_plot(arguments.plot, lambda axes: _draw(axes, found, arguments))
    result = {
        "model": arguments.model,
        "reference": arguments.reference,
        "tokens": found.n_tokens,
        "ctx": arguments.ctx,
        **summary,
    }
    rows = [["tokens scored", str(found.n_tokens)]]
    rows += [[name.replace("_", " "), _shown(name, value)] for name, value in summary.items()]
    return print_result(arguments, result, rows)


def _shown(name: str, value: float) -> str:
    return f"{100 * value:.3f} %" if name in _PERCENT else figure(value)


def _draw(axes: Any, found: Any, arguments: Namespace) -> None:
    kl = found.kl.clamp(min=1e-9).sort().values
    axes.plot(kl, [100 * (i + 1) / len(kl) for i in range(len(kl))])
    axes.set(xscale="log", xlabel="KL divergence, nats", ylabel="% of positions at most so far")
    axes.set_title(f"{arguments.model} against {arguments.reference}")
