"""The ``options`` of a request: checked, merged over the model's own, and split into what they govern."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.runtime.errors import InvalidRequest, cut
from gristmill.runtime.params import Grammar, Sampling

from .schema import RunRequest
from .settings import Settings
from .store.parameters import PARAMETERS, check_parameters

log = logging.getLogger(__name__)

DEFAULT_CONTEXT = 4096
MIN_CONTEXT = 4
MAX_CONTEXT = 1 << 24
DEFAULT_BATCH = 512
MAX_THREADS = 1024
MAX_REPEAT = 1 << 20
DEFAULT_DRAFT, MAX_DRAFT = 4, 16
LARGEST_FLOAT = 1e6
MAX_BIASED, MAX_BIAS = 1024, 100


@dataclass(frozen=True)
class LoadOptions:
    """Options that a runner is started with. 0 is automatic, which matches any value of a loaded one.

    ``draft`` is the file of a draft model, ``projector`` that of a projector, empty where the model has none.
    """

    num_ctx: int = 0
    num_batch: int = 0
    num_thread: int = 0
    draft: str = ""
    projector: str = ""

    def served_by(self, loaded: LoadOptions) -> bool:
        """Whether a runner that was started with ``loaded`` does for a request with these options."""
        if self.draft != loaded.draft or self.projector not in ("", loaded.projector):
            return False
        if self.num_thread and self.num_thread != loaded.num_thread:
            return False
        if self.num_batch and self.num_batch != loaded.num_batch:
            return False
        return not self.num_ctx or self.num_ctx == loaded.num_ctx


def merge_options(params: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The request's options over the model's. Unknown ones are ignored, with a line in the log.

    Raises InvalidRequest `option "x" must be of type ...`.
    """
    unknown = sorted(set(given or ()) - PARAMETERS.keys())
    if unknown:
        log.debug("options without effect: %s", ", ".join(unknown)[:200])
    known = {key: value for key, value in (*params.items(), *(given or {}).items()) if key in PARAMETERS}
    return check_parameters(known)


def load_options(
    options: Mapping[str, Any],
    settings: Settings,
    trained_context: int,
    draft: Path | None = None,
    projector: Path | None = None,
) -> LoadOptions:
    """What the runner needs; ``num_ctx`` ends up between 4 and the training context."""
    num_ctx = options.get("num_ctx") or settings.context_length or DEFAULT_CONTEXT
    highest = min(trained_context or MAX_CONTEXT, MAX_CONTEXT)
    return LoadOptions(
        num_ctx=max(MIN_CONTEXT, min(int(num_ctx), highest)),
        num_batch=_within(options.get("num_batch") or DEFAULT_BATCH, 1, MAX_CONTEXT),
        num_thread=_within(options.get("num_thread") or 0, 0, MAX_THREADS),
        draft=str(draft or ""),
        projector=str(projector or ""),
    )


def sampling_options(
    options: Mapping[str, Any], body: RunRequest, grammar: Grammar | None = None, *, has_draft: bool = False
) -> Sampling:
    """How tokens are drawn. Raises InvalidRequest for numbers no sampler can use; others are clamped.

    A model that ``has_draft`` guesses tokens unless it is told not to.
    """
    values: dict[str, Any] = {"n_draft": DEFAULT_DRAFT if has_draft else 0}
    values |= {"shift": body.shift, "logprobs": body.logprobs, "top_logprobs": body.top_logprobs}
    for name in ("temperature", "top_p", "min_p", "typical_p"):
        if name in options:
            values[name] = max(0.0, _finite(name, options[name]))
    for name in ("presence_penalty", "frequency_penalty"):
        if name in options:
            values[name] = _finite(name, options[name])
    if "repeat_penalty" in options:
        values["repeat_penalty"] = _finite("repeat_penalty", options["repeat_penalty"])
        if values["repeat_penalty"] <= 0:
            raise InvalidRequest('option "repeat_penalty" must be above 0; 1 switches it off')
    if "top_k" in options:
        values["top_k"] = _within(options["top_k"], 0, MAX_CONTEXT)
    if "repeat_last_n" in options:
        values["repeat_last_n"] = _within(options["repeat_last_n"], -1, MAX_REPEAT)
    if "num_predict" in options:
        values["max_tokens"] = _within(options["num_predict"], -1, MAX_CONTEXT)
    if "num_keep" in options:
        values["num_keep"] = _within(options["num_keep"], -1, MAX_CONTEXT)
    if "draft_num_predict" in options:
        values["n_draft"] = _within(options["draft_num_predict"], 0, MAX_DRAFT)
    if "seed" in options:
        values["seed"] = options["seed"]
    if "stop" in options:
        values["stop"] = tuple(options["stop"])
    return Sampling(grammar=grammar, logit_bias=_logit_bias(body.logit_bias), **values)


def _logit_bias(given: Mapping[str, float]) -> dict[int, float]:
    """By token id. Ids outside the vocabulary are the runner's to refuse."""
    if len(given) > MAX_BIASED:
        raise InvalidRequest(f"logit_bias: {len(given)} tokens are over the limit of {MAX_BIASED}")
    for key, bias in given.items():
        if not key.isdecimal() or len(key) > 9:
            raise InvalidRequest(f"logit_bias: {cut(key)} is not a token id")
        if not -MAX_BIAS <= bias <= MAX_BIAS:
            raise InvalidRequest(f"logit_bias: {cut(key)} must be between -{MAX_BIAS} and {MAX_BIAS}")
    return {int(key): float(bias) for key, bias in given.items()}


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value) or abs(value) > LARGEST_FLOAT:
        raise InvalidRequest(f'option "{name}" must be a finite number of at most {LARGEST_FLOAT:g}')
    return float(value)


def _within(value: float, low: int, high: int) -> int:
    return max(low, min(int(value), high))
