"""LoRA adapters (Hu et al., arXiv:2106.09685) beside a model's weights, which stay as they are, quantized or not."""

from .adapters import Adapter, Adapters, Additions, add_all
from .rows import AdapterRows

__all__ = ["Adapter", "AdapterRows", "Adapters", "Additions", "add_all"]
