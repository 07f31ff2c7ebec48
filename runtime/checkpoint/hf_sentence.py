"""What a sentence-transformers folder puts behind the model: pooling, and perhaps linear layers.

https://www.sbert.net/docs/package_reference/sentence_transformer/models.html
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UnsupportedModel, cut
from .base import Value
from .strict_json import Fields

__all__ = ["DENSE_FOLDERS", "pooling_metadata"]

DENSE_FOLDERS = ("2_Dense", "3_Dense")
_IDENTITY = "torch.nn.modules.linear.Identity"
# Key in 1_Pooling/config.json: GGUF's pooling type.
_MODES = {"pooling_mode_mean_tokens": 1, "pooling_mode_cls_token": 2, "pooling_mode_lasttoken": 3}


def pooling_metadata(files: Mapping[str, Fields], architecture: str) -> dict[str, Value]:
    """``{architecture}.pooling_type`` where a folder says it. ``files``: its small files by their paths in it.

    Raises UnsupportedModel for other kinds of pooling, for several at once, and for layers that are more than a matrix.
    """
    for folder in DENSE_FOLDERS:
        dense = files.get(f"{folder}/config.json")
        if dense is None:
            continue
        if architecture != "gemma-embedding":
            raise UnsupportedModel(f"{folder}: a layer behind the pooling is not supported for {architecture}")
        if dense.flag("bias", True) or dense.text("activation_function", "") != _IDENTITY:
            raise UnsupportedModel(f"{folder}: a bias or an activation behind the pooling is not supported")
    pooling = files.get("1_Pooling/config.json")
    if pooling is None:
        return {f"{architecture}.pooling_type": 1} if architecture in ("bert", "nomic-bert", "gemma-embedding") else {}
    modes = [key for key, value in pooling.data.items() if key.startswith("pooling_mode_") and value is True]
    if len(modes) != 1 or modes[0] not in _MODES:
        raise UnsupportedModel(f"1_Pooling: {cut(modes)} is not supported; supported: one of {', '.join(_MODES)}")
    return {f"{architecture}.pooling_type": _MODES[modes[0]]}
