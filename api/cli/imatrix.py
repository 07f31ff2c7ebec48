"""The ``imatrix`` command: an importance matrix of a model, from a text."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from ..store.files import PendingFile
from .progress import Progress
from .research_model import model_path, on_window, target_path, windows_of


def imatrix(arguments: Namespace) -> int:
    """Raises GristmillError, OSError."""
    from gristmill.kernels.ops import open_ops
    from gristmill.runtime.measure.importance import collect_importance, listening_ops
    from gristmill.runtime.model import open_with
    from gristmill.runtime.quantize.imatrix import write_imatrix

    target = target_path(arguments.output, replace=arguments.force)
    ops, listener = listening_ops(open_ops(arguments.backend))
    model = open_with(ops, model_path(arguments.model), n_ctx=arguments.ctx)
    windows = windows_of(model, arguments)
    with Progress(keep=False) as progress:
        found = collect_importance(
            model, listener, windows, dataset=Path(arguments.text).name, on_window=on_window(progress, len(windows))
        )
    with PendingFile(target.parent) as file:
        write_imatrix(file, found)
        file.publish(target.name)
    sys.stdout.write(f"{len(found.entries)} matrices over {found.n_chunks} windows of {found.chunk_size} tokens\n")
    return 0
