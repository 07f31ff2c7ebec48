"""The process that templates are rendered in: ``python -m gristmill.runtime.chat.worker MEMORY_BYTES``.

Reads jobs from standard input until that ends, writes answers to standard output. It may be killed at any time,
and a template may make it die. Starts quickly: it imports Jinja and msgspec, no torch, numpy or aiohttp.
"""

from __future__ import annotations

import functools

import msgspec

from ..errors import TemplateError
from ..killable.inside import deadline, limit_resources, run, serve
from .jinja import JinjaTemplate
from .wire import Answer, Job

N_COMPILED = 32


def main(memory_bytes: int) -> None:
    """Serves jobs until standard input ends."""
    limit_resources(memory_bytes)
    compiled = functools.lru_cache(N_COMPILED)(JinjaTemplate)
    jobs = msgspec.json.Decoder(Job)

    def answer(body: bytes) -> Answer:
        job = jobs.decode(body)
        with deadline(job.timeout_s):
            try:
                return Answer(text=compiled(job.source).render_json(job.data))
            except TemplateError as error:
                return Answer(error=str(error))

    serve(answer)


if __name__ == "__main__":
    run(main)
