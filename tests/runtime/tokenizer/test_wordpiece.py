import pytest
from support.vocabularies import wordpiece

from gristmill.runtime.errors import InvalidFile
from gristmill.runtime.tokenizer import tokenizer_from_metadata

WORDS = "▁hello ▁he llo ▁wor ld ▁! ▁中 ▁caf e ▁cafe [unused1]"


def encode(text, **keys):
    tokenizer = tokenizer_from_metadata(wordpiece(WORDS, **keys))
    return [tokenizer.piece(token_id) for token_id in tokenizer.encode(text)]


def test_words_are_cut_into_the_longest_pieces_between_cls_and_sep():
    assert encode("hello world") == ["[CLS]", "▁hello", "▁wor", "ld", "[SEP]"]


def test_a_word_with_an_unknown_part_is_unknown_as_a_whole():
    assert encode("helloz ld") == ["[CLS]", "[UNK]", "[UNK]", "[SEP]"]


def test_case_and_accents_are_dropped_unless_the_file_keeps_them():
    assert encode("HELLO Café!") == ["[CLS]", "▁hello", "▁cafe", "▁!", "[SEP]"]
    assert encode("HELLO", **{"normalizer.lowercase": False}) == ["[CLS]", "[UNK]", "[SEP]"]


def test_chinese_characters_are_words():
    assert encode("中中") == ["[CLS]", "▁中", "▁中", "[SEP]"]


def test_control_tokens_are_parsed_or_not():
    tokenizer = tokenizer_from_metadata(wordpiece(WORDS))
    assert tokenizer.encode("[SEP]", add_special=False, parse_special=True) == [3]
    assert 3 not in tokenizer.encode("[SEP]", add_special=False)


def test_decoding_joins_pieces_to_words():
    tokenizer = tokenizer_from_metadata(wordpiece(WORDS))
    assert tokenizer.decode(tokenizer.encode("Hello world")) == "hello world"


def test_a_word_of_a_megabyte_is_unknown():
    assert encode("x" * 1_000_000) == ["[CLS]", "[UNK]", "[SEP]"]


def test_an_unknown_token_there_must_be():
    with pytest.raises(InvalidFile, match="unknown_token_id"):
        tokenizer_from_metadata(wordpiece(WORDS, unknown_token_id=None))
