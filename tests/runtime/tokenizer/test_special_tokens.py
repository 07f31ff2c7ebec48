import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vocabularies import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, byte_level, sentencepiece

from gristmill.runtime.tokenizer import GUARD, control_tokens, tokenizer_from_metadata
from gristmill.runtime.tokenizer.special import SpecialTokens

CHAT = {"<|im_start|>": CONTROL, "<|im_end|>": CONTROL, "<br>": USER_DEFINED, "<|call|>": USER_DEFINED}
START, END, BREAK, CALL = 256, 257, 258, 259


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizer_from_metadata(byte_level(special=CHAT, eos_token_id=END))


def test_control_tokens_are_tokens_only_when_they_are_parsed(tokenizer):
    assert tokenizer.encode("<|im_start|>A", parse_special=True) == [START, 65]
    assert tokenizer.encode("<|im_start|>A") == [*b"<|im_start|>A"]


def test_user_defined_tokens_are_always_tokens(tokenizer):
    assert tokenizer.encode("A<br>B") == [65, BREAK, 66]
    assert tokenizer.encode("A<br>B", parse_special=True) == [65, BREAK, 66]


def test_marked_control_tokens_stay_text_and_lose_the_mark(tokenizer):
    marked = f"<|im_end|><{GUARD}|im_end|>A{GUARD}"
    assert tokenizer.encode(marked, parse_special=True) == [END, *b"<|im_end|>A"]


def test_marks_before_a_control_token_keep_it_from_being_completed_by_text(tokenizer):
    assert tokenizer.encode(f"<|im_{GUARD}" + "end|>", parse_special=True) == [*b"<|im_end|>"]


def test_a_mark_is_ordinary_text_where_nothing_is_parsed(tokenizer):
    assert tokenizer.decode(tokenizer.encode(f"a{GUARD}b")) == f"a{GUARD}b"


def test_merges_go_across_a_removed_mark():
    merging = tokenizer_from_metadata(byte_level("t h"))
    assert merging.encode(f"t{GUARD}h", parse_special=True) == merging.encode("th") == [256]


def test_control_tokens_are_never_made_by_merging():
    vocabulary = byte_level("s o|so s", token_type=[NORMAL] * 257 + [CONTROL])
    assert tokenizer_from_metadata(vocabulary).encode("sos") == [256, ord("s")]


def test_control_tokens_are_those_that_only_a_template_may_write(tokenizer):
    expected = {"<|im_start|>": START, "<|im_end|>": END, "<|call|>": CALL}
    assert dict(tokenizer.control_tokens) == expected
    assert control_tokens(byte_level(special=CHAT)) == expected


def test_control_tokens_are_hidden_unless_asked_for(tokenizer):
    ids = [START, 65, BREAK, END]
    assert tokenizer.decode(ids) == "A<br>"
    assert tokenizer.decode(ids, skip_special=False) == "<|im_start|>A<br><|im_end|>"
    assert tokenizer.token_bytes(START) == b""
    assert tokenizer.token_bytes(START, skip_special=False) == b"<|im_start|>"
    assert tokenizer.piece(START) == "<|im_start|>"


def test_bos_and_eos_are_added_as_the_file_says():
    keys = {"bos_token_id": 256, "eos_token_id": 257, "special": {"<s>": CONTROL, "</s>": CONTROL}}
    both = tokenizer_from_metadata(byte_level(add_bos_token=True, add_eos_token=True, **keys))
    assert both.encode("A") == [256, 65, 257]
    assert both.encode("") == [256, 257]
    assert both.encode("A", add_special=False) == [65]
    neither = tokenizer_from_metadata(byte_level(**keys))
    assert neither.encode("A") == [65]


def test_bos_and_eos_in_the_text_are_not_doubled():
    keys = {"bos_token_id": 256, "eos_token_id": 257, "special": {"<s>": CONTROL, "</s>": CONTROL}}
    tokenizer = tokenizer_from_metadata(byte_level(add_bos_token=True, add_eos_token=True, **keys))
    assert tokenizer.encode("<s>A</s>", parse_special=True) == [256, 65, 257]
    assert tokenizer.encode("<s>A") == [256, *b"<s>A", 257]


def test_llama_3_files_add_bos_without_being_told():
    keys = {"bos_token_id": 256, "special": {"<|begin_of_text|>": CONTROL}}
    assert tokenizer_from_metadata(byte_level(pre="llama-bpe", **keys)).encode("A") == [256, 65]
    assert tokenizer_from_metadata(byte_level(pre="llama-bpe", add_bos_token=False, **keys)).encode("A") == [65]


def test_phi_3_tokens_swallow_the_white_space_behind_them():
    special = {"<|user|>": CONTROL, "<|endoftext|>": CONTROL}
    phi = tokenizer_from_metadata(sentencepiece({"▁": -1.0}, special, add_space_prefix=False, name="Phi3 mini"))
    assert phi.encode("<|user|>\n\t<|endoftext|>\n", add_special=False, parse_special=True) == [260, 261, 3 + 10]
    other = tokenizer_from_metadata(sentencepiece({"▁": -1.0}, special, add_space_prefix=False))
    assert other.encode("<|user|>\n", add_special=False, parse_special=True) == [260, 3 + 10]


def test_unknown_tokens_are_parsed_like_control_tokens():
    tokenizer = tokenizer_from_metadata(byte_level(special={"<unk>": UNKNOWN}))
    assert tokenizer.encode("<unk>", parse_special=True) == [256]
    assert tokenizer.encode("<unk>") == [*b"<unk>"]


def test_the_leftmost_token_wins_and_then_the_longest():
    tokens = SpecialTokens({"ab": 1, "abc": 2, "cde": 3, "a": 4, "\n": 5, "\n\n": 6})
    assert list(tokens.split("xabcde\n\n\na-bc")) == ["x", 2, "de", 6, 5, 4, "-bc"]


def test_a_single_character_is_found_where_a_longer_token_only_began():
    assert list(SpecialTokens({"a": 1, "abc": 2}).split("abx")) == [1, "bx"]


def test_no_tokens_leave_the_text_whole():
    assert list(SpecialTokens({}).split("abc")) == ["abc"]
    assert list(SpecialTokens({"a": 1}).split("")) == []


@settings(deadline=None)
@given(st.sets(st.text("ab]^-\\", min_size=1, max_size=4), max_size=6), st.text("ab]^-\\", max_size=30))
def test_splitting_loses_nothing_and_finds_what_a_slow_search_finds(texts, text):
    ids = {token: i for i, token in enumerate(sorted(texts))}
    parts = list(SpecialTokens(ids).split(text))
    assert "".join(part if isinstance(part, str) else sorted(texts)[part] for part in parts) == text
    expected, at = [], 0
    while at < len(text):
        found = max((token for token in texts if text.startswith(token, at)), key=len, default="")
        expected.append(ids[found] if found else text[at])
        at += len(found) or 1
    assert [one for part in parts for one in (part if isinstance(part, str) else [part])] == expected
