"""A checkpoint of float32 tensors, for tests of layers."""

import torch

from gristmill.kernels import FORMATS
from gristmill.runtime.checkpoint import TensorInfo


class InMemory:
    """``values``: tensors by name."""

    def __init__(self, values, architecture="llama"):
        self.values, self.metadata = values, {"general.architecture": architecture}
        self.tensors = {k: TensorInfo(k, FORMATS["F32"], tuple(v.shape), 0, v.nbytes) for k, v in values.items()}

    def tensor(self, name):
        return self.values[name].contiguous().view(torch.uint8)

    def release(self, name):
        pass
