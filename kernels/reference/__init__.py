"""The reference backend: every operator in plain PyTorch, on any device that torch knows.

It is the oracle of the tests and the fallback of every other backend. Weights are decoded once, at load, to one
dense dtype. With float32 the results are exact up to float32 rounding; with bfloat16 weights and the activations
that meet them are rounded to 8 bits of mantissa.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..dispatch import ANY, KernelKey, Weight
from ..qtensor import QTensor
from . import attention, delta, linear, lora, moe, pointwise, rope, states

_DENSE = {torch.float32: "dense-f32", torch.bfloat16: "dense-bf16"}


class Call:
    """A graph that records nothing and calls the function again."""

    def __init__(self, function: Callable[[], Any]):
        self.replay = function


class ReferenceBackend:
    """``dtype``: what weights are decoded to, float32 or bfloat16."""

    own_threads = False

    def __init__(self, dtype: torch.dtype = torch.float32):
        self.dtype = dtype
        self.name = "reference" if dtype == torch.float32 else "reference-bf16"
        self.kernels: Mapping[KernelKey, Callable[..., Any]] = {
            ("linear", ANY): linear.linear,
            ("linears", ANY): linear.linears,
            ("gated_linear", ANY): linear.gated_linear,
            ("expert_linear", ANY): linear.expert_linear,
            ("head_linear", ANY): linear.head_linear,
            ("embedding", ANY): linear.embedding,
            ("lora_pair", ANY): lora.lora_pair,
            ("lora", ANY): lora.lora,
            ("lora_experts", ANY): lora.lora_experts,
            ("lora_embedding", ANY): lora.lora_embedding,
            ("rms_norm", ANY): pointwise.rms_norm,
            ("layer_norm", ANY): pointwise.layer_norm,
            ("add", ANY): pointwise.add,
            ("scale", ANY): pointwise.scale,
            ("softcap", ANY): pointwise.softcap,
            ("clamp", ANY): pointwise.clamp,
            ("gated", ANY): pointwise.gated,
            ("activate", ANY): pointwise.activate,
            ("gather", ANY): pointwise.gather,
            ("concat", ANY): pointwise.concat,
            ("rope_angles", ANY): rope.rope_angles,
            ("rope_store", ANY): attention.rope_store,
            ("attention", ANY): attention.attention,
            ("short_conv", ANY): states.short_conv,
            ("ssd_scan", ANY): states.ssd_scan,
            ("selective_scan", ANY): states.selective_scan,
            ("delta_scan", ANY): delta.delta_scan,
            ("route", ANY): moe.route,
            ("combine", ANY): moe.combine,
            ("top_k", ANY): pointwise.top_k,
            ("masked", ANY): pointwise.masked,
        }

    def prepare(self, name: str, tensor: QTensor, device: torch.device) -> Weight:
        data = linear.decode_rows(tensor, self.dtype, device)
        n_bytes = data.numel() * data.element_size()
        return Weight(name, tensor.shape, tensor.format.name, _DENSE[self.dtype], data, n_bytes)

    def capture(self, function: Callable[[], Any]) -> Call:
        return Call(function)
