"""What generate and chat have in common: checks, load and unload, running a prompt, counting.

Order of checks and texts are Ollama's; what this version cannot do is refused with a line that names the field.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from gristmill.runtime.chat.output import Call
from gristmill.runtime.errors import InvalidRequest, PromptTooLong, cut
from gristmill.runtime.events import Finished, Piece, Reading
from gristmill.runtime.grammar.checker import GrammarChecker
from gristmill.runtime.images.wire import Picture
from gristmill.runtime.params import Grammar
from gristmill.runtime.runner.client import Runner
from gristmill.runtime.tokenizer import GUARD

from .counters import TokenWatch
from .errors import shown
from .lease import leased
from .manager import Lease
from .options import merge_options, sampling_options
from .output import utc_now
from .schema import RunRequest
from .service import Service, Target
from .tools import shown_calls

Line = dict[str, Any]
Shorten = Callable[[Runner], Awaitable[str]]
MAX_TOP_LOGPROBS = 20


def check_supported(body: RunRequest) -> None:
    """Raises InvalidRequest for values out of range."""
    if not 0 <= body.top_logprobs <= MAX_TOP_LOGPROBS:
        raise InvalidRequest(f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}")


async def read_format(body: RunRequest, grammars: GrammarChecker) -> Grammar | None:
    """What ``format`` asks for; only when text is to be generated, so that loading succeeds.

    Beyond Ollama, ``{"grammar": text}`` is a Lark grammar and ``{"regex": text}`` a regular expression. Raises
    InvalidRequest for what is no format, and where a schema cannot be served, with the keyword or place.
    """
    if body.format is None or body.format == "":
        return None
    encoded = msgspec.json.encode(body.format).decode()
    if body.format == "json":
        return Grammar("json")
    if not isinstance(body.format, dict):
        raise InvalidRequest(f'invalid format: {cut(encoded)}; expected "json" or a valid JSON Schema object')
    grammar = _own_grammar(body.format) or Grammar("json_schema", encoded)
    try:
        await grammars.check(grammar)
    except InvalidRequest as error:
        raise InvalidRequest(f"format: {error}") from None
    return grammar


def _own_grammar(given: dict[str, Any]) -> Grammar | None:
    """An object of one key that no JSON schema has."""
    match given:
        case {"grammar": str(text)} if len(given) == 1:
            return Grammar("lark", text)
        case {"regex": str(text)} if len(given) == 1:
            return Grammar("regex", text)
    return None


def check_think(body: RunRequest, target: Target) -> bool | str | None:
    """The value of ``think``: on by default for models that can. Raises InvalidRequest for one that cannot."""
    can_think = "thinking" in target.facts.capabilities
    if body.think is None:
        return True if can_think else None
    think = body.think.value
    if think and not can_think:
        raise InvalidRequest(f'"{shown(target.sent)}" does not support thinking')
    return think


def check_completion(target: Target, what: str) -> None:
    """Raises InvalidRequest where the model is not one that completes text."""
    if "completion" not in target.facts.capabilities:
        raise InvalidRequest(f'"{shown(target.sent)}" does not support {what}')


def needs(target: Target, *capabilities: str) -> None:
    """Raises InvalidRequest naming the ``capabilities`` that the model lacks."""
    missing = [name for name in capabilities if name not in target.facts.capabilities]
    if missing:
        raise InvalidRequest(f"{target.model.name.full} does not support {' '.join(missing)}")


@dataclass
class Run:
    """One request on its way. ``client`` is who sent it, ``started_ns`` when it came, on the monotonic clock.

    ``pictures`` are the files of its images, by the numbers that its prompt has for them.
    """

    service: Service
    target: Target
    body: RunRequest
    client: str = ""
    started_ns: int = field(default_factory=time.monotonic_ns)
    pictures: list[bytes] = field(default_factory=list)
    output_ids: list[int] = field(default_factory=list)
    n_calls: int = 0

    def __post_init__(self) -> None:
        self.options = merge_options(self.target.model.params, self.body.options)
        self._prepared: list[Picture] | None = None

    @property
    def wants_unload(self) -> bool:
        return self.body.keep_alive_s == 0

    def line(self, **fields: Any) -> Line:
        """An answer's first keys, then ``fields``."""
        return {"model": self.target.sent, "created_at": utc_now(), **fields}

    async def load_or_unload(self, **empty: Any) -> Line:
        """The answer to an empty prompt: ``empty`` is the endpoint's empty output."""
        if self.wants_unload:
            await self.service.manager.unload(self.target.model.model_path)
            return self.line(**empty, done=True, done_reason="unload")
        async with self.lease():
            return self.line(**empty, done=True, done_reason="load")

    async def rendered(self, prompt: str, **empty: Any) -> Line:
        """The answer to ``_debug_render_only``: the prompt, and the model loaded but not run."""
        async with self.lease():
            info: Line = {"rendered_template": prompt.replace(GUARD, "")}
            info |= {"image_count": len(self.pictures)} if self.pictures else {}
            return self.line(**empty, done=False, _debug_info=info)

    def lease(self) -> AbstractAsyncContextManager[Lease]:
        """The model's runner, for as long as it is used."""
        return leased(self.service, self.target, self.options, self.body.keep_alive_s, self.client)

    async def events(
        self,
        prompt: str | list[int],
        context: list[int] | None = None,
        grammar: Grammar | None = None,
        shorten: Shorten | None = None,
        n_done: int = 0,
        shown: tuple[str, ...] = (),
    ) -> AsyncGenerator[tuple[Piece | Reading | Finished, int], None]:
        """What the runner says, each with the nanoseconds that loading took.

        A prompt that is too long is replaced by what ``shorten`` makes, and cut by the runner where that is too
        long as well; without ``truncate`` in the request, PromptTooLong is raised. ``n_done`` tokens of the answer
        are part of the prompt already; control tokens spelled as in ``shown`` are part of the text.
        """
        sampling = sampling_options(  # refused before anything is loaded
            self.options, self.body, grammar, has_draft=self.target.model.draft_path is not None
        )
        sampling = msgspec.structs.replace(sampling, shown=shown) if shown else sampling
        if n_done and sampling.max_tokens > 0:
            sampling = msgspec.structs.replace(sampling, max_tokens=max(1, sampling.max_tokens - n_done))
        watch = TokenWatch(self.service.metrics, self.target.model.name.short, self.started_ns)
        truncate = self.body.truncate and shorten is None
        adapters = [str(path) for path in self.target.model.adapter_paths]
        async with self.lease() as lease:
            submit = partial(lease.runner.submit, adapters=adapters, pictures=await self._prepare(lease.runner))
            while True:
                answer = submit(prompt, sampling, context=context, truncate=truncate, progress=self.body.progress)
                try:
                    async with contextlib.aclosing(answer):
                        async for event in answer:
                            now_ns = time.monotonic_ns()
                            if isinstance(event, Piece):
                                self.output_ids += event.tokens
                            try:
                                yield event, lease.load_ns
                            finally:
                                watch.see(event, now_ns)  # the client need not wait for that
                    return
                except PromptTooLong:
                    if shorten is None or truncate or not self.body.truncate:
                        raise
                prompt, truncate = await shorten(lease.runner), True

    async def _prepare(self, runner: Runner) -> list[Picture]:
        """The pictures as the model wants them; decoded once, also where a turn takes several runs."""
        if self._prepared is None and self.pictures:
            ready = runner.ready
            if ready.preparation is None:
                raise InvalidRequest(f"images: {shown(self.target.sent)} cannot look at them: {ready.no_pictures}")
            self._prepared = await self.service.images.prepare(self.pictures, ready.preparation)
        return self._prepared or []

    def progress_line(self, event: Reading, **empty: Any) -> Line:
        """How far the prompt is read, for who asked for ``progress``."""
        progress = {"prompt_eval_completed": event.done, "prompt_eval_total": event.total}
        return self.line(**empty, done=False, progress=progress)

    def shown_calls(self, calls: Sequence[Call]) -> list[dict[str, Any]]:
        """As answers show them; numbered over the whole turn."""
        first, self.n_calls = self.n_calls, self.n_calls + len(calls)
        return shown_calls([(call.name, call.arguments) for call in calls], first)

    def metrics(self, last: Finished, load_ns: int) -> Line:
        """Counts and durations of the final line; zeros are left out."""
        usage = last.usage
        values = {
            "total_duration": time.monotonic_ns() - self.started_ns,
            "load_duration": load_ns,
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_cached_count": usage.cached_tokens,
            "prompt_eval_duration": usage.prompt_ns,
            "eval_count": usage.output_tokens,
            "eval_duration": usage.output_ns,
        }
        return {key: value for key, value in values.items() if value}
