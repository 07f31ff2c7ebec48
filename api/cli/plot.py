"""A plot into a file, for commands with ``--plot``. matplotlib comes with the extra ``plot``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gristmill.runtime.errors import GristmillError, cut

__all__ = ["save_plot"]


def save_plot(path: str, draw: Callable[[Any], None]) -> None:
    """``draw(axes)`` onto one pair of axes, saved as the ending of ``path`` says. Raises GristmillError, OSError."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise GristmillError("--plot needs matplotlib: pip install 'gristmill[plot]'") from None
    figure = Figure(figsize=(8, 5), layout="constrained")
    draw(figure.subplots())
    try:
        figure.savefig(path, dpi=150)
    except ValueError as error:
        raise GristmillError(f"--plot {cut(path)}: {error}") from None
