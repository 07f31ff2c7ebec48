"""What do LoRA adapters cost: reading prompts and writing tokens with 0, 1 and 4 adapters in a batch?

    python benchmarks/bench_lora.py [--model PATH or NAME] [--rank 16] [--modules attention] [--runs 15] [--threads 0]

Random adapters of all layers. Work: a prompt of 512; decoding of 1 and of 8 sequences after 128 tokens. "0, loaded" has
adapters in memory that no sequence uses; "half" has one adapter in half of the sequences. Kinds alternate, run by run,
and the ratio is the median of the runs' own ratios to a model that has loaded none, so that a machine that wanders does
not count. Without --model it is the default model's installed package.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common import PAGE, decode, default_model, prefill, print_header, print_json, print_table, significant, timed

if TYPE_CHECKING:
    from gristmill.runtime.model import Model
    from gristmill.runtime.step import Forward

DEPTH, STEPS, N_ADAPTERS = 128, 16, 4
KINDS = {"0, loaded": lambda i: None, "1": lambda i: 0, "half": lambda i: 0 if i % 2 else None, "4": lambda i: i % 4}
MODULES = {"attention": ("attn_q", "attn_k", "attn_v", "attn_output"), "all": ()}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=default_model(), help="a file or a name of the model store")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--modules", choices=MODULES, default="all", help="which weights of each layer")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    args = parser.parse_args()
    if args.model is None:
        parser.error("the default model's package is not installed: give --model")
    return args


def write_adapter(path: Path, model: Model, rank: int, modules: tuple[str, ...], seed: int) -> None:
    """Random pairs for the matrices of all layers; with ``modules``, for those only."""
    import torch

    from gristmill.kernels import FORMATS
    from gristmill.runtime.checkpoint.gguf_writer import TensorPlan, write_gguf

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, (*stack, n_out, n_in) in model.adapters.shapes.items():
        if name.startswith("blk.") and (not modules or name.split(".")[2] in modules):
            tensors[f"{name}.lora_a"] = torch.randn(*stack, rank, n_in, generator=generator) / n_in**0.5
            tensors[f"{name}.lora_b"] = torch.randn(*stack, n_out, rank, generator=generator) / 100
    metadata = {"general.architecture": model.architecture, "general.type": "adapter", "adapter.type": "lora"}
    plans = [TensorPlan(name, FORMATS["F32"], tuple(tensor.shape)) for name, tensor in tensors.items()]
    with open(path, "wb") as file:
        write_gguf(file, metadata, plans, lambda plan: [memoryview(tensors[plan.name].numpy()).cast("B")])


@dataclass(frozen=True)
class Bench:
    """``plain`` is of a model without adapters, ``adapted`` of one with; ``ids`` are those of its adapters."""

    plain: Forward
    adapted: Forward
    ids: list[int]

    def prompt(self, kind: str | None) -> float:
        """Seconds."""
        return self._with(kind, lambda forward, which: prefill(which(forward), self._pages(1)[0], 512))

    def decode(self, kind: str | None, n: int) -> float:
        """Seconds of one step."""
        return self._with(
            kind, lambda forward, which: statistics.median(decode(which(forward), self._pages(n), DEPTH, STEPS))
        )

    def _pages(self, n: int) -> list[list[int]]:
        each = -(-max(512, DEPTH + STEPS) // PAGE)
        return [list(range(i * each, (i + 1) * each)) for i in range(n)]

    def _with(self, kind, run):
        if kind is None:
            return run(self.plain, lambda forward: forward)
        return run(self.adapted, lambda forward: Chosen(forward, [self._id(kind, i) for i in range(64)]))

    def _id(self, kind: str, row: int) -> int:
        which = KINDS[kind](row)
        return -1 if which is None else self.ids[which]


class Chosen:
    """A ``Forward`` whose i-th span has the i-th of these adapters."""

    def __init__(self, forward: Forward, ids: list[int]):
        self.forward, self.ids, self.model = forward, ids, forward.model

    def __call__(self, spans):
        from dataclasses import replace

        return self.forward([replace(span, adapter_id=self.ids[i]) for i, span in enumerate(spans)])


def main() -> None:
    import torch

    from gristmill import open_model

    args = parse()
    torch.set_num_threads(1)
    plain, adapted = (open_model(args.model, backend="cpu", n_ctx=1024, n_threads=args.threads) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{i}.gguf") for i in range(N_ADAPTERS)]
        for i, path in enumerate(paths):
            write_adapter(path, adapted, args.rank, MODULES[args.modules], i)
        load_s = [timed(lambda path=path: adapted.load_adapter(path)) for path in paths]
    loaded = adapted.adapters.loaded
    bench = Bench(plain.forward(8), adapted.forward(8), [adapter.id for adapter in loaded])
    works = {
        "prompt of 512": (512, bench.prompt),
        "decode": (1, lambda kind: bench.decode(kind, 1)),
        "decode of 8": (8, lambda kind: bench.decode(kind, 8)),
    }
    rows, results = [], {}
    for work, (n_tokens, run) in works.items():
        seconds = {kind: [] for kind in (None, *KINDS)}
        for i in range(args.runs + 1):
            for kind, found in seconds.items():
                found.append(run(kind)) if i else run(kind)
        results[work] = {"none": n_tokens / statistics.median(seconds[None])}
        cells = [work, significant(results[work]["none"])]
        for kind in KINDS:
            one_alone = n_tokens != 8 and kind in ("half", "4")
            ratios = [base / with_ for base, with_ in zip(seconds[None], seconds[kind], strict=True)]
            results[work][kind] = None if one_alone else statistics.median(ratios)
            cells.append("" if one_alone else f"{results[work][kind]:.2f}")
        rows.append(tuple(cells))
    print_header(plain.ops.name)
    size = loaded[0].n_bytes / 1e6
    print(
        f"model: {Path(args.model).name}; adapters of rank {args.rank}, {args.modules}: {size:.1f} MB each in memory,"
    )
    print(f"loaded in {statistics.median(load_s) * 1e3:.0f} ms; below them: speed against none")
    print_table(("work", "none, tok/s", *KINDS), rows)
    print_json(
        "lora", model=Path(args.model).name, rank=args.rank, modules=args.modules, adapter_mb=size, results=results
    )


if __name__ == "__main__":
    main()
