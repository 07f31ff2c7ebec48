"""The ``inspect`` command: the tensors of a file, how they are stored, and how far they are from another file's."""

from __future__ import annotations

import re
from argparse import Namespace
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.runtime.errors import GristmillError, cut

from . import human
from .plot import save_plot
from .research_model import figure, model_path, print_result

if TYPE_CHECKING:
    from gristmill.runtime.checkpoint import Checkpoint
    from gristmill.runtime.measure import TensorRow

_BARS = " ▁▂▃▄▅▆▇█"


def inspect(arguments: Namespace) -> int:
    """Raises GristmillError, OSError."""
    from gristmill.runtime.checkpoint import open_checkpoint
    from gristmill.runtime.measure import tensor_rows

    with open_checkpoint(model_path(arguments.file)) as checkpoint:
        found = [row for row in tensor_rows(checkpoint) if _pattern(arguments.tensor).search(row.name)]
        if not found:
            raise GristmillError(f"--tensor {cut(arguments.tensor)}: no tensor of the file has such a name")
        details: list[dict[str, Any]] = [{**asdict(row), "bits_per_weight": row.bits_per_weight} for row in found]
        if arguments.histogram or arguments.plot:
            _add_histograms(checkpoint, details)
        if arguments.reference:
            _add_errors(checkpoint, details, arguments)
        if arguments.plot:
            save_plot(arguments.plot, lambda axes: _draw(axes, details))
        result = {"file": arguments.file, "kind": checkpoint.kind, "formats": _totals(found), "tensors": details}
    return print_result(arguments, result, [*_table(details), [], *_total_rows(result["formats"])])


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise GristmillError(f"--tensor {cut(text)} is no regular expression: {error}") from None


def _add_histograms(checkpoint: Checkpoint, details: list[dict[str, Any]]) -> None:
    from gristmill.runtime.measure import histogram

    for row in details:
        edges, counts = histogram(checkpoint, row["name"])
        row["histogram"] = {"low": edges[0], "high": edges[-1], "counts": counts}


def _add_errors(checkpoint: Checkpoint, details: list[dict[str, Any]], arguments: Namespace) -> None:
    from gristmill.runtime.checkpoint import open_checkpoint
    from gristmill.runtime.measure import compare_tensors
    from gristmill.runtime.quantize.imatrix import read_imatrix

    importance = read_imatrix(Path(arguments.imatrix)) if arguments.imatrix else None
    with open_checkpoint(model_path(arguments.reference)) as reference:
        for row in details:
            row["error"] = asdict(compare_tensors(checkpoint, reference, row["name"], importance))
            del row["error"]["name"]


def _totals(rows: list[TensorRow]) -> dict[str, dict[str, float]]:
    """By format, then of all: tensors, elements, bytes, bits per weight."""
    groups = defaultdict(list)
    for row in rows:
        groups[row.format].append(row)
    totals = {}
    for name, group in [*sorted(groups.items()), ("all", rows)]:
        n_elems, n_bytes = sum(row.n_elems for row in group), sum(row.n_bytes for row in group)
        totals[name] = {
            "tensors": len(group),
            "elements": n_elems,
            "bytes": n_bytes,
            "bits_per_weight": 8 * n_bytes / max(1, n_elems),
        }
    return totals


def _table(details: list[dict[str, Any]]) -> list[list[str]]:
    header = ["TENSOR", "FORMAT", "SHAPE", "SIZE", "BITS"]
    header += ["FROM", "", "TO"] if "histogram" in details[0] else []
    header += ["RMSE", "RELATIVE", "LARGEST", "1 - COSINE", "WEIGHTED"] if "error" in details[0] else []
    return [header, *map(_row, details)]


def _row(row: dict[str, Any]) -> list[str]:
    shape = " x ".join(map(str, row["shape"]))
    cells = [row["name"], row["format"], shape, human.size(row["n_bytes"]), f"{row['bits_per_weight']:.3f}"]
    if found := row.get("histogram"):
        cells += [figure(found["low"]), _bars(found["counts"]), figure(found["high"])]
    if error := row.get("error"):
        values = (error["rmse"], error["relative"], error["largest"], 1 - error["cosine"], error["weighted"])
        cells += ["-" if value != value else figure(value) for value in values]
    return cells


def _bars(counts: list[int]) -> str:
    """Every second pair of bins as one character, the highest a full block."""
    pairs = [sum(counts[i : i + 2]) for i in range(0, len(counts), 2)]
    highest = max(1, *pairs)
    return "".join(_BARS[-(-n * (len(_BARS) - 1) // highest)] for n in pairs)


def _total_rows(totals: dict[str, dict[str, float]]) -> list[list[str]]:
    header = ["FORMAT", "TENSORS", "ELEMENTS", "SIZE", "BITS"]
    rows = [
        [name, str(t["tensors"]), human.parameter_count(int(t["elements"])), human.size(int(t["bytes"])),
         f"{t['bits_per_weight']:.3f}"]
        for name, t in totals.items()
    ]  # fmt: skip
    return [header, *rows]


def _draw(axes: Any, details: list[dict[str, Any]]) -> None:
    for row in details[:20]:
        found = row["histogram"]
        n = len(found["counts"])
        step = (found["high"] - found["low"]) / n
        at = [found["low"] + (i + 0.5) * step for i in range(n)]
        total = max(1, sum(found["counts"])) * (step or 1.0)
        axes.plot(at, [count / total for count in found["counts"]], label=row["name"])
    axes.set(xlabel="value", ylabel="density")
    axes.legend(fontsize="x-small")
