"""Every row of the format table, so that a new format is tested from the moment it exists."""

import subprocess
import sys
from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch
from support.golden import golden_arrays

from gristmill.kernels import FORMATS
from gristmill.kernels.encoder import Encoder
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
    "Q2_K": 1 / 2,
    "Q3_K": 1 / 4,
    "Q4_K": 1 / 7,
    "Q5_K": 1 / 14,
    "Q6_K": 1 / 25,
    "IQ4_NL": 1 / 6,
    "IQ4_XS": 1 / 6,
    "MXFP4": 1 / 4,
    "NVFP4": 1 / 4,
    "TQ1_0": 1 / 2,
    "TQ2_0": 1 / 2,
    "IQ1_S": 2 / 3,
    "IQ1_M": 2 / 3,
    "IQ2_XXS": 1 / 2,
    "IQ2_XS": 1 / 2,
    "IQ2_S": 1 / 3,
    "IQ3_XXS": 2 / 5,
    "IQ3_S": 1 / 5,
    "F8_E4M3": 1 / 8,
    "F8_E5M2": 1 / 8,
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
    x = torch.randn(5, 256, generator=torch.Generator().manual_seed(1))
    back = FORMATS[name].decode(FORMATS[name].encode(x))
    block = max(32, FORMATS[name].block_elems)
    largest = x.reshape(-1, block).abs().amax(-1, keepdim=True).expand(-1, block).reshape(5, 256)
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
    assert FORMATS[name].encode(torch.zeros(0, 256)).shape == (0, FORMATS[name].row_bytes(256))


GOLDEN_ENCODERS = [name for name, row in FORMATS.items() if row.encode_blocks is not None and row.ggml_id is not None]


def by_reference(x, row, imatrix):
    return row.encode(x, imatrix)


@pytest.mark.parametrize("encode", [Encoder(), by_reference], ids=["native", "reference"])
@pytest.mark.parametrize("file", ["quant_plain.npz", "quant_imatrix.npz"])
@pytest.mark.parametrize("name", [name for name in GOLDEN_ENCODERS if name != "F32"])
def test_the_error_of_encoding_is_no_larger_than_that_of_ggml(name, file, encode):
    golden = golden_arrays(file)
    x, imatrix = torch.from_numpy(golden["x"]), None
    if file == "quant_imatrix.npz":
        imatrix = torch.from_numpy(golden["imatrix"])
    weights = 1.0 if imatrix is None else imatrix.double()
    back = FORMATS[name].decode(encode(x, FORMATS[name], imatrix))
    mine, theirs = (
        ((y.double() - x).square() * weights).sum().item() for y in (back, torch.from_numpy(golden[f"{name}_f"]))
    )
    assert mine <= theirs


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("name", GOLDEN_ENCODERS)
def test_native_encoders_are_as_good_as_the_reference(name, weighed):
    row = FORMATS[name]
    generator = torch.Generator().manual_seed(4)
    size = torch.logspace(-6, 3, 7)
    x = torch.randn(7, 3 * 256, generator=generator) * size[:, None]
    imatrix = torch.rand(3 * 256, generator=generator) + 0.01 if weighed else None
    weights = 1.0 if imatrix is None else imatrix.double()
    encoded = Encoder()(x, row, imatrix), row.encode(x, imatrix)
    errors = [((row.decode(q).double() - x).square() * weights).sum(1) for q in encoded]
    # The scales of small numbers are subnormal: a few steps of float16, and which is chosen hangs on the last bit.
    limit = torch.where(size < 0.02, 1.1, 1.02)
    assert (errors[0] <= errors[1] * limit + 1e-30).all()
    assert errors[0].sum() <= errors[1].sum() * 1.002


@pytest.mark.parametrize("n_blocks", [1, 3, 33])
@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0"])
def test_native_encoders_without_a_search_are_exact(name, n_blocks):
    row, generator = FORMATS[name], torch.Generator().manual_seed(n_blocks)
    cols = n_blocks * row.block_elems
    x = torch.randn(1001, cols, generator=generator) * torch.logspace(-20, 4, 1001)[:, None]
    x[5], x[6], x[7, 3:] = 0.0, -0.3, 0.0
    x[8], x[9] = torch.arange(cols).remainder(32) - 15.5, torch.arange(cols).remainder(32) - 16.0  # on edges of levels
    differs = (Encoder()(x, row) != row.encode(x)).any(dim=1)
    assert not differs.any(), x[differs]


