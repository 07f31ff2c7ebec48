"""Runners without a process, for tests of what is in front of them."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Callable, Sequence
from types import SimpleNamespace

from gristmill.runtime.errors import InvalidRequest, PromptTooLong, RunnerStopped
from gristmill.runtime.events import Finished, Piece, Reading, TokenLogprob
from gristmill.runtime.images.wire import Picture, Preparation
from gristmill.runtime.params import Sampling, Usage
from gristmill.runtime.runner.client import STOPPED
from gristmill.runtime.runner.messages import Embedded, Load, Progress, Ready, Stats, Tokenized

PREPARATION = Preparation(size=2, filter="bilinear")


class FakeRunner:
    """Answers every prompt with ``script``; an exception in it is raised, an Event is waited for."""

    def __init__(self, load: Load, script: list[object]):
        self.load, self.script = load, script
        self.next_scripts: list[list[object]] = []  # for one prompt each, before ``script`` counts again
        self.ready = Ready(
            n_ctx=load.num_ctx,
            n_vocab=300,
            architecture="llama",
            memory_bytes=1000,
            weight_bytes=500,
            kv_bytes=100,
            load_ns=1,
            backend="fake",
            preparation=PREPARATION if load.projector else None,
        )
        self.memory_bytes = self.ready.memory_bytes
        self.silent_s = 1e9
        self.alive, self.closed, self.aborted = True, False, 0
        self.hangs = False
        self.running = self.waiting = self.steps = 0
        self.figures: dict[str, int] = {}
        self.pictures: list[list[Picture]] = []  # of each prompt
        self.prompts: list[tuple[str | list[int], Sampling, list[int]]] = []
        self.embedded: list[tuple[list[str] | list[list[int]], bool]] = []
        self.died = asyncio.Event()
        self.process = SimpleNamespace(pid=0)

    async def submit(
        self,
        prompt: str | list[int],
        sampling: Sampling,
        *,
        context: list[int] | None = None,
        truncate: bool = False,
        progress: bool = False,
        adapters: Sequence[str] = (),
        pictures: Sequence[Picture] = (),
    ) -> AsyncGenerator[Piece | Reading | Finished, None]:
        if not self.alive:
            raise RunnerStopped(STOPPED)
        if not truncate and await self.count(prompt) >= self.ready.n_ctx:
            raise PromptTooLong("the input length exceeds the context length: it is too long")
        self.prompts.append((prompt, sampling, context or []))
        self.pictures.append(list(pictures))
        done, tokens = False, 0
        try:
            if progress:
                yield Reading(id=1, done=2, total=3)
            for item in self.reply(prompt, sampling):
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

    def reply(self, prompt: str | list[int], sampling: Sampling) -> list[object]:
        """What is said to ``prompt``."""
        return self.next_scripts.pop(0) if self.next_scripts else self.script

    async def count(self, text: str | list[int]) -> int:
        """As if every character were a token."""
        return len(text)

    async def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> Tokenized:
        """A token for every character, and token 1 before them with ``add_special``."""
        ids = [1] * add_special + [ord(char) for char in text]
        return Tokenized(id=1, ids=ids, pieces=[chr(i).encode() for i in ids])

    async def detokenize(self, ids: list[int]) -> str:
        if any(i > 0x10FFFF or 0xD800 <= i < 0xE000 for i in ids):
            raise InvalidRequest("token id is outside the vocabulary")
        return "".join(map(chr, ids))

    async def embed(
        self,
        inputs: list[str] | list[list[int]],
        *,
        truncate: bool = False,
        normalize: bool = True,
        query: str | None = None,
    ) -> Embedded:
        """Of each input a vector (3/5, 4/5, 0), and as many tokens as it has characters or ids."""
        self.embedded.append((inputs, truncate))
        if not truncate and any(len(item) > self.ready.n_ctx for item in inputs):
            raise PromptTooLong("the input length exceeds the context length")
        vectors = struct.pack("<3f", 0.6, 0.8, 0.0) * len(inputs)
        return Embedded(id=1, dim=3, vectors=vectors, n_tokens=[len(item) for item in inputs])

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
        self.next_scripts: list[list[object]] = []  # of the next start
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
        self.last.next_scripts, self.next_scripts = self.next_scripts, []
        return self.started[-1]

    @property
    def last(self) -> FakeRunner:
        return self.started[-1]
