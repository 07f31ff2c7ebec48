"""Encoders from Hugging Face folders: names, numbers, pooling, word pieces, and what is refused."""

import pytest
import torch
from safetensors.torch import save_file
from support.encoders import (
    CLS,
    CONTEXT,
    EPS,
    FFN,
    HEAD,
    HIDDEN,
    N_HEADS,
    N_LAYERS,
    SEP,
    TOKENS,
    states,
    tensors,
)  # fmt: skip
from support.hf_folder import write_folder, write_json

from gristmill.runtime import open_model
from gristmill.runtime.checkpoint import read_metadata
from gristmill.runtime.errors import InvalidFile, UnsupportedModel

BERT = {
    "architectures": ["BertModel"], "hidden_act": "gelu", "hidden_size": HIDDEN, "intermediate_size": FFN,
    "layer_norm_eps": EPS, "max_position_embeddings": CONTEXT, "num_attention_heads": N_HEADS,
    "num_hidden_layers": N_LAYERS, "position_embedding_type": "absolute", "type_vocab_size": 2,
    "vocab_size": len(TOKENS),
}  # fmt: skip
NOMIC = {
    "architectures": ["NomicBertModel"], "activation_function": "swiglu", "n_embd": HIDDEN, "n_inner": FFN,
    "n_head": N_HEADS, "n_layer": N_LAYERS, "n_positions": CONTEXT, "layer_norm_epsilon": EPS, "prenorm": False,
    "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False,
    "vocab_size": len(TOKENS),
}  # fmt: skip
GEMMA = {
    "architectures": ["Gemma3TextModel"], "hidden_activation": "gelu_pytorch_tanh", "hidden_size": HIDDEN,
    "intermediate_size": FFN, "num_hidden_layers": N_LAYERS, "num_attention_heads": N_HEADS, "head_dim": HEAD,
    "num_key_value_heads": N_HEADS // 2, "max_position_embeddings": CONTEXT, "rms_norm_eps": EPS,
    "query_pre_attn_scalar": HEAD, "sliding_window": 16, "rope_theta": 1e6, "use_bidirectional_attention": True,
    "vocab_size": len(TOKENS),
}  # fmt: skip
TOP = {
    "token_embd.weight": "embeddings.word_embeddings.weight",
    "token_types.weight": "embeddings.token_type_embeddings.weight",
    "position_embd.weight": "embeddings.position_embeddings.weight",
}
BERT_NAMES = {
    "token_embd_norm": "embeddings.LayerNorm", "blk.": "encoder.layer.", "attn_q.": "attention.self.query.",
    "attn_k.": "attention.self.key.", "attn_v.": "attention.self.value.", "attn_output.": "attention.output.dense.",
    "attn_output_norm": "attention.output.LayerNorm", "ffn_up": "intermediate.dense", "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}  # fmt: skip
NOMIC_NAMES = {
    "token_embd_norm": "emb_ln", "blk.": "encoder.layers.", "attn_qkv": "attn.Wqkv", "attn_output.": "attn.out_proj.",
    "attn_output_norm": "norm1", "ffn_up": "mlp.fc11", "ffn_gate": "mlp.fc12", "ffn_down": "mlp.fc2",
    "layer_output_norm": "norm2",
}  # fmt: skip
GEMMA_NAMES = {
    "token_embd": "embed_tokens", "output_norm": "norm", "blk.": "layers.", "attn_q.": "self_attn.q_proj.",
    "attn_k.": "self_attn.k_proj.", "attn_v.": "self_attn.v_proj.", "attn_output.": "self_attn.o_proj.",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # fmt: skip
MODELS = {
    "bert": (BERT, TOP | BERT_NAMES),
    "nomic-bert": (NOMIC, TOP | NOMIC_NAMES),
    "gemma-embedding": (GEMMA, GEMMA_NAMES),
}
MEAN = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
DENSE = {"bias": False, "activation_function": "torch.nn.modules.linear.Identity"}
IDS = [CLS, *(5 + (5 * i) % 13 for i in range(30)), SEP]


def hugging_face_name(name, names):
    for source, target in names.items():
        at = name.find(source)
        if at == 0 or (at > 0 and name[at - 1] == "."):
            name = name.replace(source, target, 1)
    return name


def hugging_face_tensors(architecture):
    """The tensors of ``support.encoders`` as Hugging Face names and keeps them."""
    _, names = MODELS[architecture]
    found = {}
    for name, values in tensors(architecture).items():
        if name.startswith("dense_"):
            continue
        is_gemma_norm = architecture == "gemma-embedding" and name.endswith("norm.weight")
        found[names.get(name) or hugging_face_name(name, names)] = values - 1 if is_gemma_norm else values
    return found


def word_pieces(**changes):
    vocabulary = {text: i for i, text in enumerate(TOKENS)}
    added = [{"id": i, "content": text, "special": True} for i, text in enumerate(TOKENS[:5])]
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "lowercase": True}
    ends = [{"SpecialToken": {"id": text}} for text in ("[CLS]", "[SEP]")]
    return {
        "model": {"type": "WordPiece", "vocab": vocabulary, "unk_token": "[UNK]", "max_input_chars_per_word": 100},
        "added_tokens": added,
        "normalizer": normalizer | {"strip_accents": None},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": [ends[0], {"Sequence": {}}, ends[1]]},
    } | changes


def write(folder, architecture, **changes):
    config, _ = MODELS[architecture]
    write_folder(folder, config | changes, hugging_face_tensors(architecture), tokenizer=word_pieces())
    if architecture == "gemma-embedding":
        for n in (2, 3):
            (folder / f"{n}_Dense").mkdir()
            write_json(folder / f"{n}_Dense" / "config.json", DENSE)
            weight = tensors(architecture)[f"dense_{n}.weight"]
            save_file({"linear.weight": weight}, folder / f"{n}_Dense" / "model.safetensors")
    return folder


def with_pooling(folder, **modes):
    (folder / "1_Pooling").mkdir(exist_ok=True)
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN} | modes)
    return folder


