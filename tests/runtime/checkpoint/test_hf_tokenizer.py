"""tokenizer.json and the files around it become the keys that a GGUF file has."""

import json
from pathlib import Path

import pytest
from support.hf_folder import LLAMA, write_json
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from gristmill.runtime.checkpoint import read_metadata
from gristmill.runtime.errors import InvalidFile, UnsupportedModel
from gristmill.runtime.tokenizer import tokenizer_from_metadata

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN_2 = LLAMA_3.replace("{1,3}", "")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT_4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
VOCAB = {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġa": 4}
MERGES = [("a", "b"), ("Ġ", "a")]


def split(pattern):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def byte_level(pre_tokenizer=None):
    tokenizer = Tokenizer(models.BPE(vocab=VOCAB, merges=MERGES))
    tokenizer.pre_tokenizer = pre_tokenizer or split(LLAMA_3)
    tokenizer.add_special_tokens([AddedToken("<s>", special=True), AddedToken("<|im_end|>", special=True)])
    tokenizer.add_tokens([AddedToken("<tool>"), AddedToken("<|fim|>")])
    return tokenizer


def sentencepiece():
    vocab = {"<unk>": 0, "<s>": 1, "<0x0A>": 2, "\u2581": 3, "a": 4, "b": 5, "\u2581a": 6, "ab": 7}
    merges = [("\u2581", "a"), ("a", "b")]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.add_special_tokens(["<unk>", "<s>"])
    tokenizer.add_tokens([AddedToken("\u2581\u2581", normalized=False)])
    return tokenizer


def folder(path, tokenizer, *, config=None, **files):
    write_json(path / "config.json", LLAMA | (config or {}))
    tokenizer.save(str(path / "tokenizer.json"))
    for name, value in files.items():
        write_json(path / f"{name}.json", value)
    return path


def tokenizer_keys(path):
    prefix = "tokenizer."
    return {key.removeprefix("tokenizer.ggml."): v for key, v in read_metadata(path).items() if key.startswith(prefix)}


def test_byte_level_vocabularies_have_merges_types_and_padding(tmp_path):
    keys = tokenizer_keys(folder(tmp_path, byte_level(), config={"vocab_size": 11}))
    assert keys["model"] == "gpt2"
    assert keys["pre"] == "llama-bpe"
    assert keys["tokens"] == ["a", "b", "ab", "Ġ", "Ġa", "<s>", "<|im_end|>", "<tool>", "<|fim|>", "[PAD9]", "[PAD10]"]
    assert keys["token_type"] == [1, 1, 1, 1, 1, 3, 3, 4, 3, 5, 5]
    assert keys["merges"] == ["a b", "Ġ a"]
    assert not keys["add_bos_token"]
    assert not keys["add_eos_token"]


def test_sentencepiece_vocabularies_have_scores_by_the_order_of_merges(tmp_path):
    keys = tokenizer_keys(folder(tmp_path, sentencepiece(), config={"vocab_size": 9}))
    assert keys["model"] == "llama"
    assert keys["tokens"] == ["<unk>", "<s>", "<0x0A>", "\u2581", "a", "b", "\u2581a", "ab", "  "]
    assert keys["token_type"] == [2, 3, 6, 1, 1, 1, 1, 1, 4]
    assert keys["scores"][6:8] == [0.0, -1.0]
    assert keys["scores"][4] == -1e9
    assert keys["add_space_prefix"] is True


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer", "expected"),
    [
        (normalizers.Replace(" ", "\u2581"), pre_tokenizers.Split(" ", "merged_with_previous"), False),
        (None, pre_tokenizers.Metaspace(prepend_scheme="first"), True),
        (None, pre_tokenizers.Metaspace(prepend_scheme="never"), False),
    ],
)
def test_the_space_in_front_is_found_where_it_is_said(tmp_path, normalizer, pre_tokenizer, expected):
    tokenizer = sentencepiece()
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    assert tokenizer_keys(folder(tmp_path, tokenizer))["add_space_prefix"] is expected


