import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vocabularies import USER_DEFINED, byte_level, sentencepiece

from gristmill.runtime.tokenizer import open_tokenizer, tokenizer_from_metadata

PIECES = {"▁": -1.0, "▁a": -2.0, "a": -3.0, "aa": -1.0, "é": -4.0, "▁▁": -2.0}
TOKENIZERS = {
    "byte-level": tokenizer_from_metadata(byte_level("t h|Ġ t|Ã ©", {"<br>": USER_DEFINED}, pre="llama-bpe")),
    "sentencepiece": tokenizer_from_metadata(sentencepiece(PIECES, {"<br>": USER_DEFINED})),
    "no space prefix": tokenizer_from_metadata(sentencepiece(PIECES, add_space_prefix=False)),
    "merges": tokenizer_from_metadata(sentencepiece(PIECES, model="gemma4", merges=["a a", "▁ a"], bos_token_id=1)),
}
every_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
texts = st.text() | st.text("taé▁ \n<br>😀\ufdd0\ud800\0\u0301", max_size=40)


def streamed(tokenizer, ids):
    stream = tokenizer.stream()
    return [*map(stream.push, ids), stream.finish()]


@every_tokenizer
@settings(deadline=None)
@given(text=texts)
def test_any_text_comes_back_from_its_tokens(tokenizer, text):
    expected = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    if tokenizer is not TOKENIZERS["byte-level"]:
        expected = expected.replace("▁", " ")  # these vocabularies write a space so
    assert tokenizer.decode(tokenizer.encode(text)) == expected


@every_tokenizer
@settings(deadline=None)
@given(text=texts, parse=st.booleans())
def test_any_text_can_be_encoded(tokenizer, text, parse):
    ids = tokenizer.encode(text, parse_special=parse)
    assert all(0 <= token_id < tokenizer.n_vocab for token_id in ids)


@every_tokenizer
@settings(deadline=None)
@given(data=st.data())
def test_a_stream_of_any_tokens_equals_decoding_them_at_once(tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, tokenizer.n_vocab - 1), max_size=30))
    assert "".join(streamed(tokenizer, ids)) == tokenizer.decode(ids)


def test_half_a_character_is_held_back_until_the_rest_has_come():
    assert streamed(TOKENIZERS["byte-level"], "aé😀".encode()) == ["a", "", "é", "", "", "", "😀", ""]


def test_a_character_that_is_never_completed_is_one_replacement_at_the_end():
    assert streamed(TOKENIZERS["byte-level"], "😀".encode()[:3]) == ["", "", "", "\ufffd"]
    assert TOKENIZERS["byte-level"].decode("a😀".encode()[:4]) == "a\ufffd"


def test_a_byte_that_begins_no_character_is_replaced_as_soon_as_that_is_clear():
    assert streamed(TOKENIZERS["byte-level"], b"\xc3a\x80") == ["", "\ufffda", "\ufffd", ""]


def test_a_vocabulary_is_opened_from_a_file_without_tensors(tmp_path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "vocab.gguf", "llama")
    for key, value in byte_level("t h").items():
        add = writer.add_array if isinstance(value, list) else writer.add_string
        if value != []:
            add(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert open_tokenizer(tmp_path / "vocab.gguf").encode("th") == [256]
