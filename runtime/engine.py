"""The engine: requests in, events out, one step at a time.

A step is: let sequences join and leave, schedule, forward, sample, emit. Whoever owns the engine calls ``step``
in one thread; ``submit``, ``abort`` and ``stats`` may come from any thread. Knows no HTTP and no processes.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Sequence as Listed
from typing import TYPE_CHECKING

import msgspec
import torch

from .detokenize import TextStream
from .errors import GristmillError, InvalidRequest
from .events import EngineStats, Event, Failed, Finished, FinishReason, Piece, Reading, TokenLogprob
from .grammar.compiler import Compiler
from .images.wire import Picture
from .logprobs import token_logprob
from .pages import PagePool
from .params import Sampling, Usage
from .prompt import PromptReader, n_kept, shifted
from .sampling import Sampler
from .scheduler import Plan, Scheduler
from .sequence import Sequence
from .speculative import Drafter, PromptLookup, Speculator
from .states import StatePool
from .step import NO_ADAPTER, Forward, Span
from .vision.places import place_of, without_parts
from .vision.sight import Seen, Vision
from .vision.waiting import WaitingRoom

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

log = logging.getLogger(__name__)

MAX_REPEATS = 30  # of one token in a row: a model that is stuck is stopped


class Engine:
    """``n_ctx`` tokens per sequence, ``token_budget`` tokens per step, at most ``max_running`` sequences at once.

    ``reuse_prefixes`` False computes every prompt from its first token. ``drafter`` guesses tokens for requests that
    ask for it, by looking them up in their text if there is none. ``states``: the rows of a model's states; nothing is
    guessed for such a model, since a state cannot go back behind a wrong guess. ``vision`` looks at pictures.
    """

    def __init__(
        self,
        forward: Forward,
        tokenizer: Tokenizer,
        *,
        n_ctx: int,
        token_budget: int = 512,
        max_running: int = 4,
        reuse_prefixes: bool = True,
        drafter: Drafter | None = None,
        max_drafted: int = 1,
        states: StatePool | None = None,
        vision: Vision | None = None,
    ):
        self.vision, self.waiting_room = vision, WaitingRoom(vision)
        self.forward, self.tokenizer, self.n_ctx = forward, tokenizer, n_ctx
        self._adapters = forward.adapters
        self.read_prompt = PromptReader(tokenizer, n_ctx)
        self._top_k = forward.model.ops.top_k
        self._grammars = Compiler(tokenizer, forward.model.ops.device)
        self.pool = PagePool(forward.cache.n_pages, forward.cache.page_size, keep=reuse_prefixes)
        self.states = states or StatePool(0, 0)
        self.scheduler = Scheduler(self.pool, token_budget=token_budget, max_running=max_running, states=self.states)
        most = 0 if self.states.n_rows else max_drafted
        self.speculator = Speculator(drafter or PromptLookup(), n_ctx=n_ctx, max_sequences=most)
        self._inbox: queue.SimpleQueue[Sequence | int | None] = queue.SimpleQueue()
        self._live: dict[int, Sequence] = {}
        self._steps = self._n_prompt = self._n_output = 0

    @property
    def kv_bytes(self) -> int:
        return self.forward.cache.n_bytes

    # -- any thread --------------------------------------------------------------------------------------------

    def submit(
        self,
        request_id: int,
        prompt: str | list[int],
        sampling: Sampling,
        context: list[int],
        *,
        truncate: bool = False,
        progress: bool = False,
        adapters: tuple[str, ...] = (),
        pictures: Listed[Picture] = (),
    ) -> None:
        """Tokenize and queue a request; its events come from ``step``. ``context`` ids stand before the prompt.

        ``adapters`` are files of LoRA adapters, read when they are first needed; all of them count for the request.
        ``pictures`` stand where the prompt says ``[img-N]``, counted from 0.

        Raises what ``PromptReader`` and ``Adapters.acquire`` raise, and InvalidRequest for a grammar that cannot be
        used and pictures that the model cannot look at; such a request has no events.
        """
        seen = self._read(pictures)
        tokens = self.read_prompt(prompt, context, sampling, truncate, seen)
        if seen:  # guesses come from text
            sampling = msgspec.structs.replace(sampling, n_draft=0)
        limit = sampling.max_tokens if sampling.max_tokens > 0 else 10 * self.n_ctx
        sequence = Sequence(
            id=request_id,
            tokens=tokens,
            max_tokens=min(limit, 10 * self.n_ctx),
            sampling=sampling,
            sampler=Sampler(sampling, n_ctx=self.n_ctx, top_k=self._top_k),
            text=TextStream(self.tokenizer.stream(sampling.shown), sampling.stop),
            matcher=self._grammars.matcher(sampling.grammar) if sampling.grammar else None,
            reports=progress,
            squares=_squares(seen, tokens),
        )
        if adapters:
            sequence.adapt(self._adapters.acquire(adapters))
        self._inbox.put(sequence)

    def _read(self, pictures: Listed[Picture]) -> list[Seen]:
        if pictures and self.vision is None:
            raise InvalidRequest("the model cannot look at images: it has no projector")
        return [self.vision.read(picture) for picture in pictures] if self.vision else []

    def abort(self, request_id: int) -> None:
        """Stop a request within one step. Unknown and finished ids are ignored."""
        self._inbox.put(request_id)

    def wake(self) -> None:
        """Let a waiting ``step`` return."""
        self._inbox.put(None)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do but what has been submitted since the last step."""
        return self.scheduler.idle and not self.waiting_room.sequences

    def stats(self) -> EngineStats:
        s = self.scheduler
        return EngineStats(
            running=len(s.running),
            waiting=len(s.waiting) + len(self.waiting_room.sequences),
            free_pages=self.pool.n_free,
            cached_pages=self.pool.n_cached,
            total_pages=self.pool.n_pages,
            steps=self._steps,
            prompt_tokens=self._n_prompt,
            cached_tokens=s.n_cached_tokens,
            output_tokens=self._n_output,
            preempted=s.n_preempted,
            evicted_pages=self.pool.n_evicted,
            drafted_tokens=self.speculator.n_drafted,
            accepted_tokens=self.speculator.n_accepted,
        )

    # -- the engine's thread -----------------------------------------------------------------------------------

    def step(self, *, wait: bool = False) -> list[Event]:
        """Advance every scheduled sequence. With ``wait``, blocks while there is nothing to do."""
        events = self._drain(wait=wait and self.idle)
        events += self._look()
        self.speculator.propose(self.scheduler.running)
        plan = self.scheduler.schedule()
        if not plan:
            return events
        self._steps += 1
        started = time.monotonic_ns()
        for seq, _ in plan:
            seq.started_ns = seq.started_ns or started
        prompts = [n for seq, n in plan if seq.n_behind > 1]
        try:
            logits = self.forward([_span(seq, n) for seq, n in plan])
        except Exception:
            log.exception("a step of %d sequences failed", len(plan))
            return events + [self._fail(seq, "the model failed on this request") for seq, _ in plan]
        events += self._take(plan, logits)
        self.scheduler.pace.observe(len(plan) - len(prompts), sum(prompts), (time.monotonic_ns() - started) / 1e9)
        return events

    def check_integrity(self) -> None:
        """Assert that every page and state belongs to the sequences that are there, and every sequence is known."""
        sequences = [*self.scheduler.running, *self.scheduler.waiting, *self.waiting_room.sequences]
        self.pool.check_integrity([seq.pages for seq in sequences])
        self.states.check_integrity(row for seq in sequences for row in (seq.state, seq.next_state))
        assert {seq.id for seq in sequences} == set(self._live), "live sequences and scheduled ones differ"

    def _drain(self, wait: bool) -> list[Event]:
        events: list[Event] = []
        while wait or not self._inbox.empty():
            item = self._inbox.get()
            wait = False
            if isinstance(item, Sequence):
                self._live[item.id] = item
                self._n_prompt += len(item.tokens)
                self.waiting_room.add(item) if item.squares else self.scheduler.add(item)
            elif item in self._live:
                events += self._finish(self._live[item], "abort")
        return events

    def _look(self) -> list[Event]:
        """A little work on pictures; who has seen all of theirs may run."""
        if not self.waiting_room.sequences:
            return []
        first = self.waiting_room.sequences[0]
        first.started_ns = first.started_ns or time.monotonic_ns()
        try:
            ready = self.waiting_room.step()
        except Exception:
            log.exception("pictures of request %d could not be looked at", first.id)
            return [self._fail(first, "the model failed on the images of this request")]
        if ready is not None:
            self.scheduler.add(ready)
        return []

    def _take(self, plan: Plan, logits: torch.Tensor) -> list[Event]:
        """Draw tokens. ``logits`` has a row for each sequence of the plan, and one more for each token of its draft."""
        events: list[Event] = []
        row = 0
        for seq, n in plan:
            draft, seq.draft = seq.draft, []
            n_rows = 1 + len(draft)
            self.scheduler.advance(seq, n - len(draft))
            if not seq.n_behind:
                events += self._draw(seq, logits[row : row + n_rows], draft)
            elif seq.reports and not seq.n_output:
                events.append(Reading(id=seq.id, done=seq.n_computed, total=len(seq.tokens)))
            row += n_rows
        return events

    def _draw(self, seq: Sequence, rows: torch.Tensor, draft: list[int]) -> list[Event]:
        """As many tokens as the draft has right, and one more: each is drawn as it would be without a draft."""
        events: list[Event] = []
        n_right = 0
        for row, guess in zip(rows, [*draft, None], strict=True):
            token, more = self._sample(seq, row[: self.tokenizer.n_vocab])
            events += more
            if token is None or token != guess:
                break
            n_right += 1
            self.scheduler.advance(seq, 1)
        if seq.id in self._live:
            self.speculator.learn(seq, len(draft), n_right)
        return events

    def _sample(self, seq: Sequence, logits: torch.Tensor) -> tuple[int | None, list[Event]]:
        """The next token, None where the sequence does not go on from here, and what there is to say."""
        seq.prompt_done_ns = seq.prompt_done_ns or time.monotonic_ns()
        try:
            token = seq.sampler(logits, seq.written, seq.matcher.allowed() if seq.matcher else None)
            if token in self.tokenizer.eog_ids:
                return None, self._finish(seq, "stop")
            if seq.matcher:
                seq.matcher.accept(token)
        except GristmillError as error:
            return None, [self._fail(seq, str(error))]
        seq.append(token)
        self._n_output += 1
        piece = Piece(id=seq.id, text=seq.text.push(token), tokens=[token], logprobs=self._logprobs(seq, logits, token))
        reason = self._ends(seq)
        if reason:
            return None, [piece, *self._finish(seq, reason)]
        if len(seq.tokens) >= self.n_ctx:
            self._shift(seq)
            return None, [piece]
        return token, [piece]

    def _ends(self, seq: Sequence) -> FinishReason | None:
        if seq.text.stopped or seq.n_repeats > MAX_REPEATS or (seq.matcher and seq.matcher.stopped):
            return "stop"
        full = len(seq.tokens) >= self.n_ctx and not seq.sampling.shift
        return "length" if full or seq.n_output >= seq.max_tokens else None

    def _shift(self, seq: Sequence) -> None:
        """Make room in a full context. What stays is computed anew, at its new positions: exact in every model."""
        kept = n_kept(seq.sampling, len(seq.prompt_ids), self.n_ctx, self.tokenizer.add_bos)
        self.scheduler.restart(seq)
        self.speculator.forget(seq)
        seq.tokens = shifted(seq.tokens, kept)
        if seq.features is not None:
            seq.tokens = without_parts(seq.tokens, seq.features.n_rows)

    def _logprobs(self, seq: Sequence, logits: torch.Tensor, token: int) -> list[TokenLogprob]:
        if not seq.sampling.logprobs:
            return []
        show = self.tokenizer.token_bytes
        return [token_logprob(logits, token, seq.sampling, top_k=self._top_k, token_bytes=show)]

    def _finish(self, seq: Sequence, reason: FinishReason) -> list[Event]:
        rest = "" if reason == "abort" else seq.text.finish()
        events: list[Event] = [Piece(id=seq.id, text=rest, tokens=[])] if rest else []
        self._forget(seq)
        prompt_ids = [token for token in seq.prompt_ids if token >= 0] if seq.has_pictures else seq.prompt_ids
        return [*events, Finished(id=seq.id, reason=reason, usage=_usage(seq), prompt_ids=prompt_ids)]

    def _fail(self, seq: Sequence, error: str) -> Failed:
        self._forget(seq)
        return Failed(id=seq.id, error=error)

    def _forget(self, seq: Sequence) -> None:
        del self._live[seq.id]
        self.speculator.forget(seq)
        if not self.waiting_room.remove(seq):
            self.scheduler.remove(seq)
        if seq.adapter is not None:
            self._adapters.release(seq.adapter)


def _span(seq: Sequence, n: int) -> Span:
    tokens = [*seq.tokens[seq.n_computed : seq.n_computed + n - len(seq.draft)], *seq.draft]
    adapter_id = seq.adapter.id if seq.adapter else NO_ADAPTER
    return Span(
        tokens,
        seq.n_computed,
        seq.pages,
        all_logits=bool(seq.draft),
        adapter_id=adapter_id,
        state_read=seq.state,
        state_write=seq.next_state,
        features=seq.features,
    )


def _squares(seen: Listed[Seen], tokens: Listed[int]) -> dict[int, torch.Tensor]:
    """Of the pictures that have a place in the prompt."""
    placed = {place_of(token)[0] for token in tokens if token < 0}
    return {digest: square for one in seen for digest, square in one.squares.items() if digest in placed}


def _usage(seq: Sequence) -> Usage:
    now = time.monotonic_ns()
    started = seq.started_ns or now
    prompt_done = seq.prompt_done_ns or now
    return Usage(
        prompt_tokens=len(seq.prompt_ids),
        cached_tokens=seq.n_cached,
        prompt_ns=prompt_done - started,
        output_tokens=seq.n_output,
        output_ns=now - prompt_done,
    )