@pytest.mark.parametrize("architecture", MODELS)
def test_a_folder_computes_what_the_papers_say(tmp_path, architecture):
    model = open_model(with_pooling(write(tmp_path / "m", architecture), **MEAN), backend="reference")
    assert model.architecture == architecture
    w = tensors(architecture)
    expected = states(architecture, w, IDS, window=16).mean(0)
    if architecture == "gemma-embedding":
        expected = w["dense_3.weight"].double() @ (w["dense_2.weight"].double() @ expected)
    vector = model.embed([IDS], normalize=False)[0].double()
    assert (vector - expected).square().mean() / expected.square().mean() < 1e-10


@pytest.mark.parametrize(
    ("modes", "kind"),
    [
        (MEAN, 1),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, 2),
        ({"pooling_mode_lasttoken": True}, 3),
    ],
)
def test_the_folder_says_how_states_are_pooled(tmp_path, modes, kind):
    folder = with_pooling(write(tmp_path / "m", "bert"), **modes)
    assert read_metadata(folder)["bert.pooling_type"] == kind


@pytest.mark.parametrize("architecture", MODELS)
def test_without_a_word_encoders_take_the_mean(tmp_path, architecture):
    assert read_metadata(write(tmp_path / "m", architecture))[f"{architecture}.pooling_type"] == 1


@pytest.mark.parametrize("modes", [{"pooling_mode_max_tokens": True}, {}, MEAN | {"pooling_mode_cls_token": True}])
def test_other_poolings_are_refused(tmp_path, modes):
    with pytest.raises(UnsupportedModel, match=r"1_Pooling: .* is not supported; supported: one of"):
        open_model(with_pooling(write(tmp_path / "m", "bert"), **modes))


@pytest.mark.parametrize("changes", [{"bias": True}, {"activation_function": "torch.nn.modules.activation.Tanh"}])
def test_a_layer_behind_the_pooling_that_is_more_than_a_matrix_is_refused(tmp_path, changes):
    folder = write(tmp_path / "m", "gemma-embedding")
    write_json(folder / "2_Dense" / "config.json", DENSE | changes)
    with pytest.raises(UnsupportedModel, match="2_Dense: a bias or an activation"):
        open_model(folder)


def test_a_layer_behind_berts_pooling_is_refused(tmp_path):
    folder = write(tmp_path / "m", "bert")
    (folder / "2_Dense").mkdir()
    write_json(folder / "2_Dense" / "config.json", DENSE)
    with pytest.raises(UnsupportedModel, match="2_Dense: a layer behind the pooling is not supported for bert"):
        open_model(folder)


