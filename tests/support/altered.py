"""Checkpoints with something else in them than their file has, built with operators that compute nothing."""

from __future__ import annotations

from dataclasses import replace

import torch

from gristmill.kernels.dispatch import Weight
from gristmill.runtime.config import Metadata
from gristmill.runtime.models import build_model
from gristmill.runtime.weights import Weights


class Altered:
    """``base`` without the tensor ``without``, with other ``shapes`` of some, and other ``metadata``."""

    def __init__(self, base, *, without="", shapes=None, metadata=None):
        self.base, self.metadata = base, dict(base.metadata) | (metadata or {})
        self.tensors = {name: info for name, info in base.tensors.items() if name != without}
        for name, shape in (shapes or {}).items():
            self.tensors[name] = replace(self.tensors[name], shape=shape)

    def tensor(self, name):
        return self.base.tensor(name)

    def release(self, name):
        pass


class NoOps:
    """Takes weights, and does nothing with them."""

    device = torch.device("cpu")

    def prepare(self, name, tensor):
        return Weight(name, tensor.shape, tensor.format.name, "nothing", None, 0)


def build(checkpoint):
    """The model of ``checkpoint``, which computes nothing. Raises UnsupportedModel."""
    return build_model(Metadata(checkpoint.metadata), Weights(checkpoint, NoOps()), 64)[0]
