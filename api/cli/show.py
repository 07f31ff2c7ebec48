"""The ``show`` command: what a model is, in sections, or one of its texts."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from gristmill.runtime.errors import GristmillError

from . import human, terminal
from .client import open_client

_TEXTS = ("license", "modelfile", "parameters", "system", "template")
_N_HEAD_LINES = 2
_N_ARRAY_ITEMS = 3

Rows = list[list[str]]


def show(arguments: Namespace) -> int:
    """Raises GristmillError when more than one text is asked for."""
    asked = [name for name in _TEXTS if getattr(arguments, name)]
    if len(asked) > 1:
        flags = "'--license', '--modelfile', '--parameters', '--system', or '--template'"
        raise GristmillError(f"only one of {flags} can be specified")
    model = open_client().post("/api/show", {"model": arguments.model, "verbose": arguments.verbose})
    if asked:
        text = model.get(asked[0], "") + ("" if asked[0] in ("system", "template") else "\n")
    else:
        text = describe(model, verbose=arguments.verbose)
    sys.stdout.write(terminal.for_stream(text, sys.stdout))
    return 0


def describe(model: Mapping[str, Any], *, verbose: bool = False) -> str:
    """The sections of ``/api/show``'s answer; an empty section is left out."""
    info = model.get("model_info") or {}
    sections = [
        ("Model", _model_rows(model, info)),
        ("Capabilities", [[capability] for capability in model.get("capabilities") or []]),
        ("Projector", _projector_rows(model.get("projector_info") or {})),
        ("Parameters", [line.split(None, 1) for line in model.get("parameters", "").splitlines() if line.strip()]),
    ]
    if verbose:
        sections.append(("Metadata", [[key, _metadata(value)] for key, value in sorted(info.items())]))
        sections.append(("Tensors", [_tensor(tensor) for tensor in model.get("tensors") or []]))
    sections.append(("System", _head(model.get("system", ""))))
    sections.append(("License", _head(model.get("license", ""))))
    return "".join(f"  {title}\n{human.columns(rows, '    ')}\n" for title, rows in sections if rows)


def _model_rows(model: Mapping[str, Any], info: Mapping[str, Any]) -> Rows:
    details = model.get("details") or {}
    architecture = info.get("general.architecture") or details.get("family")
    count = info.get("general.parameter_count")
    return _present(
        ("Remote model", model.get("remote_model")),
        ("Remote URL", model.get("remote_host")),
        ("architecture", architecture),
        ("parameters", details.get("parameter_size") or (human.parameter_count(int(count)) if count else None)),
        ("context length", info.get(f"{architecture}.context_length")),
        ("embedding length", info.get(f"{architecture}.embedding_length")),
        ("quantization", details.get("quantization_level")),
        ("requires", model.get("requires")),
    )


def _projector_rows(info: Mapping[str, Any]) -> Rows:
    architecture = info.get("general.architecture")
    count = info.get("general.parameter_count")
    return _present(
        ("architecture", architecture),
        ("parameters", human.parameter_count(int(count)) if count else None),
        ("embedding length", info.get(f"{architecture}.vision.embedding_length")),
        ("dimensions", info.get(f"{architecture}.vision.projection_dim")),
    )


def _present(*rows: tuple[str, Any]) -> Rows:
    return [[key, str(value)] for key, value in rows if value not in (None, "")]


def _head(text: str) -> Rows:
    """The first lines that are not empty, and ``...`` when there are more."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    head = [[line] for line in lines[:_N_HEAD_LINES]]
    return [*head, ["..."]] if len(lines) > _N_HEAD_LINES else head


def _metadata(value: Any) -> str:
    """Numbers in Go's ``%g``; of an array the first items: ``[a b c ...+5 more]``."""
    if isinstance(value, list):
        items = " ".join(_metadata(item) for item in value[:_N_ARRAY_ITEMS])
        n_more = len(value) - _N_ARRAY_ITEMS
        return f"[{items} ...+{n_more} more]" if n_more > 0 else f"[{items}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return human.go_number(value)
    return "[]" if value is None else str(value)


def _tensor(tensor: Mapping[str, Any]) -> list[str]:
    return [tensor["name"], tensor["type"], f"[{' '.join(str(n) for n in tensor['shape'])}]"]