@pytest.mark.parametrize(
    ("pre_tokenizer", "name"),
    [
        (pre_tokenizers.ByteLevel(add_prefix_space=False), "gpt-2"),
        (
            pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            ),
            "smollm",
        ),
        (
            pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Punctuation("contiguous"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False),
                    pre_tokenizers.Digits(),
                    pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
                ]
            ),
            "falcon",
        ),
        (split(LLAMA_3), "llama-bpe"),
        (split(QWEN_2), "qwen2"),
        (split(TEKKEN), "tekken"),
        (split(GPT_4O), "gpt-4o"),
    ],
)
def test_known_ways_to_cut_text_get_their_name(tmp_path, pre_tokenizer, name):
    assert tokenizer_keys(folder(tmp_path, byte_level(pre_tokenizer)))["pre"] == name


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        split(r"\w+"),
        pre_tokenizers.Whitespace(),
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        pre_tokenizers.Split(Regex(LLAMA_3), "isolated"),
    ],
)
def test_unknown_ways_to_cut_text_are_refused_by_name(tmp_path, pre_tokenizer):
    with pytest.raises(UnsupportedModel, match=r"tokenizer\.json: pre_tokenizer .* is not supported"):
        read_metadata(folder(tmp_path, byte_level(pre_tokenizer)))


def test_special_tokens_come_from_the_settings_and_else_from_the_configurations(tmp_path):
    path = folder(
        tmp_path,
        byte_level(),
        config={"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 99},
        tokenizer_config={"bos_token": {"content": "<s>"}, "eos_token": "<|im_end|>", "unk_token": None},
        generation_config={"eos_token_id": [6, 5]},
    )
    keys = tokenizer_keys(path)
    assert (keys["bos_token_id"], keys["eos_token_id"]) == (5, 6)
    assert (keys["eot_token_id"], keys["eom_token_id"]) == (5, 1)
    assert "padding_token_id" not in keys
    (path / "tokenizer_config.json").unlink()
    keys = tokenizer_keys(path)
    assert (keys["bos_token_id"], keys["eos_token_id"]) == (0, 6)


def test_whether_bos_is_added_is_said_by_the_settings_or_the_post_processor(tmp_path):
    tokenizer = byte_level()
    template = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 5)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), template])
    path = folder(tmp_path, tokenizer)
    assert tokenizer_keys(path)["add_bos_token"] is True
    assert tokenizer_keys(path)["add_eos_token"] is False
    write_json(path / "tokenizer_config.json", {"add_bos_token": False, "add_eos_token": True})
    assert tokenizer_keys(path)["add_bos_token"] is False
    assert tokenizer_keys(path)["add_eos_token"] is True


def test_the_chat_template_is_its_own_file_or_in_the_settings(tmp_path):
    path = folder(tmp_path, byte_level(), tokenizer_config={"chat_template": "one"})
    assert tokenizer_keys(path)["tokenizer.chat_template"] == "one"
    templates = [{"name": "tool_use", "template": "three"}, {"name": "default", "template": "two"}]
    write_json(path / "tokenizer_config.json", {"chat_template": templates})
    assert tokenizer_keys(path)["tokenizer.chat_template"] == "two"
    (path / "chat_template.jinja").write_text("four", encoding="utf-8")
    assert tokenizer_keys(path)["tokenizer.chat_template"] == "four"


def test_a_folder_without_a_tokenizer_has_no_tokenizer_keys(tmp_path):
    write_json(tmp_path / "config.json", LLAMA)
    assert not tokenizer_keys(tmp_path)


