"""The tools of a request, as far as reading calls needs them. Their schemas are the client's: nothing is trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Declared:
    """``tools`` as the native API has them: {"type": "function", "function": {"name": .., "parameters": {..}}}."""

    def __init__(self, tools: Sequence[Mapping[str, Any]] = ()) -> None:
        self._parameters: dict[str, Mapping[str, Any]] = {}
        for tool in tools:
            function = _mapping(_mapping(tool).get("function"))
            name = function.get("name")
            if isinstance(name, str) and name:
                self._parameters.setdefault(name, _mapping(function.get("parameters")))

    def __contains__(self, name: str) -> bool:
        return name in self._parameters

    def __bool__(self) -> bool:
        return bool(self._parameters)

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the request."""
        return tuple(self._parameters)

    def types(self, name: str, key: str) -> tuple[str, ...]:
        """The JSON types that argument ``key`` of tool ``name`` may have, of all cases of an ``anyOf``."""
        properties = _mapping(self._parameters.get(name, {}).get("properties"))
        schema = _mapping(properties.get(key))
        cases = schema.get("anyOf")
        schemas = [_mapping(case) for case in cases] if isinstance(cases, list) and cases else [schema]
        return tuple(kind for case in schemas for kind in _types(case.get("type")))

    def required(self, name: str) -> tuple[str, ...]:
        """The arguments that tool ``name`` must have."""
        required = self._parameters.get(name, {}).get("required")
        return tuple(_types(required))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _types(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        yield from (item for item in value if isinstance(item, str))
