"""Towers, projectors and whole models against transformers' own, on tiny random weights."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.vision import metadata, noise, write_projector

from gristmill.kernels.ops import open_ops
from gristmill.runtime import open_model
from gristmill.runtime.images.decode import prepare
from gristmill.runtime.images.wire import Picture, Preparation
from gristmill.runtime.step import Span
from gristmill.runtime.vision.marks import SQUARE
from gristmill.runtime.vision.projectors.idefics3 import Idefics3Projector
from gristmill.runtime.vision.rows import Features
from gristmill.runtime.vision.sight import open_vision

transformers = pytest.importorskip("transformers")

BACKENDS = ("reference", "cpu")
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}


def randomized(model, seed=0):
    """All weights redrawn: those that models begin with are too even to tell a mistake."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.1 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5
            parameter.copy_(torch.randn_like(parameter) * spread + (parameter.ndim == 1 and "norm" in name))
    return model.eval()


def tower_tensors(state, prefix):
    """A vision transformer's tensors under their names in projector files."""
    found = {
        "v.patch_embd.weight": state[f"{prefix}embeddings.patch_embedding.weight"],
        "v.position_embd.weight": state[f"{prefix}embeddings.position_embedding.weight"],
    }
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.out_proj": "attn_out", "layer_norm1": "ln1", "layer_norm2": "ln2", "mlp.fc1": "ffn_up",
             "mlp.fc2": "ffn_down"}  # fmt: skip
    for layer in range(2):
        for theirs, ours in names.items():
            for part in ("weight", "bias"):
                key = f"{prefix}encoder.layers.{layer}.{theirs}.{part}"
                found[f"v.blk.{layer}.{ours}.{part}"] = state[key]
    others = {"embeddings.patch_embedding.bias": "v.patch_embd.bias", "embeddings.class_embedding": "v.class_embd",
              "pre_layrnorm.weight": "v.pre_ln.weight", "pre_layrnorm.bias": "v.pre_ln.bias",
              "post_layernorm.weight": "v.post_ln.weight", "post_layernorm.bias": "v.post_ln.bias"}  # fmt: skip
    found |= {ours: state[prefix + theirs] for theirs, ours in others.items() if prefix + theirs in state}
    return found


def gemma3():
    text = transformers.Gemma3TextConfig(**TEXT, head_dim=16, sliding_window=32, query_pre_attn_scalar=16)
    vision = transformers.SiglipVisionConfig(**VISION, image_size=64, vision_use_head=False)
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=16, image_token_index=127
    )
    model = randomized(transformers.Gemma3ForConditionalGeneration(config))
    state = model.model.state_dict()
    tensors = (
        tower_tensors(state, "vision_tower.")
        if "vision_tower.post_layernorm.weight" in state
        else (tower_tensors(state, "vision_tower.vision_model."))
    )
    tensors["mm.input_projection.weight"] = state["multi_modal_projector.mm_input_projection_weight"]
    tensors["mm.soft_emb_norm.weight"] = 1 + state["multi_modal_projector.mm_soft_emb_norm.weight"]
    return model, metadata("gemma3"), tensors, 64


def idefics3():
    text = transformers.LlamaConfig(**TEXT)
    vision = transformers.models.idefics3.configuration_idefics3.Idefics3VisionConfig(
        **VISION, image_size=32, hidden_act="gelu_pytorch_tanh"
    )
    config = transformers.Idefics3Config(text_config=text, vision_config=vision, scale_factor=2, image_token_id=127)
    model = randomized(transformers.Idefics3ForConditionalGeneration(config))
    state = model.model.state_dict()
    tensors = tower_tensors(state, "vision_model.")
    tensors["mm.model.fc.weight"] = state["connector.modality_projection.proj.weight"]
    return model, metadata("idefics3"), tensors, 32


