"""Named server-sent events, as the Responses API and Anthropic's Messages API send them."""

from __future__ import annotations

import json
from typing import Any


async def sent_events(api: Any, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The data of all events of a stream; each has the name that its ``type`` says."""
    async with api.client.post(path, data=json.dumps({**body, "stream": True})) as response:
        text = (await response.read()).decode()
        assert (response.status, response.content_type) == (200, "text/event-stream"), text
        assert response.headers["Cache-Control"] == "no-cache"
    *blocks, rest = text.split("\n\n")
    assert rest == ""
    return [_event(block) for block in blocks]


def _event(block: str) -> dict[str, Any]:
    name, data = block.split("\n")
    event = json.loads(data.removeprefix("data: "))
    assert name == f"event: {event['type']}"
    return event
