"""Does the service stay whole under everything that clients do?

    python benchmarks/soak.py [--requests 2000] [--minutes 20] [--clients 24] [--seed 0] [--no-default-model]

A real server in this process, with real runner processes and a store of its own, and --clients clients that send
--requests requests in all, or as many as --minutes allow: to four tiny random models and the default model (if its
package is installed), of which three may be loaded at once; /api/generate and /api/chat, streamed and not, prompts from
one word to more than the context, options at random, wrong ones among them, keep-alives from nothing to for ever,
unloading; one in five leaves before its answer has ended, at any moment.

At the end: every request that its client waited for has had exactly one end (a last line, an error line, or a status,
none of them 5xx but 503), nobody is waiting or running, every page of every runner is free, the manager's own account
is right, and processes, open files and the server's memory are what they were after the first tenth, within 10 % and
32 MiB. Exits with 1 where something is not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from common import default_model, print_header, print_json, print_table

from gristmill.api.create import create_model
from gristmill.api.manager import Manager
from gristmill.api.schema import CreateRequest
from gristmill.api.server import make_app
from gristmill.api.service import SERVICE
from gristmill.api.settings import Settings
from gristmill.runtime.errors import RunnerStopped

WORDS = (
    *("mill", "river", "stone", "grain", "flour", "wheel", "water", "bread"),
    *("village", "bridge", "winter", "oven", "field", "horse", "cart", "road"),
)
QUIET_S = 60.0
HANG_UP_S = 0.5
BAD_OPTIONS: list[dict[str, Any]] = [
    {"num_ctx": "many"},
    {"temperature": 1e300},
    {"repeat_penalty": 0},
    {"stop": 5},
]


@dataclass
class Figures:
    """What the service holds."""

    memory: int
    files: int
    processes: int


@dataclass
class Result:
    """``ends`` counts how requests ended; ``problems`` says what must not have been."""

    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    early: Figures | None = None
    late: Figures | None = None


class Soak:
    """``models`` are names in the server at ``url``; ``manager`` is the server's."""

    def __init__(self, url: str, models: list[str], manager: Manager, *, seed: int = 0):
        self.url, self.models, self.manager = url, models, manager
        self.rng = random.Random(seed)
        self.result = Result()
        self._left = 0

    async def run(self, n_requests: int, n_clients: int, seconds: float) -> Result:
        started = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=300)
        for share in (n_requests // 10, n_requests - n_requests // 10):
            self._left = share
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
                await asyncio.gather(*(self._client(session, started + seconds) for _ in range(n_clients)))
            await asyncio.sleep(HANG_UP_S)  # the clients' own connections are not to be counted
            await self._come_to_rest()
            self.result.early = self.result.early or figures()
        self.result.late = figures()
        self.result.seconds = time.monotonic() - started
        self._compare()
        return self.result

    # -- clients -----------------------------------------------------------------------------------------------

    async def _client(self, session: aiohttp.ClientSession, deadline: float) -> None:
        while self._left > 0 and time.monotonic() < deadline:
            self._left -= 1
            path, body = self._request()
            patience = self.rng.choice([None] * 4 + [self.rng.random() ** 3 * 2])
            try:
                async with asyncio.timeout(patience):
                    self.result.ends[await self._send(session, path, body)] += 1
            except TimeoutError:
                if patience is None:
                    self.result.problems.append(f"no end within 300 s: {path} {json.dumps(body)[:200]}")
                self.result.ends["left"] += 1
            except aiohttp.ClientError as error:
                self.result.problems.append(f"{type(error).__name__}: {path} {json.dumps(body)[:200]}")

    def _request(self) -> tuple[str, dict[str, Any]]:
        rng = self.rng
        text = " ".join(rng.choice(WORDS) for _ in range(rng.choice([1, 5, 20, 60, 300])))
        if rng.random() < 0.5:  # what others have sent as well
            text = "You are a miller. " + text
        body: dict[str, Any] = {"model": rng.choice(self.models), "stream": rng.random() < 0.7}
        body["options"] = self._options()
        for key, values in (
            ("keep_alive", [0, "1s", "10s", -1]),
            ("truncate", [False]),
            ("shift", [False]),
            ("logprobs", [True]),
            ("format", ["json", {"type": "object", "properties": {"a": {"type": "integer"}}}, {"not": {}}]),
        ):
            if rng.random() < 0.15:
                body[key] = rng.choice(values)
        if rng.random() < 0.03:
            return "/api/generate", {"model": body["model"], "keep_alive": 0, "stream": False}
        if rng.random() < 0.4:
            turns = [{"role": role, "content": text} for role in ("user", "assistant") * rng.randint(0, 2)]
            return "/api/chat", {**body, "messages": [*turns, {"role": "user", "content": text}]}
        return "/api/generate", {**body, "prompt": text, "raw": rng.random() < 0.3}

    def _options(self) -> dict[str, Any]:
        rng = self.rng
        if rng.random() < 0.03:
            return rng.choice(BAD_OPTIONS)
        options: dict[str, Any] = {"num_predict": rng.choice([1, 5, 20, 60, 200]), "num_ctx": 256}
        for key, values in (
            ("temperature", [0, 0.5, 1.5]),
            ("seed", [1, 2]),
            ("top_k", [0, 1, 40]),
            ("repeat_penalty", [1.1]),
            ("stop", [["e"], ["the end"]]),
            ("draft_num_predict", [4]),
            ("num_keep", [-1, 0, 9]),
        ):
            if rng.random() < 0.25:
                options[key] = rng.choice(values)
        if rng.random() < 0.03:
            options["num_ctx"] = rng.choice([64, 128])
        return options

    async def _send(self, session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> str:
        """How the request has ended; a wrong end is a problem, too."""
        async with session.post(self.url + path, json=body) as response:
            data = await response.read()
        if response.status != 200:
            if response.status >= 500 and response.status != 503:
                self.result.problems.append(f"status {response.status}: {data[:200]!r} for {json.dumps(body)[:200]}")
            return f"status {response.status}"
        lines = [json.loads(line) for line in data.splitlines()]
        last = [line for line in lines if line.get("done") or "error" in line]
        if last != lines[-1:]:
            self.result.problems.append(f"{len(last)} last lines of {len(lines)} for {json.dumps(body)[:200]}")
        if "error" in lines[-1]:
            self.result.problems.append(f"error line {lines[-1]['error']!r} for {json.dumps(body)[:200]}")
            return "error line"
        return str(lines[-1].get("done_reason"))

    # -- afterwards --------------------------------------------------------------------------------------------

    async def _come_to_rest(self) -> None:
        """Until nobody runs or waits, which must not take long; then everything that can be counted is counted."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                while not self._is_idle():  # noqa: ASYNC110 - looked at from outside, as a client would
                    await asyncio.sleep(0.05)
        try:
            self.manager.check_integrity()
        except AssertionError as error:
            self.result.problems.append(f"the manager's account: {error}")
        for model in self.manager.models:
            if model.n_users or model.runner is None:
                self.result.problems.append(f"{model.name}: {model.n_users} users, though all clients are gone")
                continue
            try:
                stats = await model.runner.ping()
            except RunnerStopped:
                continue  # it has just expired
            if stats.running or stats.waiting or stats.free_pages != stats.total_pages:
                self.result.problems.append(f"{model.name}: {stats}")

    def _is_idle(self) -> bool:
        busy = any(model.n_users or model.runner is None for model in self.manager.models)
        return not self.manager.n_pending and not busy

    def _compare(self) -> None:
        early, late = self.result.early, self.result.late
        assert early is not None
        assert late is not None
        if late.memory > early.memory * 1.1 + (32 << 20):
            self.result.problems.append(f"memory grew from {early.memory} to {late.memory} bytes")
        if late.files > early.files + 4:  # a runner more or less has a socket
            self.result.problems.append(f"open files grew from {early.files} to {late.files}")
        if late.processes > self.manager.limit + 1:
            self.result.problems.append(f"{late.processes} runner processes")


def figures() -> Figures:
    """Of this process, which is the server."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    runners = [pid for pid in children if b"gristmill.runtime.runner" in _command(pid)]
    return Figures(resident, len(os.listdir("/proc/self/fd")), len(runners))


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextlib.asynccontextmanager
async def service(store: Path, files: dict[str, Path], **settings: Any) -> AsyncIterator[tuple[str, Manager]]:
    """A server with the models ``files``: its address and its manager."""
    app = make_app(Settings(models=store, port=0, **settings))
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, auto_decompress=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        found = app[SERVICE]
        for name, path in files.items():
            with path.open("rb") as file:
                digest, _ = found.store.blobs.add(file.read())
            async for _ in create_model(found.store, CreateRequest(model=name, files={path.name: str(digest)})):
                pass
        yield f"http://{site.name.rpartition('/')[2]}", found.manager
    finally:
        await runner.cleanup()


def tiny_models(folder: Path, n: int) -> dict[str, Path]:
    """Random models of 90 KB, as the tests have them."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from support.tiny_model import write_tiny_model

    return {f"tiny{i}": write_tiny_model(folder / f"tiny{i}.gguf", seed=i) for i in range(n)}


async def soak(args: argparse.Namespace) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        models = tiny_models(Path(folder), 4)
        default = default_model() if args.default_model else None
        if default is not None:
            models["default"] = Path(default)
        async with service(Path(folder) / "models", models) as (url, manager):
            tests = Soak(url, list(models), manager, seed=args.seed)
            return await tests.run(args.requests, args.clients, args.minutes * 60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-default-model", dest="default_model", action="store_false")
    args = parser.parse_args()
    print_header(packages=("gristmill", "aiohttp"))
    result = asyncio.run(soak(args))
    print_table(("end", "requests"), [[end, str(n)] for end, n in result.ends.most_common()])
    for name, found in (("after a tenth", result.early), ("at the end", result.late)):
        assert found is not None
        print(f"{name}: {found.memory / 1e6:.0f} MB, {found.files} open files, {found.processes} runner processes")
    print(*result.problems[:20] or ["no problems"], sep="\n")
    n_sent = result.ends.total()
    print_json("soak", requests=n_sent, seconds=result.seconds, ends=dict(result.ends), problems=len(result.problems))
    sys.exit(1 if result.problems else 0)


if __name__ == "__main__":
    main()
