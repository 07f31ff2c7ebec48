"""Which tokens end a generation. Files name at most one such id, and models have several; so, as in llama.cpp, the
well-known texts count, too. Knows nothing of encoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .kinds import TokenKind
from .metadata import TokenizerKeys

__all__ = ["EndTokens", "find_end_tokens"]

_ID_KEYS = ("eot_token_id", "eom_token_id", "fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id")

# The texts of llama.cpp (src/llama-vocab.cpp): ends of turns and of texts; then of files and repositories, which
# models for code write when they are done.
_LISTED = """
    <|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> <|eom_id|>
    <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response>
    <｜end▁of▁sentence｜> [e~[ </s>
    <|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD] <|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame> <|file_sep|>
"""
_TEXTS = frozenset(_LISTED.split())
# Ordinary text in some vocabularies, a tag of HTML: an end only where the file calls it a control token.
_ONLY_AS_CONTROL = "</s>"
# With these beside it, <|end|> ends one message of several (gpt-oss, solar-open), and output has marks to be read.
_MESSAGE_SETS = (frozenset({"<|return|>", "<|call|>"}), frozenset({"<|calls|>", "<|flush|>"}))
_MESSAGE_MARKS = frozenset({"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"})


@dataclass(frozen=True)
class EndTokens:
    """``ids`` end a generation; ``kinds`` are kinds to use instead of the file's."""

    ids: frozenset[int]
    kinds: dict[int, TokenKind]


def find_end_tokens(keys: TokenizerKeys, ids: Mapping[str, int], kinds: Mapping[int, TokenKind]) -> EndTokens:
    """``ids``: text -> id of all tokens; ``kinds``: those of the file, NORMAL left out.

    A token that ends a generation by its text is a control token, whatever the file says it is.
    """
    found = {text: ids[text] for text in _TEXTS | _MESSAGE_MARKS if text in ids}
    if kinds.get(found.get(_ONLY_AS_CONTROL, -1)) is not TokenKind.CONTROL:
        found.pop(_ONLY_AS_CONTROL, None)
    shown = {found[text] for text in _MESSAGE_MARKS & found.keys()}
    if "<|end|>" in found and any(texts <= found.keys() for texts in _MESSAGE_SETS):
        shown.add(found["<|end|>"])
    ends = set(found.values()) - shown
    new_kinds = dict.fromkeys(shown, TokenKind.USER_DEFINED) | dict.fromkeys(ends, TokenKind.CONTROL)
    named = {token_id for key in _ID_KEYS if (token_id := keys.token_id(key)) is not None}
    return EndTokens(frozenset(ends | named | set(keys.token_ids("eos_token_ids"))), new_kinds)
