"""Vocabularies that do not fit together: hardening rows T1 to T6 and T10."""

import pytest
from support.vocabularies import BYTE, CONTROL, NORMAL, byte_level, sentencepiece, wordpiece

from gristmill.runtime.errors import InvalidFile, InvalidRequest, UnsupportedModel
from gristmill.runtime.tokenizer import tokenizer_from_metadata

BAD_ARRAYS = {
    "tokens": [None, [], "abc", 7, b"abc", [1] * 259, ["a", None], {"a": 1}, ["\ud800"]],
    "token_type": [[], [1], [1] * 260, [1.0] * 259, ["1"] * 259, [True] * 259, [99] * 259, [-1] * 259, 1],
    "scores": [None, [], [0.0], [0.0] * 260, ["0"] * 259, [float("nan")] * 259, [True] * 259, 0.0],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD_ARRAYS.items() for value in values])
def test_arrays_that_are_missing_or_do_not_fit_are_refused(key, value):
    with pytest.raises(InvalidFile, match=rf'^invalid tokenizer: key "tokenizer\.ggml\.{key}": '):
        tokenizer_from_metadata(sentencepiece(**{key: value}))


@pytest.mark.parametrize("merges", [None, "a b", [1], [["a", "b"]], 5, ["a \ud800"]])
@pytest.mark.parametrize("make", [byte_level, lambda **keys: sentencepiece(model="gemma4", **keys)])
def test_merges_that_are_no_list_of_strings_are_refused(make, merges):
    with pytest.raises(InvalidFile, match="merges"):
        tokenizer_from_metadata(make(merges=merges))


@pytest.mark.parametrize("model", ["", "rwkv", "t5", "none", "a" * 1000])
def test_an_unknown_model_is_refused_by_name(model):
    with pytest.raises(
        UnsupportedModel, match=r'key "tokenizer.ggml.model": ".{0,80} is not supported; supported: bert, '
    ):
        tokenizer_from_metadata({"tokenizer.ggml.model": model})


@pytest.mark.parametrize("keys", [{"model": 5}, {"pre": 5}, {"add_bos_token": 1}, {"add_space_prefix": "yes"}])
def test_values_of_the_wrong_type_are_refused(keys):
    with pytest.raises(InvalidFile, match=next(iter(keys))):
        tokenizer_from_metadata(byte_level(**keys))


@pytest.mark.parametrize("bad", [-1, 256, 2**32 - 1, 2**63, "1", 1.0, True, [1]])
@pytest.mark.parametrize(
    "key", ["bos_token_id", "eos_token_id", "unknown_token_id", "eot_token_id", "eom_token_id", "fim_pad_token_id"]
)
def test_ids_outside_the_vocabulary_are_ignored_with_a_warning(key, bad, caplog):
    tokenizer = tokenizer_from_metadata(byte_level(**{key: bad}))
    assert key in caplog.text
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.eog_ids) == (None, None, frozenset())


def test_default_ids_outside_a_tiny_vocabulary_are_no_ids():
    keys = {"tokens": ["a"], "token_type": [1], "scores": [0.0]}
    tokenizer = tokenizer_from_metadata(sentencepiece(**keys))
    assert (tokenizer.bos_id, tokenizer.eos_id) == (None, None)
    with pytest.raises(InvalidFile, match="unknown_token_id"):
        tokenizer_from_metadata(wordpiece("", unknown_token_id=None))


def test_bos_and_eos_that_do_not_exist_are_not_added(caplog):
    tokenizer = tokenizer_from_metadata(byte_level(add_bos_token=True, add_eos_token=True))
    assert (tokenizer.add_bos, tokenizer.add_eos) == (False, False)
    assert tokenizer.encode("A") == [65]
    assert "add_bos_token" in caplog.text
    assert "add_eos_token" in caplog.text


@pytest.mark.parametrize("text", ["<0x-1>", "<0xZZ>", "<0x1FF>", "<0x>", "<0x4>", "0x41", "", "<0x41>\n"])
def test_byte_tokens_that_are_not_spelled_as_two_hex_digits_are_no_bytes(text):
    keys = {"tokens": ["<unk>", text, "<0x61>"], "token_type": [2, BYTE, BYTE], "scores": [0.0] * 3}
    tokenizer = tokenizer_from_metadata(sentencepiece(**keys, add_bos_token=False, add_space_prefix=False))
    assert tokenizer.encode("a") == [2]
    assert tokenizer.encode("A") == [0]
    assert tokenizer.decode([1, 2]) == "a"


def test_of_equal_tokens_the_first_is_made():
    keys = {"tokens": ["<unk>", "a", "b", "ab", "ab", "a"], "token_type": [2, *[NORMAL] * 5], "scores": [0.0] * 6}
    tokenizer = tokenizer_from_metadata(sentencepiece(**keys, add_bos_token=False, add_space_prefix=False))
    assert tokenizer.encode("aba") == [3, 1]
    assert tokenizer.decode([4, 5]) == "aba"


def test_of_equal_control_tokens_the_first_is_parsed():
    special = {"<x>": CONTROL}
    vocabulary = byte_level(special=special)
    vocabulary["tokenizer.ggml.tokens"].append("<x>")
    vocabulary["tokenizer.ggml.token_type"].append(CONTROL)
    assert tokenizer_from_metadata(vocabulary).encode("<x>", parse_special=True) == [256]


@pytest.mark.parametrize("kind", [NORMAL, CONTROL, 4, BYTE])
@pytest.mark.parametrize("text", ["", "\0", "a\0b", "\ufffd", "x" * 200_000])
def test_odd_tokens_do_no_harm(text, kind):
    for make in (sentencepiece, byte_level):
        vocabulary = make({"▁": 0.0}) if make is sentencepiece else make()
        vocabulary["tokenizer.ggml.tokens"].append(text)
        vocabulary["tokenizer.ggml.token_type"].append(kind)
        if make is sentencepiece:
            vocabulary["tokenizer.ggml.scores"].append(1.0)
        tokenizer = tokenizer_from_metadata(vocabulary)
        ids = tokenizer.encode("ab\0xx", add_special=False, parse_special=True)
        assert tokenizer.decode(ids, skip_special=False).removeprefix(" ") == "ab\0xx"
        tokenizer.decode([len(vocabulary["tokenizer.ggml.tokens"]) - 1])


def test_a_file_without_token_types_has_only_normal_tokens():
    assert tokenizer_from_metadata(byte_level("a b", token_type=None)).encode("ab") == [256]


@pytest.mark.parametrize("bad", [-1, 256, 2**63, 1.5, "1", None])
def test_decoding_an_id_outside_the_vocabulary_is_an_invalid_request(bad):
    tokenizer = tokenizer_from_metadata(byte_level())
    for use in (tokenizer.piece, tokenizer.token_bytes, tokenizer.stream().push, lambda bad: tokenizer.decode([bad])):
        with pytest.raises(InvalidRequest, match="is outside the vocabulary of 256"):
            use(bad)
