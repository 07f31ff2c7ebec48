"""The engine: requests in, events out, one step at a time.

A step is: let sequences join and leave, schedule, forward, sample, emit. Whoever owns the engine calls ``step``
in one thread; ``submit``, ``abort`` and ``stats`` may come from any thread. Knows no HTTP and no processes.
"""

from __future__ import annotations

import logging
import queue
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .detokenize import TextStream
from .errors import GristmillError, InvalidRequest
from .events import Event, Failed, Finished, FinishReason, Piece
from .grammar.compiler import Compiler
from .pages import PagePool
from .params import Sampling, Usage
from .sampling import Sampler
from .scheduler import Scheduler
from .sequence import Sequence
from .step import Forward, Span

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

log = logging.getLogger(__name__)

MAX_REPEATS = 30  # of one token in a row: a model that is stuck is stopped


@dataclass(frozen=True)
class EngineStats:
    """A snapshot between two steps."""

    running: int
    waiting: int
    free_pages: int
    total_pages: int
    steps: int


class Engine:
    """``n_ctx`` tokens per sequence, ``token_budget`` tokens per step, at most ``max_running`` sequences at once."""

    def __init__(
        self,
        forward: Forward,
        tokenizer: Tokenizer,
        *,
        n_ctx: int,
        token_budget: int = 512,
        max_running: int = 4,
    ):
        self.forward, self.tokenizer, self.n_ctx = forward, tokenizer, n_ctx
        self._top_k = forward.model.ops.top_k
        self._grammars = Compiler(tokenizer, forward.model.ops.masked)
        self.pool = PagePool(forward.cache.n_pages, forward.cache.page_size)
        self.scheduler = Scheduler(self.pool, n_ctx=n_ctx, token_budget=token_budget, max_running=max_running)
        self._inbox: queue.SimpleQueue[Sequence | int | None] = queue.SimpleQueue()
        self._live: dict[int, Sequence] = {}
        self._steps = 0

    # -- any thread --------------------------------------------------------------------------------------------

    def submit(self, request_id: int, prompt: str | list[int], sampling: Sampling, context: list[int]) -> None:
        """Tokenize and queue a request; its events come from ``step``. ``context`` ids stand before the prompt.

        Raises InvalidRequest for ids outside the vocabulary, an empty prompt, and one that leaves no room in
        the context, and for a grammar that cannot be used; such a request has no events.
        """
        tokens = self._tokenize(prompt, context)
        limit = sampling.max_tokens if sampling.max_tokens > 0 else 10 * self.n_ctx
        sequence = Sequence(
            id=request_id,
            tokens=tokens,
            n_prompt=len(tokens),
            max_tokens=min(limit, 10 * self.n_ctx),
            sampling=sampling,
            sampler=Sampler(sampling, n_ctx=self.n_ctx, top_k=self._top_k),
            text=TextStream(self.tokenizer.stream(), sampling.stop),
            matcher=self._grammars.matcher(sampling.grammar) if sampling.grammar else None,
        )
        self._inbox.put(sequence)

    def abort(self, request_id: int) -> None:
        """Stop a request within one step. Unknown and finished ids are ignored."""
        self._inbox.put(request_id)

    def wake(self) -> None:
        """Let a waiting ``step`` return."""
        self._inbox.put(None)

    def stats(self) -> EngineStats:
        s = self.scheduler
        return EngineStats(len(s.running), len(s.waiting), self.pool.n_free, self.pool.n_pages, self._steps)

    # -- the engine's thread -----------------------------------------------------------------------------------

    def step(self, *, wait: bool = False) -> list[Event]:
        """Advance every scheduled sequence. With ``wait``, blocks while there is nothing to do."""
        events = self._drain(wait=wait and self.scheduler.idle)
        plan = self.scheduler.schedule()
        if not plan:
            return events
        self._steps += 1
        now = time.monotonic_ns()
        for seq, _ in plan:
            seq.started_ns = seq.started_ns or now
        try:
            logits = self.forward([_span(seq, n) for seq, n in plan])
        except Exception:
            log.exception("a step of %d sequences failed", len(plan))
            return events + [self._fail(seq, "the model failed on this request") for seq, _ in plan]
        for (seq, n), row in zip(plan, logits, strict=True):
            seq.n_computed += n
            if not seq.n_behind:
                events += self._sample(seq, row)
        return events

    def _drain(self, wait: bool) -> list[Event]:
        events: list[Event] = []
        while wait or not self._inbox.empty():
            item = self._inbox.get()
            wait = False
            if isinstance(item, Sequence):
                self._live[item.id] = item
                self.scheduler.add(item)
            elif item in self._live:
                events += self._finish(self._live[item], "abort")
        return events

    def _sample(self, seq: Sequence, logits: torch.Tensor) -> list[Event]:
        seq.prompt_done_ns = seq.prompt_done_ns or time.monotonic_ns()
        try:
            logits = logits[: self.tokenizer.n_vocab]
            token = seq.sampler(seq.matcher.masked(logits) if seq.matcher else logits, seq.tokens)
            if token in self.tokenizer.eog_ids:
                return self._finish(seq, "stop")
            if seq.matcher:
                seq.matcher.accept(token)
        except GristmillError as error:
            return [self._fail(seq, str(error))]
        seq.append(token)
        events: list[Event] = [Piece(id=seq.id, text=seq.text.push(token), tokens=[token])]
        if seq.text.stopped or seq.n_repeats > MAX_REPEATS or (seq.matcher and seq.matcher.stopped):
            return events + self._finish(seq, "stop")
        if seq.n_output >= seq.max_tokens or len(seq.tokens) >= self.n_ctx:
            return events + self._finish(seq, "length")
        return events

    def _finish(self, seq: Sequence, reason: FinishReason) -> list[Event]:
        rest = "" if reason == "abort" else seq.text.finish()
        events: list[Event] = [Piece(id=seq.id, text=rest, tokens=[])] if rest else []
        self._forget(seq)
        prompt_ids = seq.tokens[: seq.n_prompt]
        return [*events, Finished(id=seq.id, reason=reason, usage=_usage(seq), prompt_ids=prompt_ids)]

    def _fail(self, seq: Sequence, error: str) -> Failed:
        self._forget(seq)
        return Failed(id=seq.id, error=error)

    def _forget(self, seq: Sequence) -> None:
        del self._live[seq.id]
        self.scheduler.remove(seq)

    def _tokenize(self, prompt: str | list[int], context: list[int]) -> list[int]:
        for token in (*context, *(prompt if isinstance(prompt, list) else ())):
            if not 0 <= token < self.tokenizer.n_vocab:
                raise InvalidRequest(f"token id {token} is outside the vocabulary of {self.tokenizer.n_vocab}")
        if isinstance(prompt, str):
            if len(prompt) > self.n_ctx * self.tokenizer.max_token_chars:  # so much longer that counting is in vain
                raise self._too_long(f"{len(prompt)} characters")
            prompt = self.tokenizer.encode(prompt, add_special=not context, parse_special=True)
        tokens = context + prompt
        if not tokens:
            raise InvalidRequest("prompt is empty: there is no token to continue from")
        if len(tokens) >= self.n_ctx:
            raise self._too_long(f"{len(tokens)} tokens")
        return tokens

    def _too_long(self, size: str) -> InvalidRequest:
        way_out = 'shorten it, or raise "num_ctx"'
        return InvalidRequest(f"the prompt of {size} does not fit into the context of {self.n_ctx}; {way_out}")


def _span(seq: Sequence, n: int) -> Span:
    return Span(seq.tokens[seq.n_computed : seq.n_computed + n], seq.n_computed, seq.pages)


def _usage(seq: Sequence) -> Usage:
    now = time.monotonic_ns()
    started = seq.started_ns or now
    prompt_done = seq.prompt_done_ns or now
    return Usage(
        prompt_tokens=seq.n_prompt,
        prompt_ns=prompt_done - started,
        output_tokens=seq.n_output,
        output_ns=now - prompt_done,
    )
