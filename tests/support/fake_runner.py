"""Runners without a process, for tests of what is in front of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from types import SimpleNamespace

from gristmill.runtime.errors import PromptTooLong, RunnerStopped
from gristmill.runtime.events import Finished, Piece, TokenLogprob
from gristmill.runtime.params import Sampling, Usage
from gristmill.runtime.runner.client import STOPPED
from gristmill.runtime.runner.messages import Load, Progress, Ready, Stats


class FakeRunner:
    """Answers every prompt with ``script``; an exception in it is raised, an Event is waited for."""

    def __init__(self, load: Load, script: list[object]):
        self.load, self.script = load, script
        self.ready = Ready(
            n_ctx=load.num_ctx,
            n_vocab=300,
            architecture="llama",
            memory_bytes=1000,
            weight_bytes=500,
            kv_bytes=100,
            load_ns=1,
            backend="fake",
        )
        self.memory_bytes = self.ready.memory_bytes
        self.silent_s = 1e9
        self.alive, self.closed, self.aborted = True, False, 0
        self.hangs = False
        self.running = self.waiting = self.steps = 0
        self.figures: dict[str, int] = {}
        self.prompts: list[tuple[str | list[int], Sampling, list[int]]] = []
        self.died = asyncio.Event()
        self.process = SimpleNamespace(pid=0)

    async def submit(
        self, prompt: str | list[int], sampling: Sampling, *, context: list[int] | None = None, truncate: bool = False
    ) -> AsyncGenerator[Piece | Finished, None]:
        if not self.alive:
            raise RunnerStopped(STOPPED)
        if not truncate and await self.count(prompt) >= self.ready.n_ctx:
            raise PromptTooLong("the input length exceeds the context length: it is too long")
        self.prompts.append((prompt, sampling, context or []))
        done, tokens = False, 0
        try:
            for item in self.script:
                if isinstance(item, asyncio.Event):
                    await item.wait()
                elif isinstance(item, Exception):
                    self.alive = not isinstance(item, RunnerStopped)
                    done = True
                    raise item
                else:
                    tokens += 1
                    data = str(item).encode()
                    top = [TokenLogprob(id=1, data=b"\xff", logprob=-2.0)] * sampling.top_logprobs
                    entry = TokenLogprob(id=100 + tokens, data=data, logprob=-0.5, top=top)
                    entries = [entry] if sampling.logprobs else []
                    yield Piece(id=1, text=str(item), tokens=[100 + tokens], logprobs=entries)
            done = True
            usage = Usage(prompt_tokens=3, prompt_ns=30, output_tokens=tokens, output_ns=40)
            yield Finished(id=1, reason="stop", usage=usage, prompt_ids=[1, 2, 3])
        finally:
            self.aborted += not done

    async def count(self, text: str | list[int]) -> int:
        """As if every character were a token."""
        return len(text)

    async def ping(self, timeout_s: float = 10.0) -> Stats:
        if self.hangs or not self.alive:
            raise RunnerStopped("model runner does not answer")
        return Stats(memory_bytes=1000, running=self.running, waiting=self.waiting, steps=self.steps, **self.figures)

    async def close(self) -> None:
        self.alive, self.closed = False, True


class FakeRunners:
    """A ``start_runner`` that keeps what it started. ``script`` and ``load_error`` count for the next start,
    ``load_errors`` for one each."""

    def __init__(self, *script: object):
        self.script: list[object] = list(script or ["Hel", "lo"])
        self.started: list[FakeRunner] = []
        self.load_error: Exception | None = None
        self.load_errors: list[Exception] = []
        self.loading: asyncio.Event | None = None

    async def __call__(
        self, load: Load, *, on_progress: Callable[[Progress], None], stall_timeout_s: float | None
    ) -> FakeRunner:
        if self.loading is not None:
            on_progress(Progress(done=30, total=120))
            await self.loading.wait()
        if self.load_error is not None:
            raise self.load_error
        if self.load_errors:
            raise self.load_errors.pop(0)
        self.started.append(FakeRunner(load, self.script))
        return self.started[-1]

    @property
    def last(self) -> FakeRunner:
        return self.started[-1]
