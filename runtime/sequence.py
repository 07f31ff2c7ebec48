"""One request's state in the engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from .detokenize import TextStream
from .grammar.matcher import Matcher
from .params import Sampling
from .sampling import Sampler


@dataclass(eq=False)
class Sequence:
    """``tokens`` are the prompt and what was generated; the first ``n_computed`` have their keys in the cache.

    A sequence is ``len(tokens) - n_computed`` tokens behind. Times are nanoseconds of the monotonic clock:
    ``started_ns`` its first step, ``prompt_done_ns`` the end of the step that computed the prompt's last token.
    """

    id: int
    tokens: list[int]
    n_prompt: int
    max_tokens: int
    sampling: Sampling
    sampler: Sampler
    text: TextStream
    matcher: Matcher | None = None
    n_computed: int = 0
    pages: list[int] = field(default_factory=list)
    started_ns: int = 0
    prompt_done_ns: int = 0
    n_repeats: int = 0

    def append(self, token: int) -> None:
        """A newly drawn token. ``n_repeats`` counts how often it has come in a row before."""
        repeats = self.n_output > 0 and token == self.tokens[-1]
        self.n_repeats = self.n_repeats + 1 if repeats else 0
        self.tokens.append(token)

    @property
    def n_behind(self) -> int:
        return len(self.tokens) - self.n_computed

    @property
    def n_output(self) -> int:
        return len(self.tokens) - self.n_prompt
