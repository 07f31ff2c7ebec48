"""How text is cut before byte-level BPE: the patterns behind each ``tokenizer.ggml.pre``, by name.

Patterns come from here only, never from a model file. They are those of the models' own tokenizer.json files, as
llama.cpp names them (src/llama-vocab.cpp); syntax is Oniguruma's. Each must run in linear time on any text.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UnsupportedModel, cut

__all__ = ["PRE_TOKENIZERS", "PreTokenizer", "find_pre_tokenizer"]


@dataclass(frozen=True)
class PreTokenizer:
    """``patterns`` are applied one after the other, each inside the pieces that the ones before it left.

    ``ignore_merges``: a piece that is a token is taken as a whole. ``add_bos``: where the file does not say.
    """

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_SINGLE_DIGITS = (r"\p{N}", _GPT2)
_PUNCTUATION_FIRST = r"[\p{P}\$\+<=>\^~\|`]+"
_CL100K = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _TAIL
_LLAMA3 = (_CL100K % "{1,3}",)
_QWEN2 = (_CL100K % "",)
_QWEN35 = (_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + _TAIL,)
# Words by case: capitals, then small letters; letters without case count as both.
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%s|\p{{N}}%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _TAIL
)
_TEKKEN = (_CASED % ("", "", ""),)
_GPT4O = (_CASED % (_CONTRACTIONS + "?", _CONTRACTIONS + "?", "{1,3}"),)
_DEEPSEEK_LLM = (
    r"[\r\n]",
    r"\s?[\p{Lu}\p{Ll}\p{Lt}]+",
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
    # \s+$ in the original, which tries every start in a run of spaces that does not end the piece.
    r"(?<!\s)\s++$",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
    r"\p{N}+",
)
_DEEPSEEK_CODER = (
    r"[\r\n]",
    r"\s?\p{L}+",
    r"\s?\p{P}+",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
    r"\p{N}",
)
_DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"""| ?[\p{P}\p{S}]+[\r\n]*|""" + _TAIL,
)

_TABLE = {
    "gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 gigachat a.x-4.0 mellum modern-bert jina-es jina-de "
    "jina-v2-es jina-v2-de": PreTokenizer((_GPT2,)),
    "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2": PreTokenizer(_SINGLE_DIGITS),
    "falcon": PreTokenizer((_PUNCTUATION_FIRST, _GPT2, "[0-9][0-9][0-9]")),
    "default": PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
    "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2": PreTokenizer(
        _LLAMA3, ignore_merges=True, add_bos=True
    ),
    "dbrx smaug-bpe glm4 chatglm-bpe": PreTokenizer(_LLAMA3),
    "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2": PreTokenizer(_QWEN2),
    "qwen35": PreTokenizer(_QWEN35),
    "tekken": PreTokenizer(_TEKKEN, ignore_merges=True, add_bos=True),
    "gpt-4o llama4 kanana2 minimax-m2": PreTokenizer(_GPT4O),
    "deepseek-llm": PreTokenizer(_DEEPSEEK_LLM),
    "deepseek-coder": PreTokenizer(_DEEPSEEK_CODER),
    "deepseek-v3 hunyuan-dense joyai-llm": PreTokenizer(_DEEPSEEK_V3),
}

PRE_TOKENIZERS = {name: rule for names, rule in _TABLE.items() for name in names.split()}


def find_pre_tokenizer(name: str) -> PreTokenizer:
    """Raises UnsupportedModel for a name that is not in the table."""
    if name not in PRE_TOKENIZERS:
        raise UnsupportedModel(
            f'key "tokenizer.ggml.pre": {cut(name)} is not supported; supported: {", ".join(sorted(PRE_TOKENIZERS))}'
        )
    return PRE_TOKENIZERS[name]
