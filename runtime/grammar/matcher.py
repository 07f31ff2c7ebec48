"""One sequence's place in its grammar, and the mask of what may come next.

The mask depends only on the tokens so far. So a helper thread computes it (without the interpreter lock) while the
model computes the logits that it will be applied to.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING

import torch

from ..errors import GristmillError
from .source import reason

if TYPE_CHECKING:
    from llguidance import LLMatcher

Masked = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Matcher:
    """Belongs to one sequence and one thread; what was compiled is shared with other matchers.

    ``accepting``: the output may end here. ``stopped``: it must, for nothing can follow. All methods raise
    GristmillError where the grammar came to a dead end or grew over its limits; that cannot be mended.
    """

    def __init__(self, native: LLMatcher, n_vocab: int, executor: Executor, masked: Masked):
        """``n_vocab`` is the native tokenizer's; ``masked`` the operator of ``kernels.Ops``."""
        self._native, self._executor, self._masked = native, executor, masked
        self.bits = torch.zeros(-(-n_vocab // 32), dtype=torch.int32)
        self._pending: Future[None] | None = None
        self.accepting = self.stopped = False
        self._moved()

    def masked(self, logits: torch.Tensor) -> torch.Tensor:
        """A copy of ``logits`` (vocab,) with -Inf for every token that the grammar does not allow next.

        Tokens that end a generation are allowed exactly where the grammar accepts.
        """
        self._settle()
        return self._masked(logits, self.bits.to(logits.device))

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

    def forced(self) -> list[int]:
        """Tokens that must come next, for the grammar leaves no other text; often none."""
        self._settle()
        tokens: list[int] = self._native.compute_ff_tokens()
        return tokens

    def _moved(self) -> None:
        # While the helper thread works, the native matcher must not be asked anything.
        self.accepting, self.stopped = self._native.is_accepting(), self._native.is_stopped()
        self._pending = self._executor.submit(self._compute)

    def _compute(self) -> None:
        self._native.unsafe_compute_mask_ptr(self.bits.data_ptr(), self.bits.nbytes)

    def _settle(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
        if self._native.is_error():
            raise self._error()

    def _error(self) -> GristmillError:
        return GristmillError(f"the output came to a dead end in its grammar: {reason(self._native.get_error())}")
