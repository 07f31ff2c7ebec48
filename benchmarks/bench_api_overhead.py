"""What does the service cost over its engine: until the first token, and in tokens per second of many streams?

    python benchmarks/bench_api_overhead.py [--model FILE.gguf] [--streams 16] [--requests 4] [--rounds 5] [--tokens 64]

Asks three, in turn: an engine in this process; a runner, which is the process that a service has its engine in, without
a service; and a service over HTTP. First token: one stream at a time, prompts of 20 words, from the call or the sending
of the request to the first text. Throughput: --streams at once, each of which asks --requests times, prompts of 60
words, --tokens tokens; from the first call to the last end. Prompts are raw, each is used once, temperature 0. Printed
are medians over the rounds, and the median of the rounds' differences and ratios.

What counts as the API's is all that stands between a request on a socket and the engine, and back: both processes of
the service. A client's own work does not: this one is a loop over blocking sockets that only looks for the end of each
stream. "Null round trip" is what remains of it and of the machine: the same client and a process that answers every
packet with a fixed one, after the engine has run, as the others find the processor's caches. It is in the differences,
and is quoted so that it can be taken off. "Empty request" is GET /api/version, likewise.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from bench_serve import WORDS
from common import default_model, print_header, print_json, print_table, significant
from compare_serve import NAME, free_port, gristmill

from gristmill import Sampling, open_model
from gristmill.runtime.engine import Engine
from gristmill.runtime.events import Failed, Finished, Piece
from gristmill.runtime.runner.client import Runner
from gristmill.runtime.runner.messages import Load

SHORT, LONG = 20, 60
N_CTX = 4096
HEAD = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
END = b"0\r\n\r\n"  # of a chunked body
EMPTY = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
NULL_SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    while connection.recv(1 << 16):
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
"""


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
    """The same through a server at ``host``: blocking sockets, so that next to nothing is the client's."""

    def __init__(self, host: str):
        address, _, port = host.partition(":")
        self._address = address, int(port)

    def round_trip(self, request: bytes = EMPTY) -> float:
        """Seconds until the first of the answer to a request that needs no engine."""
        with self._connect() as connection:
            start = time.perf_counter()
            connection.sendall(request)
            answered = connection.recv(1 << 16)
            elapsed = time.perf_counter() - start
        if not answered:
            raise SystemExit("the server has gone")
        return elapsed

    def __call__(self, streams: list[list[str]], n_tokens: int) -> tuple[float, float]:
        """(seconds to the first text, seconds to the end)"""
        with contextlib.ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            asking = [Asking(stack.enter_context(self._connect()), prompts, n_tokens) for prompts in streams]
            for one in asking:
                selector.register(one.connection, selectors.EVENT_READ, one)
            start = time.perf_counter()
            for one in asking:
                one.ask()
            while not all(one.done for one in asking):
                for key, _ in selector.select():
                    key.data.read()
            elapsed = time.perf_counter() - start
        return min(one.first for one in asking) - start, elapsed

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


class Asking:
    """One stream: its prompts, one after the other, on one connection."""

    def __init__(self, connection: socket.socket, prompts: list[str], n_tokens: int):
        self.connection, self.first, self.done = connection, 0.0, False
        self._requests, self._tail = [request(prompt, n_tokens) for prompt in reversed(prompts)], b""

    def ask(self) -> None:
        self.connection.sendall(self._requests.pop())

    def read(self) -> None:
        chunk = self.connection.recv(1 << 16)
        if not chunk or b'"error"' in chunk:
            raise SystemExit(f"the server says: {chunk.decode()}")
        if not self.first and b"{" in chunk:
            self.first = time.perf_counter()
        self._tail = self._tail[-len(END) :] + chunk
        if self._tail.endswith(END):
            self.done = not self._requests
            if not self.done:
                self.ask()


def request(prompt: str, n_tokens: int) -> bytes:
    options = {"temperature": 0, "num_predict": n_tokens}
    body = json.dumps({"model": NAME, "prompt": prompt, "raw": True, "options": options}).encode()
    return HEAD % len(body) + body


@contextlib.contextmanager
def null_server() -> Iterator[OverHttp]:
    """A client of a process that answers whatever comes."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", NULL_SERVER, str(port)], stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            yield OverHttp(f"127.0.0.1:{port}")
        finally:
            process.kill()


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
    with gristmill(args) as host, null_server() as null, contextlib.closing(InRunner(load)) as runner:
        http = OverHttp(host)
        sides = Direct(model.engine(n_slots=args.streams, n_contexts=4)), runner, http
        for side in sides:
            side(new(1, 1, SHORT), 8)
        empty: tuple[list[float], ...] = [], []
        for _ in range(5 * args.rounds):
            for client, found in zip((null, http), empty, strict=True):
                sides[0](new(1, 1, SHORT), 1)
                found.append(client.round_trip())
        first = compare(sides, lambda: new(1, 1, SHORT), (6 * args.rounds, 1, 0))
        whole = compare(sides, lambda: new(args.streams, args.requests, LONG), (args.rounds, args.tokens, 1))
    report(first, whole, [_median(found) * 1e3 for found in empty], args.streams * args.requests * args.tokens)


def report(first: list[list[float]], whole: list[list[float]], empty_ms: list[float], n_tokens: int) -> None:
    """``empty_ms``: the null round trip and the empty request."""
    added_ms = [_median(late - early for early, late in zip(of, first[-1], strict=True)) * 1e3 for of in first[:-1]]
    ratios = [_median(short / long for short, long in zip(of, whole[-1], strict=True)) for of in whole[:-1]]
    first_ms = [_median(values) * 1e3 for values in first]
    speed = [n_tokens / _median(values) for values in whole]
    titles = ["", "engine", "runner", "over HTTP", "HTTP/engine", "HTTP/runner"]
    rows = [
        ["first token, ms", *(significant(v) for v in first_ms), *(f"{ms:+.2f} ms" for ms in added_ms)],
        ["null round trip, ms", "", "", significant(empty_ms[0]), "", ""],
        ["empty request, ms", "", "", significant(empty_ms[1]), "", ""],
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
        null_ms=empty_ms[0],
        empty_ms=empty_ms[1],
    )


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    main()
