"""How close does the product with each weight format come to the machine's limits, for one token and for many?

    python benchmarks/bench_matmul.py [--formats Q4_0,Q4_K] [--rows 1,4,16,64,512] [--shapes 576x1536,8192x2048]
                                      [--threads 2] [--level avx2] [--cached] [--seconds 0.3] [--plot roofline.png]

Rows are tokens, shapes are OUTxIN. A captured program multiplies with many copies of the matrix in turn, 256 MB
together for 1 and 4 rows, so that each comes from memory as in a model; with --cached it is the same matrix every time.
More rows use as many copies as make 4 billion operations. The time of a replay over the number of products is one
sample; the first replay warms up, the others go on for --seconds (5 at least). GB/s counts the bytes of the weights as
they are kept. Limits of the same run: read bandwidth, and the rate that the multiply reaches on a matrix in cache (see
common.py), both measured before each format, the best of all counts. Blocks are random bytes, float formats random
numbers; formats that need longer rows skip a shape.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from common import (
    Spread,
    cache_resident_rate,
    print_header,
    print_json,
    print_table,
    read_bandwidth,
    significant,
    timed,
)

if TYPE_CHECKING:
    import torch

    from gristmill.kernels import Ops
    from gristmill.kernels.dispatch import Graph, Weight

WORKING_SET = 256 << 20
OPERATIONS = 4e9
MEMORY_ROWS = 4  # up to so many rows, weights come from memory
TITLES = ("format", "shape", "rows", "us", "GOP/s", "p10", "p90", "GB/s", "of bandwidth", "of rate")


@dataclass(frozen=True)
class Limits:
    bandwidth: float = 0.0  # bytes per second
    rate: float = 0.0  # operations per second

    def measured_again(self, ops: Ops, threads: int) -> Limits:
        return Limits(max(self.bandwidth, read_bandwidth(threads)), max(self.rate, cache_resident_rate(ops)))


@dataclass(frozen=True)
class Result:
    format: str
    shape: str
    rows: int
    seconds: float
    gops: Spread
    gb_s: float
    ops_per_byte: float


def parse() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    def shapes(text: str) -> list[tuple[int, int]]:
        return [(int(out), int(cols)) for out, _, cols in (part.partition("x") for part in text.split(","))]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--formats", type=lambda text: text.split(","), help="default: all that the kernels know")
    parser.add_argument("--rows", type=numbers, default=[1, 4, 16, 64, 512])
    parser.add_argument("--shapes", type=shapes, default=[(576, 1536), (1536, 576), (2048, 2048), (8192, 2048)])
    parser.add_argument("--threads", type=int, default=0, help="default: the physical cores")
    parser.add_argument("--level", help="instruction set, default the best one")
    parser.add_argument("--cached", action="store_true", help="the same matrix every time")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each line")
    parser.add_argument("--plot", metavar="FILE.png", help="draw a roofline; needs matplotlib")
    return parser.parse_args()


def random_blocks(name: str, out: int, cols: int) -> torch.Tensor:
    import torch

    from gristmill.kernels import FORMATS

    if FORMATS[name].block_elems == 1 and FORMATS[name].encode_blocks:  # random bytes would hold subnormal numbers
        return FORMATS[name].encode(torch.randn(out, cols))
    return torch.randint(0, 255, (out, FORMATS[name].row_bytes(cols)), dtype=torch.uint8)


def copies(ops: Ops, name: str, out: int, cols: int, args: argparse.Namespace) -> list[Weight]:
    """The matrix as often as the working set needs. Empty where the kernels have no form for the format."""
    from gristmill.kernels import FORMATS, QTensor

    tensor = QTensor(random_blocks(name, out, cols), FORMATS[name])
    first = ops.prepare(name, tensor)
    if first.stored != f"packed-{name.lower()}":
        return []
    few = args.cached or min(args.rows) > MEMORY_ROWS
    most = OPERATIONS / (2 * out * cols * min(args.rows)) if few else WORKING_SET / first.n_bytes
    if args.cached:
        return [first] * max(1, int(most))
    return [first, *(ops.prepare(name, tensor) for _ in range(int(most)))]


def capture(ops: Ops, weights: list[Weight], rows: int, cols: int, args: argparse.Namespace) -> tuple[Graph, int]:
    """A program of products, and how many there are in it."""
    import torch

    x = torch.randn(rows, cols)
    operations = 2 * rows * weights[0].shape[0] * cols
    whole = rows <= MEMORY_ROWS and not args.cached
    used = weights if whole else weights[: max(1, round(OPERATIONS / operations))]

    def program() -> None:
        for weight in used:
            ops.linear(x, weight)

    return ops.capture(program), len(used)


def measure(ops: Ops, weights: list[Weight], rows: int, args: argparse.Namespace) -> Result:
    out, cols = weights[0].shape
    graph, n = capture(ops, weights, rows, cols, args)
    graph.replay()
    samples: list[float] = []
    end = time.perf_counter() + args.seconds
    while len(samples) < 5 or time.perf_counter() < end:
        samples.append(timed(graph.replay) / n)
    operations, seconds = 2 * rows * out * cols, Spread.of(samples).median
    return Result(
        format=weights[0].format,
        shape=f"{out}x{cols}",
        rows=rows,
        seconds=seconds,
        gops=Spread.of_rates(operations / 1e9, samples),
        gb_s=weights[0].n_bytes / seconds / 1e9,
        ops_per_byte=operations / weights[0].n_bytes,
    )


def measure_format(ops: Ops, name: str, args: argparse.Namespace) -> list[Result]:
    from gristmill.kernels import FORMATS

    results: list[Result] = []
    for out, cols in args.shapes:
        if cols % FORMATS[name].block_elems:
            continue
        weights = copies(ops, name, out, cols, args)
        if not weights:
            print(f"{name}: the kernels have no form of their own for it, left out")
            break
        results += [measure(ops, weights, rows, args) for rows in args.rows]
        ops.weights.clear()  # it keeps every weight alive
    return results


def line(result: Result, limits: Limits) -> tuple[str, ...]:
    return (
        result.format,
        result.shape,
        str(result.rows),
        significant(result.seconds * 1e6),
        *(significant(number) for number in (result.gops.median, result.gops.p10, result.gops.p90, result.gb_s)),
        f"{result.gb_s * 1e9 / limits.bandwidth:.0%}",
        f"{result.gops.median * 1e9 / limits.rate:.0%}",
    )


def import_pyplot():
    try:
        import matplotlib
    except ImportError:
        sys.exit("--plot needs matplotlib: pip install matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def plot(file: str, measured: list[Result], limits: Limits, title: str) -> None:
    """Operations per byte of weights against GOP/s, below the lines of both limits."""
    pyplot = import_pyplot()
    figure, axes = pyplot.subplots(figsize=(10, 7))
    xs = [result.ops_per_byte for result in measured]
    low, high, knee = min(xs) / 2, max(xs) * 2, limits.rate / limits.bandwidth
    memory = f"read bandwidth, {limits.bandwidth / 1e9:.1f} GB/s"
    axes.plot([low, knee], [low * limits.bandwidth / 1e9, limits.rate / 1e9], "k-", label=memory)
    axes.plot([knee, high], [limits.rate / 1e9] * 2, "k--", label=f"cache-resident rate, {limits.rate / 1e9:.0f} GOP/s")
    formats = sorted({result.format for result in measured})
    colours = pyplot.get_cmap("turbo")
    for i, name in enumerate(formats):
        own = [result for result in measured if result.format == name]
        points = ([result.ops_per_byte for result in own], [result.gops.median for result in own])
        colour = colours(i / max(1, len(formats) - 1))
        axes.plot(*points, linestyle="", marker="os^Dv"[i % 5], markersize=5, color=colour, label=name)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte of weights", ylabel="GOP/s", title=title)
    axes.grid(which="major", alpha=0.3)
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(file, dpi=150, bbox_inches="tight")


def open_native(args: argparse.Namespace) -> Ops:
    from gristmill.kernels import FORMATS, open_ops

    if unknown := set(args.formats or ()) - set(FORMATS):
        sys.exit(f"no such format: {', '.join(sorted(unknown))}; known: {', '.join(FORMATS)}")
    if args.level:
        os.environ["GRISTMILL_CPU_LEVEL"] = args.level
    try:
        return open_ops("cpu", n_threads=args.threads)
    except ValueError as error:
        sys.exit(str(error))


def main() -> None:
    args = parse()
    if args.plot:
        import_pyplot()
    import torch

    from gristmill.kernels import FORMATS

    ops = open_native(args)
    threads = ops.table.backends[0].context.n_threads
    torch.set_num_threads(1)
    print_header(ops.name)
    limits, measured = Limits(), []
    for name in args.formats or FORMATS:
        limits = limits.measured_again(ops, threads)
        measured += measure_format(ops, name, args)
    print(f"{threads} threads, read bandwidth {limits.bandwidth / 1e9:.1f} GB/s, ", end="")
    print(f"cache-resident rate {limits.rate / 1e9:.0f} GOP/s; weights {'in cache' if args.cached else 'from memory'}")
    print_table(TITLES, [line(result, limits) for result in measured])
    if args.plot and measured:
        plot(args.plot, measured, limits, f"{ops.name}, {threads} threads")
    results = [asdict(result) for result in measured]
    print_json("matmul", kernels=ops.name, threads=threads, cached=args.cached, limits=asdict(limits), results=results)


if __name__ == "__main__":
    main()