def llava():
    text = transformers.LlamaConfig(**TEXT)
    vision = transformers.CLIPVisionConfig(**VISION, image_size=32, hidden_act="quick_gelu", layer_norm_eps=1e-6)
    config = transformers.LlavaConfig(text_config=text, vision_config=vision, image_token_index=127)
    model = randomized(transformers.LlavaForConditionalGeneration(config))
    state = model.model.state_dict()
    prefix = "vision_tower.vision_model." if "vision_tower.vision_model.pre_layrnorm.bias" in state else "vision_tower."
    tensors = tower_tensors(state, prefix)
    tensors = {name: tensor for name, tensor in tensors.items() if "post_ln" not in name}
    for theirs, ours in (("linear_1", "mm.0"), ("linear_2", "mm.2")):
        for part in ("weight", "bias"):
            tensors[f"{ours}.{part}"] = state[f"multi_modal_projector.{theirs}.{part}"]
    return model, metadata("mlp"), tensors, 32


def image_features(model, pixels):
    """float32 (n_rows, hidden) of one square."""
    with torch.no_grad():
        if isinstance(model, transformers.Idefics3ForConditionalGeneration):
            found = model.model.get_image_features(pixels[:, None])
        else:
            found = model.model.get_image_features(pixel_values=pixels)
    found = getattr(found, "pooler_output", found)
    return (torch.cat(list(found)) if isinstance(found, (list, tuple)) else found).reshape(-1, 64)


