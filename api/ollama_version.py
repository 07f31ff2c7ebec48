"""The version of Ollama whose API this is: clients compare it before they use newer parts."""

from __future__ import annotations

__all__ = ["OLLAMA_VERSION"]

OLLAMA_VERSION = "0.33.0"
