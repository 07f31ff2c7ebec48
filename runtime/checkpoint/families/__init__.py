"""Classes of Hugging Face models, found by being here: each file's ``FAMILIES`` has a row per class name.

How a row says what a class is: ``hf_family``. Of classes that look at pictures, too, the text model is opened: a
file's ``WITH_PICTURES`` has their names, and for each the rows of its text model by its "model_type".
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from types import ModuleType

from ...errors import UnsupportedModel, cut
from ..hf_family import Family, unsupported
from ..strict_json import Fields

__all__ = ["families", "family_of", "with_pictures"]

_EXAMPLES = "LlamaForCausalLM, Qwen3ForCausalLM and others (docs/architectures.md)"


# What stands before the names of a text model's tensors beside pictures, and what belongs to these.
_PREFIXES = ("language_model.model.", "model.language_model.", "language_model.", "model.")
_PICTURES = r"(vision_tower|vision_model|visual|multi_modal_projector|mlp_AR)\..+"

_Table = dict[str, dict[str, Family]]


@cache
def families() -> dict[str, Family]:
    """Every class of text models that folders open for, by its name in config.json's "architectures"."""
    return {name: row for module in _modules() for name, row in module.FAMILIES.items()}


@cache
def with_pictures() -> _Table:
    """Every class that has such a text model in it, by its name, and the model's row by its "model_type"."""
    return {name: rows for module in _modules() for name, rows in getattr(module, "WITH_PICTURES", {}).items()}


def family_of(config: Fields) -> tuple[Family, Fields]:
    """The row for this model, and the part of ``config`` that is about its text model.

    Raises UnsupportedModel for a class that has none.
    """
    classes = config.items("architectures")
    name = classes[0] if len(classes) == 1 and isinstance(classes[0], str) else ""
    if name in families():
        return families()[name], config
    if name in with_pictures():
        return _text_model(config, with_pictures()[name])
    known = [*families(), *with_pictures()]
    like = get_close_matches(name, known, cutoff=0.7)
    supported = f"{len(known)} classes, those most like it: {', '.join(like)}" if like else "one of " + _EXAMPLES
    raise UnsupportedModel(f"config.json: architectures {cut(classes)} is not supported; supported: {supported}")


def _modules() -> list[ModuleType]:
    return [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]


def _text_model(config: Fields, rows: dict[str, Family]) -> tuple[Family, Fields]:
    text = config.fields("text_config") if config.has("text_config") else config  # older files hold all in one
    kind = text.text("model_type")
    if kind not in rows:
        raise unsupported("text_config.model_type", kind, sorted(rows))
    about_all = {key: config.data[key] for key in ("tie_word_embeddings", "quantization_config") if config.has(key)}
    scheme = rows[kind].scheme
    unused = re.compile(f"{scheme.unused.pattern}|{_PICTURES}")
    family = replace(rows[kind], scheme=replace(scheme, prefixes=_PREFIXES, unused=unused))
    return family, text.replaced({**text.data, **about_all})
