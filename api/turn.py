"""One turn of the model: from the runner's events to content, thinking and tool calls.

Where a grammar governs the content, or a call must come, what comes before it is free: the model first runs until
that place, and goes on from there in a second run with the grammar. The prompt cache has the second run's beginning.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec

from gristmill.runtime.chat.output import Call, CallFormat, OutputParser, Parsed, Passthrough
from gristmill.runtime.events import Finished, Piece, Reading, TokenLogprob
from gristmill.runtime.params import Grammar
from gristmill.runtime.runner.client import Runner

from .inference import Run, Shorten
from .tools import Choice, call_schema, read_call

__all__ = ["Delta", "Turn"]

Until = Callable[[str, Parsed], int | None]
Stage = AsyncGenerator["Delta", None]
_PLAIN_CALL = CallFormat(open="", close="")


class Delta(msgspec.Struct, frozen=True):
    """What there is to say next. ``last`` comes once, at the end; ``reading`` only where it was asked for."""

    content: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    reading: Reading | None = None
    last: Finished | None = None
    load_ns: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.content or self.thinking or self.calls or self.logprobs or self.reading or self.last)


class CallReader(OutputParser):
    """Of text that a grammar holds to one call. A call that was cut off is content."""

    def __init__(self, form: CallFormat):
        self._form = form
        self._text = ""

    @property
    def in_thinking(self) -> bool:
        return False

    def feed(self, text: str) -> Parsed:
        self._text += text
        return Parsed()

    def finish(self) -> Parsed:
        call = read_call(self._text, self._form.name_key, self._form.arguments_key)
        return Parsed(content=self._text) if call is None else Parsed(calls=(Call(*call),))


@dataclass
class Turn:
    """``prompt`` grows by what the model wrote in earlier runs. ``grammar`` governs the content."""

    run: Run
    prompt: str | list[int]
    parser: OutputParser
    grammar: Grammar | None = None
    choice: Choice = field(default_factory=Choice)
    context: list[int] | None = None
    shorten: Shorten | None = None
    n_before: int = 0  # tokens of earlier runs
    ended: bool = False

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """All there is to say. Raises InvalidRequest for a prompt that cannot be used, and the runner's errors."""
        for next_stage in (self._thinking, self._up_to_call, self._rest):
            stage = None if self.ended else next_stage()
            if stage is not None:
                async with aclosing(stage) as deltas:
                    async for delta in deltas:
                        yield delta

    def _thinking(self) -> Stage | None:
        """What comes before content that a grammar governs."""
        if not (self.grammar or self.choice.forced) or not self.parser.in_thinking:
            return None
        return self._stage(self.parser, None, until=self._content_begins, drops_content=True)

    def _up_to_call(self) -> Stage | None:
        """What comes before a call that is not forced, where arguments are held to a schema."""
        form = self.parser.call_format
        if form is None or self.grammar or self.choice.forced or not self.choice.is_strict:
            return None
        return self._stage(self.parser, None, until=_CallOpens(form, self.parser))

    def _rest(self) -> Stage:
        form = self.parser.call_format
        strict = form is not None and self.choice.is_strict and not self.grammar
        if self.choice.forced or strict:
            return self._call(form or _PLAIN_CALL)
        return self._stage(self.parser, self.grammar)

    def _call(self, form: CallFormat) -> Stage:
        """One call, where the family would write it."""
        if isinstance(self.prompt, str):
            self.prompt += form.open
        schema = call_schema(self.choice, form.name_key, form.arguments_key)
        return self._stage(CallReader(form), Grammar("json_schema", schema))

    def _content_begins(self, raw: str, parsed: Parsed) -> int | None:
        return None if self.parser.in_thinking else len(raw) - len(parsed.content)

    async def _stage(
        self,
        parser: OutputParser,
        grammar: Grammar | None,
        until: Until | None = None,
        *,
        drops_content: bool = False,
    ) -> AsyncGenerator[Delta, None]:
        """One run, as ``parser`` reads it; to its end, or until so many characters of it are found to be enough.

        ``drops_content``: what has begun then is written anew by the next run.
        """
        raw, n_tokens = "", 0
        async with aclosing(self._events(grammar)) as events:
            async for event, load_ns in events:
                if isinstance(event, Reading):
                    yield Delta(reading=event)
                elif isinstance(event, Finished) and drops_content and event.reason == "stop" and parser.in_thinking:
                    # It has thought and said nothing: the content is asked for all the same.
                    yield Delta(thinking=parser.finish().thinking)
                    self._go_on_after(raw + parser.thinking_end, n_tokens)
                    self.parser = Passthrough()
                    return
                elif isinstance(event, Finished):
                    yield self._last(event, parser.finish(), load_ns)
                else:
                    n_tokens += len(event.tokens)
                    parsed, enough = parser.feed(event.text), None
                    if until:  # else nothing goes on after it
                        raw += event.text
                        enough = until(raw, parsed)
                    dropped = drops_content and enough is not None
                    delta = Delta(thinking=parsed.thinking) if dropped else _delta(parsed, event)
                    if not delta.is_empty:
                        yield delta
                    if enough is not None:
                        self._go_on_after(raw[:enough], n_tokens - len(event.tokens) * dropped)
                        return

    def _go_on_after(self, text: str, n_tokens: int) -> None:
        assert isinstance(self.prompt, str), "token ids come without template, and so without a parser"
        self.prompt += text
        self.n_before += n_tokens
        self.run.output_ids.clear()  # they are the prompt's from now on

    def _last(self, event: Finished, rest: Parsed, load_ns: int) -> Delta:
        self.ended = True
        usage = event.usage
        n_before = min(self.n_before, usage.prompt_tokens)
        whole = msgspec.structs.replace(
            usage,
            prompt_tokens=usage.prompt_tokens - n_before,
            cached_tokens=min(usage.cached_tokens, usage.prompt_tokens - n_before),
            output_tokens=usage.output_tokens + n_before,
        )
        last = msgspec.structs.replace(event, usage=whole)
        return Delta(rest.content, rest.thinking, rest.calls, last=last, load_ns=load_ns)

    def _events(self, grammar: Grammar | None) -> AsyncGenerator[tuple[Piece | Reading | Finished, int], None]:
        async def shorten(runner: Runner) -> str:
            assert self.shorten is not None
            self.prompt = await self.shorten(runner)
            return self.prompt

        # A prompt that has grown by what the model wrote is not made anew from messages.
        can_shorten = self.shorten is not None and not self.n_before
        return self.run.events(
            self.prompt, self.context, grammar, shorten if can_shorten else None, self.n_before, self.parser.markers
        )


