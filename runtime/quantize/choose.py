"""Choosing the format of every tensor of a model: the tables of ``mix``, applied to names and shapes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gristmill.kernels.formats import FORMATS, Format

from ..checkpoint.base import TensorInfo, Value
from ..errors import InvalidRequest, cut
from .file_types import FileType
from .mix import AFTER, FALLBACKS, KEPT, KINDS, NEED_IMATRIX, RULES, Rule

__all__ = ["CONDITIONS", "NO_WISHES", "Choice", "Wishes", "choose_formats", "find_format", "is_kept"]

_LAYER = re.compile(r"blk\.(\d+)\.")
_EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")
_VALUES = ("attn_v", "attn_qkv", "attn_kv_b")  # counted together
_QUANTIZED_TO = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class Choice:
    """What a tensor becomes. ``instead_of`` names the format that its rows do not fit, if there is one."""

    format: Format
    instead_of: str = ""
    needs_imatrix: bool = False


@dataclass(frozen=True)
class Wishes:
    """What the caller wants otherwise than the mix: a format for names in which a pattern is found, first one first.

    ``output`` and ``embedding`` are those of output.weight and token_embd.weight; ``is_pure``: no mix at all.
    """

    overrides: Sequence[tuple[re.Pattern[str], Format]] = ()
    output: Format | None = None
    embedding: Format | None = None
    is_pure: bool = False


NO_WISHES = Wishes()


@dataclass(frozen=True)
class _Model:
    """What the rules ask about the model as a whole."""

    architecture: str
    n_layers: int
    n_head: int
    n_head_kv: int
    n_experts: int
    n_values: int
    is_tied: bool
    has_imatrix: bool

    @property
    def n_gqa(self) -> int:
        """How many query heads share a key and value head; 0 where there is none."""
        return self.n_head // self.n_head_kv if self.n_head_kv else 0


@dataclass(frozen=True)
class _Case:
    """One tensor in its model. ``index`` of ``n`` says how deep it lies; ``count`` tensors of its kind came before."""

    model: _Model
    index: int
    n: int
    count: int
    is_stack: bool
    is_partial: bool


def _has_more_bits(case: _Case) -> bool:
    """The first and the last eighth of the layers, and every third between."""
    first, last = case.n // 8, 7 * case.n // 8
    return case.index < first or case.index >= last or (case.index - first) % 3 == 2


def _is_llama_70b(case: _Case) -> bool:
    model = case.model
    return model.architecture in ("llama", "qwen2") and model.n_layers == 80 and model.n_head != model.n_head_kv


CONDITIONS: Mapping[str, Callable[[_Case], bool]] = {
    "falcon": lambda case: case.model.architecture == "falcon",
    "not_falcon": lambda case: case.model.architecture != "falcon",
    "imatrix": lambda case: case.model.has_imatrix,
    "no_imatrix": lambda case: not case.model.has_imatrix,
    "gqa_4": lambda case: case.model.n_gqa >= 4,
    "experts_4": lambda case: case.model.n_experts >= 4,
    "experts_8": lambda case: case.model.n_experts == 8,
    "experts_tensor": lambda case: case.is_stack,
    "llama_70b": _is_llama_70b,
    "partial_block": lambda case: case.is_partial,
    "first_2": lambda case: case.count < 2,
    "first_4": lambda case: case.count < 4,
    "first_sixteenth": lambda case: case.index < case.n // 16,
    "first_eighth": lambda case: case.index < case.n // 8,
    "among_first_eighth": lambda case: case.count < case.n // 8,
    "middle": lambda case: case.n // 8 <= case.index < 7 * case.n // 8,
    "more_bits": _has_more_bits,
}


def choose_formats(
    metadata: Mapping[str, Value],
    tensors: Mapping[str, TensorInfo],
    file_type: FileType,
    *,
    has_imatrix: bool = False,
    wishes: Wishes = NO_WISHES,
) -> dict[str, Choice]:
    """The format of every tensor, in the order of ``tensors``; those that stay as they are keep theirs."""
    model = _model(metadata, tensors, has_imatrix)
    counts: Counter[str] = Counter()
    # Tensors are counted by layer and name, whatever their order in the file is.
    chosen = {name: _choice(tensors[name], model, file_type, wishes, counts) for name in sorted(tensors, key=_by_layer)}
    return {name: chosen[name] for name in tensors}


def is_kept(info: TensorInfo) -> bool:
    """Whether quantizing leaves this tensor alone: what is no matrix of weights, and what ``KEPT`` names."""
    is_matrix = len(info.shape) - next((i for i, n in enumerate(info.shape) if n != 1), len(info.shape)) >= 2
    is_weight = info.name.endswith("weight") and info.format.name in FORMATS  # integers are tables
    return not (is_matrix and is_weight) or any(part in info.name for part in KEPT)


def find_format(name: str) -> Format:
    """The weight format of this name, in any case, that a GGUF file can hold. Raises InvalidRequest with all names."""
    format = FORMATS.get(name.upper())
    if format is None or format.ggml_id is None:
        known = ", ".join(row.name for row in FORMATS.values() if row.ggml_id is not None)
        raise InvalidRequest(f"weight format {cut(name, 40)} is unknown; the formats are {known}")
    return format


def _choice(info: TensorInfo, model: _Model, file_type: FileType, wishes: Wishes, counts: Counter[str]) -> Choice:
    if is_kept(info):
        return Choice(info.format)
    name, kind = info.name, _kind(info.name)
    wished = {"token_embd": wishes.embedding, "output": wishes.output}.get(kind)
    override = next((format for pattern, format in wishes.overrides if pattern.search(name)), None)
    if wished is None and override is None and not wishes.is_pure and file_type.format not in _QUANTIZED_TO:
        is_output = kind == "output" or (kind == "token_embd" and model.is_tied)
        if is_output and wishes.output is not None:
            format = wishes.output
        else:
            format = _by_rules(info, "output" if is_output else kind, model, file_type, counts)
    else:
        format = wished or override or FORMATS[file_type.format]
    choice = _fitting(info, format)
    return replace(choice, needs_imatrix=_needs_imatrix(name, choice.format.name, file_type))


def _by_rules(info: TensorInfo, kind: str, model: _Model, file_type: FileType, counts: Counter[str]) -> Format:
    case = _case(info, kind, model, file_type, counts)
    rule = next((rule for rule in RULES if _fits(rule, file_type.name, kind, case)), None)
    name = file_type.format if rule is None or rule.format == "=" else rule.format
    for file_types, kinds, before, after, where in AFTER:
        is_meant = name == before and kind in kinds.split() and file_type.name in file_types.split()
        if is_meant and CONDITIONS[where](case):
            return FORMATS[after]
    return FORMATS[name]


def _fits(rule: Rule, file_type: str, kind: str, case: _Case) -> bool:
    return (
        (rule.tensors == "*" or kind in rule.tensors.split())
        and (rule.file_types == "*" or file_type in rule.file_types.split())
        and all(CONDITIONS[condition](case) for condition in rule.where.split())
    )


def _case(info: TensorInfo, kind: str, model: _Model, file_type: FileType, counts: Counter[str]) -> _Case:
    """Experts lie in their layer; everything else is as deep as the number of its kind that came before."""
    is_value = kind in _VALUES
    counted = "values" if is_value else kind
    count = counts[counted]
    counts[counted] += 1
    layer = _LAYER.match(info.name)
    index = int(layer[1]) if model.n_experts > 1 and layer and not is_value else count
    is_partial = info.shape[-1] % FORMATS[file_type.format].block_elems != 0
    is_stack = len(info.shape) > 2 and info.shape[-3] > 1
    return _Case(model, index, model.n_values if is_value else model.n_layers, count, is_stack, is_partial)


def _fitting(info: TensorInfo, format: Format) -> Choice:
    """``format``, or the one that takes its place where a row is not whole blocks."""
    n_in = info.shape[-1]
    if n_in % format.block_elems == 0:
        return Choice(format)
    other = FORMATS[FALLBACKS.get(format.name, "F16")]
    return Choice(other if n_in % other.block_elems == 0 else FORMATS["F16"], instead_of=format.name)


def _needs_imatrix(name: str, format: str, file_type: FileType) -> bool:
    files = NEED_IMATRIX.get(format, "")
    return name not in (*_EMBEDDINGS, "output.weight") and (files == "*" or file_type.name in files.split())


def _kind(name: str) -> str:
    if name == "output.weight":
        return "output"
    if name in _EMBEDDINGS:
        return "token_embd"
    return next((kind for kind, part in KINDS if part in name), "other")


def _by_layer(name: str) -> tuple[int, str]:
    layer = _LAYER.match(name)
    return (int(layer[1]) if layer else -1, name)


def _model(metadata: Mapping[str, Value], tensors: Mapping[str, TensorInfo], has_imatrix: bool) -> _Model:
    architecture = metadata.get("general.architecture", "")
    n_head = _number(metadata, f"{architecture}.attention.head_count", 0)
    return _Model(
        architecture=architecture if isinstance(architecture, str) else "",
        n_layers=_number(metadata, f"{architecture}.block_count", 0),
        n_head=n_head,
        n_head_kv=_number(metadata, f"{architecture}.attention.head_count_kv", n_head),
        n_experts=_number(metadata, f"{architecture}.expert_count", 0),
        n_values=sum(_kind(name) in _VALUES for name in tensors),
        is_tied="output.weight" not in tensors,
        has_imatrix=has_imatrix,
    )


def _number(metadata: Mapping[str, Value], key: str, default: int) -> int:
    """An integer, or that of the first layer where each has its own."""
    value = metadata.get(key, default)
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value):
        value = value[0]
    return value if isinstance(value, int) else default
