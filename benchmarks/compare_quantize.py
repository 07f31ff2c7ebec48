"""Does Gristmill quantize a model file as fast as llama.cpp, and in how much memory?

    python benchmarks/compare_quantize.py [--model FILE.gguf [--imatrix FILE]] [--llama-bin FOLDER]
                                          [--types Q4_K_M,Q6_K] [--rounds 3]

Both make the same types of one F16 file, each in a process of its own, in turn who begins. Without --model it is a
random Llama of 132 M weights whose rows are whole blocks of every format, with a random importance matrix; with it,
that file's weights as F16. The importance matrix goes to the types that need one (IQ1, IQ2, IQ3_XXS) only. Files lie
in a temporary folder (TMPDIR says where). Printed are the medians of the seconds of the whole process, start and
writing included, and of the work as each program measures it itself; the ratios of speeds (above 1: Gristmill is
faster); and the largest peak of memory, mapped pages of the source included. Gristmill syncs its file to the disk,
the peer leaves that to the system.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from common import print_header, print_json, print_table, significant
from peer import Programs, installed_programs, missing_programs

PEER = "llama-quantize"
N_LAYERS, N_EMBD, N_FF, N_VOCAB, N_HEAD, N_HEAD_KV = 15, 768, 2048, 32_768, 12, 3
TITLES = ("type", "process s", "llama.cpp", "ratio", "work s", "llama.cpp", "ratio", "peak MB", "llama.cpp")
NEED_IMATRIX = ("IQ1", "IQ2", "IQ3_XXS")
FIELDS = ("process_s", "peer_process_s", "ratio", "work_s", "peer_work_s", "work_ratio", "peak_mb", "peer_peak_mb")


@dataclass(frozen=True)
class Run:
    """One process: seconds from start to end, seconds of work by its own account, and its peak of memory in bytes."""

    process_s: float
    work_s: float
    peak_bytes: int


def run(command: list[str], work: str, unit_s: float, environment: dict[str, str] | None = None) -> Run:
    """``work`` finds in the output how long the work took, in units of ``unit_s`` seconds.

    A process begins with the peak of the one that started it, so this one must stay small: it imports no torch.
    """
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    found = re.search(work, text)
    if process.returncode or found is None:
        sys.exit(f"{' '.join(command)} failed:\n{text[-2000:]}")
    return Run(seconds, float(found[1]) * unit_s, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


@dataclass(frozen=True)
class Files:
    """Source, the file that is made of it, and the importance matrix, if there is one."""

    source: Path
    target: Path
    imatrix: Path | None

    def flags(self, file_type: str) -> list[str]:
        return ["--imatrix", str(self.imatrix)] if self.imatrix and file_type.startswith(NEED_IMATRIX) else []


def gristmill(files: Files, file_type: str) -> Run:
    command = [sys.executable, "-m", "gristmill", "quantize", str(files.source), str(files.target), file_type]
    return run([*command, "--json", "--force", *files.flags(file_type)], r'"seconds": ([0-9.]+)', 1)


def llama_cpp(programs: Programs, files: Files, file_type: str) -> Run:
    command = [programs.path(PEER), *files.flags(file_type), str(files.source), str(files.target), file_type]
    return run(command, r"quantize time = +([0-9.]+) ms", 1e-3, programs.environment)


def write_random_model(path: Path, imatrix_path: Path) -> None:
    """A Llama without tokenizer; weights of the size that trained ones have."""
    import torch

    from gristmill.kernels import FORMATS
    from gristmill.runtime.checkpoint.gguf_writer import TensorPlan, write_gguf

    n_kv = N_HEAD_KV * N_EMBD // N_HEAD
    matrices = {
        "attn_q": (N_EMBD, N_EMBD),
        "attn_k": (n_kv, N_EMBD),
        "attn_v": (n_kv, N_EMBD),
        "attn_output": (N_EMBD, N_EMBD),
        "ffn_gate": (N_FF, N_EMBD),
        "ffn_up": (N_FF, N_EMBD),
        "ffn_down": (N_EMBD, N_FF),
    }
    f16, generator = FORMATS["F16"], torch.Generator().manual_seed(0)
    plans = [TensorPlan("token_embd.weight", f16, (N_VOCAB, N_EMBD))]
    for layer in range(N_LAYERS):
        plans += [TensorPlan(f"blk.{layer}.{name}.weight", f16, shape) for name, shape in matrices.items()]
    sizes = {"block_count": N_LAYERS, "context_length": 512, "embedding_length": N_EMBD, "feed_forward_length": N_FF}
    heads = {"attention.head_count": N_HEAD, "attention.head_count_kv": N_HEAD_KV, "vocab_size": N_VOCAB}
    keys = sizes | heads | {"attention.layer_norm_rms_epsilon": 1e-5}
    metadata = {"general.architecture": "llama", "tokenizer.ggml.model": "no_vocab"}
    metadata |= {f"llama.{key}": value for key, value in keys.items()}
    with open(path, "wb") as file:
        write_gguf(
            file,
            metadata,
            plans,
            lambda plan: [(torch.randn(plan.shape, generator=generator) / 32).to(torch.float16).numpy().data],
        )
    write_random_imatrix(imatrix_path, {plan.name: plan.shape[1] for plan in plans})


def write_random_imatrix(path: Path, n_in: dict[str, int]) -> None:
    import torch

    from gristmill.runtime.quantize.imatrix import Importance, ImportanceMatrix, write_imatrix

    generator = torch.Generator().manual_seed(1)
    sums = {name: torch.randn((1, n), generator=generator).square() for name, n in n_in.items()}
    entries = {name: Importance(values, torch.ones(1)) for name, values in sums.items()}
    with open(path, "wb") as file:
        write_imatrix(file, ImportanceMatrix(entries, ("random",), 1, 512))


def compare(programs: Programs, files: Files, file_type: str, rounds: int) -> tuple[float, ...]:
    """Values of ``FIELDS``."""
    ours: list[Run] = []
    theirs: list[Run] = []
    for i in range(rounds):
        for is_ours in (i % 2 == 0, i % 2 == 1):
            if is_ours:
                ours.append(gristmill(files, file_type))
            else:
                theirs.append(llama_cpp(programs, files, file_type))
    process, peer_process = (statistics.median(one.process_s for one in runs) for runs in (ours, theirs))
    work, peer_work = (statistics.median(one.work_s for one in runs) for runs in (ours, theirs))
    peak, peer_peak = (max(one.peak_bytes for one in runs) / 1e6 for runs in (ours, theirs))
    return process, peer_process, peer_process / process, work, peer_work, peer_work / work, peak, peer_peak


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a GGUF file; default: random weights")
    parser.add_argument("--llama-bin", type=Path, default=installed_programs(), help=f"folder of {PEER}")
    parser.add_argument("--types", default="Q4_K_M,Q6_K,Q8_0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--imatrix", type=Path, help="the importance matrix of --model")
    parser.add_argument("--write-random", type=Path, nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse()
    if args.write_random:  # in a process of its own, see run
        write_random_model(*args.write_random)
        return
    missing = missing_programs(args.llama_bin, [PEER])
    if missing:
        sys.exit(missing)
    print_header()
    programs, results = Programs(args.llama_bin), {}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "f16.gguf"), Path(folder, "out.gguf")
        imatrix = args.imatrix if args.model else Path(folder, "imatrix.gguf")
        if args.model:
            gristmill(Files(args.model, source, None), "F16")
        else:
            subprocess.run([sys.executable, __file__, "--write-random", str(source), str(imatrix)], check=True)
        for file_type in args.types.split(","):
            results[file_type] = compare(programs, Files(source, target, imatrix), file_type, args.rounds)
        n_bytes = source.stat().st_size
    print_table(TITLES, [(name, *map(significant, values)) for name, values in results.items()])
    fields = {name: dict(zip(FIELDS, values, strict=True)) for name, values in results.items()}
    print_json("compare_quantize", source_bytes=n_bytes, rounds=args.rounds, is_random=not args.model, types=fields)


if __name__ == "__main__":
    main()
