"""Go's text/template: the language of an Ollama model's TEMPLATE. Knows no messages and no roles.

    lexer -> parser, pipelines -> nodes -> evaluator, expressions -> functions -> formatting, json_text, escaping

Raises TemplateError for whatever a source or its data do wrong.
"""

from .template import GoTemplate

__all__ = ["GoTemplate"]