@pytest.mark.parametrize(
    ("architecture", "changes", "key"),
    [
        ("bert", {"hidden_act": "relu"}, "hidden_act"),
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("nomic-bert", {"prenorm": True}, "prenorm"),
        ("nomic-bert", {"rotary_emb_fraction": 0.5}, "rotary_emb_fraction"),
        ("nomic-bert", {"activation_function": "gelu"}, "activation_function"),
        ("gemma-embedding", {"use_bidirectional_attention": False}, "use_bidirectional_attention"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(tmp_path, architecture, changes, key):
    with pytest.raises(UnsupportedModel, match=f'"{key}" .* is not supported'):
        open_model(write(tmp_path / "m", architecture, **changes))


def test_bad_numbers_are_refused_by_name(tmp_path):
    with pytest.raises(InvalidFile, match='"num_attention_heads" 7 does not divide the width of 64'):
        open_model(write(tmp_path / "m", "bert", num_attention_heads=7))
    with pytest.raises(InvalidFile, match='"n_inner" is missing'):
        open_model(write(tmp_path / "n", "nomic-bert", n_inner=None))


def test_what_berts_training_needed_is_left_out_and_the_unknown_refused(tmp_path):
    extra = {"pooler.dense.weight": torch.zeros(HIDDEN, HIDDEN), "embeddings.position_ids": torch.zeros(1, CONTEXT)}
    open_model(write_folder(tmp_path / "m", BERT, hugging_face_tensors("bert") | extra))
    unknown = {"encoder.layer.0.adapter.weight": torch.zeros(2, 2)}
    with pytest.raises(UnsupportedModel, match=r'adapter\.weight" has no place in architecture bert'):
        open_model(write_folder(tmp_path / "n", BERT, hugging_face_tensors("bert") | unknown))


def test_word_pieces_stand_between_cls_and_sep(tmp_path):
    tokenizer = open_model(write(tmp_path / "m", "bert")).tokenizer
    ids = tokenizer.encode("The mills grinded, Thé flour! [SEP]")
    assert [TOKENS[i] for i in ids] == [
        "[CLS]", "the", "mill", "##s", "grind", "##ed", "[UNK]", "the", "flour", "!",
        "[UNK]", "[UNK]", "[UNK]", "[SEP]",
    ]  # fmt: skip
    assert tokenizer.encode("[SEP]", parse_special=True, add_special=False) == [SEP]
    assert tokenizer.decode(tokenizer.encode("the mills")) == "the mills"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "type"),
        ({"normalizer": {"type": "BertNormalizer", "handle_chinese_chars": False}}, "handle_chinese_chars"),
        ({"model": word_pieces()["model"] | {"continuing_subword_prefix": "@@"}}, "continuing_subword_prefix"),
        ({"model": word_pieces()["model"] | {"max_input_chars_per_word": 7}}, "max_input_chars_per_word"),
    ],
)
def test_other_word_pieces_are_refused_by_name(tmp_path, changes, key):
    folder = write(tmp_path / "m", "bert")
    write_json(folder / "tokenizer.json", word_pieces(**changes))
    with pytest.raises(UnsupportedModel, match=f'"{key}" .* is not supported'):
        open_model(folder).tokenizer  # noqa: B018


def test_a_vocabulary_without_cls_is_refused(tmp_path):
    folder = write(tmp_path / "m", "bert")
    vocabulary = {text if text != "[CLS]" else "[X]": i for i, text in enumerate(TOKENS)}
    model = {"type": "WordPiece", "vocab": vocabulary}
    write_json(folder / "tokenizer.json", word_pieces(model=model, added_tokens=[]))
    with pytest.raises(InvalidFile, match=r"has no token \[CLS\]"):
        open_model(folder)


def test_the_word_list_of_older_folders_gives_the_same_tokens(tmp_path):
    newer, older = write(tmp_path / "m", "bert"), write(tmp_path / "n", "bert")
    (older / "tokenizer.json").unlink()
    (older / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    text = "The mills grinded: flour!"
    assert open_model(older).tokenizer.encode(text) == open_model(newer).tokenizer.encode(text)
    write_json(older / "tokenizer_config.json", {"do_lower_case": False})
    assert TOKENS.index("[UNK]") == open_model(older).tokenizer.encode(text)[1]
