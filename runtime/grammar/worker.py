"""The process that grammars are tried in: ``python -m gristmill.runtime.grammar.worker MEMORY_BYTES``.

Compiling can take minutes and gigabytes for a few hundred bytes that mean harm, and cannot be interrupted. So each
grammar is compiled here first, for a small vocabulary, and some output is drawn from it. Imports llguidance and
msgspec, no torch, numpy or aiohttp.
"""

from __future__ import annotations

import msgspec

from ..errors import InvalidRequest
from ..killable.inside import deadline, limit_resources, run, serve
from .source import compile_grammar, try_grammar
from .vocabulary import trial_tokenizer
from .wire import Answer, Job


def main(memory_bytes: int) -> None:
    """Serves jobs until standard input ends."""
    limit_resources(memory_bytes)
    tokenizer, jobs = trial_tokenizer(), msgspec.json.Decoder(Job)

    def answer(body: bytes) -> Answer:
        job = jobs.decode(body)
        with deadline(job.timeout_s):
            try:
                try_grammar(compile_grammar(tokenizer, job.grammar))
            except InvalidRequest as error:
                return Answer(error=str(error))
            return Answer()

    serve(answer)


if __name__ == "__main__":
    run(main)
