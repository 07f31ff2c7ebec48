"""Many clients at once: is Gristmill's server faster than llama.cpp's, and does it keep its streams even?

    python benchmarks/compare_serve.py [--model FILE.gguf] [--llama-bin FOLDER] [--clients 16] [--rounds 3]
                                       [--requests 4] [--tokens 64] [--threads 2] [--busy 0]

Starts both servers with the same file and the same threads, and lets bench_serve.py's clients ask first one, then the
other, --rounds times, in turn who begins: --clients clients, each with --requests prompts of 60 words, no prompt twice,
64 tokens each, streamed, at temperature 0. llama-server works on as many requests at once as there are clients (-np),
Gristmill's settings are the default ones. Then a conversation: a first question behind about 3,000 tokens of text, and
a second one behind both; printed is the time to the first piece of text of either.

--busy processes that only count take part of the machine meanwhile, as other programs do on a machine that is not idle.

Printed are medians over the rounds of what one round measures: total tokens per second, the median time to the first
piece, the median and the longest gap between two pieces of a stream. The peer is as in compare_llama_cpp.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
from bench_serve import PATHS, WORDS, measure, messages, summary, text_of
from common import default_model, print_header, print_json, print_table, significant
from peer import Programs, installed_programs, missing_programs

LONG_WORDS = 2400  # about 3,000 tokens
START_S = 120
NAME = "compared"
SHOWN = ("tok_s", "first_ms", "gap_ms", "gap_ms_max")
TITLES = ("", "gristmill", "llama.cpp", "ratio")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=default_model(), help="a GGUF file; default: the default model's package")
    parser.add_argument("--llama-bin", type=Path, default=installed_programs(), help="folder of llama-server")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=4, help="of each client")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", type=int, default=0, help="processes that take a core each")
    args = parser.parse_args()
    if args.model is None:
        parser.error("the default model's package is not installed: give --model")
    if problem := missing_programs(args.llama_bin, ["llama-server"]):
        parser.error(problem)
    return args


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], health: str) -> Iterator[None]:
    """A server, from when it answers at ``health`` until the block ends."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(10 * START_S):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(health, timeout=5).close()
                break
            if process.poll() is not None:
                sys.exit(f"{Path(command[0]).name} ended with code {process.returncode}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def gristmill(args: argparse.Namespace) -> Iterator[str]:
    """The host of a server of our own, with the model in a store that goes with it."""
    with tempfile.TemporaryDirectory() as folder:
        host = f"127.0.0.1:{free_port()}"
        environment = {**os.environ, "OLLAMA_HOST": host, "OLLAMA_MODELS": f"{folder}/models"}
        program = [sys.executable, "-m", "gristmill"]
        recipe = Path(folder) / "Modelfile"
        recipe.write_text(f"FROM {Path(args.model).resolve()}\nPARAMETER num_thread {args.threads}\n")
        with running([*program, "serve"], environment, f"http://{host}/"):
            create = [*program, "create", NAME, "-f", str(recipe)]
            subprocess.run(create, env=environment, check=True, capture_output=True)
            yield host


@contextlib.contextmanager
def llama_server(args: argparse.Namespace) -> Iterator[str]:
    programs, port = Programs(args.llama_bin), free_port()
    context = 4096 * args.clients // 4
    options = ["-t", str(args.threads), "-np", str(args.clients), "-c", str(context), "--kv-unified"]
    command = [programs.path("llama-server"), "-m", args.model, "--port", str(port), *options]
    with running(command, programs.environment, f"http://127.0.0.1:{port}/health"):
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def others(n: int) -> Iterator[None]:
    """``n`` processes that never sleep."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def round_of(args: argparse.Namespace, api: str, host: str, number: int) -> dict[str, float]:
    """One round's figures. ``number`` makes its prompts new ones."""
    asked = argparse.Namespace(**{**vars(args), "api": api, "host": host, "model": NAME})
    answers = asyncio.run(measure(asked, args.clients, seed=number * 10_000_019))
    first, second = asyncio.run(conversation(asked, number))
    return {**summary(args.clients, answers), "first_question_ms": first * 1e3, "second_question_ms": second * 1e3}


async def conversation(args: argparse.Namespace, number: int) -> tuple[float, float]:
    """Seconds to the first piece of text, of two questions of which the second repeats the first."""
    rng = random.Random(number)
    text = " ".join(rng.choice(WORDS) for _ in range(LONG_WORDS))
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        first, answer = await first_piece(session, args, text + "\nWhat is this about?")
        second, _ = await first_piece(session, args, f"{text}\nWhat is this about?{answer}\nAnd who wrote it?")
    return first, second


async def first_piece(session: aiohttp.ClientSession, args: argparse.Namespace, prompt: str) -> tuple[float, str]:
    body: dict[str, Any] = {"model": NAME, "prompt": prompt, "stream": True, "temperature": 0, "max_tokens": 16}
    if args.api == "ollama":
        body = {**body, "raw": True, "options": {"temperature": 0, "num_predict": 16}}
    start, first, text = time.perf_counter(), 0.0, ""
    async with session.post(f"http://{args.host}{PATHS[args.api]}", json=body) as response:
        async for message in messages(response):
            text += text_of(message)
            first = first or (time.perf_counter() - start if text else 0.0)
    return first, text


def main() -> None:
    args = parse()
    print_header(packages=("gristmill", "aiohttp"))
    name = Path(args.model).name
    print(f"model: {name}, {args.clients} clients, {args.rounds} rounds, {args.busy} busy processes", flush=True)
    rounds: dict[str, list[dict[str, float]]] = {"ollama": [], "openai": []}
    with gristmill(args) as ours, llama_server(args) as peer, others(args.busy):
        turns = [("ollama", ours), ("openai", peer)]
        for number in range(args.rounds + 1):  # the first one warms up
            for api, host in turns:
                found = round_of(args, api, host, number)
                rounds[api] += [found] if number else []
            turns.reverse()
    keys = (*SHOWN, "first_question_ms", "second_question_ms")
    medians = [{key: statistics.median(r[key] for r in rounds[api]) for key in keys} for api in ("ollama", "openai")]
    rows = [[key, *(significant(m[key]) for m in medians), f"{medians[0][key] / medians[1][key]:.2f}"] for key in keys]
    print_table(TITLES, rows)
    own = medians[0]
    gap, again = own["gap_ms_max"] / own["gap_ms"], own["second_question_ms"] / own["first_question_ms"]
    print(f"longest gap {gap:.1f} times the median; the second question starts in {again:.1%} of the first's time")
    print_json("compare_serve", model=name, clients=args.clients, busy=args.busy, gristmill=own, llama_cpp=medians[1])


if __name__ == "__main__":
    main()
