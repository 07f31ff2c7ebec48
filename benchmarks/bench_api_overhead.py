"""What does the service cost over its engine: until the first token, and in tokens per second of many streams?

    python benchmarks/bench_api_overhead.py [--model FILE.gguf] [--streams 16] [--requests 4] [--rounds 5] [--tokens 64]

Asks three, in turn: an engine in this process; a runner, which is the process that a service has its engine in, without
a service; and a service over HTTP. What the API costs is HTTP against the runner. First token: one stream at a time,
prompts of 20 words, from the call or the sending of the request to the first text. Throughput: --streams at once, each
of which asks --requests times, prompts of 60 words, --tokens tokens; from the first call to the last end. The clients
only look for the end of each stream, so that little of the machine's time is theirs. Prompts are raw, each is used
once, temperature 0. Printed are medians over the rounds, and the median of the rounds' differences and ratios. "Empty
request" is GET /api/version after the engine has run: what HTTP itself costs between two processes of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence

from bench_serve import WORDS
from common import default_model, print_header, print_json, print_table, significant
from compare_serve import NAME, gristmill

from gristmill import Sampling, open_model
from gristmill.runtime.engine import Engine
from gristmill.runtime.events import Failed, Finished, Piece
from gristmill.runtime.runner.client import Runner
from gristmill.runtime.runner.messages import Load

SHORT, LONG = 20, 60
N_CTX = 4096
HEAD = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
END = b"0\r\n\r\n"  # of a chunked body


class Prompts:
    """New random ones, the same for both sides of a round."""

    def __init__(self) -> None:
        self._rng = random.Random(0)

    def __call__(self, n_streams: int, n_requests: int, n_words: int) -> list[list[str]]:
        return [[self._one(n_words) for _ in range(n_requests)] for _ in range(n_streams)]

    def _one(self, n_words: int) -> str:
        return " ".join(self._rng.choice(WORDS) for _ in range(n_words))


class Direct:
    """The engine, stepped here."""

    def __init__(self, engine: Engine):
        self.engine, self.n_requests = engine, 0

    def __call__(self, streams: list[list[str]], n_tokens: int) -> tuple[float, float]:
        """(seconds to the first text, seconds to the end)"""
        start, first = time.perf_counter(), 0.0
        asking = {self._ask(prompts[0], n_tokens): prompts[1:] for prompts in streams}
        while asking:
            for event in self.engine.step():
                if isinstance(event, Failed):
                    raise SystemExit(event.error)
                if isinstance(event, Piece) and event.text and not first:
                    first = time.perf_counter() - start
                if isinstance(event, Finished) and (prompts := asking.pop(event.id)):
                    asking[self._ask(prompts[0], n_tokens)] = prompts[1:]
        return first, time.perf_counter() - start

    def _ask(self, prompt: str, n_tokens: int) -> int:
        self.n_requests += 1
        self.engine.submit(self.n_requests, prompt, Sampling(temperature=0, max_tokens=n_tokens), [])
        return self.n_requests


class InRunner:
    """The engine in a process of its own, as the service has it."""

    def __init__(self, load: Load):
        self._loop = asyncio.new_event_loop()
        self._runner = self._loop.run_until_complete(Runner.start(load))

    def close(self) -> None:
        self._loop.run_until_complete(self._runner.close())
        self._loop.close()

    def __call__(self, streams: list[list[str]], n_tokens: int) -> tuple[float, float]:
        return self._loop.run_until_complete(self._all(streams, n_tokens))

    async def _all(self, streams: list[list[str]], n_tokens: int) -> tuple[float, float]:
        start = time.perf_counter()
        firsts = await asyncio.gather(*(self._ask(prompts, n_tokens) for prompts in streams))
        return min(firsts) - start, time.perf_counter() - start

    async def _ask(self, prompts: list[str], n_tokens: int) -> float:
        """When the first text came."""
        first = 0.0
        for prompt in prompts:
            async for event in self._runner.submit(prompt, Sampling(temperature=0, max_tokens=n_tokens)):
                if isinstance(event, Piece) and event.text:
                    first = first or time.perf_counter()
        return first


class OverHttp:
    """The same through a server at ``host``."""

    def __init__(self, host: str):
        self.address, _, port = host.partition(":")
        self.port = int(port)

    def __call__(self, streams: list[list[str]], n_tokens: int) -> tuple[float, float]:
        return asyncio.run(self._all(streams, n_tokens))

    def empty(self) -> float:
        """Seconds of a request that needs nothing."""
        return asyncio.run(self._empty())

    async def _empty(self) -> float:
        reader, writer = await asyncio.open_connection(self.address, self.port)
        start = time.perf_counter()
        writer.write(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"}")
        elapsed = time.perf_counter() - start
        writer.close()
        return elapsed

    async def _all(self, streams: list[list[str]], n_tokens: int) -> tuple[float, float]:
        connections = [await asyncio.open_connection(self.address, self.port) for _ in streams]
        start = time.perf_counter()
        firsts = await asyncio.gather(*(self._ask(*c, p, n_tokens) for c, p in zip(connections, streams, strict=True)))
        elapsed = time.perf_counter() - start
        for _, writer in connections:
            writer.close()
        return min(firsts) - start, elapsed

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, prompts: list[str], n_tokens: int
    ) -> float:
        """When the first text came."""
        first = 0.0
        for prompt in prompts:
            options = {"temperature": 0, "num_predict": n_tokens}
            body = json.dumps({"model": NAME, "prompt": prompt, "raw": True, "options": options}).encode()
            writer.write(HEAD % len(body) + body)
            await reader.readuntil(b"\r\n\r\n")
            tail = b""
            while not tail.endswith(END):
                chunk = await reader.read(1 << 16)
                if not chunk or b'"error"' in chunk:
                    raise SystemExit(f"the server says: {chunk.decode()}")
                first, tail = first or time.perf_counter(), tail[-len(END) :] + chunk
        return first


def compare(
    sides: Sequence[Callable[..., tuple[float, float]]],
    prompts: Callable[[], list[list[str]]],
    args: tuple[int, int, int],
) -> list[list[float]]:
    """Each side's values of the rounds; who begins changes. ``args``: rounds, tokens, which of the two figures."""
    rounds, n_tokens, which = args
    values: list[list[float]] = [[] for _ in sides]
    for i in range(rounds):
        asked = prompts()
        for k in range(len(sides)):
            side = (i + k) % len(sides)
            values[side].append(sides[side](asked, n_tokens)[which])
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=default_model(), help="a GGUF file (default: SmolLM2's installed package)")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--requests", type=int, default=4, help="of each stream")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.model is None:
        parser.error("the default model's package is not installed: give --model")
    model = open_model(args.model, n_ctx=N_CTX, n_threads=args.threads)
    print_header(model.ops.name)
    new = Prompts()
    load = Load(path=args.model, num_ctx=N_CTX, n_slots=args.streams, n_contexts=4, num_thread=args.threads)
    with gristmill(args) as host, contextlib.closing(InRunner(load)) as runner:
        http = OverHttp(host)
        sides = Direct(model.engine(n_slots=args.streams, n_contexts=4)), runner, http
        for side in sides:
            side(new(1, 1, SHORT), 8)
        empty = []
        for _ in range(5 * args.rounds):
            sides[0](new(1, 1, SHORT), 1)
            empty.append(http.empty())
        first = compare(sides, lambda: new(1, 1, SHORT), (6 * args.rounds, 1, 0))
        whole = compare(sides, lambda: new(args.streams, args.requests, LONG), (args.rounds, args.tokens, 1))
    report(first, whole, statistics.median(empty) * 1e3, args.streams * args.requests * args.tokens)


