"""A model's runner for one request, with what the manager must know before it loads one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from .manager import Lease
from .memory import Demand, demand, draft_bytes, projector_bytes, states_bytes
from .options import load_options
from .service import Service, Target

__all__ = ["leased"]


@contextlib.asynccontextmanager
async def leased(
    service: Service, target: Target, options: Mapping[str, Any], keep_alive_s: float | None, client: str
) -> AsyncIterator[Lease]:
    """The runner of ``target``, loaded with ``options``, while it is used. Raises what ``Manager.lease`` does."""
    model = target.model
    load = load_options(options, service.settings, target.facts.context_length, model.draft_path, model.projector_path)
    async with service.manager.lease(
        model.model_path,
        model.name.short,
        load,
        keep_alive_s,
        demand=await _demand(service, target, load.num_ctx),
        client=client,
        variant=tuple(model.adapter_paths),
    ) as lease:
        yield lease


async def _demand(service: Service, target: Target, num_ctx: int) -> Demand:
    facts, kv_type = target.facts, service.settings.kv_cache_type
    needed = demand(facts.weight_bytes, facts.cache_elements, kv_type)
    if facts.state_elements:
        states = states_bytes(facts.state_elements, service.settings.n_slots)
        needed = replace(needed, fixed=needed.fixed + states)
    if target.model.projector_path is not None:
        projector = await asyncio.to_thread(target.model.projector_header)
        needed = replace(needed, fixed=needed.fixed + (projector_bytes(projector) if projector else 0))
    if target.model.draft_path is None:
        return needed
    draft = await asyncio.to_thread(target.model.draft_facts)
    more = draft_bytes(draft.weight_bytes, draft.cache_elements, kv_type, num_ctx)
    return replace(needed, fixed=needed.fixed + more)
