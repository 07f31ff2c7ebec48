"""One request's state in the engine."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import torch

from .detokenize import TextStream
from .grammar.matcher import Matcher
from .lora import Adapter
from .pages import ROOT
from .params import Sampling
from .sampling import Sampler
from .states import NONE
from .vision.rows import Features


@dataclass(eq=False)
class Sequence:
    """``tokens`` are the prompt and what was generated; the first ``n_computed`` have their keys in the cache.

    A sequence is ``len(tokens) - n_computed`` tokens behind. ``draft`` are guesses of the tokens that come next, to
    be checked in the next step. ``prompt_ids`` stay as they were submitted, while ``tokens`` lose their middle when
    the context is full. Times are nanoseconds of the monotonic clock: ``started_ns`` its first step,
    ``prompt_done_ns`` the end of the step that computed the prompt's last token.

    ``pages`` hold the first tokens; the first ``n_registered`` of them are in the index, the last one under
    ``parent``. ``root`` is what determines keys and values besides the tokens.
    ``state`` is the row with what the model keeps of all computed tokens, ``next_state`` the one that the present step
    writes; ``snapshot`` the page after which its newest state can be found, for those of an answer.
    ``squares`` of pictures (uint8, by digest) are still to be looked at; ``features`` are the rows that ids below 0
    stand for.
    ``reports``: who waits wants to know how far the prompt is read.
    """

    id: int
    tokens: list[int]
    max_tokens: int
    sampling: Sampling
    sampler: Sampler
    text: TextStream
    matcher: Matcher | None = None
    reports: bool = False
    adapter: Adapter | None = None
    squares: dict[int, torch.Tensor] = field(default_factory=dict)
    features: Features | None = None
    prompt_ids: list[int] = field(default_factory=list)
    arrival: int = 0
    n_computed: int = 0
    n_output: int = 0
    n_cached: int = 0
    draft: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    n_registered: int = 0
    state: int = NONE
    next_state: int = NONE
    snapshot: Hashable = None
    root: Hashable = ROOT
    parent: Hashable = ROOT
    started_ns: int = 0
    prompt_done_ns: int = 0
    n_repeats: int = 0

    def __post_init__(self) -> None:
        self.prompt_ids = self.prompt_ids or list(self.tokens)
        self.parent = self.root

    @property
    def n_behind(self) -> int:
        return len(self.tokens) - self.n_computed

    @property
    def has_pictures(self) -> bool:
        return self.features is not None or bool(self.squares)

    @property
    def written(self) -> list[int]:
        """The tokens that are text."""
        return self.tokens if self.features is None else [token for token in self.tokens if token >= 0]

    def adapt(self, adapter: Adapter) -> None:
        """Compute it with an adapter, before anything is computed: its pages are nobody else's."""
        self.adapter = adapter
        self.root = self.parent = ("adapter", adapter.serial)

    def append(self, token: int) -> None:
        """A newly drawn token. ``n_repeats`` counts how often it has come in a row before."""
        repeats = self.n_output > 0 and token == self.tokens[-1]
        self.n_repeats = self.n_repeats + 1 if repeats else 0
        self.n_output += 1
        self.tokens.append(token)

    def forget_pages(self) -> list[int]:
        """Start again with nothing computed. Returns the pages, which are the caller's to release."""
        pages, self.pages = self.pages, []
        self.n_computed = self.n_registered = 0
        self.parent, self.draft = self.root, []
        return pages