def test_added_tokens_beyond_the_model_are_left_out(tmp_path):
    keys = tokenizer_keys(folder(tmp_path, byte_level(), config={"vocab_size": 6}))
    assert keys["tokens"] == ["a", "b", "ab", "Ġ", "Ġa", "<s>"]


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        (lambda t: t["model"].update(type="Unigram"), UnsupportedModel, "Unigram"),
        (lambda t: t["model"]["vocab"].update(x=-1), InvalidFile, '"x" the id -1'),
        (lambda t: t["model"]["vocab"].update(x=99), InvalidFile, '"x" the id 99'),
        (lambda t: t["model"]["vocab"].update(x="1"), InvalidFile, '"x" the id "1"'),
        (lambda t: t["model"]["vocab"].update(x=True), InvalidFile, '"x" the id True'),
        (lambda t: t["model"]["vocab"].update(x=1), InvalidFile, "two tokens or two ids"),
        (lambda t: t["model"]["vocab"].update({"x" * 70_000: 11}), InvalidFile, "70000 characters"),
        (lambda t: t["model"].update(vocab={}), InvalidFile, '"vocab" has 0 tokens'),
        (lambda t: t["model"].update(vocab=[]), InvalidFile, '"vocab"'),
        (lambda t: t["model"].update(merges=["a b c"]), InvalidFile, '"merges" has "a b c"'),
        (lambda t: t["model"].update(merges=[["a", 1]]), InvalidFile, '"merges"'),
        (lambda t: t["model"].update(byte_fallback="yes"), InvalidFile, '"byte_fallback"'),
        (lambda t: t.update(normalizer={"type": "Lowercase"}), UnsupportedModel, "Lowercase"),
        (lambda t: t.update(added_tokens=[1]), InvalidFile, '"added_tokens"'),
        (lambda t: t.update(added_tokens=[{"id": 1, "content": "<x>"}]), InvalidFile, "two tokens or two ids"),
        (lambda t: t.pop("model"), InvalidFile, '"vocab"'),
    ],
)
def test_a_wrong_tokenizer_is_refused_by_name(tmp_path, change, error, named):
    path = folder(tmp_path, byte_level())
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    change(tokenizer)
    write_json(path / "tokenizer.json", tokenizer)
    with pytest.raises(error) as refusal:
        read_metadata(path)
    assert named in str(refusal.value)
    assert "tokenizer.json" in str(refusal.value)


@pytest.mark.parametrize("n_vocab", [4, 2**20])
def test_a_vocabulary_far_from_the_models_size_is_refused(tmp_path, n_vocab):
    with pytest.raises(InvalidFile, match='"vocab" has 5 tokens, the model'):
        read_metadata(folder(tmp_path, byte_level(), config={"vocab_size": n_vocab}))


TEXTS = [
    "Hello world, it's 12345 tests\n\n  and  émojis 🙂",
    "def f(x):\n    return x**2  # 日本語",
    " I'LL we'Ve 1a2b",
    "",
]


def trained(tokenizer, special):
    """``tokenizer`` with a vocabulary learnt from this file. Returns the texts to try it on."""
    corpus = [Path(__file__).read_text(encoding="utf-8")]
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if len(special) == 1 else [],
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return TEXTS + corpus


@pytest.mark.parametrize("pattern", [LLAMA_3, QWEN_2, TEKKEN, GPT_4O])
def test_byte_level_ids_are_those_of_the_tokenizers_library(tmp_path, pattern):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split(pattern)
    texts = trained(tokenizer, ["<|end|>"])
    metadata = read_metadata(folder(tmp_path, tokenizer, config={"vocab_size": tokenizer.get_vocab_size()}))
    mine = tokenizer_from_metadata(metadata)
    for text in texts:
        assert (
            mine.encode(text, add_special=False, parse_special=True)
            == tokenizer.encode(text, add_special_tokens=False).ids
        )


def test_sentencepiece_ids_are_those_of_the_tokenizers_library(tmp_path):
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = sentencepiece().normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")  # for training: tokens end at spaces
    texts = trained(tokenizer, ["<unk>", "<s>", *byte_tokens])
    saved = json.loads(tokenizer.to_str())
    saved["pre_tokenizer"] = None
    saved["added_tokens"] = [token for token in saved["added_tokens"] if token["content"] not in byte_tokens]
    tokenizer = Tokenizer.from_str(json.dumps(saved))
    metadata = read_metadata(folder(tmp_path, tokenizer, config={"vocab_size": tokenizer.get_vocab_size()}))
    mine = tokenizer_from_metadata(metadata)
    for text in texts:
        assert (
            mine.encode(text, add_special=False, parse_special=True)
            == tokenizer.encode(text, add_special_tokens=False).ids
        )
