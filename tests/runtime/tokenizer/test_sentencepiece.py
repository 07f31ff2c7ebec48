from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vocabularies import BYTE, CONTROL, NORMAL, USER_DEFINED, byte_level, metadata, sentencepiece

from gristmill.runtime.tokenizer import tokenizer_from_metadata
from gristmill.runtime.tokenizer.merging import boundaries, by_score, merge

PIECES = {"▁": -9.0, "a": -8.0, "b": -7.0, "ab": -2.0, "ba": -1.0, "aa": -3.0, "▁a": -4.0, "▁ab": -0.5, "aab": -6.0}


def encode(text, pieces=PIECES, **keys):
    """Texts of the tokens, without BOS and without a space in front."""
    keys.setdefault("add_space_prefix", False)
    tokenizer = tokenizer_from_metadata(sentencepiece(pieces, **keys))
    return [tokenizer.piece(token_id) for token_id in tokenizer.encode(text, add_special=False)]


def test_the_pair_that_makes_the_best_token_joins_first():
    assert encode("aba") == ["a", "ba"]


def test_of_equal_pairs_the_leftmost_joins_first():
    assert encode("aaa") == ["aa", "a"]
    assert encode("aaaa") == ["aa", "aa"]


def test_joined_pairs_join_again():
    assert encode(" ab") == ["▁ab"]
    assert encode("aab", {"a": 0.0, "b": 0.0, "aa": 3.0, "aab": 1.0, "ab": 2.0}) == ["aab"]


def test_a_token_that_no_pair_leads_to_is_not_found():
    assert encode("abb", {"a": 0.0, "b": 0.0, "abb": 5.0}) == ["a", "b", "b"]


def test_spaces_are_a_character_of_the_vocabulary():
    assert encode("a b") == ["a", "▁", "b"]
    assert encode(" a") == ["▁a"]


def test_a_character_outside_the_vocabulary_becomes_its_bytes():
    assert encode("é") == ["<0xC3>", "<0xA9>"]
    assert encode("\n") == ["<0x0A>"]
    assert encode("a\0") == ["a", "<0x00>"]


def test_without_all_of_its_bytes_a_character_is_unknown():
    tokens = ["<unk>", "a", "<0xC3>", "<0xF0>", "<0xZZ>", "<0x1FF>", "<0x>", "<0x-1>", "<0xa9"]
    kinds = [2, NORMAL, *[BYTE] * 7]
    vocabulary = metadata({"model": "llama", "tokens": tokens, "token_type": kinds, "scores": [0.0] * 9}, {})
    tokenizer = tokenizer_from_metadata(vocabulary | {"tokenizer.ggml.add_space_prefix": False})
    assert tokenizer.encode("aé", add_special=False) == [1, 0]
    assert tokenizer.decode([1, 4, 5, 6, 7, 8]) == "a"


def test_without_an_unknown_token_either_a_character_is_left_out():
    vocabulary = metadata({"model": "llama", "tokens": ["a"], "token_type": [1], "scores": [0.0]}, {})
    vocabulary |= {"tokenizer.ggml.add_space_prefix": False, "tokenizer.ggml.unknown_token_id": 7}
    assert tokenizer_from_metadata(vocabulary).encode("aéa", add_special=False) == [0, 0]


def test_text_gets_a_space_in_front_unless_the_file_says_no():
    assert encode("a", add_space_prefix=None) == ["▁a"]
    assert encode("a", add_space_prefix=False) == ["a"]
    assert encode("", add_space_prefix=None) == []


def test_text_behind_a_special_token_gets_a_space_in_front_too():
    vocabulary = sentencepiece(PIECES, {"<x>": CONTROL, "<y>": USER_DEFINED})
    tokenizer = tokenizer_from_metadata(vocabulary)
    x, y, a = 259 + len(PIECES), 260 + len(PIECES), 259 + list(PIECES).index("▁a")
    assert tokenizer.encode("a<x>a<y>a", parse_special=True) == [1, a, x, a, y, a]