def _delta(parsed: Parsed, event: Piece) -> Delta:
    return Delta(parsed.content, parsed.thinking, parsed.calls, tuple(event.logprobs))


class _CallOpens:
    """Where the first call opens, behind the thinking. A family without a tag opens with its object's bracket.

    It is asked at every piece, and looks only at what is new.
    """

    def __init__(self, form: CallFormat, parser: OutputParser):
        self._tag, self._end, self._parser = form.open.strip(), parser.thinking_end.strip(), parser
        self._seen = 0  # characters
        self._begin = 0  # of the content, as far as it is known

    def __call__(self, raw: str, _: Parsed) -> int | None:
        seen, self._seen = self._seen, len(raw)
        self._move_begin(raw, seen)
        if self._parser.in_thinking:
            return None
        if self._tag:  # it may itself end the thinking
            at = _find_new(raw, self._tag, seen)
            return None if at < 0 else at
        return self._begin if raw.startswith("{", self._begin) else None

    def _move_begin(self, raw: str, seen: int) -> None:
        at = _find_new(raw, self._end, seen) if self._end else -1
        if at >= 0:
            self._begin, self._end = at + len(self._end), ""
        while raw[self._begin : self._begin + 1].isspace():
            self._begin += 1


def _find_new(raw: str, tag: str, seen: int) -> int:
    """Where ``tag`` begins that had not ended in the first ``seen`` characters; -1 without one."""
    return raw.find(tag, max(0, seen - len(tag) + 1))
