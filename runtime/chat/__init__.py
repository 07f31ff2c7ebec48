"""Messages in, prompt text out. Knows templates and their sandbox; knows no tokens, models or HTTP.

The public names load on first use: whoever only marks text, or only asks for a render, need not import Jinja.
"""

import importlib
from typing import Any

__all__ = [
    "GoFacts",
    "GoTemplate",
    "JinjaTemplate",
    "Renderer",
    "TextGuard",
    "chat_data",
    "guard_messages",
    "plain_prompt",
    "prefers_jinja",
    "render_chat",
    "render_go_chat",
    "render_go_generate",
]

_HOME = {
    "GoFacts": ".go_template.inspect",
    "GoTemplate": ".go_template",
    "JinjaTemplate": ".jinja",
    "Renderer": ".renderer",
    "TextGuard": ".guard",
    "chat_data": ".prompt",
    "guard_messages": ".guard",
    "plain_prompt": ".prompt",
    "prefers_jinja": ".preference",
    "render_chat": ".prompt",
    "render_go_chat": ".go_prompt",
    "render_go_generate": ".go_prompt",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gristmill.runtime.chat' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)
