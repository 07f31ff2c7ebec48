"""Other files into GGUF files: folders of safetensors, parts of a split file, adapters.

Reading and writing go tensor by tensor. ``worker`` is the process that a server has this done in, for it takes long
and imports torch.
"""

from .adapter import convert_adapter
from .to_gguf import convert_model, merge_parts

__all__ = ["convert_adapter", "convert_model", "merge_parts"]
