"""A text as windows of tokens, and a model's logits for the tokens of a window that count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidRequest
from ..step import Span

if TYPE_CHECKING:
    import torch

    from ..model import Model

__all__ = ["ROWS", "Window", "text_windows", "window_logits"]

ROWS = 64  # logits that are held at once: of a vocabulary of 262,144 they are 67 MB


@dataclass(frozen=True)
class Window:
    """``tokens`` that a model reads at once. Those from ``first`` on count: each is predicted by all before it."""

    tokens: list[int]
    first: int

    @property
    def targets(self) -> list[int]:
        return self.tokens[self.first :]


def text_windows(model: Model, text: str, n_ctx: int = 512, *, every_token: bool = False) -> list[Window]:
    """``text`` cut into windows of ``n_ctx`` tokens.

    As llama.cpp's perplexity tool cuts it: windows do not overlap, each begins with the beginning-of-text token where
    the vocabulary wants one, and its second half counts. With ``every_token`` windows overlap by half, and every token
    but the first counts once. Raises InvalidRequest for a text with too few tokens, and for a window that does not fit.
    """
    if not 4 <= n_ctx <= model.n_ctx:
        raise InvalidRequest(f"ctx: {n_ctx} is not between 4 and the {model.n_ctx} tokens that the model can read")
    ids = model.tokenizer.encode(text, add_special=True, parse_special=False)
    bos = model.tokenizer.encode("", add_special=True, parse_special=False)[:1]
    if every_token:
        windows = _overlapping(ids, n_ctx)
    else:
        whole = range(0, len(ids) - n_ctx + 1, n_ctx)
        half = n_ctx // 2 + 1
        n_bos = len(bos)  # where there is one, it stands in the place of the window's first token
        windows = [Window([*bos, *ids[i + n_bos : i + n_ctx]], half) for i in whole]
    if not windows or not windows[0].targets:
        raise InvalidRequest(f"the text has {len(ids)} tokens, and a window {n_ctx}: give more text, or a smaller ctx")
    return windows


def _overlapping(ids: list[int], n_ctx: int) -> list[Window]:
    windows, done = [Window(ids[:n_ctx], 1)], n_ctx
    while done < len(ids):
        start = max(0, done - n_ctx // 2)
        windows.append(Window(ids[start : start + n_ctx], done - start))
        done = start + n_ctx
    return windows


def window_logits(model: Model, window: Window) -> Iterator[tuple[list[int], torch.Tensor]]:
    """The targets in order, ``ROWS`` or fewer at a time, with logits float32 (n, n_vocab) that predict them.

    A tensor is valid until the next is asked for.
    """
    forward = model.forward(1)
    pages = list(range(forward.cache.n_pages))
    read = window.first - 1  # what comes before the token that predicts the first target
    if read:
        forward([Span(window.tokens[:read], 0, pages)])
    for start in range(read, len(window.tokens) - 1, ROWS):
        stop = min(start + ROWS, len(window.tokens) - 1)
        yield (
            window.tokens[start + 1 : stop + 1],
            forward([Span(window.tokens[start:stop], start, pages, all_logits=True)]),
        )
