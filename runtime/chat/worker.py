"""The process that templates are rendered in: ``python -m gristmill.runtime.chat.worker MEMORY_BYTES``.

Reads jobs from standard input until that ends, writes answers to standard output. It may be killed at any time,
and a template may make it die. Starts quickly: it imports Jinja and msgspec, no torch, numpy or aiohttp.
"""

from __future__ import annotations

import functools

import msgspec

from ..errors import TemplateError
from ..killable.inside import deadline, limit_resources, run, serve
from .detect import detect
from .go_chat import GoPrompts
from .go_template import GoTemplate
from .go_template.inspect import facts
from .jinja import JinjaTemplate
from .wire import Answer, GoRequest, Job, ProbeTokens

N_COMPILED = 32  # of each dialect


class Tasks:
    """Does jobs, and keeps the last templates compiled. All raise TemplateError."""

    def __init__(self) -> None:
        self._jinja = functools.lru_cache(N_COMPILED)(JinjaTemplate)
        self._go = functools.lru_cache(N_COMPILED)(GoPrompts)
        self._requests: msgspec.json.Decoder[GoRequest] = msgspec.json.Decoder(GoRequest)

    def run(self, job: Job) -> str:
        match job.task:
            case "jinja":
                return self._jinja(job.source).render_json(job.data)
            case "go":
                return self._go(job.source).prompt(self._requests.decode(job.data), len(memoryview(job.data)))
            case "inspect":
                return msgspec.json.encode(facts(GoTemplate(job.source).tree)).decode()
            case "detect":
                tokens = msgspec.json.decode(job.data, type=ProbeTokens)
                return msgspec.json.encode(detect(job.source, bos_token=tokens.bos, eos_token=tokens.eos)).decode()


def main(memory_bytes: int) -> None:
    """Serves jobs until standard input ends."""
    limit_resources(memory_bytes)
    tasks = Tasks()
    jobs = msgspec.json.Decoder(Job)

    def answer(body: bytes) -> Answer:
        job = jobs.decode(body)
        with deadline(job.timeout_s):
            try:
                return Answer(text=tasks.run(job))
            except TemplateError as error:
                return Answer(error=str(error))

    serve(answer)


if __name__ == "__main__":
    run(main)
