"""What one request asks of the engine. Plain data: no torch, so that every process can build it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Grammar(msgspec.Struct, frozen=True):
    """What the output must look like. ``text``: a JSON schema in JSON, a regular expression, or a Lark grammar.

    ``json`` is any JSON object and takes no text. A regular expression is in the syntax of Rust's regex crate and
    must match the whole output; Lark grammars begin at the rule ``start`` and are in the dialect of llguidance.
    """

    kind: Literal["json", "json_schema", "regex", "lark"]
    text: str = ""


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are drawn and when a generation ends. Names and defaults are Ollama's.

    ``temperature`` 0 is greedy. ``top_k`` 0 and ``top_p``, ``typical_p`` 1 and ``min_p`` 0 switch a filter off.
    ``repeat_last_n`` is the penalties' window in tokens: 0 none, -1 the whole context. ``seed`` -1 draws one.
    ``max_tokens`` (``num_predict``) at or below 0 means 10 times the context. ``stop`` strings end the text and
    are not part of it. With ``grammar``, only tokens that continue it are drawn, and the output ends where it is
    complete.

    ``shift``: when the context is full, the first ``num_keep`` tokens (BOS not counted; -1 is the whole prompt) and
    the newer half of the rest stay, and generation goes on; else it ends. ``logprobs`` asks for the log-probability of
    each token and of the ``top_logprobs`` best ones beside it. ``logit_bias`` is added to the logits of token ids.
    Control tokens spelled as in ``shown`` are part of the text; others are not.
    ``n_draft`` (``draft_num_predict``) tokens are guessed and checked at once; the answer is the same as without.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = -1
    stop: tuple[str, ...] = ()
    max_tokens: int = -1
    shift: bool = True
    num_keep: int = 4
    logprobs: bool = False
    top_logprobs: int = 0
    logit_bias: dict[int, float] = {}
    n_draft: int = 0
    shown: tuple[str, ...] = ()
    grammar: Grammar | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a request cost. ``cached_tokens`` of the prompt's were found in the cache. Durations are nanoseconds."""

    prompt_tokens: int
    cached_tokens: int = 0
    prompt_ns: int
    output_tokens: int
    output_ns: int