@pytest.mark.parametrize("text", ["a", " a", "  ab", "a b", "ab<y> ab<y>a", "", " ", "\n"])
def test_decoding_takes_away_the_space_that_encoding_put_there(text):
    tokenizer = tokenizer_from_metadata(sentencepiece(PIECES, {"<y>": USER_DEFINED}))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_tokens_that_continue_a_text_keep_their_space():
    tokenizer = tokenizer_from_metadata(sentencepiece(PIECES))
    assert tokenizer.decode([259 + list(PIECES).index("▁a")]) == " a"


def test_control_tokens_and_byte_tokens_are_never_made_by_joining():
    pieces = {"<": 0.0, "s": 0.0, ">": 0.0, "<s": 1.0, "<0x4": 0.0, "0": 0.0, "<0": 1.0, "x": 0.0, "4": 0.0, "1": 0.0}
    assert encode("<s>", pieces) == ["<s", ">"]
    assert "<0x41>" not in encode("<0x41>", pieces | {"<0x": 1.0, "<0x4": 1.0, "<0x41": 1.0})


def test_a_file_with_merges_joins_only_those_and_in_their_order():
    vocabulary = sentencepiece(PIECES, model="gemma4", scores=None, merges=["a a", "a b", "▁ ab"], bos_token_id=1)
    tokenizer = tokenizer_from_metadata(vocabulary)
    assert [tokenizer.piece(i) for i in tokenizer.encode("aab ab")] == ["<s>", "aa", "b", "▁ab"]


def test_merges_that_make_no_token_or_are_no_pair_are_skipped():
    merges = ["b b", "a", "a  b", "a b"]
    tokenizer = tokenizer_from_metadata(sentencepiece(PIECES, model="gemma4", scores=None, merges=merges))
    assert [tokenizer.piece(i) for i in tokenizer.encode("bbab")] == ["b", "b", "ab"]


def test_gemma_4_begins_with_bos_even_if_the_file_denies_it():
    vocabulary = sentencepiece(PIECES, model="gemma4", merges=[], bos_token_id=1, add_bos_token=False)
    assert tokenizer_from_metadata(vocabulary).encode("a")[0] == 1


ALPHABET = "▁a\nb>"
TOKENS = st.dictionaries(st.text(ALPHABET, min_size=1, max_size=4), st.integers(-3, 3).map(float), max_size=20)


@settings(deadline=None)
@given(TOKENS, st.text(ALPHABET, max_size=40))
def test_words_merge_as_they_do_within_the_whole_text(scores, text):
    pieces = {piece: i for i, piece in enumerate(scores)}
    priority = by_score(pieces, list(scores.values()))
    words = boundaries(pieces).split(text)
    assert [piece for word in words for piece in merge(word, priority)] == merge(text, priority)


@settings(deadline=None)
@given(TOKENS, st.text(ALPHABET, max_size=40))
def test_merging_with_a_heap_equals_looking_for_the_best_pair_each_time(scores, text):
    pieces = {piece: i for i, piece in enumerate(scores)}
    priority = by_score(pieces, list(scores.values()))
    parts = list(text)
    while True:
        ranks = [priority(left, right) for left, right in pairwise(parts)]
        found = [(rank, i) for i, rank in enumerate(ranks) if rank is not None]
        if not found:
            break
        i = min(found)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    assert merge(text, priority) == parts


def test_usual_vocabularies_fall_into_words_at_spaces_and_newlines():
    words = boundaries(["▁a", "▁▁", "a", "b", "\n", "\n\n"])
    assert words.split("▁ab▁▁a\n\nb▁") == ["▁ab", "▁▁a", "\n\n", "b", "▁"]


def test_words_stay_whole_where_a_token_holds_the_space():
    assert boundaries(["b>▁"]).split("a▁b>▁a") == ["a", "▁b>▁a"]


def test_a_word_of_many_characters_comes_back_whole():
    text = "ab" * 100_000
    tokenizer = tokenizer_from_metadata(sentencepiece(PIECES))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_longest_token_bounds_how_few_tokens_a_text_can_have():
    assert tokenizer_from_metadata(sentencepiece({"abcdefgh": 0.0})).max_token_chars == 8
    assert tokenizer_from_metadata(byte_level(special={"<|im_end|>": CONTROL})).max_token_chars == 10
