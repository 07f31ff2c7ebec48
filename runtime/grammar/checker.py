"""Tries grammars in a process of their own, before a model's process sees them. Imports no llguidance."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from ..errors import GristmillError, InvalidRequest
from ..killable.frames import encode_frame
from ..killable.host import KillableProcess, NotStarted
from ..params import Grammar
from .wire import Answer, Job

WORKER = "gristmill.runtime.grammar.worker"
MAX_REMEMBERED = 64
MAX_REMEMBERED_CHARACTERS = 64 << 10  # of one grammar


class GrammarChecker:
    """``check`` for any number of tasks of one event loop, which take turns. ``close`` it at the end.

    ``timeout_s`` bounds one grammar's compilation, ``memory_bytes`` the worker's address space.
    """

    def __init__(self, *, timeout_s: float = 2.0, memory_bytes: int = 1 << 30):
        self._timeout_s = timeout_s
        self._worker = KillableProcess(WORKER, "grammar checker", timeout_s=timeout_s, memory_bytes=memory_bytes)
        self._good: OrderedDict[Grammar, None] = OrderedDict()

    async def check(self, grammar: Grammar) -> None:
        """Raises InvalidRequest, which says why, for a grammar that cannot be used."""
        if grammar in self._good:
            return self._good.move_to_end(grammar)
        try:
            body = await self._worker.ask(encode_frame(Job(grammar=grammar, timeout_s=self._timeout_s)))
        except TimeoutError:
            raise InvalidRequest(f"too complex: compiling takes more than {self._timeout_s:g} s") from None
        except (EOFError, OSError):
            raise InvalidRequest("too complex: compiling needs too much memory") from None
        except NotStarted as error:
            raise GristmillError(str(error)) from None
        answer = msgspec.json.decode(body, type=Answer)
        if answer.error is not None:
            raise InvalidRequest(answer.error)
        if len(grammar.text) <= MAX_REMEMBERED_CHARACTERS:
            self._good[grammar] = None
            if len(self._good) > MAX_REMEMBERED:
                self._good.popitem(last=False)
        return None

    async def close(self) -> None:
        """End the worker. A check that is under way finishes first, later ones are refused."""
        await self._worker.close()
