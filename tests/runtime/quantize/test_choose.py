"""Every tensor gets the format that llama.cpp gives it.

``llama_cpp_mixes.json`` is what ``llama-quantize --dry-run`` (build 11434) printed for the models of
``support.shapes``: per file type and part of a layer the formats of its layers, "Q6_K*3 Q4_K*2" one after the other,
"*" for all parts that are not named. With importance matrix only where that makes a difference.
"""

import json
import re
from pathlib import Path

import pytest
from support.shapes import MODELS, Shapes

from gristmill.kernels import FORMATS
from gristmill.runtime.checkpoint import TensorInfo
from gristmill.runtime.errors import InvalidRequest
from gristmill.runtime.quantize.choose import CONDITIONS, Wishes, choose_formats, find_format, is_kept
from gristmill.runtime.quantize.file_types import FILE_TYPES, find_file_type
from gristmill.runtime.quantize.mix import AFTER, FALLBACKS, KINDS, NEED_IMATRIX, RULES

MIXES = json.loads(Path(__file__).with_name("llama_cpp_mixes.json").read_text())
WITHOUT_PEER = {"NVFP4"}  # llama-quantize does not offer it


def chosen(model: Shapes, file_type, source="F16", **options):
    """Name -> name of the format."""
    choices = choose_formats(model.metadata(), model.tensors(source), find_file_type(file_type), **options)
    return {name: choice.format.name for name, choice in choices.items()}


def expected(model: Shapes, row):
    """Name -> name of the format, from a row of the file."""
    formats = {}
    for name, info in model.tensors().items():
        match = re.fullmatch(r"(?:blk\.(\d+)\.)?(.*)\.weight", name)
        runs = [run.partition("*") for run in row.get(match[2], row["*"]).split()]
        layers = [format for format, _, n in runs for _ in range(int(n or 1))]
        formats[name] = "F32" if info.format.name == "F32" else layers[int(match[1] or 0) if len(layers) > 1 else 0]
    return formats


@pytest.mark.parametrize("file_type", FILE_TYPES.keys() - WITHOUT_PEER)
@pytest.mark.parametrize("model", MODELS)
def test_formats_are_llama_cpps(model, file_type):
    rows = MIXES[model]
    shapes = MODELS[model]
    assert chosen(shapes, file_type) == expected(shapes, rows[file_type])
    row = rows.get(f"{file_type} imatrix", rows[file_type])
    assert chosen(shapes, file_type, has_imatrix=True) == expected(shapes, row)


def test_the_golden_file_says_what_it_should():
    assert MIXES.keys() == MODELS.keys()
    # The best known mix: values and the way down get more bits in the first, the last and every third layer.
    row = MIXES["llama, 8 queries a key"]["Q4_K_M"]
    more = "Q6_K*1 Q4_K*2 Q6_K*1 Q4_K*2 Q6_K*1 Q4_K*2 Q6_K*1 Q4_K*1 Q6_K*2"
    assert row == {"*": "Q4_K", "attn_v": more, "ffn_down": more, "output": "Q6_K"}


def test_the_order_of_tensors_does_not_matter():
    model = MODELS["llama, 8 queries a key"]
    tensors = model.tensors()
    turned = dict(reversed(tensors.items()))
    file_type = find_file_type("Q4_K_M")
    choices = choose_formats(model.metadata(), turned, file_type)
    assert list(choices) == list(turned)
    assert choices == choose_formats(model.metadata(), tensors, file_type)


def test_the_tables_speak_of_what_there_is():
    kinds = {kind for kind, _ in KINDS} | {"output", "token_embd", "*"}
    for rule in RULES:
        assert set(rule.file_types.split()) <= {"*", *FILE_TYPES}, rule
        assert set(rule.tensors.split()) <= kinds, rule
        assert rule.format in {"=", *FORMATS}, rule
        assert set(rule.where.split()) <= CONDITIONS.keys(), rule
    for file_types, tensors, before, after, where in AFTER:
        assert set(file_types.split()) <= FILE_TYPES.keys()
        assert set(tensors.split()) <= kinds
        assert {before, after} <= FORMATS.keys()
        assert where in CONDITIONS
    assert {*FALLBACKS, *FALLBACKS.values(), *NEED_IMATRIX} <= FORMATS.keys()
    assert {row.format for row in FILE_TYPES.values()} <= FORMATS.keys()
    assert len({row.number for row in FILE_TYPES.values()}) == len(FILE_TYPES)


