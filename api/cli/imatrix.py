"""The ``imatrix`` command: an importance matrix of a model, from a text."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

from gristmill.runtime.errors import GristmillError, cut

from .progress import Progress
from .research_model import model_path, on_window, windows_of


def imatrix(arguments: Namespace) -> int:
    """Raises GristmillError, OSError."""
    from gristmill.kernels.ops import open_ops
    from gristmill.runtime.measure.importance import collect_importance, listening_ops
    from gristmill.runtime.model import open_with
    from gristmill.runtime.quantize.imatrix import write_imatrix

    target = Path(arguments.output).expanduser()
    if target.exists() and not arguments.force:
        raise GristmillError(f"{cut(arguments.output)} exists already: give another name, or overwrite it with --force")
    ops, listener = listening_ops(open_ops(arguments.backend))
    model = open_with(ops, model_path(arguments.model), n_ctx=arguments.ctx)
    windows = windows_of(model, arguments)
    with Progress(keep=False) as progress:
        found = collect_importance(
            model, listener, windows, dataset=Path(arguments.text).name, on_window=on_window(progress, len(windows))
        )
    temporary = target.with_name(f"{target.name}.part")
    try:
        with temporary.open("wb") as file:
            write_imatrix(file, found)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    sys.stdout.write(f"{len(found.entries)} matrices over {found.n_chunks} windows of {found.chunk_size} tokens\n")
    return 0
