"""From a text to the token ids that are embedded. Rules and messages are Ollama's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import InvalidRequest, PromptTooLong

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

TOO_LONG = "the input length exceeds the context length"
NO_ROOM = "input after truncation exceeds maximum context length"


class EmbeddingInput:
    """Makes token ids for a context of ``n_ctx`` tokens. Any thread may use it."""

    def __init__(self, tokenizer: Tokenizer, n_ctx: int):
        self.tokenizer, self.n_ctx = tokenizer, n_ctx

    def __call__(self, value: str | Sequence[int], *, truncate: bool) -> list[int]:
        """Ids of a text, with the special tokens that the model wants, or ids as they are; 1 to ``n_ctx`` of them.

        Raises PromptTooLong for too many, unless ``truncate`` keeps the first; InvalidRequest for none, and for ids
        outside the vocabulary.
        """
        if isinstance(value, str):
            return self._cut(self.tokenizer.encode(value, add_special=True, parse_special=True), truncate, is_text=True)
        ids = list(value)
        self.tokenizer.check_ids(ids)
        return self._cut(ids, truncate, is_text=False)

    def pair(self, query: str, document: str, *, truncate: bool) -> list[int]:
        """What a reranking model is shown: BOS, ``query``, EOS, ``document``, EOS, as far as the model wants them.

        To BERT and its kind these are [CLS] and [SEP]. Raises PromptTooLong where both do not fit; ``truncate`` cuts
        the document, as long as the query leaves room for it.
        """
        t = self.tokenizer
        end = _wanted(t.add_eos, t.eos_id)
        first = _wanted(t.add_bos, t.bos_id) + self._plain(query) + end
        second = self._plain(document)
        room = self.n_ctx - len(first) - len(end)
        if room < min(1, len(second)) or (len(second) > room and not truncate):
            raise PromptTooLong(TOO_LONG)
        return first + second[:room] + end

    def _plain(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special=False, parse_special=False)

    def _cut(self, ids: list[int], truncate: bool, *, is_text: bool) -> list[int]:
        if not ids:
            raise InvalidRequest("input is empty: there is no token to embed")
        if len(ids) <= self.n_ctx:
            return ids
        if not truncate:
            raise PromptTooLong(TOO_LONG)
        t = self.tokenizer
        first = [ids[0]] if is_text and t.add_bos and ids[0] == t.bos_id else []
        last = [ids[-1]] if is_text and t.add_eos and ids[-1] == t.eos_id else []
        if len(first) + len(last) >= self.n_ctx:
            raise InvalidRequest(NO_ROOM)
        return ids[: self.n_ctx - len(last)] + last


def _wanted(is_wanted: bool, token_id: int | None) -> list[int]:
    return [token_id] if is_wanted and token_id is not None else []