ODD = {
    "zeros": torch.zeros(2, 256),
    "equal": torch.full((2, 256), -0.3),
    "one large": torch.cat((torch.full((2, 1), 1e4), torch.full((2, 255), 1e-3)), dim=1),
    "tiny": torch.full((2, 256), 1e-38),
    "denormal": torch.full((2, 256), 1e-42),
    "huge": torch.linspace(-1e38, 1e38, 512).reshape(2, 256),
    "not numbers": torch.full((2, 256), torch.nan),
    "infinite": torch.full((2, 256), -torch.inf),
}


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", GOLDEN_ENCODERS)
def test_odd_numbers_are_encoded_to_something(name, kind, weighed):
    row, x = FORMATS[name], ODD[kind]
    imatrix = torch.rand(256) if weighed else None
    for encoded in (Encoder()(x, row, imatrix), row.encode(x, imatrix)):
        assert encoded.shape == (2, row.row_bytes(256))
        if kind == "zeros":
            assert not row.decode(encoded).any()
        if kind == "equal":
            assert (row.decode(encoded) + 0.3).abs().max() < 0.06


def test_an_importance_may_differ_from_row_to_row():
    x, imatrix = torch.randn(3, 256), torch.rand(3, 256)
    row = FORMATS["Q4_K"]
    whole = Encoder()(x, row, imatrix)
    assert torch.equal(whole, torch.cat([Encoder()(x[i : i + 1], row, imatrix[i]) for i in range(3)]))
    with pytest.raises(ValueError, match="importance"):
        Encoder()(x, row, imatrix[:2])


def test_a_format_without_an_encoder_says_so():
    with pytest.raises(ValueError, match="IQ1_S has no encoder"):
        replace(FORMATS["IQ1_S"], encode_blocks=None).encode(torch.zeros(1, 256))


def test_every_format_that_files_hold_is_there():
    expected = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S"
    expected += " IQ3_XXS IQ3_S IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4 NVFP4 F8_E4M3 F8_E5M2"
    assert set(FORMATS) == set(expected.split())


def test_the_table_of_sizes_needs_no_torch():
    code = "import sys; from gristmill.kernels import FORMATS; FORMATS['Q4_K'].row_bytes(256)"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["IQ4_NL", "MXFP4", "TQ1_0"])
@pytest.mark.parametrize("weighed", ["none", "columns", "rows"])
def test_parts_of_rows_encoded_side_by_side_are_as_the_whole(name, weighed):
    row = replace(FORMATS[name], name="MINE")  # of which there is no native encoder
    x = torch.randn(9, 8192, generator=torch.Generator().manual_seed(3))
    imatrix = {"none": None, "columns": x[0].square(), "rows": x.square() + 0.1}[weighed]
    assert torch.equal(Encoder(4)(x, row, imatrix), row.encode(x, imatrix))


@pytest.mark.parametrize("encode", [Encoder(), by_reference], ids=["native", "reference"])
@pytest.mark.parametrize("name", [name for name in GOLDEN_ENCODERS if name.startswith(("IQ1", "IQ2", "IQ3"))])
def test_what_lies_on_a_grid_is_found_again(name, encode):
    """Nearly: a search over scales may leave a block with another one that fits it almost as well."""
    row = FORMATS[name]
    x = row.decode(encode(torch.randn(7, 512, generator=torch.Generator().manual_seed(2)), row, None))
    assert (row.decode(encode(x, row, None)) - x).square().sum() <= 5e-4 * x.square().sum()


@pytest.mark.parametrize("name", ["IQ2_XXS", "IQ2_XS", "IQ3_XXS"])
def test_an_octet_with_an_odd_number_of_minus_signs_loses_its_least_element(name):
    x = torch.linspace(1.0, 1.2, 256)[None]
    importance = torch.ones(256)
    x[:, 3::8], x[:, 5::8], importance[5::8] = -x[:, 3::8], 0.01, 1e-6
    for encode in (Encoder(), by_reference):
        back = FORMATS[name].decode(encode(x, FORMATS[name], importance))
        assert (back[:, 5::8] < 0).all()
        others = [i for i in range(256) if i % 8 != 5]
        assert torch.equal(back[:, others].sign(), x[:, others].sign())
