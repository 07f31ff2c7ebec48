"""Anthropic's Messages API as translation: a request becomes a native one, native lines become blocks and events.

See docs/anthropic.md.
"""
