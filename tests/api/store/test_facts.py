"""What a model says of itself, and how the API shows it."""

import json
import math

import gguf
import pytest
from support import gguf_builder as g
from support.model_folder import TEMPLATE, layer, tiny_gguf, write_manifest, write_ollama_folder

from gristmill.api.store import Store
from gristmill.api.store.facts import FILE_TYPES, FactsCache, parameter_size
from gristmill.api.store.show import (
    details,
    model_info,
    modelfile_text,
    parameters_text,
    tensor_list,
)
from gristmill.runtime.errors import InvalidFile


@pytest.fixture
def store(tmp_path):
    return Store(write_ollama_folder(tmp_path))


def facts_of(tmp_path, data):
    path = tmp_path / "file.gguf"
    path.write_bytes(data)
    return FactsCache().facts(path)


def test_the_header_tells_the_facts(tmp_path):
    facts = facts_of(tmp_path, tiny_gguf())
    assert (facts.architecture, facts.family, facts.families) == ("llama", "llama", ("llama",))
    assert (facts.parameter_count, facts.parameter_size, facts.quantization_level) == (57, "57", "Q4_K_M")
    assert (facts.context_length, facts.embedding_length, facts.chat_template) == (512, 64, TEMPLATE)
    assert facts.control_tokens == {"<s>", "</s>"}
    assert (facts.bos_token, facts.eos_token) == ("<s>", "</s>")
    assert list(facts.tensors) == ["blk.0.attn_q.weight", "output.weight"]


def test_a_file_that_says_little_has_few_facts(tmp_path):
    facts = facts_of(tmp_path, g.Gguf(key_values=[g.text("general.architecture", "x")]).build())
    assert (facts.quantization_level, facts.context_length, facts.chat_template) == ("unknown", 0, None)
    assert (facts.control_tokens, facts.bos_token, facts.eos_token) == (frozenset(), None, None)
    assert facts.capabilities == ("completion",)


def test_values_of_the_wrong_type_are_no_facts(tmp_path):
    pairs = [
        g.KeyValue("general.architecture", g.UINT32, g.u32(1)),
        g.text("general.file_type", "Q4_0"),
        g.text("general.parameter_count", "7B"),
        g.KeyValue("tokenizer.chat_template", g.BOOL, b"\1"),
        g.text("tokenizer.ggml.tokens", "abc"),
        g.KeyValue("tokenizer.ggml.token_type", g.ARRAY, g.array(g.INT32, [3, 3])),
        g.KeyValue("tokenizer.ggml.bos_token_id", g.UINT32, g.u32(2**31)),
    ]
    facts = facts_of(tmp_path, g.Gguf(key_values=pairs).build())
    assert (facts.architecture, facts.quantization_level, facts.parameter_count) == ("", "unknown", 57)
    assert (facts.chat_template, facts.control_tokens, facts.bos_token) == (None, frozenset(), None)


@pytest.mark.parametrize(
    ("template", "extra", "expected"),
    [
        ("plain", [], ["completion"]),
        (None, [], ["completion"]),
        ("{% if tools %}", [], ["tools", "completion"]),
        ("tool_call <think> </think>", [], ["tools", "thinking", "completion"]),
        ("<think> only", [], ["completion"]),
        ("content.split('</think>')", [], ["thinking", "completion"]),
        ('content.split("</think>") reasoning_content', [], ["completion"]),
        ("content.split('</think>') <SPECIAL_12>", [], ["completion"]),
        ("", [g.KeyValue("llama.pooling_type", g.UINT32, g.u32(1))], ["embedding"]),
        ("", [g.KeyValue("llama.vision.block_count", g.UINT32, g.u32(9))], ["completion", "vision"]),
        ("", [g.KeyValue("llama.audio.block_count", g.UINT32, g.u32(9))], ["completion", "audio"]),
    ],
)
def test_capabilities_follow_from_the_file(tmp_path, template, extra, expected):
    assert list(facts_of(tmp_path, tiny_gguf(*extra, template=template)).capabilities) == expected


def test_gpt_oss_thinks(tmp_path):
    assert facts_of(tmp_path, tiny_gguf(architecture="gpt-oss", template="")).capabilities == ("completion", "thinking")


def test_config_and_projector_add_capabilities(store):
    hears = g.KeyValue("clip.has_audio_encoder", g.BOOL, b"\1")
    projector = layer(store.root, "projector", tiny_gguf(hears, architecture="clip", template=None))
    weights = layer(store.root, "model", tiny_gguf())
    write_manifest(store.root, "eye/latest", [weights, projector], {"capabilities": ["insert", "tools"]})
    facts = store.find("eye").facts()
    assert facts.capabilities == ("insert", "tools", "completion", "vision", "audio")
    assert facts.control_tokens == {"<s>", "</s>"}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (7_000_000_000, "7B"),
        (7_241_732_096, "7.2B"),
        (125_000_000, "125M"),
        (133_700_000, "133.70M"),
        (134_515_008, "134.52M"),
        (1_000_000, "1M"),
        (512_000, "512K"),
        (1000, "1K"),
        (999, "999"),
        (0, "0"),
    ],
)
def test_parameter_counts_are_written_as_ollama_does(count, text):
    assert parameter_size(count) == text


