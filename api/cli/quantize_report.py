"""What ``gristmill quantize`` says about the file that it made: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from . import human, terminal

if TYPE_CHECKING:
    from gristmill.runtime.quantize.file_types import FileType
    from gristmill.runtime.quantize.model import PlannedTensor, QuantizationPlan

_HEADER = ("TENSOR", "SHAPE", "FROM", "TO", "BITS", "SIZE")


def table_text(plan: QuantizationPlan, n_file_bytes: int | None, seconds: float) -> str:
    """One row for each tensor and a line that sums them up. ``n_file_bytes`` None: no file was made."""
    rows = [_row(tensor) for tensor in plan.tensors]
    return (_drawn(rows) if terminal.is_terminal(sys.stdout) else human.table(_HEADER, rows)) + _summary(
        plan, n_file_bytes, seconds
    )


def json_text(plan: QuantizationPlan, file_type: FileType | None, n_file_bytes: int | None, seconds: float) -> str:
    """One line: totals, and a list of tensors with shapes in torch's order. ``file_bytes`` null: no file was made."""
    report = {
        "type": file_type.name if file_type else None,
        "n_weights": plan.n_weights,
        "bytes_before": plan.n_bytes_before,
        "bytes": plan.n_bytes,
        "bits_per_weight": plan.n_bytes * 8 / max(plan.n_weights, 1),
        "file_bytes": n_file_bytes,
        "seconds": round(seconds, 3),
        "tensors": [
            {
                "name": tensor.info.name,
                "shape": list(tensor.info.shape),
                "from": tensor.info.format.name,
                "to": tensor.choice.format.name,
                "bytes": tensor.target.n_bytes,
                **({"instead_of": tensor.choice.instead_of} if tensor.choice.instead_of else {}),
            }
            for tensor in plan.tensors
        ],
    }
    return json.dumps(report) + "\n"


def _row(tensor: PlannedTensor) -> tuple[str, ...]:
    format = tensor.choice.format
    return (
        tensor.info.name,
        " x ".join(map(str, tensor.info.shape)),
        tensor.info.format.name,
        format.name + ("*" if tensor.choice.instead_of else ""),
        f"{format.bits_per_weight:.4g}",
        human.size(tensor.target.n_bytes),
    )


def _drawn(rows: list[tuple[str, ...]]) -> str:
    """The table as a terminal shows it best. ``rich`` takes a moment to import, so only here."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*_HEADER, box=None, pad_edge=False)
    for name, *cells in rows:
        table.add_row(terminal.printable(name), *cells)
    console = Console()
    with console.capture() as capture:
        console.print(table, markup=False)
    return capture.get()


def _summary(plan: QuantizationPlan, n_file_bytes: int | None, seconds: float) -> str:
    before, after = (n * 8 / max(plan.n_weights, 1) for n in (plan.n_bytes_before, plan.n_bytes))
    sizes = f"{human.size(plan.n_bytes_before)} at {before:.2f} bits per weight -> "
    sizes += f"{human.size(plan.n_bytes)} at {after:.2f}"
    stars = "\n* rows are not whole blocks of the format that was wanted" if plan.fallbacks() else ""
    made = "nothing written" if n_file_bytes is None else f"{human.size(n_file_bytes)} written in {seconds:.1f} s"
    return f"{stars}\n{human.parameter_count(plan.n_weights)} weights: {sizes}; {made}\n"