def normalised(square):
    """What transformers' processors make of a square: float32 (1, 3, size, size)."""
    return (square.permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Each model with its projector file, made once."""
    folder, known = tmp_path_factory.mktemp("projectors"), {}

    def make(kind):
        if kind not in known:
            model, values, tensors, size = {"gemma3": gemma3, "idefics3": idefics3, "mlp": llava}[kind]()
            path = write_projector(folder / f"{kind}.gguf", values, tensors)
            known[kind] = model, path, torch.from_numpy(noise(size, size))
        return known[kind]

    return make


@pytest.mark.parametrize("kind", ["gemma3", "idefics3", "mlp"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_picture_becomes_the_rows_that_transformers_makes(made, kind, backend):
    model, path, square = made(kind)
    architecture = "gemma3" if kind == "gemma3" else "llama"
    vision = open_vision(path, open_ops(backend), architecture=architecture, hidden_size=64)
    expected = image_features(model, normalised(square))
    (rows,) = vision.see([square])
    assert rows.shape == expected.shape
    assert float((rows - expected).abs().max()) < 2e-4 * float(expected.abs().max())


# -- whole models --------------------------------------------------------------------------------------------------

LAYER_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
}  # fmt: skip
GEMMA_NAMES = {
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}  # fmt: skip


def interleaved(weight, n_heads):
    """Rows of queries or keys in the order that GGUF's llama turns them in."""
    return weight.reshape(n_heads, 2, weight.shape[0] // n_heads // 2, -1).transpose(1, 2).reshape(weight.shape)


def write_text_model(path, model, architecture):
    import gguf

    gemma = architecture == "gemma3"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(TEXT["max_position_embeddings"])
    writer.add_embedding_length(TEXT["hidden_size"])
    writer.add_block_count(TEXT["num_hidden_layers"])
    writer.add_feed_forward_length(TEXT["intermediate_size"])
    writer.add_head_count(TEXT["num_attention_heads"])
    writer.add_head_count_kv(TEXT["num_key_value_heads"])
    writer.add_key_length(16)
    writer.add_value_length(16)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6 if gemma else 10000.0)
    if gemma:
        writer.add_sliding_window(32)
    state = (
        model.model.language_model.state_dict()
        if hasattr(model.model, "language_model")
        else (model.model.text_model.state_dict())
    )
    names = LAYER_NAMES | (GEMMA_NAMES if gemma else {"post_attention_layernorm": "ffn_norm"})
    tensors = {"token_embd.weight": state["embed_tokens.weight"], "output_norm.weight": state["norm.weight"]}
    if not gemma:
        tensors["output.weight"] = model.lm_head.weight.detach()
    for layer in range(TEXT["num_hidden_layers"]):
        for theirs, ours in names.items():
            tensors[f"blk.{layer}.{ours}.weight"] = state[f"layers.{layer}.{theirs}.weight"]
    for name, tensor in tensors.items():
        if gemma and "norm" in name:
            tensor = 1 + tensor
        if not gemma and name.endswith(("attn_q.weight", "attn_k.weight")):
            tensor = interleaved(tensor, 4 if "attn_q" in name else 2)
        writer.add_tensor(name, tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def their_logits(model, ids, pixels):
    inputs = {"input_ids": torch.tensor([ids]), "pixel_values": pixels}
    if isinstance(model, transformers.Gemma3ForConditionalGeneration):
        inputs["token_type_ids"] = (inputs["input_ids"] == 127).long()
    if isinstance(model, transformers.Idefics3ForConditionalGeneration):
        inputs["pixel_values"] = pixels[:, None]
    with torch.no_grad():
        return model(**inputs).logits[0]


@pytest.mark.parametrize("kind", ["gemma3", "idefics3", "mlp"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_prompt_with_a_picture_has_the_logits_that_transformers_computes(made, tmp_path, kind, backend):
    """Text before and behind the picture, and the picture whole in one step."""
    model, path, square = made(kind)
    architecture = "gemma3" if kind == "gemma3" else "llama"
    text = write_text_model(tmp_path / "text.gguf", model, architecture)
    ours = open_model(text, backend=backend, projector=path, n_ctx=128, kv_type="f32", n_threads=1)
    pixels = square.contiguous().numpy().tobytes()
    seen = ours.vision.read(Picture(size=square.shape[0], pixels=pixels))
    before, behind = list(range(1, 12)), list(range(30, 70))
    (rows,) = ours.vision.see(seen.squares.values())
    forward = ours.forward(1)
    features = Features(dict.fromkeys(seen.squares, rows), ours.vision.both_sides)
    span = Span([*before, *seen.ids[0], *behind], 0, list(range(8)), all_logits=True, features=features)
    logits = forward([span])
    expected = their_logits(model, [*before, *[127] * len(rows), *behind], normalised(square))
    assert logits.shape == expected.shape
    error = float((logits - expected).square().mean() / expected.square().mean())
    assert error < 1e-6
    assert math.isfinite(error)


# -- what goes in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(100, 40), (40, 100), (64, 64), (31, 30), (7, 200), (500, 20)])
def test_pictures_are_cut_and_resized_as_transformers_does(width, height):
    """Idefics3, the one that cuts; with its text for the pieces."""
    from PIL import Image

    pil = pytest.importorskip("transformers.models.idefics3.image_processing_pil_idefics3")
    processor = pil.Idefics3ImageProcessorPil(
        size={"longest_edge": 96}, max_image_size={"longest_edge": 32}, do_normalize=False, do_rescale=False
    )
    image = Image.fromarray(noise(width, height))
    theirs = processor(images=[[image]], return_row_col_info=True, return_tensors="np")
    squares, n_rows, n_cols = prepare(image, Preparation(size=32, filter="lanczos", fit="tiles", longest_edge=96))
    assert (n_rows, n_cols) == (theirs["rows"][0][0], theirs["cols"][0][0])
    expected = np.asarray(theirs["pixel_values"])[0].transpose(0, 2, 3, 1)
    assert (np.stack([np.asarray(square) for square in squares]) == expected).all()
    names = {"fake_image_token": "<fake_token_around_image>", "global_image_tag": "<global-img>"}
    named = SimpleNamespace(image_seq_len=1, image_token=SQUARE, **names)
    text = transformers.Idefics3Processor.replace_image_token(named, theirs, 0)
    assert Idefics3Projector.text(Picture(size=32, pixels=b"", n_rows=n_rows, n_cols=n_cols)) == text
