"""What Ollama's cloud would answer: accounts, searches, recommendations. There is none here, and it says so."""

from __future__ import annotations

from aiohttp import web

from .output import json_response

__all__ = ["recommendations", "unauthorized", "web_fetch", "web_search"]


async def unauthorized(request: web.Request) -> web.Response:
    """POST /api/me, /api/signout: nobody is ever signed in."""
    return json_response({"error": "unauthorized"}, 401)


async def web_search(request: web.Request) -> web.Response:
    """POST /api/experimental/web_search"""
    return json_response({"error": "ollama cloud is disabled: web search is unavailable"}, 403)


async def web_fetch(request: web.Request) -> web.Response:
    """POST /api/experimental/web_fetch"""
    return json_response({"error": "ollama cloud is disabled: web fetch is unavailable"}, 403)


async def recommendations(request: web.Request) -> web.Response:
    """GET /api/experimental/model-recommendations"""
    return json_response({"recommendations": []})
