"""The ``formats`` command: the weight formats there are, and with a model and a text what each of them costs."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.runtime.errors import GristmillError, cut

from .progress import Progress
from .research_model import figure, model_path, on_window, open_named, print_result, windows_of

if TYPE_CHECKING:
    from gristmill.kernels.formats import Format
    from gristmill.runtime.measure import Window
    from gristmill.runtime.model import Model

_N_TIMED = 32  # decode steps that speed is taken from


def formats(arguments: Namespace) -> int:
    """Raises GristmillError, OSError."""
    chosen = _chosen(arguments.formats)
    if bool(arguments.model) != bool(arguments.text):
        raise GristmillError("give a MODEL and a TEXT to measure with, or neither for a list")
    if not arguments.model:
        listed = [_listed(row) for row in chosen]
        header = ["FORMAT", "BITS", "BLOCK", "BYTES", "GGML TYPE", "ENCODER"]
        rows = [
            [row["name"], f"{row['bits_per_weight']:.4g}", str(row["block_elems"]), str(row["block_bytes"]),
             "-" if row["ggml_id"] is None else str(row["ggml_id"]), "yes" if row["encoder"] else "-"]
            for row in listed
        ]  # fmt: skip
        return print_result(arguments, {"formats": listed}, [header, *rows])
    measured = _measure(arguments, [row for row in chosen if row.encode_blocks is not None])
    header = ["FORMAT", "BITS", "PERPLEXITY", "KL MEAN", "KL P99", "SAME TOP", "DECODE TOK/S", "ENCODE MELEM/S"]
    rows = [
        [row["name"], f"{row['bits_per_weight']:.4g}", f"{row['perplexity']:.4f}", figure(row["kl_mean"]),
         figure(row["kl_p99"]), f"{100 * row['same_top']:.2f} %", figure(row["decode_tokens_per_s"]),
         figure(row["encode_melems_per_s"])]
        for row in measured
    ]  # fmt: skip
    result = {"model": arguments.model, "text": arguments.text, "ctx": arguments.ctx, "formats": measured}
    return print_result(arguments, result, [header, *rows])


def _chosen(names: str | None) -> list[Format]:
    from gristmill.kernels import FORMATS

    if not names:
        return list(FORMATS.values())
    known = {name.lower(): row for name, row in FORMATS.items()}
    wanted = [name.strip().lower() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            raise GristmillError(f"--formats: {cut(name)} is not a format; known: {', '.join(FORMATS)}")
        if known[name].encode_blocks is None and len(wanted) == 1:
            raise GristmillError(f"--formats: {known[name].name} has no encoder, it can only be read")
    return [known[name] for name in wanted]


def _listed(row: Format) -> dict[str, Any]:
    return {
        "name": row.name,
        "bits_per_weight": row.bits_per_weight,
        "block_elems": row.block_elems,
        "block_bytes": row.block_bytes,
        "ggml_id": row.ggml_id,
        "encoder": row.encode_blocks is not None,
    }


def _measure(arguments: Namespace, chosen: list[Format]) -> list[dict[str, Any]]:
    from gristmill.runtime.quantize.imatrix import read_imatrix

    importance = read_imatrix(Path(arguments.imatrix)) if arguments.imatrix else None
    reference = open_named(arguments.model, arguments.ctx, "reference")
    windows = windows_of(reference, arguments)
    with Progress(keep=False) as progress:
        return [_one(arguments, row, importance, reference, windows, progress) for row in chosen]


def _one(
    arguments: Namespace, row: Format, importance: Any, reference: Model, windows: list[Window], progress: Progress
) -> dict[str, Any]:
    from gristmill.kernels.ops import open_ops
    from gristmill.runtime.measure import diverge
    from gristmill.runtime.measure.requantized import requantizing_ops
    from gristmill.runtime.model import open_with

    progress.show(f"encoding {row.name}")
    weighs = importance if row.weighs else None
    ops, encoded = requantizing_ops(open_ops(arguments.backend), row, weighs)
    model = open_with(ops, model_path(arguments.model), n_ctx=arguments.ctx)
    summary = diverge(model, reference, windows, on_window(progress, len(windows))).summary()
    return {
        **_listed(row),
        "elements": encoded.n_elems,
        "elements_kept": encoded.n_kept,
        "encode_melems_per_s": encoded.n_elems / max(1e-9, encoded.encode_s) / 1e6,
        "decode_tokens_per_s": _decode_speed(model, windows[0].tokens),
        **summary,
    }


def _decode_speed(model: Model, tokens: list[int]) -> float:
    from gristmill.runtime.step import Span

    forward = model.forward(1)
    pages = list(range(forward.cache.n_pages))
    times = []
    for at in range(min(_N_TIMED, len(tokens))):
        started = time.perf_counter()
        forward([Span([tokens[at]], at, pages)])
        times.append(time.perf_counter() - started)
    return 1.0 / sorted(times)[len(times) // 2]
