"""The vocabulary of a model file, checked: tokens, their kinds, the ids with a role, and the flags.

Reads GGUF's ``tokenizer.ggml.*`` keys and fills in the defaults that llama.cpp has for the model.
Knows no algorithm that turns text into tokens.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from .end_tokens import find_end_tokens
from .guard import GUARD
from .kinds import TokenKind
from .metadata import TokenizerKeys

__all__ = ["Defaults", "Vocabulary", "read_vocabulary"]

log = logging.getLogger(__name__)

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_MARKUP = re.compile(r"<[|｜].*|.*[|｜]>", re.DOTALL)
_OUTSIDE_PHI3_STRIPPING = frozenset({"<unk>", "<s>", "<|endoftext|>"})


@dataclass(frozen=True)
class Defaults:
    """What a ``tokenizer.ggml.model`` means where the file is silent. An id outside the vocabulary is no id."""

    bos_id: int | None = None
    eos_id: int | None = None
    unk_id: int | None = None
    add_bos: bool = False
    add_eos: bool = False
    add_space_prefix: bool = False


@dataclass(frozen=True)
class Vocabulary:
    """``tokens`` is the metadata's own sequence, not a copy; ``kinds`` has only the ids that are not NORMAL.

    ``eog_ids`` end a generation. ``strips_right`` are tokens that swallow the white space behind them.
    ``add_bos`` and ``add_eos`` are true only where there is such an id.
    """

    tokens: Sequence[str]
    kinds: Mapping[int, TokenKind]
    bos_id: int | None
    eos_id: int | None
    unk_id: int | None
    add_bos: bool
    add_eos: bool
    add_space_prefix: bool
    eog_ids: frozenset[int]
    strips_right: frozenset[int]

    def kind(self, token_id: int) -> TokenKind:
        return self.kinds.get(token_id, TokenKind.NORMAL)

    def ids_of(self, *kinds: TokenKind) -> list[int]:
        """Ids of the given kinds, which must not be NORMAL, in ascending order."""
        return [token_id for token_id, kind in self.kinds.items() if kind in kinds]

    @cached_property
    def control_tokens(self) -> Mapping[str, int]:
        """Texts that only a template may turn into tokens.

        They are the control and unknown tokens, and those user-defined tokens that are written like control tokens
        (``<|tool_call>``): several models declare the marks of their turns that way.
        """
        ids = self.ids_of(TokenKind.CONTROL, TokenKind.UNKNOWN)
        return self._by_text([*ids, *(i for i in self._user_defined if _MARKUP.fullmatch(self.tokens[i]))])

    @cached_property
    def user_defined_tokens(self) -> Mapping[str, int]:
        """Texts that become their token wherever they occur."""
        return self._by_text(self._user_defined)

    @cached_property
    def byte_tokens(self) -> Mapping[int, int]:
        """Id -> byte. A byte token that is not spelled ``<0xHH>`` is none."""
        spelled = ((i, _BYTE.fullmatch(self.tokens[i])) for i in self.ids_of(TokenKind.BYTE))
        return {i: int(match[1], 16) for i, match in spelled if match}

    @property
    def _user_defined(self) -> list[int]:
        return self.ids_of(TokenKind.USER_DEFINED)

    def _by_text(self, ids: Iterable[int]) -> dict[str, int]:
        texts = {self.tokens[token_id]: token_id for token_id in sorted(ids, reverse=True)}
        # An empty text would match everywhere, and one with the mark could be put together by taking marks away.
        return {text: token_id for text, token_id in texts.items() if text and GUARD not in text}


def read_vocabulary(keys: TokenizerKeys, defaults: Defaults) -> tuple[Vocabulary, dict[str, int]]:
    """The vocabulary, and text -> id of those of its tokens that ordinary text can become.

    Raises InvalidFile where an array is missing, has wrong elements or does not fit the others.
    """
    texts = keys.strings("tokens")
    # Backwards, so that the first of equal texts wins.
    ids = dict(zip(reversed(texts), range(len(texts) - 1, -1, -1), strict=True))
    kinds = _read_kinds(keys)
    ends = find_end_tokens(keys, ids, kinds)
    kinds = dict(sorted((kinds | ends.kinds).items()))
    bos_id, eos_id = keys.token_id("bos_token_id", defaults.bos_id), keys.token_id("eos_token_id", defaults.eos_id)
    vocabulary = Vocabulary(
        tokens=keys.tokens,
        kinds=kinds,
        bos_id=bos_id,
        eos_id=eos_id,
        unk_id=keys.token_id("unknown_token_id", defaults.unk_id),
        add_bos=_adds(keys, "add_bos_token", defaults.add_bos, bos_id),
        add_eos=_adds(keys, "add_eos_token", defaults.add_eos, eos_id),
        add_space_prefix=keys.flag("add_space_prefix", defaults.add_space_prefix),
        eog_ids=ends.ids if eos_id is None else ends.ids | {eos_id},
        strips_right=_strips_right(str(keys.metadata.get("general.name", "")), texts, kinds),
    )
    for token_id, kind in kinds.items():
        if kind in (TokenKind.CONTROL, TokenKind.UNKNOWN, TokenKind.BYTE):
            ids.pop(texts[token_id], None)
    ids.pop("", None)
    return vocabulary, ids


def _read_kinds(keys: TokenizerKeys) -> dict[int, TokenKind]:
    values = keys.integers_per_token("token_type")
    for unknown in set(values) - set(TokenKind):
        raise keys.invalid("token_type", f"{unknown} is no kind of token")
    normal = TokenKind.NORMAL.value  # comparing with the enum's member is three times slower
    return {i: TokenKind(value) for i, value in enumerate(values) if value != normal}


def _adds(keys: TokenizerKeys, key: str, default: bool, token_id: int | None) -> bool:
    wanted = keys.flag(key, default)
    if wanted and token_id is None:
        log.warning("key tokenizer.ggml.%s is true, but there is no such token: ignored", key)
    return wanted and token_id is not None


def _strips_right(name: str, tokens: Sequence[str], kinds: Mapping[int, TokenKind]) -> frozenset[int]:
    """Phi-3's tokens are declared so in its tokenizer.json. GGUF has no place for that; llama.cpp goes by the name."""
    if not re.search("phi-?3", name, re.IGNORECASE):
        return frozenset()
    special = (TokenKind.CONTROL, TokenKind.USER_DEFINED, TokenKind.UNKNOWN)
    return frozenset(i for i, kind in kinds.items() if kind in special and tokens[i] not in _OUTSIDE_PHI3_STRIPPING)
