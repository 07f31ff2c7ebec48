"""The ``quantize`` command: a model file of another format, made here and without a server.

Imports the engine's parts when it runs, not before. The new file appears under its name when it is whole and synced.
"""

from __future__ import annotations

import re
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from gristmill.runtime.errors import GristmillError, cut

from ..store.files import PendingFile
from .progress import Progress
from .research_model import model_path, target_path
from .terminal import note

if TYPE_CHECKING:
    from gristmill.kernels.formats import Format
    from gristmill.runtime.checkpoint import Checkpoint
    from gristmill.runtime.quantize.choose import Wishes
    from gristmill.runtime.quantize.file_types import FileType
    from gristmill.runtime.quantize.imatrix import ImportanceMatrix
    from gristmill.runtime.quantize.model import QuantizationPlan

_KEEP = "COPY"  # llama.cpp's word for: change nothing
_N_NAMED = 3  # tensors that a warning names


def quantize(arguments: Namespace) -> int:
    """Prints a table of all tensors, or JSON. Raises GristmillError, OSError; then there is no new file."""
    from gristmill.runtime.checkpoint import open_checkpoint
    from gristmill.runtime.quantize.imatrix import read_imatrix
    from gristmill.runtime.quantize.model import plan_quantization

    target = target_path(arguments.target, replace=arguments.force or arguments.dry_run)
    file_type, wishes = _file_type(arguments.type), _wishes(arguments)
    imatrix = read_imatrix(arguments.imatrix) if arguments.imatrix else None
    with open_checkpoint(model_path(arguments.source)) as source:
        plan = plan_quantization(source, file_type, imatrix=imatrix, wishes=wishes)
        _warn(plan)
        if arguments.dry_run:
            _note_missing(plan, imatrix)
        start = time.monotonic()
        n_file_bytes = None if arguments.dry_run else _write(source, target, plan, imatrix)
        seconds = time.monotonic() - start
    from .quantize_report import json_text, table_text

    if arguments.json:
        sys.stdout.write(json_text(plan, file_type, n_file_bytes, seconds))
    else:
        sys.stdout.write(table_text(plan, n_file_bytes, seconds))
    return 0


def _write(source: Checkpoint, target: Path, plan: QuantizationPlan, imatrix: ImportanceMatrix | None) -> int:
    from gristmill.runtime.quantize.model import quantize_file

    # A bar on a terminal and nothing elsewhere, where it would be a line for each tensor.
    with Progress(keep=False) as progress, PendingFile(target.parent) as file:
        size = quantize_file(
            source,
            file,
            plan,
            imatrix=imatrix,
            on_progress=lambda tensor, done, total: progress.show("quantizing", done, total),
        )
        file.publish(target.name)
    return size


def _file_type(text: str) -> FileType | None:
    """None for a copy. Raises InvalidRequest."""
    from gristmill.runtime.quantize.file_types import find_file_type

    return None if text.upper() == _KEEP else find_file_type(text)


def _wishes(arguments: Namespace) -> Wishes:
    """What the flags ask for otherwise than the mix. Raises GristmillError."""
    from gristmill.runtime.quantize.choose import Wishes, find_format

    return Wishes(
        overrides=tuple(_override(text) for text in arguments.tensor_type or ()),
        output=find_format(arguments.output_tensor_type) if arguments.output_tensor_type else None,
        embedding=find_format(arguments.token_embedding_type) if arguments.token_embedding_type else None,
        is_pure=arguments.pure,
    )


def _override(text: str) -> tuple[re.Pattern[str], Format]:
    """``ffn_down=Q6_K``: a regular expression that is searched for in tensors' names, and a format."""
    from gristmill.runtime.quantize.choose import find_format

    pattern, equals, format = text.rpartition("=")
    if not equals or not pattern:
        raise GristmillError(f"invalid value for --tensor-type: {cut(text)} (must be REGEX=TYPE, as in ffn_down=Q6_K)")
    try:
        return re.compile(pattern), find_format(format)
    except re.error as error:
        raise GristmillError(f"invalid value for --tensor-type: {cut(pattern)}: {error.msg}") from None


def _note_missing(plan: QuantizationPlan, imatrix: ImportanceMatrix | None) -> None:
    """What the work itself would end with."""
    blind = [tensor.info.name for tensor in plan.without_importance(imatrix)]
    if blind:
        note(f"warning: the work will need an importance matrix for {_some(blind)}; give --imatrix FILE")


def _warn(plan: QuantizationPlan) -> None:
    requantized, other = plan.requantized(), plan.fallbacks()
    if requantized:
        note(f"warning: {_some(requantized)} lose twice: they are quantized already; quantize from F16 or F32 weights")
    if other:
        note(f"note: {_some(other)} get another format, because their rows are not whole blocks")


def _some(names: list[str]) -> str:
    """``3 tensors (a, b, c)``, ``9 tensors (a, b, c, ...)``"""
    more = ", ..." if len(names) > _N_NAMED else ""
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({', '.join(names[:_N_NAMED])}{more})"
