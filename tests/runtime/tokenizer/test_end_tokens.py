from support.vocabularies import CONTROL, NORMAL, USER_DEFINED, byte_level, sentencepiece

from gristmill.runtime.tokenizer import tokenizer_from_metadata


def end_texts(special, **keys):
    tokenizer = tokenizer_from_metadata(byte_level(special=special, **keys))
    return {tokenizer.piece(token_id) for token_id in tokenizer.eog_ids}


def test_ids_that_the_file_names_end_a_generation():
    special = dict.fromkeys(["<a>", "<b>", "<c>", "<d>", "<e>"], CONTROL)
    keys = {"eos_token_id": 256, "eot_token_id": 257, "eom_token_id": 258, "eos_token_ids": [259, -1, 9999]}
    assert end_texts(special, **keys) == {"<a>", "<b>", "<c>", "<d>"}


def test_well_known_texts_end_a_generation_without_being_named():
    special = dict.fromkeys(["<|im_start|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>"], CONTROL)
    assert end_texts(special) == {"<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>"}


def test_a_well_known_end_is_a_control_token_whatever_the_file_says():
    tokenizer = tokenizer_from_metadata(byte_level(special={"<|im_end|>": NORMAL}))
    assert tokenizer.encode("<|im_end|>", parse_special=True) == [256]
    assert tokenizer.decode([65, 256]) == "A"


def test_the_tag_that_ends_struck_through_text_is_an_end_only_as_a_control_token():
    assert end_texts({"</s>": CONTROL}) == {"</s>"}
    assert end_texts({"</s>": USER_DEFINED}) == set()
    assert end_texts({"</s>": NORMAL}) == set()


def test_the_end_of_one_message_among_several_does_not_end_a_generation():
    special = dict.fromkeys(["<|return|>", "<|call|>", "<|end|>", "<|channel|>"], CONTROL)
    tokenizer = tokenizer_from_metadata(byte_level(special=special))
    assert {tokenizer.piece(i) for i in tokenizer.eog_ids} == {"<|return|>", "<|call|>"}
    # Whoever reads the messages apart needs the marks between them.
    assert tokenizer.decode([259, 65, 258]) == "<|channel|>A<|end|>"
    assert end_texts({"<|end|>": CONTROL}) == {"<|end|>"}


def test_sentencepiece_files_have_the_usual_ids_by_default():
    tokenizer = tokenizer_from_metadata(sentencepiece())
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.add_bos, tokenizer.add_eos) == (1, 2, True, False)
    assert tokenizer.eog_ids == {2}
