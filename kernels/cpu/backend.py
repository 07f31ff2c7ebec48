"""The backend that brings the native kernels into the table of operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..dispatch import ANY, KernelKey, Weight
from ..memory import Memory
from ..qtensor import QTensor
from .context import CpuContext
from .lora import LoraOperators
from .operators import CpuOperators
from .recorder import CpuGraph, Recorder
from .states import StateOperators
from .weights import pack

_OPERATORS = (
    "linear",
    "linears",
    "gated_linear",
    "expert_linear",
    "head_linear",
    "embedding",
    "rms_norm",
    "layer_norm",
    "add",
    "scale",
    "softcap",
    "clamp",
    "gated",
    "activate",
    "gather",
    "concat",
    "rope_angles",
    "rope_store",
    "attention",
    "route",
    "combine",
    "top_k",
    "masked",
)
_STATES = ("short_conv", "ssd_scan", "selective_scan", "delta_scan")
_LORA = ("lora_pair", "lora", "lora_experts", "lora_embedding")


class CpuBackend:
    """All operators, natively: a recorded step never needs Python. Errors are those of ``CpuContext``."""

    own_threads = True

    def __init__(self, n_threads: int = 0, level: str | None = None):
        self.context = CpuContext(n_threads, level)
        self.name = f"cpu-{self.context.level}"
        self._memory = Memory()
        self._recorder = Recorder(self.context)
        sources = (
            (CpuOperators(self._recorder), _OPERATORS),
            (StateOperators(self._recorder), _STATES),
            (LoraOperators(self._recorder), _LORA),
        )
        self.kernels: Mapping[KernelKey, Callable[..., Any]] = {
            (name, ANY): getattr(operators, name) for operators, names in sources for name in names
        }

    def prepare(self, name: str, tensor: QTensor, device: torch.device) -> Weight:
        return pack(self.context, self._memory, name, tensor)

    def capture(self, function: Callable[[], Any]) -> CpuGraph:
        return self._recorder.record(function)
