"""Random blocks of every weight format, with scales of a sensible size."""

import torch

from gristmill.kernels import FORMATS, QTensor

# Where float16 scales lie in a block.
HALVES = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
    "TQ1_0": (52,),
    "TQ2_0": (64,),
    "IQ2_XXS": (0,),
    "IQ2_XS": (0,),
    "IQ2_S": (0,),
    "IQ3_XXS": (0,),
    "IQ3_S": (0,),
    "IQ1_S": (0,),
    "IQ1_M": (),
}


def random_weight(name, rows, cols, seed=0):
    """A ``QTensor`` (rows, cols) of arbitrary codes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, cols, generator=generator)
    format = FORMATS[name]
    if name not in HALVES and format.encode_blocks is not None:
        return QTensor(format.encode(x), format)
    blocks = torch.randint(0, 256, (rows * cols // format.block_elems, format.block_bytes), generator=generator)
    blocks = blocks.to(torch.uint8)
    d = (torch.rand(len(blocks), 1, generator=generator) * 0.02 - 0.01).to(torch.float16).view(torch.uint8)
    for at in HALVES.get(name, ()):
        blocks[:, at : at + 2] = d
    if name == "MXFP4":
        blocks[:, 0] = 118 + blocks[:, 0] % 8
    elif name == "IQ1_M":  # its d is spread over the top nibbles of four words
        bits = d.view(torch.int16).to(torch.int32) & 0xFFFF
        for i in range(4):
            blocks[:, 49 + 2 * i] = (blocks[:, 49 + 2 * i] & 15) | (bits[:, 0] >> 4 * i & 15).to(torch.uint8) << 4
    return QTensor(blocks.reshape(rows, -1), format)