def report(first: list[list[float]], whole: list[list[float]], empty_ms: float, n_tokens: int) -> None:
    added_ms = [_median(late - early for early, late in zip(of, first[-1], strict=True)) * 1e3 for of in first[:-1]]
    ratios = [_median(short / long for short, long in zip(of, whole[-1], strict=True)) for of in whole[:-1]]
    first_ms = [_median(values) * 1e3 for values in first]
    speed = [n_tokens / _median(values) for values in whole]
    titles = ["", "engine", "runner", "over HTTP", "HTTP/engine", "HTTP/runner"]
    rows = [
        ["first token, ms", *(significant(v) for v in first_ms), *(f"{ms:+.2f} ms" for ms in added_ms)],
        ["empty request, ms", "", "", significant(empty_ms), "", ""],
        ["tokens/s", *(significant(v) for v in speed), *(f"{ratio:.3f}x" for ratio in ratios)],
    ]
    print_table(titles, rows)
    names = ("engine", "runner", "http")
    print_json(
        "api_overhead",
        first_ms=dict(zip(names, first_ms, strict=True)),
        tok_s=dict(zip(names, speed, strict=True)),
        added_ms=dict(zip(names[:2], added_ms, strict=True)),
        ratio=dict(zip(names[:2], ratios, strict=True)),
        empty_ms=empty_ms,
    )


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    main()
