import pytest
from support.vocabularies import byte_level

from gristmill.runtime.errors import UnsupportedModel
from gristmill.runtime.tokenizer import tokenizer_from_metadata
from gristmill.runtime.tokenizer.pretokenize import PRE_TOKENIZERS

SPLITS = {
    "gpt-2": ("Hi there's 12345 x!!\n\n  y", ["Hi", " there", "'s", " 12345", " x", "!!", "\n\n ", " y"]),
    "smollm": ("a 123", ["a", " ", "1", "2", "3"]),
    "falcon": ("a1234,(b)", ["a", "123", "4", ",(", "b", ")"]),
    "default": ("a1234,(b)", ["a", "123", "4", ",(", "b", ")"]),
    "llama-bpe": ("DON'T 12345\n\n  x", ["DON", "'T", " ", "123", "45", "\n\n", " ", " x"]),
    "glm4": ("DON'T 12345", ["DON", "'T", " ", "123", "45"]),
    "qwen2": ("it's 12 ok/\n", ["it", "'s", " ", "1", "2", " ok", "/\n"]),
    "qwen35": ("नमस्ते 12", ["नमस्ते", " ", "1", "2"]),
    "tekken": ("HelloWorld don't 12", ["Hello", "World", " don", "'t", " ", "1", "2"]),
    "gpt-4o": ("HelloWORLD don't 1234/\n", ["Hello", "WORLD", " don't", " ", "123", "4", "/\n"]),
    "deepseek-llm": ("Hi, 中文 12\n", ["Hi", ",", " ", "中文", " ", "12", "\n"]),
    "deepseek-coder": ("Hi, 中文 12\n", ["Hi", ",", " ", "中文", " ", "1", "2", "\n"]),
    "deepseek-v3": ("Hi 中文かな (x) 1234", ["Hi", " ", "中文かな", " (", "x", ")", " ", "123", "4"]),
}


@pytest.mark.parametrize("name", SPLITS)
def test_text_is_cut_before_merging_as_the_name_says(name):
    from tokenizers import Regex, pre_tokenizers

    text, expected = SPLITS[name]
    steps = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PRE_TOKENIZERS[name].patterns]
    assert [piece for piece, _ in pre_tokenizers.Sequence(steps).pre_tokenize_str(text)] == expected


@pytest.mark.parametrize("name", sorted(PRE_TOKENIZERS))
def test_every_known_name_builds_and_keeps_any_text(name):
    tokenizer = tokenizer_from_metadata(byte_level("t h|th e", pre=name))
    text = "The  café's 12345 नमस्ते 中文\r\n\t😀'LL ,.!?\0 Ünï  "
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_unknown_name_is_refused_by_name():
    with pytest.raises(UnsupportedModel, match=r'key "tokenizer.ggml.pre": "new-thing" is not supported; supported: '):
        tokenizer_from_metadata(byte_level(pre="new-thing"))


def test_a_file_without_a_name_gets_the_default_with_a_warning(caplog):
    tokenizer = tokenizer_from_metadata(byte_level("1 2|12 3|123 4", pre=None))
    assert tokenizer.encode("1234") == [257, ord("4")]
    assert "tokenizer.ggml.pre" in caplog.text


def test_merges_happen_in_the_order_of_the_file():
    tokenizer = tokenizer_from_metadata(byte_level("b c|a b|a bc"))
    assert tokenizer.encode("abc") == [258]
    assert tokenizer.encode("ab") == [257]


def test_merges_do_not_cross_words():
    tokenizer = tokenizer_from_metadata(byte_level("a Ġ"))
    assert tokenizer.encode("a a") == [97, 32, 97]


def test_a_word_that_is_a_token_needs_no_merges_where_the_name_says_so():
    keys = {"tokens": [*byte_level()["tokenizer.ggml.tokens"], "xyz"], "token_type": [1] * 257}
    assert tokenizer_from_metadata(byte_level(pre="llama-bpe", **keys)).encode("xyz") == [256]
    assert tokenizer_from_metadata(byte_level(pre="gpt-2", **keys)).encode("xyz") == [*b"xyz"]


@pytest.mark.parametrize("odd", ["unknown b", "a unknown", "nospace", " b", "a ", "", "a  b", "é ", "ab " + "c" * 1000])
def test_merges_that_are_no_pair_of_tokens_or_make_none_are_skipped(odd):
    merges = [odd, "c d", "a b"]
    tokenizer = tokenizer_from_metadata(byte_level("a b", merges=merges))
    assert tokenizer.encode("ab") == [256]
    assert tokenizer.encode("cd") == [*b"cd"]


def test_a_text_that_would_make_a_pattern_backtrack_for_each_of_its_spaces_is_cut_at_once():
    tokenizer = tokenizer_from_metadata(byte_level(pre="deepseek-llm"))
    text = " " * 300_000 + "5"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_characters_outside_the_byte_alphabet_decode_to_themselves():
    keys = {"tokens": [*byte_level()["tokenizer.ggml.tokens"], "a\x80中"], "token_type": [1] * 257}
    assert tokenizer_from_metadata(byte_level(**keys)).decode([256]) == "a\x80中"
