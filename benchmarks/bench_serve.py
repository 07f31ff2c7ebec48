"""How many tokens per second does a server give N clients at once, and how long do they wait for each?

    python benchmarks/bench_serve.py [--host 127.0.0.1:11434] [--api ollama] [--model smollm2] [--clients 1,4,16]
                                     [--requests 4] [--tokens 64]

Talks to any running server with Ollama's API (/api/generate) or OpenAI's (/v1/completions, with --api openai). Answers
are streamed. Each of N clients sends --requests prompts of 60 random words, one after the other, each different, at
temperature 0, for --tokens tokens; before that every client sends one short request as a warm-up. Total tokens per
second are the server's own counts (pieces, where it gives none) over the time from the first request to the last end.
"First" is from sending a request to its first piece of text, "gap" the time between pieces, which are mostly tokens.

A server only works on as many requests at once as it was told to: OLLAMA_NUM_PARALLEL=16 for Gristmill and Ollama,
-np 16 for llama-server. Others wait, which "first" shows. Each request has a connection of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from common import Spread, percentile, print_header, print_json, print_table

WORDS = (
    *("river", "mill", "stone", "grain", "flour", "wheel", "water", "autumn", "bread", "village", "bridge", "winter"),
    *("oven", "field", "miller", "horse", "cart", "road", "rain", "light", "morning", "market", "barrel", "roof"),
    *("window", "garden", "letter", "story", "friend", "teacher", "island", "engine", "copper", "silver", "music"),
)
PROMPT_WORDS = 60
WARM_TOKENS = 8
PATHS = {"ollama": "/api/generate", "openai": "/v1/completions"}
TITLES = ("clients", "tok/s", "per client", "p10", "p90", "first, ms", "p95", "gap, ms", "p95", "max", "tokens each")


@dataclass
class Answer:
    sent: float
    pieces: list[float] = field(default_factory=list)  # when they came
    n_tokens: int = 0
    done: float = 0.0

    @property
    def first(self) -> float:
        return self.pieces[0] - self.sent

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.pieces, self.pieces[1:], strict=False)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1:11434")
    parser.add_argument("--api", choices=PATHS, default="ollama")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--clients", type=lambda text: [int(n) for n in text.split(",")], default=[1, 4, 16])
    parser.add_argument("--requests", type=int, default=4, help="of each client")
    parser.add_argument("--tokens", type=int, default=64)
    return parser.parse_args()


def prompt(seed: int) -> str:
    rng = random.Random(seed)
    return "Write a long story with these words: " + " ".join(rng.choice(WORDS) for _ in range(PROMPT_WORDS - 7))


def body(args: argparse.Namespace, seed: int, n_tokens: int) -> dict[str, Any]:
    common = {"model": args.model, "prompt": prompt(seed), "stream": True}
    if args.api == "ollama":
        return {**common, "options": {"temperature": 0, "num_predict": n_tokens}}
    return {**common, "temperature": 0, "max_tokens": n_tokens, "stream_options": {"include_usage": True}}


async def messages(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """The objects of a stream, one a line; OpenAI's lines are server-sent events."""
    async for raw in response.content:
        line = raw.decode().strip().removeprefix("data:").strip()
        if line.startswith("{"):
            yield json.loads(line)


def text_of(message: dict[str, Any]) -> str:
    choices = message.get("choices") or [{}]
    return message.get("response") or choices[0].get("text") or ""


def tokens_of(message: dict[str, Any]) -> int:
    """The server's count, 0 where this message has none."""
    return message.get("eval_count") or (message.get("usage") or {}).get("completion_tokens") or 0


async def ask(session: aiohttp.ClientSession, args: argparse.Namespace, seed: int, n_tokens: int) -> Answer:
    url = f"http://{args.host}{PATHS[args.api]}"
    answer = Answer(time.perf_counter())
    async with session.post(url, json=body(args, seed, n_tokens)) as response:
        if response.status != 200:
            sys.exit(f"{url}: {response.status} {await response.text()}")
        async for message in messages(response):
            if message.get("error"):
                sys.exit(f"{url}: {message['error']}")
            if text_of(message):
                answer.pieces.append(time.perf_counter())
            answer.n_tokens = tokens_of(message) or answer.n_tokens
    answer.done = time.perf_counter()
    answer.n_tokens = answer.n_tokens or len(answer.pieces)
    if not answer.pieces:
        sys.exit(f"{url}: no text came for the prompt {prompt(seed)!r}")
    return answer


async def client(session: aiohttp.ClientSession, args: argparse.Namespace, seeds: range) -> list[Answer]:
    return [await ask(session, args, seed, args.tokens) for seed in seeds]


async def measure(args: argparse.Namespace, n_clients: int, seed: int = 0) -> list[Answer]:
    """All answers of ``n_clients`` clients, after the warm-up. Another ``seed`` means other prompts."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        base = seed + n_clients * 1_000_000  # no prompt comes twice
        await asyncio.gather(*(ask(session, args, base - 1 - i, WARM_TOKENS) for i in range(n_clients)))
        starts = [base + i * args.requests for i in range(n_clients)]
        done = await asyncio.gather(*(client(session, args, range(at, at + args.requests)) for at in starts))
    return [answer for answers in done for answer in answers]


def summary(n_clients: int, answers: list[Answer]) -> dict[str, Any]:
    """Times in milliseconds."""
    first = [answer.first * 1e3 for answer in answers]
    gaps = [gap * 1e3 for answer in answers for gap in answer.gaps] or [0.0]
    n_tokens = sum(answer.n_tokens for answer in answers)
    own = Spread.of([answer.n_tokens / (answer.done - answer.sent) for answer in answers])
    return {
        "clients": n_clients,
        "tok_s": n_tokens / (max(a.done for a in answers) - min(a.sent for a in answers)),
        "client_tok_s": own.median,
        "client_tok_s_p10": own.p10,
        "client_tok_s_p90": own.p90,
        "first_ms": percentile(first, 50),
        "first_ms_p95": percentile(first, 95),
        "gap_ms": percentile(gaps, 50),
        "gap_ms_p95": percentile(gaps, 95),
        "gap_ms_max": max(gaps),
        "tokens_each": n_tokens / len(answers),
    }


def main() -> None:
    args = parse()
    print_header(packages=("gristmill", "aiohttp"))
    print(f"server: {args.host}, {args.api} API, model {args.model}", flush=True)
    try:
        results = [summary(n, asyncio.run(measure(args, n))) for n in args.clients]
    except aiohttp.ClientError as error:
        sys.exit(f"{args.host}: {error}")
    rows = [[str(row["clients"]), *(f"{row[key]:.1f}" for key in list(row)[1:])] for row in results]
    print_table(TITLES, rows)
    print_json("serve", api=args.api, model=args.model, tokens=args.tokens, requests=args.requests, results=results)


if __name__ == "__main__":
    main()
