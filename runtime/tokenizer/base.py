"""What all tokenizers share: special tokens, BOS and EOS, detokenizing. Subclasses encode stretches of plain text."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property

from ..errors import InvalidRequest, cut
from .detokenize import Detokenizer
from .guard import GUARD
from .kinds import TokenKind
from .special import SpecialTokens
from .vocabulary import Vocabulary

__all__ = ["Tokenizer"]

_SURROGATES = re.compile("[\ud800-\udfff]")
_HIDDEN = (TokenKind.CONTROL, TokenKind.UNKNOWN)
_SPECIAL = (*_HIDDEN, TokenKind.USER_DEFINED)


class Tokenizer(ABC):
    """Text to token ids and back, for one vocabulary. May be used from several threads at once."""

    # Whether _encode_text puts a space in front of text at a start; decoding takes it away again.
    _puts_space = False

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.n_vocab = len(vocabulary.tokens)
        self.bos_id, self.eos_id = vocabulary.bos_id, vocabulary.eos_id
        self.add_bos, self.add_eos = vocabulary.add_bos, vocabulary.add_eos
        self.eog_ids = vocabulary.eog_ids
        self._bytes: dict[int, bytes] = {}

    @abstractmethod
    def _encode_text(self, text: str, at_start: bool) -> list[int]:
        """Ids of ``text``, which is not empty, with nothing special in it. ``at_start``: no plain text before it."""

    @abstractmethod
    def _piece_bytes(self, piece: str) -> bytes:
        """The bytes that an ordinary token stands for."""

    @property
    def control_tokens(self) -> Mapping[str, int]:
        """Text -> id of the tokens that only a template may write, see ``Vocabulary.control_tokens``."""
        return self.vocabulary.control_tokens

    @cached_property
    def max_token_chars(self) -> int:
        """Length of the longest token. A text of n characters becomes at least about n / this many tokens."""
        return max(map(len, self.vocabulary.tokens))

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of any text; unpaired surrogates count as U+FFFD.

        ``add_special``: with BOS and EOS, where the model has them, but neither twice. ``parse_special``: control
        tokens that are spelled out become tokens, unless there is a GUARD mark inside; marks are removed.
        """
        text = _SURROGATES.sub("\ufffd", text)
        ids: list[int] = []
        at_start = True
        for part in self._special(parse_special).split(text):
            if isinstance(part, int):
                ids.append(part)
                at_start = True
                continue
            if parse_special:
                part = part.replace(GUARD, "")
            if part:
                ids += self._encode_text(part, at_start)
                at_start = False
        return self._with_bos_eos(ids, parse_special) if add_special else ids

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Text of ``ids``. Raises InvalidRequest for an id outside the vocabulary.

        A space that encoding put behind a control token is taken away again; at the very start there is none to
        take away, for ``ids`` may continue a text. Equals what ``stream`` emits.
        """
        stream = self._detokenizer(skip_special)
        return "".join([*map(stream.push, ids), stream.finish()])

    def stream(self, shown: Collection[str] = ()) -> Detokenizer:
        """Decodes one id at a time, control tokens left out, except those that are spelled as in ``shown``."""
        ids = {self.control_tokens[text] for text in shown if text in self.control_tokens}
        if not ids:
            return self._detokenizer(True)
        return Detokenizer(lambda i: self.token_bytes(i, skip_special=i not in ids), self._opens_text)

    def token_bytes(self, token_id: int, *, skip_special: bool = True) -> bytes:
        """The bytes ``token_id`` stands for; none for a control token. Raises InvalidRequest for an unknown id."""
        if skip_special and self.vocabulary.kinds.get(token_id) in _HIDDEN:
            return b""
        data = self._bytes.get(token_id)
        if data is None:
            data = self._bytes[token_id] = self._make_bytes(token_id)
        return data

    def all_bytes(self) -> list[bytes]:
        """The bytes of every token, control tokens spelled out. Made anew each time: tens of MB at the largest."""
        return [self._make_bytes(token_id) for token_id in range(self.n_vocab)]

    def check_ids(self, ids: Iterable[int]) -> None:
        """Raises InvalidRequest for an id outside the vocabulary."""
        for token_id in ids:
            if not isinstance(token_id, int) or not 0 <= token_id < self.n_vocab:
                raise InvalidRequest(f"token id {cut(token_id)} is outside the vocabulary of {self.n_vocab}")

    def piece(self, token_id: int) -> str:
        """The vocabulary's own text. Raises InvalidRequest for an id outside the vocabulary."""
        self.check_ids((token_id,))
        return self.vocabulary.tokens[token_id]

    def _make_bytes(self, token_id: int) -> bytes:
        piece, kind = self.piece(token_id), self.vocabulary.kind(token_id)
        if kind is TokenKind.BYTE:
            value = self.vocabulary.byte_tokens.get(token_id)
            return b"" if value is None else bytes([value])
        if kind in _SPECIAL:
            return piece.encode()
        return self._piece_bytes(piece)

    def _with_bos_eos(self, ids: list[int], parsed: bool) -> list[int]:
        if self.add_bos and self.bos_id is not None and not (parsed and ids[:1] == [self.bos_id]):
            ids = [self.bos_id, *ids]
        if self.add_eos and self.eos_id is not None and not (parsed and ids[-1:] == [self.eos_id]):
            ids = [*ids, self.eos_id]
        return ids

    def _special(self, parse: bool) -> SpecialTokens:
        return self._all_special if parse else self._user_defined

    @cached_property
    def _all_special(self) -> SpecialTokens:
        texts = {**self.vocabulary.user_defined_tokens, **self.vocabulary.control_tokens}
        return SpecialTokens(texts, self.vocabulary.strips_right)

    @cached_property
    def _user_defined(self) -> SpecialTokens:
        return SpecialTokens(self.vocabulary.user_defined_tokens, self.vocabulary.strips_right)

    def _detokenizer(self, skip_special: bool) -> Detokenizer:
        return Detokenizer(lambda token_id: self.token_bytes(token_id, skip_special=skip_special), self._opens_text)

    def _opens_text(self, token_id: int) -> bool:
        return self._puts_space and self.vocabulary.kinds.get(token_id) in _SPECIAL
