"""Is Gristmill faster than llama.cpp on models that are not plain transformers, with the same file and threads?

    python benchmarks/compare_architectures.py [--kinds experts] [--format Q4_K] [--llama-bin FOLDER] [--threads 2]

Each kind of ``random_models.py`` is written to a temporary folder (TMPDIR says where), its weights random, and both
compute a prompt of 512 tokens and 64 tokens of one sequence from an empty context, without sampling and service, with
an f16 cache, after a warm-up. What is random chooses experts evenly, as trained routers are taught to. The rest is as
in compare_llama_cpp.py: rounds in turn who begins, medians, the ratio of medians (above 1: Gristmill is faster) and
that of the best rounds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from common import Spread, decode, prefill, print_header, print_json, print_table, significant
from compare_llama_cpp import DECODE_WORK, PROMPT, PROMPT_WORK, STEPS, LlamaCpp
from peer import installed_programs, missing_programs
from random_models import SHAPES, write_random

if TYPE_CHECKING:
    from gristmill.runtime.model import Model

WORKS, PROGRAM, CONTEXT = (PROMPT_WORK, DECODE_WORK), "llama-bench", 1024
TITLES = ("kind, work, tok/s", "gristmill", "p10", "p90", "llama.cpp", "p10", "p90", "ratio", "of best")


class Gristmill:
    """The open model."""

    def __init__(self, model: Model):
        self.forward = model.forward(1)
        self.pages = list(range(self.forward.cache.n_pages))

    def run(self, work: str) -> float:
        """Tokens per second, after a warm-up like the peer's."""
        if work == PROMPT_WORK:
            return PROMPT / [prefill(self.forward, self.pages, PROMPT) for _ in range(2)][1]
        decode(self.forward, [self.pages], 0, 2)
        return STEPS / sum(decode(self.forward, [self.pages], 0, STEPS))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default=",".join(SHAPES), help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--format", default="Q4_K", help="of the matrices")
    parser.add_argument("--llama-bin", type=Path, default=installed_programs(), help=f"folder of {PROGRAM}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    args.kinds = args.kinds.split(",")
    if unknown := set(args.kinds) - set(SHAPES):
        parser.error(f"no kinds: {', '.join(sorted(unknown))}; there are {', '.join(SHAPES)}")
    if problem := missing_programs(args.llama_bin, [PROGRAM]):
        parser.error(problem)
    return args


def measure(ours: Gristmill, peer: LlamaCpp, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Tokens per second by work and engine."""
    samples: dict[str, dict[str, list[float]]] = {work: {"gristmill": [], "llama.cpp": []} for work in WORKS}
    engines = [("llama.cpp", peer), ("gristmill", ours)]
    for _ in range(rounds):
        for work in WORKS:
            for name, engine in engines:
                samples[work][name].append(engine.run(work))
        engines.reverse()
    return samples


def compare(kind: str, args: argparse.Namespace, rows: list[list[str]]) -> dict[str, object]:
    """Adds to ``rows`` of the table."""
    from gristmill import open_model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{kind}.gguf")
        n_weights = write_random(path, kind, args.format)
        model = open_model(str(path), backend="cpu", n_ctx=CONTEXT, n_threads=args.threads)
        samples = measure(Gristmill(model), LlamaCpp(args.llama_bin, str(path), args.threads), args.rounds)
        n_bytes = path.stat().st_size
    print(f"{kind}: {n_weights / 1e6:.0f} M weights in {n_bytes / 1e6:.0f} MB, {args.format}", flush=True)
    results: dict[str, object] = {"weights": n_weights, "bytes": n_bytes}
    for work, sides in samples.items():
        own, peer = Spread.of(sides["gristmill"]), Spread.of(sides["llama.cpp"])
        ratio, best = own.median / peer.median, max(sides["gristmill"]) / max(sides["llama.cpp"])
        numbers = [significant(x) for side in (own, peer) for x in (side.median, side.p10, side.p90)]
        rows.append([f"{kind}, {work}", *numbers, f"{ratio:.2f}", f"{best:.2f}"])
        results[work] = {"gristmill": asdict(own), "llama.cpp": asdict(peer), "ratio": ratio, "ratio_of_best": best}
    return results


def main() -> None:
    args = parse()
    import torch

    torch.set_num_threads(1)
    print_header()
    rows: list[list[str]] = []
    results = {kind: compare(kind, args, rows) for kind in args.kinds}
    print_table(TITLES, rows)
    print_json("compare_architectures", threads=args.threads, rounds=args.rounds, format=args.format, kinds=results)


if __name__ == "__main__":
    sys.exit(main())
