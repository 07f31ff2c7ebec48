"""Log-probabilities of drawn tokens, for callers that ask for them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .events import TokenLogprob
from .params import Sampling
from .sampling import TopK

LOWEST = -9999.0  # JSON has no -inf


def token_logprob(
    logits: torch.Tensor, token: int, params: Sampling, *, top_k: TopK, token_bytes: Callable[[int], bytes]
) -> TokenLogprob:
    """Of ``token`` in the softmax of ``logits`` (vocab,) float32, with the ``top_logprobs`` best beside it."""
    total = torch.logsumexp(logits, 0)

    def entry(token_id: int, logit: float, top: list[TokenLogprob]) -> TokenLogprob:
        logprob = max(LOWEST, logit - float(total)) if logit == logit else LOWEST
        return TokenLogprob(id=token_id, data=token_bytes(token_id), logprob=logprob, top=top)

    top: list[TokenLogprob] = []
    if params.top_logprobs > 0:
        values, ids = top_k(logits, min(params.top_logprobs, len(logits)), None)
        top = [entry(i, v, []) for i, v in zip(ids.tolist(), values.tolist(), strict=True)]
    return entry(token, float(logits[token]), top)
