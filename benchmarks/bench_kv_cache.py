"""What does each type of KV cache cost: how many bytes does a token take, and how far are the model's answers off?

    python benchmarks/bench_kv_cache.py [--model PATH or NAME] [--golden FILE.npz] [--types f32,f16,bf16,q8_0,q4_0]
                                        [--backend auto]

The golden file holds, for each position of a text, the 64 best token ids with the log-probabilities of the exact
model: dequantized weights, everything in float32. Without --golden it is that of the default model in the folder
GRISTMILL_GOLDEN, by default ../shared/golden. The text is computed once with each type. Divergence is the
Kullback-Leibler divergence from the exact model in nats, by position, all other ids taken as one; 0 is exact. It holds
what the kernels lose by themselves, so compare with the row f32. "Same best" is the share of positions with the exact
model's first choice. "All" is the cache of one sequence as long as the model's context.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common import default_model, percentile, print_header, print_json, print_table

if TYPE_CHECKING:
    import torch

TITLES = ("type", "bytes per token", "of f16", "all, MB", "mean divergence", "p90", "max", "same best")
TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0")
DEFAULT_GOLDEN = Path(__file__).parents[2] / "shared" / "golden"


@dataclass(frozen=True)
class Golden:
    """``ids`` of the text; by position the ``best`` ids and their exact log-probabilities ``exact`` (n, 64)."""

    ids: list[int]
    best: torch.Tensor
    exact: torch.Tensor

    @classmethod
    def load(cls, path: Path) -> Golden:
        import numpy as np
        import torch

        with np.load(path) as file:
            best, exact = (torch.from_numpy(file[name]) for name in ("top_ids", "top_logprobs"))
            return cls(file["tokens"].tolist(), best.long(), exact.double())

    def divergence(self, logits: torch.Tensor) -> torch.Tensor:
        """KL(exact || softmax(logits)) by position: sum of p (log p - log q) over the best ids and the rest."""
        mine = logits.double().log_softmax(-1).gather(1, self.best)
        p, q = ((1 - x.exp().sum(-1)).clamp(min=1e-12) for x in (self.exact, mine))
        return (self.exact.exp() * (self.exact - mine)).sum(-1) + p * (p.log() - q.log())


@dataclass(frozen=True)
class Result:
    type: str
    bytes_per_token: int
    context: int
    mean: float
    p90: float
    highest: float
    same_best: float


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = Path(os.environ.get("GRISTMILL_GOLDEN") or DEFAULT_GOLDEN)
    parser.add_argument("--model", default=default_model(), help="a file, a folder or a name of the model store")
    parser.add_argument("--golden", type=Path, default=folder / "smollm2_logits.npz")
    parser.add_argument("--types", type=lambda text: text.split(","), default=list(TYPES))
    parser.add_argument("--backend", default="auto")
    args = parser.parse_args()
    if args.model is None:
        parser.error("the default model's package is not installed: give --model")
    if not args.golden.exists():
        parser.error(f"{args.golden} is not there: give --golden or set GRISTMILL_GOLDEN")
    return args


def measure(args: argparse.Namespace, golden: Golden, kv_type: str) -> tuple[str, Result]:
    """The kernels' name and the result."""
    from gristmill import open_model
    from gristmill.runtime.kv_cache import bytes_per_token

    model = open_model(args.model, backend=args.backend, kv_type=kv_type)
    size, context = bytes_per_token(model.decoder.kept, kv_type), model.n_ctx
    model.n_ctx = len(golden.ids)  # the cache is made for that much
    logits = model.logits(golden.ids)
    off = golden.divergence(logits)
    same = (logits.argmax(-1) == golden.best[:, 0]).double().mean().item()
    p90 = percentile(off.tolist(), 90)
    return model.ops.name, Result(kv_type, size, context, off.mean().item(), p90, off.max().item(), same)


def cells(result: Result, f16_bytes: float) -> tuple[str, ...]:
    size = (f"{result.bytes_per_token:,}", f"{result.bytes_per_token / f16_bytes:.0%}")
    whole = f"{result.bytes_per_token * result.context / 1e6:,.0f}"
    off = (f"{number:.4f}" for number in (result.mean, result.p90, result.highest))
    return (result.type, *size, whole, *off, f"{result.same_best:.1%}")


def main() -> None:
    args = parse()
    golden = Golden.load(args.golden)
    measured = [measure(args, golden, kv_type) for kv_type in args.types]
    results = [result for _, result in measured]
    print_header(measured[0][0])
    print(f"model: {Path(args.model).name}, {len(golden.ids)} tokens of text, context of {results[0].context:,}")
    f16_bytes = next((r.bytes_per_token for r in results if r.type == "f16"), float("nan"))
    print_table(TITLES, [cells(result, f16_bytes) for result in results])
    print_json("kv_cache", model=Path(args.model).name, results=[asdict(result) for result in results])


if __name__ == "__main__":
    main()
