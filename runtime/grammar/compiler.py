"""Grammars to matchers, for one model. Compiled grammars are kept, within bounds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING

from llguidance import LLMatcher, LLTokenizer

from ..errors import InvalidRequest
from ..params import Grammar
from .matcher import Matcher
from .source import compile_grammar
from .vocabulary import native_tokenizer

if TYPE_CHECKING:
    import torch

    from ..tokenizer import Tokenizer

MAX_KEPT = 64
MAX_KEPT_BYTES = 64 << 20
# Measured: a compiled schema takes up to 400 times its text. What is larger is cheaper to compile again than to keep.
_BYTES_PER_CHARACTER, _LEAST_BYTES = 400, 64 << 10


class Compiler:
    """May be used from several threads. The native tokenizer is made for the first grammar, which thus takes longer.

    ``device`` is that of the logits.
    """

    def __init__(self, tokenizer: Tokenizer, device: torch.device):
        self._tokenizer, self._device = tokenizer, device
        self._lock = threading.Lock()
        self._kept: OrderedDict[Grammar, LLMatcher] = OrderedDict()

    def matcher(self, grammar: Grammar) -> Matcher:
        """A new matcher at the beginning of ``grammar``. Raises InvalidRequest, see ``compile_grammar``."""
        with self._lock:
            native = self._kept.get(grammar)
            if native is None:
                try:
                    native = compile_grammar(self._native_tokenizer, grammar)
                except InvalidRequest as error:
                    raise InvalidRequest(f"grammar: {error}") from None
                self._keep(grammar, native)
            self._kept.move_to_end(grammar)
            return Matcher(native.deep_copy(), self._native_tokenizer.vocab_size, self._device)

    @property
    def n_kept(self) -> int:
        return len(self._kept)

    @cached_property
    def _native_tokenizer(self) -> LLTokenizer:
        return native_tokenizer(self._tokenizer)

    def _keep(self, grammar: Grammar, native: LLMatcher) -> None:
        self._kept[grammar] = native
        while len(self._kept) > 1 and (len(self._kept) > MAX_KEPT or sum(map(_cost, self._kept)) > MAX_KEPT_BYTES):
            self._kept.popitem(last=False)


def _cost(grammar: Grammar) -> int:
    return max(_LEAST_BYTES, len(grammar.text) * _BYTES_PER_CHARACTER)