def test_file_types_are_llama_cpps():
    known = {int(t): t.name.replace("MOSTLY_", "").replace("ALL_", "") for t in gguf.LlamaFileType if t < 1024}
    ours = {number: name for number, name in FILE_TYPES.items() if number in known}
    assert ours == {number: name for number, name in known.items() if number in FILE_TYPES}
    assert len(ours) > 30


def test_facts_are_read_once_and_headers_are_few(tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr("gristmill.api.store.facts._read_header", lambda path: reads.append(path) or read(path))
    from gristmill.runtime.checkpoint import read_gguf_header as read

    cache = FactsCache(n_headers=1)
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(tiny_gguf())
    for path in paths * 5:
        assert cache.facts(path).context_length == 512
    assert reads == paths
    assert cache.facts(paths[0]).control_tokens
    assert cache.facts(paths[0]).control_tokens
    assert len(reads) == 3


def test_a_model_that_is_no_gguf_is_refused_when_it_is_looked_into(store):
    write_manifest(store.root, "bad/latest", [layer(store.root, "model", b"PK\3\4 zip")], {})
    with pytest.raises(InvalidFile, match="invalid gguf: magic"):
        store.find("bad").facts()


def test_show_lists_metadata_sorted_with_arrays_left_out(store):
    info = model_info(store.find("llama3:8b"))
    assert list(info) == sorted(info)
    assert info["general.parameter_count"] == 57
    assert (info["tokenizer.ggml.tokens"], info["test.empty"], info["test.nan"]) == (None, [], None)
    assert info["llama.norm_eps"] == 1e-05
    assert not info.keys() & {"general.name", "tokenizer.chat_template"}
    json.dumps(info, allow_nan=False)


def test_show_verbose_has_the_arrays(store):
    info = model_info(store.find("llama3:8b"), verbose=True)
    assert info["tokenizer.ggml.tokens"] == ["a", "<s>", "</s>", "b"]
    assert info["tokenizer.ggml.token_type"] == [1, 3, 3, 1]
    json.dumps(info, allow_nan=False)


@pytest.mark.parametrize("value", [0.1, 1e-5, 1e6, 3.4028234663852886e38, 1e-45, 0.0, -2.5, 1e300, math.inf, math.nan])
def test_floats_are_shown_short_and_finite(store, tmp_path, value):
    kind = g.FLOAT32 if value < 1e39 else g.FLOAT64
    weights = layer(store.root, "model", tiny_gguf(g.KeyValue("x.y", kind, g.scalar(kind, value))))
    write_manifest(store.root, "f/latest", [weights], {})
    shown = model_info(store.find("f"))["x.y"]
    assert shown is None if not math.isfinite(value) else shown == pytest.approx(value, rel=1e-7, abs=1e-45)


def test_tensors_are_shown_in_the_files_order_of_dimensions(store):
    tensors = tensor_list(store.find("llama3:8b"))
    assert tensors == [
        {"name": "blk.0.attn_q.weight", "type": "F32", "shape": [5, 5]},
        {"name": "output.weight", "type": "F16", "shape": [8, 4]},
    ]


def test_details_come_from_the_config(store):
    assert details(store.find("llama3:8b")) == {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": None,
        "parameter_size": "8.0B",
        "quantization_level": "Q4_0",
    }


def test_parameters_are_one_line_each():
    text = parameters_text(
        {"stop": ["<|im_end|>", 'a"\n'], "temperature": 0.7, "num_ctx": 8192, "top_p": 1.0, "use_mmap": False}
    )
    assert text.split("\n") == [
        'stop                           "<|im_end|>"',
        r'stop                           "a\"\n"',
        "temperature                    0.7",
        "num_ctx                        8192",
        "top_p                          1",
        "use_mmap                       false",
    ]


def test_the_modelfile_makes_the_model_again(store):
    model = store.find("llama3:8b")
    assert modelfile_text(model, {"num_ctx": 1}) == (
        '# Modelfile generated by "ollama show"\n'
        "# To build a new Modelfile based on this, replace FROM with:\n"
        "# FROM Llama3:8B\n"
        "\n"
        f"FROM {model.model_path}\n"
        "TEMPLATE {{ .Prompt }} {{ .Response }}\n"
        "SYSTEM Sei höflich.\n"
        "PARAMETER num_ctx 1\n"
        "PARAMETER stop <|eot_id|>\n"
        'PARAMETER stop a"b\n'
        "PARAMETER temperature 0.7\n"
        "LICENSE First\n"
        'LICENSE "Second\nline"\n'
        "MESSAGE user hi\n"
        "MESSAGE assistant ho\n"
    )
