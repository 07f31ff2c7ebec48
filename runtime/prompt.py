"""From a prompt to the token ids that fit into the context, and what stays when the context is full.

Rules are Ollama's: the beginning is kept, the middle goes. What the prompt lost is not counted as read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import InvalidRequest, PromptTooLong
from .params import Sampling
from .vision.marks import MARK, SQUARE

if TYPE_CHECKING:
    from .tokenizer import Tokenizer
    from .vision.sight import Seen

_NO_SHIFT = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the "
    "context length in settings, or use a model with a longer context length"
)


class PromptReader:
    """Makes token ids for a context of ``n_ctx`` tokens. Any thread may use it."""

    def __init__(self, tokenizer: Tokenizer, n_ctx: int):
        self.tokenizer, self.n_ctx = tokenizer, n_ctx

    def __call__(
        self,
        prompt: str | list[int],
        context: list[int],
        sampling: Sampling,
        truncate: bool,
        pictures: Sequence[Seen] = (),
    ) -> list[int]:
        """``context`` ids and the prompt's. With ``truncate``, too many lose their middle, if the context may shift.

        ``pictures`` stand where a text says ``[img-N]``; with some of them, nothing is cut out.
        Raises InvalidRequest for ids outside the vocabulary and a prompt without tokens, PromptTooLong for one that
        leaves no room in the context.
        """
        self.tokenizer.check_ids(context)
        if pictures:
            return self._with_pictures(prompt, context, sampling, pictures)
        if isinstance(prompt, str):
            tokens = context + self._encode(prompt, sampling, truncate, add_special=not context)
        else:
            self.tokenizer.check_ids(prompt)
            tokens = context + prompt
        if not tokens:
            raise InvalidRequest("prompt is empty: there is no token to continue from")
        if len(tokens) < self.n_ctx:
            return tokens
        self._refuse(f"{len(tokens)} tokens", sampling, truncate)
        kept = n_kept(sampling, len(tokens), self.n_ctx, self.tokenizer.add_bos)
        return without_middle(tokens, kept, self.n_ctx - max((self.n_ctx - kept) // 2, 1))

    def _with_pictures(
        self, prompt: str | list[int], context: list[int], sampling: Sampling, pictures: Sequence[Seen]
    ) -> list[int]:
        if not isinstance(prompt, str):
            raise InvalidRequest("images have no place in a prompt of token ids")
        ids: list[list[int]] = []

        def placed(mark: re.Match[str]) -> str:
            n = int(mark[1])
            if n >= len(pictures):
                return mark[0]
            ids.extend(pictures[n].ids)
            return pictures[n].text

        first, *others = MARK.sub(placed, prompt.replace(SQUARE, "")).split(SQUARE)
        tokens = context + self._encode(first, sampling, truncate=False, add_special=not context)
        for square, text in zip(ids, others, strict=True):
            tokens += square + self._encode(text, sampling, truncate=False, add_special=False)
        if len(tokens) >= self.n_ctx:
            self._refuse(f"{len(tokens)} tokens, those of images among them,", sampling, truncate=False)
        return tokens

    def count(self, prompt: str) -> int:
        """How many tokens ``prompt`` has; the number of the context and one where it is so long that this is sure."""
        if len(prompt) > self._longest_text:
            return self.n_ctx + 1
        return len(self.tokenizer.encode(prompt, add_special=True, parse_special=True))

    @property
    def _longest_text(self) -> int:
        """Characters; a longer text does not fit, whatever its tokens are."""
        return self.n_ctx * self.tokenizer.max_token_chars

    def _encode(self, prompt: str, sampling: Sampling, truncate: bool, add_special: bool) -> list[int]:
        if len(prompt) <= self._longest_text:
            return self.tokenizer.encode(prompt, add_special=add_special, parse_special=True)
        self._refuse(f"{len(prompt)} characters", sampling, truncate)
        # What lies between these two is cut out in any case, so its tokens need not be known.
        ends = prompt[: self._longest_text], prompt[-self._longest_text :]
        head = self.tokenizer.encode(ends[0], add_special=add_special, parse_special=True)
        return head + self.tokenizer.encode(ends[1], add_special=False, parse_special=True)

    def _refuse(self, size: str, sampling: Sampling, truncate: bool) -> None:
        if not truncate:
            what = f"the prompt of {size} does not fit into the context of {self.n_ctx}"
            raise PromptTooLong(f'the input length exceeds the context length: {what}; shorten it, or raise "num_ctx"')
        if not sampling.shift:
            raise PromptTooLong(_NO_SHIFT)


def n_kept(sampling: Sampling, n_prompt: int, n_ctx: int, add_bos: bool) -> int:
    """How many tokens at the beginning stay when others go; at least 4 of the context are left to others."""
    wanted = n_prompt if sampling.num_keep < 0 else sampling.num_keep + add_bos
    return max(0, min(wanted, n_prompt, n_ctx - 4))


def without_middle(tokens: list[int], kept: int, n: int) -> list[int]:
    """The first ``kept`` of ``tokens`` and so many of the last that there are ``n``."""
    return tokens[:kept] + tokens[len(tokens) - (n - kept) :]


def shifted(tokens: list[int], kept: int) -> list[int]:
    """What goes on when the context is full: the first ``kept`` tokens and the newer half of the rest."""
    rest = len(tokens) - kept
    return without_middle(tokens, kept, kept + rest - max(rest // 2, 1))
