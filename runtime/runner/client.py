"""The server's side of a runner: load a model in it, submit requests, notice its death. Imports no torch."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any

from ..errors import InvalidRequest, ModelError, RunnerError, RunnerStopped, named
from ..images.wire import Picture
from ..params import Sampling
from ..request_id import REQUEST_ID
from .launch import Launched, Launcher, end, launch
from .mailbox import Mailbox
from .messages import (
    Abort,
    Count,
    Counted,
    Detokenize,
    Embed,
    Embedded,
    Failed,
    Finished,
    FromRunner,
    Load,
    LoadFailed,
    Piece,
    Ping,
    Progress,
    Reading,
    Ready,
    Stats,
    Submit,
    Texted,
    Tokenize,
    Tokenized,
    ToRunner,
    Unload,
)

OnProgress = Callable[[Progress], None]
Answer = Piece | Reading | Finished | Failed | Counted | Tokenized | Texted | Embedded
UNLOAD_GRACE_S = 5.0
STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check gristmill server logs for details"
)


class Runner:
    """A loaded model in its own process. Made by ``start``."""

    def __init__(self, launched: Launched):
        self.process, self._link = launched.process, launched.link
        self.died = asyncio.Event()
        self.ready: Ready
        self.memory_bytes: int  # resident, as it said last
        self._ids = itertools.count(1)
        self._answers: dict[int, Mailbox[Answer | None]] = {}
        self._pings: list[asyncio.Future[Stats]] = []
        self._loading = asyncio.Queue[Progress | Ready | LoadFailed | None]()
        self._link.listen(self._dispatch, self._end)

    @classmethod
    async def start(
        cls,
        load: Load,
        *,
        on_progress: OnProgress | None = None,
        stall_timeout_s: float | None = 300.0,
        launcher: Launcher | None = None,
    ) -> Runner:
        """Load a model in a process from ``launcher``, or in one that is launched now.

        Raises ModelError when the model cannot be loaded, RunnerError when the process died while loading or
        made no progress for ``stall_timeout_s`` seconds. Cancelling gives everything back.
        """
        runner = cls(await (launcher.take() if launcher else launch()))
        try:
            runner._send(load)
            runner.ready = await runner._wait_until_ready(on_progress, stall_timeout_s)
        except BaseException:
            await runner._kill()
            raise
        runner.memory_bytes = runner.ready.memory_bytes
        return runner

    @property
    def alive(self) -> bool:
        return not self.died.is_set() and self.process.returncode is None

    @property
    def silent_s(self) -> float:
        """Seconds since the process has said anything."""
        return asyncio.get_running_loop().time() - self._link.heard_at

    def submit(
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
        """Pieces and one last ``Finished``; with ``progress``, ``Reading`` before. Closing it early aborts the request.

        ``adapters`` are files of LoRA adapters that count for it, ``pictures`` what stands where it says ``[img-N]``.

        Raises InvalidRequest when the prompt cannot be used (PromptTooLong where it is too long), RunnerStopped when
        the process dies, and GristmillError when the model fails on this request.
        """
        message = partial(Submit, prompt=prompt, sampling=sampling, context=context or [], truncate=truncate)
        message = partial(message, progress=progress, adapters=tuple(adapters), pictures=list(pictures))
        name = REQUEST_ID.get()
        return self._ask(lambda i: message(id=i, name=name))

    async def count(self, text: str) -> int:
        """How many tokens ``text`` has as a prompt; more than the context where it is far too long to count.

        Raises RunnerStopped when the process dies.
        """
        counted: Counted = await self._ask_one(lambda i: Count(id=i, text=text))
        return counted.n_tokens

    async def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> Tokenized:
        """The token ids of ``text`` and what they stand for. Raises RunnerStopped when the process dies."""
        flags = {"add_special": add_special, "parse_special": parse_special}
        tokenized: Tokenized = await self._ask_one(lambda i: Tokenize(id=i, text=text, **flags))
        return tokenized

    async def detokenize(self, ids: list[int]) -> str:
        """The text of token ids. Raises InvalidRequest for ids outside the vocabulary, RunnerStopped."""
        texted: Texted = await self._ask_one(lambda i: Detokenize(id=i, ids=ids))
        return texted.text

    async def embed(
        self,
        inputs: Sequence[str] | Sequence[list[int]],
        *,
        truncate: bool = False,
        normalize: bool = True,
        query: str | None = None,
    ) -> Embedded:
        """Vectors of texts, or of lists of token ids; see ``messages.Embed``. Cancelling aborts the work.

        Raises InvalidRequest when an input cannot be used (PromptTooLong where one is too long), RunnerStopped when
        the process dies, and GristmillError when the model fails.
        """
        values: list[str | list[int]] = list(inputs)
        message = partial(Embed, inputs=values, truncate=truncate, normalize=normalize, query=query)
        name = REQUEST_ID.get()
        embedded: Embedded = await self._ask_one(lambda i: message(id=i, name=name))
        return embedded

    async def _ask_one(self, message: Callable[[int], ToRunner]) -> Any:
        async with contextlib.aclosing(self._ask(message)) as answers:
            return await anext(answers)

    async def _ask(self, message: Callable[[int], ToRunner]) -> AsyncGenerator[Any, None]:
        """The answers to ``message``, made for a new id; the last is no ``Piece``. Raises what ``submit`` does."""
        request_id, answers = next(self._ids), Mailbox[Answer | None]()
        self._answers[request_id] = answers
        done = False
        try:
            self._send(message(request_id))
            while not done:
                answer = await answers.get()
                done = not isinstance(answer, (Piece, Reading))
                yield _checked(answer)
        finally:
            del self._answers[request_id]
            if not done and self.alive:
                with contextlib.suppress(RunnerStopped):
                    self._send(Abort(request_id))

    async def ping(self, timeout_s: float = 10.0) -> Stats:
        """The engine's state. Raises RunnerStopped when the process is dead or does not answer in time."""
        answer: asyncio.Future[Stats] = asyncio.get_running_loop().create_future()
        self._pings.append(answer)
        self._send(Ping())
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise RunnerStopped("model runner does not answer") from None

    async def close(self) -> None:
        """Unload. The process has ended, and its memory is free, when this returns."""
        if self.alive:
            with contextlib.suppress(RunnerStopped):
                self._send(Unload())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UNLOAD_GRACE_S):
                    await self.process.wait()
        await self._kill()

    # -- inside ------------------------------------------------------------------------------------------------

    def _send(self, message: ToRunner) -> None:
        if self.died.is_set() or self._link.is_closing:
            raise RunnerStopped(STOPPED)
        self._link.send(message)

    async def _wait_until_ready(self, on_progress: OnProgress | None, stall_timeout_s: float | None) -> Ready:
        while True:
            try:
                async with asyncio.timeout(stall_timeout_s):
                    message = await self._loading.get()
            except TimeoutError:
                raise RunnerError(
                    f"timed out waiting for the model to load: no progress for {stall_timeout_s:g} s"
                ) from None
            if message is None:
                raise RunnerError(f"model runner has terminated while loading: {await self._epitaph()}")
            if isinstance(message, Ready):
                return message
            if isinstance(message, LoadFailed):
                error = named(message.kind, message.error)
                # What a load is told comes from settings: no request is to blame.
                raise ModelError(message.error) if isinstance(error, InvalidRequest) else error
            if on_progress is not None:
                on_progress(message)

    async def _epitaph(self) -> str:
        code = await self.process.wait()
        return f"signal {-code} (out of memory?)" if code < 0 else f"exit code {code}"

    def _end(self) -> None:
        """No message comes any more."""
        self.died.set()
        self._loading.put_nowait(None)
        for answers in self._answers.values():
            answers.put(None)
        for ping in self._pings:
            if not ping.done():
                ping.set_exception(RunnerStopped(STOPPED))

    def _dispatch(self, message: FromRunner) -> None:
        if isinstance(message, Stats):
            ping = self._pings.pop(0)
            self.memory_bytes = message.memory_bytes
            if not ping.done():
                ping.set_result(message)
        elif isinstance(message, (Progress, Ready, LoadFailed)):
            self._loading.put_nowait(message)
        elif (answers := self._answers.get(message.id)) is not None:  # else nobody waits for it any more
            answers.put(message)

    async def _kill(self) -> None:
        self.died.set()
        await end(self.process, self._link)


def _checked(answer: Answer | None) -> Answer:
    if answer is None:
        raise RunnerStopped(STOPPED)
    if isinstance(answer, Failed):
        raise named(answer.kind, answer.error)
    return answer
