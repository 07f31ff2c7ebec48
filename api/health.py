"""GET /api/health: the server lives. GET /api/health/ready: it could serve a request now, or why not.

Liveness asks nothing of anybody, so that it answers whatever else is stuck.
"""

from __future__ import annotations

import time

from aiohttp import web

from .output import json_response
from .service import SERVICE

__all__ = ["health", "ready"]


async def health(request: web.Request) -> web.Response:
    """200 for as long as the event loop answers; ``uptime`` is seconds."""
    uptime = time.monotonic() - request.app[SERVICE].started_at
    return json_response({"status": "ok", "uptime": round(uptime, 3)})


async def ready(request: web.Request) -> web.Response:
    """200, or 503 with ``reasons``."""
    reasons = await request.app[SERVICE].readiness.reasons()
    if not reasons:
        return json_response({"status": "ready"})
    response = json_response({"status": "not ready", "reasons": reasons}, 503)
    response.headers["Retry-After"] = "1"
    return response
