"""How fast does a model read prompts and write tokens, alone and for several sequences, and how near is that to memory?

    python benchmarks/bench_decode.py [--model PATH or NAME] [--threads 1,2] [--runs 5] [--steps 48] [--kv-type f16]

The engine's steps without sampling and service. Each number of threads runs in a process of its own. Prompts of 128 and
512 tokens are computed --runs times after one warm-up. Decoding replays the captured step --steps times at each depth
(what a sequence already holds, really computed before), after 4 steps of warm-up; 4 and 16 sequences decode together
after 128 tokens each. tok/s counts the tokens of all sequences. A step must read all weights once and the keys and
values of each sequence: those bytes per second, over the read bandwidth, are "of bandwidth"; it is measured before and
after in processes of their own, the better counts. Memory is the highest resident set of the model's process. Without
--model it is the default model's installed package.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from common import (
    PAGE,
    Spread,
    decode,
    default_model,
    kv_bytes,
    prefill,
    print_header,
    print_json,
    print_table,
    read_bandwidth,
    share_of_reading,
    significant,
    timed,
    token_weight_bytes,
)

if TYPE_CHECKING:
    from gristmill.runtime.model import Model
    from gristmill.runtime.step import Forward

PROMPTS = (128, 512)
DEPTHS = (0, 512, 4096)
TOGETHER, TOGETHER_DEPTH = (4, 16), 128
WARM_STEPS = 4
N_CTX = 8192


@dataclass(frozen=True)
class Result:
    """``gb_s``: what the steps read at least, 0 for a prompt."""

    work: str
    tok_s: Spread
    gb_s: float = 0.0


@dataclass(frozen=True)
class Report:
    threads: int
    kernels: str
    weight_bytes: int
    load_s: float
    peak_bytes: int
    results: list[Result]
    share: float
    bandwidth: float = 0.0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=default_model(), help="a file, a folder or a name of the model store")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--runs", type=int, default=5, help="prompts of each length")
    parser.add_argument("--steps", type=int, default=48, help="decoded tokens of each sequence")
    parser.add_argument("--kv-type", default="f16")
    args = parser.parse_args()
    if args.model is None:
        parser.error("the default model's package is not installed: give --model")
    if not 0 < args.steps <= 96:
        parser.error("--steps is 1 to 96")
    return args


def peak_resident() -> int:
    """Bytes, of this process alone: Linux lets the other count begin with the parent's."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@dataclass(frozen=True)
class Bench:
    """``weights``: the bytes of them that a step reads."""

    forward: Forward
    weights: int
    runs: int
    steps: int

    def prompts(self, pages: list[int]) -> Iterator[Result]:
        for n in PROMPTS:
            seconds = [prefill(self.forward, pages, n) for _ in range(self.runs + 1)]
            yield Result(f"prompt of {n}", Spread.of_rates(n, seconds[1:]))

    def alone(self, pages: list[int]) -> Iterator[Result]:
        for depth in DEPTHS:
            if depth + self.steps <= len(pages) * PAGE:
                yield self._decode(f"decode at {depth}", [pages], depth)

    def together(self, pages: list[int]) -> Iterator[Result]:
        for n in TOGETHER:
            each = len(pages) // n
            if TOGETHER_DEPTH + self.steps <= each * PAGE:
                sequences = [pages[i * each : (i + 1) * each] for i in range(n)]
                yield self._decode(f"decode of {n} sequences", sequences, TOGETHER_DEPTH)

    def _decode(self, work: str, sequences: list[list[int]], depth: int) -> Result:
        for pages in sequences:
            prefill(self.forward, pages, depth)
        decode(self.forward, sequences, depth, WARM_STEPS)
        tok_s = Spread.of_rates(len(sequences), decode(self.forward, sequences, depth, self.steps))
        n_bytes = self.weights + len(sequences) * kv_bytes(self.forward, depth + self.steps // 2)
        return Result(work, tok_s, n_bytes * tok_s.median / len(sequences) / 1e9)


def run_model(threads: int, args: argparse.Namespace) -> Report:
    """All but the bandwidth with so many threads; runs in a process of its own."""
    import torch

    from gristmill import open_model
    from gristmill.runtime.step import Span

    torch.set_num_threads(1)
    opened: list[Model] = []
    options = {"backend": "cpu", "n_ctx": N_CTX, "n_threads": threads, "kv_type": args.kv_type}
    load_s = timed(lambda: opened.append(open_model(args.model, **options)))
    model, forward = opened[0], opened[0].forward(3)  # a third for one sequence, the rest for those together
    own, pages = forward.max_pages, list(range(forward.cache.n_pages))
    weights = token_weight_bytes(model)
    bench = Bench(forward, weights, args.runs, args.steps)
    results = [*bench.prompts(pages[:own]), *bench.alone(pages[:own]), *bench.together(pages[own:])]
    peak = peak_resident()
    one = [Span([5], 0, pages[:own])]
    forward(one)
    share = share_of_reading(lambda: forward(one), weights + kv_bytes(forward, 1), threads)
    return Report(threads, model.ops.name, weights, load_s, peak, results, share)


def run_all(threads: int, args: argparse.Namespace) -> Report:
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        before = pool.apply(read_bandwidth, (threads,))
        report = pool.apply(run_model, (threads, args))
        return replace(report, bandwidth=max(before, pool.apply(read_bandwidth, (threads,))))


def cells(report: Report, result: Result) -> tuple[str, ...]:
    speed = (significant(number) for number in (result.tok_s.median, result.tok_s.p10, result.tok_s.p90))
    reached = ("", "")
    if result.gb_s:
        reached = (f"{result.gb_s:.1f}", f"{result.gb_s * 1e9 / report.bandwidth:.0%}")
    return (result.work, str(report.threads), *speed, *reached)


def main() -> None:
    args = parse()
    reports = [run_all(threads, args) for threads in args.threads]
    print_header(reports[0].kernels)
    print(f"model: {Path(args.model).name}, a token reads {reports[0].weight_bytes / 1e6:.1f} MB of weights")
    titles = ("work", "threads", "tok/s", "p10", "p90", "GB/s", "of bandwidth")
    print_table(titles, [cells(report, result) for report in reports for result in report.results])
    for report in reports:
        print(f"{report.threads} threads: read bandwidth {report.bandwidth / 1e9:.1f} GB/s, ", end="")
        print(f"loaded in {report.load_s:.2f} s, peak memory {report.peak_bytes / 1e6:.0f} MB; in alternation with")
        print(f"  reading the same bytes, one sequence decodes at {report.share:.0%} of the speed of reading")
    print_json("decode", model=Path(args.model).name, reports=[asdict(report) for report in reports])


if __name__ == "__main__":
    main()
