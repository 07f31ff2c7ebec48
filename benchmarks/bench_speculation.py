"""What do guessed tokens gain, and where do they cost?

    python benchmarks/bench_speculation.py [--model FILE.gguf] [--drafts 2,4,8] [--rounds 3] [--tokens 200]

One sequence, temperature 0, guesses by prompt look-up (the words that followed the same words before). Two prompts:
"code" asks for a text that is in the prompt to be written again, where guesses are mostly right; "words" asks for one
that is in no prompt. For each number of guesses, decoding without and with them alternates; the ratio is the median
over the rounds. The answers must be the same, token for token, else this ends with an error.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

from common import default_model, print_header, print_json, print_table

from gristmill import Sampling, open_model
from gristmill.runtime.engine import Engine
from gristmill.runtime.events import Failed, Finished, Piece

CODE = """\
def mill(grain, stones=2):
    flour = []
    for kernel in grain:
        for stone in range(stones):
            kernel = grind(kernel, stone)
        flour.append(kernel)
    return flour

def bake(flour, water, hours=3):
    dough = knead(flour, water)
    rest(dough, hours)
    return oven(dough)
"""
PROMPTS = {
    "code": f"{CODE}\n\n# The same code once more:\n\n{CODE[:60]}",
    "words": "<|im_start|>user\nTell me about the history of bread.<|im_end|>\n<|im_start|>assistant\n",
}


@dataclass(frozen=True)
class Run:
    tokens: list[int]
    seconds: float
    drafted: int
    accepted: int

    @property
    def per_second(self) -> float:
        return len(self.tokens) / self.seconds


class Decoder:
    """One engine, one answer after another."""

    def __init__(self, engine: Engine, n_tokens: int):
        self.engine, self.n_tokens, self.n_runs = engine, n_tokens, 0

    def __call__(self, prompt: str, n_draft: int) -> Run:
        self.n_runs += 1
        before = self.engine.stats()
        sampling = Sampling(temperature=0, max_tokens=self.n_tokens, n_draft=n_draft)
        self.engine.submit(self.n_runs, prompt, sampling, [])
        tokens: list[int] = []
        started = 0.0
        while True:
            for event in self.engine.step():
                if isinstance(event, Failed):
                    raise SystemExit(event.error)
                if isinstance(event, Piece):
                    started = started or time.perf_counter()
                    tokens += event.tokens
                if isinstance(event, Finished):
                    seconds = time.perf_counter() - started
                    after = self.engine.stats()
                    drafted = after.drafted_tokens - before.drafted_tokens
                    return Run(tokens, seconds, drafted, after.accepted_tokens - before.accepted_tokens)


def compare(decode: Decoder, prompt: str, n_draft: int, rounds: int) -> dict[str, float]:
    """Medians over the rounds."""
    ratios, plain_speeds, fast_speeds = [], [], []
    for _ in range(rounds):
        plain, fast = decode(prompt, 0), decode(prompt, n_draft)
        if plain.tokens != fast.tokens:
            raise SystemExit(f"with {n_draft} guesses the answer is another one")
        ratios.append(fast.per_second / plain.per_second)
        plain_speeds.append(plain.per_second)
        fast_speeds.append(fast.per_second)
    return {
        "plain": statistics.median(plain_speeds),
        "with": statistics.median(fast_speeds),
        "ratio": statistics.median(ratios),
        "right": fast.accepted / max(1, fast.drafted),
        "guessed": fast.drafted / len(fast.tokens),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=default_model(), help="a GGUF file (default: SmolLM2's installed package)")
    parser.add_argument("--drafts", default="2,4,8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=200)
    args = parser.parse_args()
    if args.model is None:
        parser.error("the default model's package is not installed: give --model")
    model = open_model(args.model, n_ctx=2048)
    print_header(model.ops.name)
    decode = Decoder(model.engine(n_slots=1), args.tokens)
    decode(PROMPTS["words"], 0)
    results: dict[str, dict[str, float]] = {}
    rows = []
    for name, prompt in PROMPTS.items():
        for n_draft in map(int, args.drafts.split(",")):
            found = results[f"{name}_{n_draft}"] = compare(decode, prompt, n_draft, args.rounds)
            speeds = f"{found['plain']:.0f}", f"{found['with']:.0f}", f"{found['ratio']:.2f}x"
            rows.append([name, str(n_draft), *speeds, f"{found['guessed']:.2f}", f"{found['right']:.0%}"])
    print_table(["prompt", "guesses", "tok/s without", "with", "ratio", "guessed per token", "right"], rows)
    print_json("speculation", **results)


if __name__ == "__main__":
    main()
