"""A projector file, opened beside its model: pictures in, rows of the model's width out."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import torch

from gristmill.kernels.ops import Ops

from ..checkpoint import open_checkpoint
from ..config import Metadata
from ..errors import InvalidRequest, UnsupportedModel
from ..images.wire import Picture, Preparation
from ..piecewise import to_end
from ..weights import Weights
from .config import VisionConfig, read_projector_type, read_vision_config
from .places import digest_of, places
from .projectors import PROJECTORS, Projector
from .tower import VisionTower


@dataclass(frozen=True)
class Seen:
    """A picture of a request. ``text`` is what stands for it in the prompt, with a mark for each of its squares.

    ``squares``: by digest, uint8 (size, size, 3); ``ids``: those of each square's rows, in the order of the marks.
    """

    text: str
    squares: dict[int, torch.Tensor]
    ids: list[list[int]]


class Vision:
    """A tower and its projector. ``n_rows`` of the model's tokens stand for a square."""

    def __init__(self, config: VisionConfig, tower: VisionTower, projector: Projector):
        self.config, self.tower, self.projector = config, tower, projector
        self.n_rows = (config.n_side // config.merge) ** 2

    @property
    def both_sides(self) -> bool:
        """Whether the rows of a square see each other whatever their order."""
        return self.projector.both_sides

    @property
    def preparation(self) -> Preparation:
        return self.projector.preparation(self.config)

    def read(self, picture: Picture) -> Seen:
        """Raises InvalidRequest for a picture that was not prepared for this model."""
        size, n_bytes = self.config.image_size, 3 * self.config.image_size**2
        if picture.size != size or len(picture.pixels) != n_bytes * picture.n_squares:
            raise InvalidRequest(f"a picture must be {picture.n_squares} squares of {size} pixels")
        squares, ids = {}, []
        for at in range(0, len(picture.pixels), n_bytes):
            pixels = bytearray(picture.pixels[at : at + n_bytes])
            digest = digest_of(size, pixels)
            squares[digest] = torch.frombuffer(pixels, dtype=torch.uint8).reshape(size, size, 3)
            ids.append(places(digest, self.n_rows))
        return Seen(self.projector.text(picture), squares, ids)

    def look(self, square: torch.Tensor) -> Generator[None, None, torch.Tensor]:
        """square uint8 (size, size, 3) -> float32 (n_rows, hidden). Yields between layers, which take long."""
        return self.projector((yield from self.tower.look(square)))

    def see(self, squares: Iterable[torch.Tensor]) -> list[torch.Tensor]:
        """``look`` at each, to the end."""
        with torch.inference_mode():
            return [to_end(self.look(square)) for square in squares]


def open_vision(
    path: str | os.PathLike[str],
    ops: Ops,
    *,
    architecture: str,
    hidden_size: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Vision:
    """Open the projector file of a model of ``architecture`` and ``hidden_size``, to compute with ``ops``.

    Raises InvalidFile for a malformed file, UnsupportedModel for a projector that cannot be run, or is another model's.
    """
    checkpoint = open_checkpoint(path)
    meta = Metadata(checkpoint.metadata)
    name = read_projector_type(meta, tuple(PROJECTORS))
    kind = PROJECTORS[name]
    if kind.architectures and architecture not in kind.architectures:
        known = ", ".join(kind.architectures)
        raise UnsupportedModel(f"projector {name} is for models of architecture {known}, not {architecture}")
    config = read_vision_config(meta, name, merge=kind.merge, drops_last=kind.drops_last)
    weights = Weights(checkpoint, ops, on_progress)
    tower, projector = VisionTower(weights, config), kind(weights, config)
    weights.finish()
    if projector.hidden_size != hidden_size:
        raise UnsupportedModel(
            f"the projector makes rows of {projector.hidden_size} elements, the model has {hidden_size}: "
            "it belongs to another model"
        )
    return Vision(config, tower, projector)