@pytest.mark.parametrize("name", FILE_TYPES)
def test_rows_that_are_not_whole_blocks_get_a_format_that_fits(name):
    model = Shapes("llama", 4, 4, 2, n_embd=96, n_ff=80)
    tensors = model.tensors()
    for tensor, choice in choose_formats(model.metadata(), tensors, find_file_type(name)).items():
        assert tensors[tensor].shape[-1] % choice.format.block_elems == 0
        assert choice.instead_of == "" or tensors[tensor].shape[-1] % FORMATS[choice.instead_of].block_elems


KEPT = ["blk.0.attn_norm.weight", "blk.0.ffn_gate_inp.weight", "position_embd.weight", "blk.0.ssm_conv1d.weight"]


@pytest.mark.parametrize("name", [*KEPT, "token_types.weight", "blk.0.attn_q.bias", "rope_freqs.factors"])
def test_what_stays_as_it_is(name):
    assert is_kept(TensorInfo(name, FORMATS["F32"], (32, 32), 0, 4096))


@pytest.mark.parametrize(("shape", "kept"), [((32,), True), ((1, 32), True), ((1, 1, 32), True), ((2, 32), False)])
def test_what_has_one_dimension_stays_as_it_is(shape, kept):
    assert is_kept(TensorInfo("blk.0.attn_q.weight", FORMATS["F32"], shape, 0, 0)) is kept


def test_wishes_come_before_the_mix():
    model = MODELS["llama, a key each"]
    overrides = ((re.compile("ffn_down"), FORMATS["Q8_0"]), (re.compile(r"blk\.0\."), FORMATS["Q5_0"]))
    wishes = Wishes(overrides, output=FORMATS["F16"], embedding=FORMATS["Q4_0"])
    formats = chosen(model, "Q4_K_M", wishes=wishes)
    assert formats["output.weight"] == "F16"
    assert formats["token_embd.weight"] == "Q4_0"
    assert formats["blk.0.ffn_down.weight"] == "Q8_0"
    assert formats["blk.0.attn_q.weight"] == "Q5_0"
    assert formats["blk.0.attn_norm.weight"] == "F32"
    assert formats["blk.1.attn_q.weight"] == "Q4_K"


def test_the_wish_for_the_output_is_one_for_a_tied_embedding():
    wishes = Wishes(output=FORMATS["F16"])
    assert chosen(MODELS["smollm2"], "Q4_K_M", wishes=wishes)["token_embd.weight"] == "F16"


def test_pure_means_one_format():
    formats = chosen(MODELS["llama, a key each"], "Q4_K_M", wishes=Wishes(is_pure=True))
    assert set(formats.values()) == {"F32", "Q4_K"}


def test_which_tensors_need_an_importance_matrix():
    model = MODELS["llama, a key each"]

    def needed(file_type):
        choices = choose_formats(model.metadata(), model.tensors(), find_file_type(file_type))
        return {name for name, choice in choices.items() if choice.needs_imatrix}

    assert "blk.1.attn_q.weight" in needed("IQ2_XXS")
    assert not {"blk.1.attn_v.weight", "token_embd.weight", "output.weight"} & needed("IQ2_XXS")
    assert "blk.1.attn_q.weight" in needed("Q2_K_S")
    assert not needed("Q2_K")


@pytest.mark.parametrize(("name", "found"), [("q4_k", "Q4_K_M"), ("Q4_K_s", "Q4_K_S"), ("mxfp4", "MXFP4_MOE")])
def test_file_types_are_found_in_any_case(name, found):
    assert find_file_type(name).name == found


def test_unknown_names_are_refused_with_those_there_are():
    with pytest.raises(InvalidRequest, match='quantization type "q9" is unknown; the types are F32, F16, '):
        find_file_type("q9")
    with pytest.raises(InvalidRequest, match='weight format "q4_k_m" is unknown; the formats are F32, '):
        find_format("q4_k_m")
    with pytest.raises(InvalidRequest, match="weight format"):
        find_format("F8_E4M3")
