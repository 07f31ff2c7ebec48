"""DeepSeek's calls, and those of Cogito, which learned from its older models.

    <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{"a": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>

The older form has the word "function" before the separator, then the name, and the arguments in a fenced block.
"""

from __future__ import annotations

from collections.abc import Iterator

from .base import Call, CallFormat
from .forms import Emit, emit_calls, named
from .reader import Reader, Tags, Wait, discard
from .values import Broken, decode_object

CALLS, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL, CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
SEPARATOR = "<｜tool▁sep｜>"
# The tools' answers, which a model now and then writes itself: the tags are dropped, the text stays.
OUTPUTS = tuple(f"<｜tool▁{what}▁{edge}｜>" for what in ("output", "outputs") for edge in ("begin", "end"))
_FENCE, _FENCE_END = "\n```json\n", "\n```"


class DeepSeekCalls:
    """Each call is handed on when it closes; broken ones are dropped."""

    opens = (CALLS, CALL)
    markers = (CALLS, CALLS_END, CALL, CALL_END, SEPARATOR)
    call_format: CallFormat | None = None

    def read(self, tag: str, reader: Reader, emit: Emit) -> Wait[str]:
        while tag in (CALLS, CALL, CALL_END):
            if tag == CALL:
                body, tag = yield from reader.take_until(Tags(CALL, CALL_END, CALLS_END))
                if tag:
                    emit_calls(parse_deepseek_call, body, emit, strict=False)
            else:
                tag = yield from reader.until(Tags(CALL, CALLS_END), discard)
        return ""


def parse_deepseek_call(body: str) -> Iterator[Call]:
    """The one call of ``body``, in either form. Raises Broken."""
    name, separator, arguments = body.partition(SEPARATOR)
    if not separator:
        raise Broken("no separator")
    fenced_name, fence, block = arguments.partition(_FENCE)
    if fence and "{" not in fenced_name:
        arguments, end, _ = block.partition(_FENCE_END)
        if not end:
            raise Broken("the fenced block is not closed")
        name = fenced_name
    yield Call(named(name), decode_object(arguments))
