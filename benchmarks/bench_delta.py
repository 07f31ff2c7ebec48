"""What does a token cost in a gated delta network, for each head of 128 elements, in prompts and alone?

    python benchmarks/bench_delta.py [--tokens 1,64,512] [--heads 16] [--threads 1] [--level avx2] [--rounds 50]

One decay for each head (Qwen 3 Next and 3.5), and one for each element of its keys (Kimi Linear). Replays of a captured
program; the first warms up. A token and head has 128 x 128 elements of a state, each multiplied, twice added to a sum
and once corrected: 7 operations in float32. GB/s counts a state read and written once, which is all that one token has.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from common import Spread, print_header, print_json, print_table, significant, timed

if TYPE_CHECKING:
    from gristmill.kernels import Ops

DIM = 128
OPERATIONS = 7 * DIM * DIM
TITLES = ("decays", "tokens", "ns per token and head", "p10", "p90", "GOP/s", "GB/s")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=lambda text: [int(n) for n in text.split(",")], default=[1, 64, 512])
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--level", help="one of the CPU's instruction sets; default: the best")
    parser.add_argument("--rounds", type=int, default=50)
    return parser.parse_args()


def measure(ops: Ops, n: int, heads: int, n_decays: int, rounds: int) -> Spread:
    """Seconds of a step of ``n`` tokens of one sequence."""
    import torch

    from gristmill.kernels.layout import TokenLayout
    from gristmill.kernels.specs import DeltaSpec

    q, k, v = torch.randn(3, n, heads, DIM)
    spec = DeltaSpec(torch.randn(heads * n_decays), -torch.rand(heads), 1e-6)
    decay, beta, state = torch.randn(n, heads * n_decays), torch.randn(n, heads), torch.zeros(1, heads, DIM, DIM)
    row, unused = torch.zeros(1, dtype=torch.int32), torch.zeros(1, dtype=torch.int64)
    starts = torch.tensor([0, n], dtype=torch.int32)
    layout = TokenLayout(unused, unused, starts, unused, unused, 16, row, row)
    graph = ops.capture(lambda: ops.delta_scan(q, k, v, decay, beta, state, layout, spec))
    return Spread.of([timed(graph.replay) for _ in range(rounds + 1)][1:])


def main() -> None:
    args = parse()
    from gristmill.kernels import open_ops

    if args.level:
        os.environ["GRISTMILL_CPU_LEVEL"] = args.level
    try:
        ops = open_ops("cpu", n_threads=args.threads)
    except ValueError as error:
        sys.exit(str(error))
    print_header(ops.name)
    rows, results = [], []
    for decays, n_decays in (("by head", 1), ("by element", DIM)):
        for n in args.tokens:
            spread, units = measure(ops, n, args.heads, n_decays, args.rounds), n * args.heads
            ns = [1e9 * seconds / units for seconds in (spread.median, spread.p10, spread.p90)]
            bandwidth = 2 * 4 * DIM * DIM * args.heads / spread.median / 1e9
            rates = (significant(OPERATIONS / ns[0]), significant(bandwidth))
            rows.append((decays, str(n), *(f"{x:,.0f}" for x in ns), *rates))
            results.append({"decays": decays, "tokens": n, "ns": ns[0]})
    print_table(TITLES, rows)
    print_json("delta", kernels=ops.name, threads=args.threads, heads=args.heads, results=results)


if __name__ == "__main__":
    main()
