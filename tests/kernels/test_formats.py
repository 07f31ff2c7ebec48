"""Every row of the format table, so that a new format is tested from the moment it exists."""

import subprocess
import sys

import gguf
import numpy as np
import pytest
import torch
from support.golden import golden_arrays

from gristmill.kernels import FORMATS
from gristmill.kernels.formats import by_ggml_id

BLOCK_FORMATS = [name for name, row in FORMATS.items() if row.block_elems > 1]
IN_GGUF = [name for name, row in FORMATS.items() if row.ggml_id is not None]
EXACT_ENCODERS = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
# Half a step of the coarsest level, relative to the largest element of a block.
ENCODING_ERROR = {
    "F16": 2**-11,
    "BF16": 2**-8,
    "Q4_0": 1 / 8,
    "Q4_1": 1 / 14,
    "Q5_0": 1 / 16,
    "Q5_1": 1 / 30,
    "Q8_0": 1 / 220,
}


def random_rows(name, n_rows, n_blocks=3):
    """Rows of random bytes whose scales are ordinary numbers, so that comparisons are not all NaN."""
    row = FORMATS[name]
    rng = np.random.default_rng(len(name) + n_rows)
    blocks = rng.integers(0, 256, (n_rows * n_blocks, row.block_bytes), dtype=np.uint8)
    if row.block_elems == 1:
        return row.encode(torch.from_numpy(rng.standard_normal((n_rows, n_blocks * 32)).astype(np.float32)))
    return torch.from_numpy(blocks.reshape(n_rows, n_blocks * row.block_bytes))


def same(a, b):
    return torch.equal(a.nan_to_num(nan=-12345.0), b.nan_to_num(nan=-12345.0))


@pytest.mark.parametrize("n_rows", [0, 1, 3, 33])
@pytest.mark.parametrize("name", FORMATS)
def test_any_bytes_decode_to_the_right_shape(name, n_rows):
    rows = random_rows(name, n_rows)
    values = FORMATS[name].decode(rows)
    assert values.dtype == torch.float32
    assert values.shape == (n_rows, rows.shape[-1] // FORMATS[name].block_bytes * FORMATS[name].block_elems)


@pytest.mark.parametrize("name", BLOCK_FORMATS)
def test_rows_decode_apart(name):
    rows = random_rows(name, 5)
    whole = FORMATS[name].decode(rows)
    for i in range(5):
        assert same(FORMATS[name].decode(rows[i]), whole[i])


@pytest.mark.parametrize("name", FORMATS)
def test_a_partial_block_is_refused(name):
    row = FORMATS[name]
    if row.block_bytes > 1:
        with pytest.raises(ValueError, match=f"not whole {name} blocks"):
            row.decode(torch.zeros(2, row.block_bytes + 1, dtype=torch.uint8))
    if row.block_elems > 1:
        with pytest.raises(ValueError, match=f"not whole {name} blocks"):
            row.row_bytes(row.block_elems + 1)


@pytest.mark.parametrize("name", IN_GGUF)
def test_sizes_and_ids_are_those_of_gguf(name):
    kind = gguf.GGMLQuantizationType[name]
    row = FORMATS[name]
    assert (row.ggml_id, row.block_elems, row.block_bytes) == (kind.value, *gguf.GGML_QUANT_SIZES[kind])
    assert by_ggml_id(kind.value) is row


@pytest.mark.parametrize("name", [name for name in IN_GGUF if name != "F32"])
def test_decoding_agrees_with_an_independent_decoder(name):
    rows = random_rows(name, 4)
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(rows.numpy(), gguf.GGMLQuantizationType[name])
    mine = FORMATS[name].decode(rows)
    torch.testing.assert_close(
        mine, torch.from_numpy(np.ascontiguousarray(expected)), rtol=2e-7, atol=0, equal_nan=True
    )


@pytest.mark.parametrize("file", ["quant_plain.npz", "quant_imatrix.npz"])
@pytest.mark.parametrize("name", IN_GGUF)
def test_decoding_matches_ggml_to_one_ulp(name, file):
    golden = golden_arrays(file)
    if f"{name}_q" not in golden:
        pytest.skip(f"{file} has no {name}")
    mine = FORMATS[name].decode(torch.from_numpy(golden[f"{name}_q"]).view(torch.uint8))
    expected = torch.from_numpy(golden[f"{name}_f"])
    assert (mine.view(torch.int32) - expected.view(torch.int32)).abs().max().item() <= 1


@pytest.mark.parametrize("name", EXACT_ENCODERS)
def test_encoding_matches_ggml_bit_for_bit(name):
    golden = golden_arrays("quant_plain.npz")
    encoded = FORMATS[name].encode(torch.from_numpy(golden["x"]))
    assert torch.equal(encoded, torch.from_numpy(golden[f"{name}_q"]).view(torch.uint8))


@pytest.mark.parametrize("name", EXACT_ENCODERS)
def test_encoding_agrees_with_an_independent_encoder(name):
    x = np.random.default_rng(3).standard_normal((7, 96)).astype(np.float32)
    x[0, :32] = 0.0
    expected = gguf.quants.quantize(x, gguf.GGMLQuantizationType[name]).view(np.uint8)
    assert torch.equal(FORMATS[name].encode(torch.from_numpy(x)), torch.from_numpy(expected))


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.encode_blocks is not None])
def test_what_is_encoded_decodes_to_nearly_the_same(name):
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    back = FORMATS[name].decode(FORMATS[name].encode(x))
    largest = x.reshape(5, 2, 32).abs().amax(-1, keepdim=True).expand(5, 2, 32).reshape(5, 64)
    assert ((back - x).abs() / largest).max().item() <= ENCODING_ERROR.get(name, 0.13)


