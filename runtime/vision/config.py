"""A vision tower's shape, read from the metadata of a projector file (``general.architecture`` clip), and checked.

Keys are llama.cpp's (tools/mtmd/clip-impl.h).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..config import Metadata
from ..errors import UnsupportedModel, cut

ARCHITECTURE = "clip"
MAX_PATCHES = 1 << 16
MAX_IMAGE_SIZE = 8192


@dataclass(frozen=True)
class VisionConfig:
    """A vision transformer over squares of ``image_size`` pixels in patches of ``patch_size``.

    ``merge``: so many patches in a row become one token, in both directions. ``n_layers_run`` of the layers are
    computed. ``mean`` and ``std`` of the three colors are those of pixels from 0 to 1.
    """

    projector: str
    image_size: int
    patch_size: int
    hidden_size: int
    ffn_size: int
    n_layers: int
    n_layers_run: int
    n_heads: int
    norm_eps: float
    activation: str
    merge: int
    longest_edge: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.n_heads

    @property
    def n_side(self) -> int:
        """Patches along an edge."""
        return self.image_size // self.patch_size

    @property
    def n_patches(self) -> int:
        return self.n_side**2


def read_projector_type(meta: Metadata, known: Sequence[str]) -> str:
    """Raises UnsupportedModel for a file that is no projector, one without vision, and a type that is not ``known``."""
    if meta.architecture != ARCHITECTURE:
        raise UnsupportedModel(
            f"general.architecture: {cut(meta.architecture)} is no projector; expected {ARCHITECTURE}"
        )
    if not meta.flag("has_vision_encoder", True):
        raise meta.refuse("has_vision_encoder", "the projector is not for images")
    key = "vision.projector_type" if meta.get("vision.projector_type") is not None else "projector_type"
    default = "mlp" if meta.get("has_llava_projector") else ""  # the first files had no type
    return meta.choice(key, default, known)


def read_vision_config(meta: Metadata, projector: str, *, merge: int, drops_last: bool) -> VisionConfig:
    """``merge`` is the projector's where the file does not say; ``drops_last``: the last layer is not computed, unless
    ``vision.feature_layer`` asks for another one. Raises UnsupportedModel naming the key."""
    image_size = meta.count("vision.image_size", high=MAX_IMAGE_SIZE)
    patch_size = meta.count("vision.patch_size", high=image_size)
    hidden, n_heads = meta.count("vision.embedding_length"), meta.count("vision.attention.head_count")
    if image_size % patch_size:
        raise meta.refuse("vision.patch_size", f"{patch_size} does not divide the image size {image_size}")
    if (image_size // patch_size) ** 2 > MAX_PATCHES:
        raise meta.refuse("vision.patch_size", f"{patch_size} makes more than {MAX_PATCHES} patches of an image")
    if hidden % n_heads:
        raise meta.refuse("vision.attention.head_count", f"{n_heads} does not divide the width {hidden}")
    n_side = image_size // patch_size
    merge = meta.count("vision.projector.scale_factor", merge, high=n_side)
    if n_side % merge:
        raise meta.refuse("vision.projector.scale_factor", f"{merge} does not divide {n_side} patches")
    n_layers = meta.count("vision.block_count", high=4096)
    return VisionConfig(
        projector=projector,
        image_size=image_size,
        patch_size=patch_size,
        hidden_size=hidden,
        ffn_size=meta.count("vision.feed_forward_length"),
        n_layers=n_layers,
        n_layers_run=_layers_run(meta, n_layers, drops_last),
        n_heads=n_heads,
        norm_eps=meta.number("vision.attention.layer_norm_epsilon", high=1.0),
        activation=_activation(meta),
        merge=merge,
        longest_edge=meta.count("vision.preproc_image_size", 0, low=0, high=1 << 16),
        mean=_colors(meta, "vision.image_mean", low=0.0),
        std=_colors(meta, "vision.image_std", low=1e-6),
    )


def _layers_run(meta: Metadata, n_layers: int, drops_last: bool) -> int:
    given = meta.get("vision.feature_layer")
    if given is None:
        return n_layers - 1 if drops_last else n_layers
    layers = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if len(layers) != 1:
        raise meta.refuse("vision.feature_layer", f"expected one layer, got {cut(layers)}")
    (layer,) = layers
    if type(layer) is not int or not 0 <= layer <= n_layers:
        raise meta.refuse("vision.feature_layer", f"expected an integer from 0 to {n_layers}, got {cut(layer)}")
    return layer


def _activation(meta: Metadata) -> str:
    gelu, silu = meta.flag("use_gelu", False), meta.flag("use_silu", False)
    if gelu and silu:
        raise meta.refuse("use_silu", "both use_gelu and use_silu are set")
    return "gelu" if gelu else "silu" if silu else "gelu_quick"


def _colors(meta: Metadata, key: str, *, low: float) -> tuple[float, float, float]:
    given = meta.get(key)
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    good = [x for x in values if isinstance(x, int | float) and math.isfinite(x) and low <= x <= 1000]
    if len(values) != 3 or len(good) != 3:
        raise meta.refuse(key, f"expected three numbers from {low:g}, got {cut(given)}")
    return float(good[0]), float(good[1]), float(good[2])
