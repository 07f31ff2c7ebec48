"""Reading what a model says: its text, as it comes, becomes content, thinking and tool calls."""

from .base import Call, CallFormat, OutputParser, Parsed, Passthrough

__all__ = ["Call", "CallFormat", "OutputParser", "Parsed", "Passthrough"]