def test_q8_0_rounds_halves_away_from_zero_and_nothing_else_up():
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    x = torch.zeros(1, 32)
    x[0, :6] = torch.tensor([127.0, 0.5, -0.5, below, -below, 2.5])
    assert FORMATS["Q8_0"].encode(x)[0, 2:8].view(torch.int8).tolist() == [127, 1, -1, 0, 0, 3]


def test_bf16_keeps_what_a_nan_says_and_makes_it_quiet():
    x = np.array([[0x7F800001, 0x7FFFFFFF, 0xFF812345, 0x7F800000]], dtype=np.uint32).view(np.float32)
    expected = gguf.quants.quantize(x, gguf.GGMLQuantizationType.BF16).view(np.uint8)
    assert torch.equal(FORMATS["BF16"].encode(torch.from_numpy(x)), torch.from_numpy(expected))


@pytest.mark.parametrize("name", FORMATS)
def test_rows_may_begin_at_any_byte(name):
    rows = random_rows(name, 1)
    shifted = torch.cat((torch.zeros(1, 1, dtype=torch.uint8), rows), dim=1)[:, 1:]
    assert same(FORMATS[name].decode(shifted), FORMATS[name].decode(rows))


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.encode_blocks is not None])
def test_nothing_encodes_to_nothing(name):
    assert FORMATS[name].encode(torch.zeros(0, 64)).shape == (0, FORMATS[name].row_bytes(64))


@pytest.mark.parametrize("name", EXACT_ENCODERS[2:])
def test_importance_weights_are_refused_by_the_plain_encoders(name):
    with pytest.raises(ValueError, match="importance"):
        FORMATS[name].encode(torch.zeros(1, 32), torch.ones(32))


def test_a_format_without_an_encoder_says_so():
    with pytest.raises(ValueError, match="IQ1_S has no encoder"):
        FORMATS["IQ1_S"].encode(torch.zeros(1, 256))


def test_every_format_that_files_hold_is_there():
    expected = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S"
    expected += " IQ3_XXS IQ3_S IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4 NVFP4 F8_E4M3 F8_E5M2"
    assert set(FORMATS) == set(expected.split())


def test_the_table_of_sizes_needs_no_torch():
    code = "import sys; from gristmill.kernels import FORMATS; FORMATS['Q4_K'].row_bytes(256)"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
