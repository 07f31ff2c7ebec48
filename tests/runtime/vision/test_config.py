"""Projector files: what they must say, and what is refused by name."""

import pytest
import torch
from support.vision import metadata, noise, tensors, write_projector, write_tiny_projector

from gristmill.kernels.ops import open_ops
from gristmill.runtime.errors import InvalidRequest, UnsupportedModel
from gristmill.runtime.images.wire import Picture
from gristmill.runtime.vision.sight import open_vision

ARCHITECTURES = {"gemma3": "gemma3", "idefics3": "llama", "mlp": "llama"}


def opened(path, kind="mlp", *, backend="reference", hidden_size=64):
    return open_vision(path, open_ops(backend), architecture=ARCHITECTURES[kind], hidden_size=hidden_size)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"projector_type": "resampler"},
            'clip.projector_type: "resampler" is not supported; supported: gemma3, idefi',
        ),
        ({"projector_type": None}, "clip.projector_type"),
        ({"has_vision_encoder": False}, "clip.has_vision_encoder: the projector is not for images"),
        ({"vision__patch_size": 0}, "clip.vision.patch_size: expected an integer from 1 to 32, got 0"),
        ({"vision__image_size": 0}, "clip.vision.image_size: expected an integer from 1 to 8192, got 0"),
        ({"vision__image_size": 1 << 20}, "clip.vision.image_size"),
        ({"vision__image_size": None}, "clip.vision.image_size: missing"),
        ({"vision__patch_size": 7}, "clip.vision.patch_size: 7 does not divide the image size 32"),
        ({"vision__image_size": 8192, "vision__patch_size": 1}, "clip.vision.patch_size: 1 makes more than 65536"),
        ({"vision__attention__head_count": 0}, "clip.vision.attention.head_count"),
        ({"vision__attention__head_count": 3}, "clip.vision.attention.head_count: 3 does not divide the width 32"),
        ({"vision__projector__scale_factor": 3}, "clip.vision.projector.scale_factor: 3 does not divide 4 patches"),
        ({"vision__block_count": 0}, "clip.vision.block_count"),
        ({"vision__feature_layer": [-1]}, "clip.vision.feature_layer: expected an integer from 0 to 2, got -1"),
        ({"vision__feature_layer": [3]}, "clip.vision.feature_layer: expected an integer from 0 to 2, got 3"),
        ({"vision__feature_layer": [1, 1, 2, 2]}, "clip.vision.feature_layer: expected one layer, got"),
        ({"vision__image_mean": [0.5]}, "clip.vision.image_mean: expected three numbers"),
        ({"vision__image_std": [0.0, 0.5, 0.5]}, "clip.vision.image_std: expected three numbers"),
        ({"use_gelu": True, "use_silu": True}, "clip.use_silu: both"),
    ],
)
def test_what_a_file_says_is_checked(tmp_path, changes, error):
    path = write_tiny_projector(tmp_path / "p.gguf", "mlp", 64, **changes)
    with pytest.raises(UnsupportedModel) as caught:
        opened(path)
    assert error in str(caught.value)


def test_a_file_that_is_no_projector_is_refused(tmp_path):
    path = write_projector(tmp_path / "p.gguf", {"general.architecture": "llama"}, tensors("mlp", 64))
    with pytest.raises(UnsupportedModel, match=r'general.architecture: "llama" is no projector; expected clip'):
        opened(path)


def test_a_projector_of_another_model_is_refused(tmp_path):
    path = write_tiny_projector(tmp_path / "p.gguf", "mlp", 32)
    with pytest.raises(UnsupportedModel, match="rows of 32 elements, the model has 64"):
        opened(path)
    path = write_tiny_projector(tmp_path / "g.gguf", "gemma3", 64)
    with pytest.raises(UnsupportedModel, match="projector gemma3 is for models of architecture gemma3, not llama"):
        opened(path)


@pytest.mark.parametrize(
    "name", ["v.position_embd.weight", "v.blk.1.attn_out.weight", "mm.0.weight", "v.blk.0.ln2.weight"]
)
def test_missing_and_misshapen_tensors_are_named(tmp_path, name):
    whole = tensors("idefics3", 64) if name.startswith("v.blk.1") else tensors("mlp", 64)
    kind = "idefics3" if name.startswith("v.blk.1") else "mlp"
    less = {key: value for key, value in whole.items() if key != name}
    with pytest.raises(UnsupportedModel, match=f"tensor {name}: missing"):
        opened(write_projector(tmp_path / "a.gguf", metadata(kind), less), kind)
    with pytest.raises(UnsupportedModel, match=f"tensor {name}: expected shape|the projector makes rows"):
        opened(write_projector(tmp_path / "b.gguf", metadata(kind), whole | {name: torch.zeros(7, 7)}), kind)


def test_a_tensor_that_nothing_reads_is_refused(tmp_path):
    path = write_projector(tmp_path / "p.gguf", metadata("mlp"), tensors("mlp", 64) | {"v.more": torch.zeros(3)})
    with pytest.raises(UnsupportedModel, match=r"not part of this architecture: v\.more"):
        opened(path)


@pytest.mark.parametrize("kind", list(ARCHITECTURES))
@pytest.mark.parametrize("heads", [1, 2, 4, 8, 16])
def test_native_kernels_agree_with_the_reference(tmp_path, kind, heads):
    path = write_tiny_projector(tmp_path / "p.gguf", kind, 64, vision__attention__head_count=heads)
    size = metadata(kind)["clip.vision.image_size"]
    square = torch.from_numpy(noise(size, size))
    exact, fast = (opened(path, kind, backend=backend).see([square])[0] for backend in ("reference", "cpu"))
    assert float((exact - fast).abs().max()) < 1e-4 * float(exact.abs().max())


def test_rows_do_not_depend_on_the_number_of_threads_or_what_came_before(tmp_path):
    path = write_tiny_projector(tmp_path / "p.gguf", "gemma3", 64)
    one, two = (open_vision(path, open_ops("cpu", n_threads=n), architecture="gemma3", hidden_size=64) for n in (1, 2))
    squares = [torch.from_numpy(noise(64, 64, seed)) for seed in (1, 2)]
    first, second = one.see(squares)
    assert torch.equal(two.see([squares[1]])[0], second)
    assert torch.equal(two.see([squares[0]])[0], first)


def test_names_of_the_first_files_are_read(tmp_path):
    """Their two matrices of a feed-forward layer have each other's names, and they say nothing of their type."""
    weights = tensors("mlp", 64)
    swapped = {_other(name): tensor for name, tensor in weights.items()}
    values = metadata("mlp", projector_type=None, has_llava_projector=True)
    new = opened(write_projector(tmp_path / "new.gguf", metadata("mlp"), weights))
    old = opened(write_projector(tmp_path / "old.gguf", values, swapped))
    square = torch.from_numpy(noise(32, 32))
    assert torch.equal(old.see([square])[0], new.see([square])[0])


def _other(name):
    return name.replace("ffn_up", "?").replace("ffn_down", "ffn_up").replace("?", "ffn_down")


def test_a_picture_that_was_made_for_another_model_is_refused(tmp_path):
    vision = opened(write_tiny_projector(tmp_path / "p.gguf", "mlp", 64))
    with pytest.raises(InvalidRequest, match="squares of 32 pixels"):
        vision.read(Picture(size=16, pixels=bytes(3 * 256)))
