"""Options of a native run from the fields that both kinds of completions have."""

from __future__ import annotations

from typing import Any

from .schema import CompletionFields

__all__ = ["go_type", "nth_options", "run_options"]


def run_options(
    body: CompletionFields, stop: list[str] | None, max_tokens: int | None, **defaults: float
) -> dict[str, Any]:
    """Native options: ``defaults``, over them the request's ``options``, over these its own fields."""
    repeat_penalty = body.repetition_penalty if body.repeat_penalty is None else body.repeat_penalty
    fields = {
        "num_predict": max_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_k": body.top_k,
        "min_p": body.min_p,
        "repeat_penalty": repeat_penalty,
        "frequency_penalty": body.frequency_penalty,
        "presence_penalty": body.presence_penalty,
        "seed": body.seed,
        "stop": stop,
    }
    return {**defaults, **body.options, **{name: value for name, value in fields.items() if value is not None}}


def nth_options(options: dict[str, Any], i: int) -> dict[str, Any]:
    """Of the ``i``-th choice of one prompt: a seed counts up. Without one, or below 0, each run draws its own."""
    seed = options.get("seed")
    return {**options, "seed": seed + i} if i and type(seed) is int and seed >= 0 else options


def go_type(value: Any) -> str:
    """What Go calls the type of a JSON value: the texts that clients know have it."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case int() | float():
            return "float64"
        case str():
            return "string"
        case list():
            return "[]interface {}"
    return "map[string]interface {}"
