"""A template for a model that comes as a file: the known family whose prompts are the file's own.

Clients that show or change a model's template know Go templates; and a family's stop texts come with it.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from gristmill.runtime.chat.families import Family
from gristmill.runtime.errors import GristmillError, TemplateError

from .schema import CreateRequest
from .service import Service
from .store.digests import parse_digest
from .store.facts import ModelFacts

__all__ = ["with_detected_template"]

log = logging.getLogger(__name__)


async def with_detected_template(service: Service, request: CreateRequest) -> tuple[CreateRequest, str]:
    """``request`` with template and stop texts of the family, and its name; unchanged and "" where there is none."""
    if request.from_ or request.template or not request.files:
        return request, ""
    facts = await asyncio.to_thread(_weights_facts, service, request)
    if facts is None or not facts.chat_template:
        return request, ""
    family = await _detect(service, facts)
    if family is None:
        return request, ""
    parameters = {"stop": list(family.stop), **request.parameters} if family.stop else request.parameters
    return msgspec.structs.replace(request, template=family.template, parameters=parameters), family.name


def _weights_facts(service: Service, request: CreateRequest) -> ModelFacts | None:
    """Of the file that is a model. What is wrong with files, creating says in its own order."""
    for digest in request.files.values():
        try:
            facts = service.store.facts(parse_digest(digest))
        except (GristmillError, OSError):
            continue
        if facts.chat_template:
            return facts
    return None


async def _detect(service: Service, facts: ModelFacts) -> Family | None:
    assert facts.chat_template is not None
    try:
        return await service.renderer.detect(
            facts.chat_template, bos_token=facts.bos_token or "", eos_token=facts.eos_token or ""
        )
    except TemplateError as error:
        log.warning("no template could be looked for: %s", error)
        return None
