"""One sequence's place in its grammar, and the mask of what may come next.

The mask depends only on the tokens so far. At first a helper thread computes it, without the interpreter lock: what
takes long goes on beside the forward pass, and what does not end is given up. Mostly a mask takes less time than
waking a thread; a grammar that has shown so for some tokens has its masks computed at once, by who accepts a token.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import weakref
from typing import TYPE_CHECKING

import torch

from ..errors import GristmillError
from .source import reason

if TYPE_CHECKING:
    from llguidance import LLMatcher

CALM = 16  # quick masks in a row, after which a helper is not needed
QUICK_S = 0.005
WAIT_S = 0.0005  # for a mask, before the forward pass: ten times what one takes
MASK_TIMEOUT_S = 2.0


class Matcher:
    """Belongs to one sequence and one thread; what was compiled is shared with other matchers.

    ``accepting``: the output may end here. ``stopped``: it must, for nothing can follow. All methods raise
    GristmillError where the grammar came to a dead end or grew over its limits; that cannot be mended.
    """

    def __init__(self, native: LLMatcher, n_vocab: int, device: torch.device):
        """``n_vocab`` is the native tokenizer's; ``device`` that of the logits."""
        self._native, self._device = native, device
        self.bits = torch.zeros(-(-n_vocab // 32), dtype=torch.int32)
        self._helper = _Helper(native, self.bits)
        self._n_quick = 0
        self.accepting = self.stopped = False
        self._moved()

    def allowed(self) -> torch.Tensor:
        """Which tokens may come next: ``bits`` of ``kernels.Ops.masked``, which the next ``accept`` overwrites.

        Tokens that end a generation are allowed exactly where the grammar accepts.
        """
        self._settle()
        return self.bits.to(self._device)

    def accept(self, token: int) -> None:
        """``token`` was drawn. Begins to compute the next mask."""
        self._settle()
        if not self._native.consume_token(token):
            raise self._error()
        self._moved()

    def rollback(self, n: int) -> None:
        """Take the last ``n`` accepted tokens back."""
        self._settle()
        if not self._native.rollback(n):
            raise self._error()
        self._moved()

    def _moved(self) -> None:
        # While the helper works, the native matcher must not be asked anything.
        self.accepting, self.stopped = self._native.is_accepting(), self._native.is_stopped()
        if self._n_quick < CALM:
            self._helper.begin()
            self._helper.wait(WAIT_S)
        else:
            self._note(_compute_mask(self._native, self.bits))

    def _note(self, seconds: float) -> None:
        self._n_quick = self._n_quick + 1 if seconds < QUICK_S else 0

    def _settle(self) -> None:
        if not self._helper.wait(MASK_TIMEOUT_S):
            raise GristmillError("the grammar is too complex: what may come next takes too long to find")
        if (seconds := self._helper.take()) is not None:
            self._note(seconds)
        if self._native.is_error():
            raise self._error()

    def _error(self) -> GristmillError:
        return GristmillError(f"the output came to a dead end in its grammar: {reason(self._native.get_error())}")


class _Helper:
    """A thread that computes masks into ``bits`` when it is asked to, and ends with its matcher.

    Each matcher has one of its own: a mask that does not come ends that sequence and holds up no other.
    """

    def __init__(self, native: LLMatcher, bits: torch.Tensor):
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._busy = False
        self._seconds: float | None = None
        arguments = (native, bits, self._asked, self._answers)
        threading.Thread(target=_compute_masks, args=arguments, name="grammar", daemon=True).start()
        weakref.finalize(self, self._asked.put, False)

    def begin(self) -> None:
        self._asked.put(True)
        self._busy = True

    def wait(self, timeout_s: float) -> bool:
        """Whether the mask is there, at the latest after ``timeout_s``."""
        if self._busy:
            with contextlib.suppress(queue.Empty):
                self._seconds = self._answers.get(timeout=timeout_s)
                self._busy = False
        return not self._busy

    def take(self) -> float | None:
        """How long the mask took that came last; None where that was asked before."""
        seconds, self._seconds = self._seconds, None
        return seconds


def _compute_masks(
    native: LLMatcher, bits: torch.Tensor, asked: queue.SimpleQueue[bool], answers: queue.SimpleQueue[float]
) -> None:
    while asked.get():
        answers.put(_compute_mask(native, bits))


def _compute_mask(native: LLMatcher, bits: torch.Tensor) -> float:
    """Seconds that it took."""
    started = time.monotonic()
    native.unsafe_compute_mask_ptr(bits.data_ptr(), bits.nbytes)
    return time.monotonic() - started
