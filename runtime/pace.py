"""How much of prompts may share a step with running streams. Knows no sequences and no tensors."""

from __future__ import annotations

PATIENCE = 2.5  # what a step may take, in steps that only decode
LONGEST_S = 1.0  # what it may take in any case: so soon an abort is seen, and a newcomer
FIRST_GUESS = 64
LEAST = 16
_WEIGHT = 0.2


class Pace:
    """Learns from steps how long decoding and a prompt's token take, and keeps steps short and even.

    A stream that decodes waits for a newcomer's prompt at most ``PATIENCE`` times as long as for its own token. Only
    time depends on what is learned here, never a result.
    """

    def __init__(self) -> None:
        self._decode: dict[int, float] = {}  # seconds of a step, by the number of sequences that decode
        self._token = 0.0  # seconds of one token of a prompt

    def observe(self, n_decoding: int, n_prompt: int, seconds: float) -> None:
        """A step of ``n_decoding`` sequences and ``n_prompt`` tokens of prompts took ``seconds``."""
        if not n_prompt:
            self._decode[n_decoding] = _blend(self._decode.get(n_decoding, 0.0), seconds)
        elif n_prompt >= LEAST:
            spent = seconds - (self._decode_time(n_decoding) if n_decoding else 0.0)
            self._token = _blend(self._token, max(spent, seconds / 4) / n_prompt)

    def prompt_tokens(self, n_decoding: int) -> int:
        """How many tokens of prompts a step may take on beside ``n_decoding`` sequences, at least ``LEAST``."""
        if not self._token:
            return FIRST_GUESS
        seconds = LONGEST_S
        if n_decoding:
            decode = self._decode_time(n_decoding)
            seconds = min(seconds, (PATIENCE - 1) * decode) if decode else FIRST_GUESS * self._token
        return max(LEAST, int(seconds / self._token))

    def _decode_time(self, n: int) -> float:
        """Of a step with ``n`` sequences, or with the nearest number that has been seen."""
        if n in self._decode or not self._decode:
            return self._decode.get(n, 0.0)
        return self._decode[min(self._decode, key=lambda seen: abs(seen - n))]


def _blend(old: float, new: float) -> float:
    return old + _WEIGHT * (new - old) if old else new
