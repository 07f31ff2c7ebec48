"""What a grammar may cost, looked at before anything is compiled. Nothing here recurses over its input.

The compiler recurses over a schema and through its references, and dies of a stack that is too deep. So the depths of
all that is referred to are limited in sum: no path through them is longer.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from ..errors import InvalidRequest, cut

MAX_SCHEMA_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_REFERRED_DEPTH = 1000
MAX_NODES = 50_000
MAX_TEXT = 64 << 10  # of one string in a schema, and of a Lark grammar
MAX_OPTIONAL = 400  # properties of one object; with more, too many could come next
MAX_PATTERN = 4 << 10
MAX_GROUPS = 64
MAX_REPEAT = 1000
MAX_RULES = 1000
MAX_LARK_REFERENCES = 100

_REPEAT = re.compile(r"\{(\d+)(?:,(\d*))?\}")


def check_schema(schema: Any) -> None:
    """Raises InvalidRequest where ``schema`` (JSON values) is over a limit."""
    containers, parents = _containers(schema)
    heights = [1] * len(containers)
    for i in range(len(containers) - 1, 0, -1):
        heights[parents[i]] = max(heights[parents[i]], heights[i] + 1)
    if heights[0] > MAX_DEPTH:
        raise InvalidRequest(f"schema is nested more than {MAX_DEPTH} levels deep")
    for container in containers:
        if isinstance(container, dict):
            _check_keywords(container)
    height_of = {id(container): height for container, height in zip(containers, heights, strict=True)}
    targets = [resolve(schema, reference) for reference in references(containers)]
    if sum(height_of.get(id(target), heights[0]) for target in targets) > MAX_REFERRED_DEPTH:
        raise InvalidRequest(
            f'schema: the depths of all that "$ref" refers to add up to more than {MAX_REFERRED_DEPTH} levels'
        )


def check_pattern(pattern: str) -> None:
    """Raises InvalidRequest for a regular expression that is over a limit."""
    if len(pattern) > MAX_PATTERN:
        raise InvalidRequest(f"pattern of {len(pattern)} characters is over the limit of {MAX_PATTERN}")
    depth = deepest = 0
    for char in re.sub(r"\\.", "", pattern, flags=re.DOTALL):
        depth += (char == "(") - (char == ")")
        deepest = max(deepest, depth)
    if deepest > MAX_GROUPS:
        raise InvalidRequest(f"pattern has groups nested more than {MAX_GROUPS} deep")
    for low, high in _REPEAT.findall(pattern):
        if max(len(low), len(high)) > len(str(MAX_REPEAT)) or max(int(low), int(high or 0)) > MAX_REPEAT:
            raise InvalidRequest(f"pattern {cut(pattern, 40)} repeats more than {MAX_REPEAT} times")


def check_lark(text: str) -> None:
    """Raises InvalidRequest for a Lark grammar that is over a limit."""
    if len(text) > MAX_TEXT:
        raise InvalidRequest(f"grammar of {len(text)} characters is over the limit of {MAX_TEXT}")
    if "%llguidance" in text:
        raise InvalidRequest("grammar: the statement %llguidance is not supported")
    if text.count(":") > MAX_RULES:
        raise InvalidRequest(f"grammar has more than {MAX_RULES} rules")
    if text.count("ref") > MAX_LARK_REFERENCES and "%json" in text:
        raise InvalidRequest(f'grammar has schemas with more than {MAX_LARK_REFERENCES} "$ref"')
    for low, high in _REPEAT.findall(text):
        if max(len(low), len(high)) > len(str(MAX_REPEAT)) or max(int(low), int(high or 0)) > MAX_REPEAT:
            raise InvalidRequest(f"grammar repeats something more than {MAX_REPEAT} times")


def references(containers: list[Any]) -> set[str]:
    """What the ``$ref`` among these objects refer to."""
    found = (container.get("$ref") for container in containers if isinstance(container, dict))
    return {reference for reference in found if isinstance(reference, str)}


def resolve(schema: Any, reference: str) -> Any:
    """The part of ``schema`` that a reference like ``#/$defs/name`` means; None where it is not in there."""
    if reference == "#":
        return schema
    if not reference.startswith("#/"):
        return None
    node = schema
    for part in unquote(reference[2:]).split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and key.isdecimal() and len(key) < 6 and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return node


def _containers(schema: Any) -> tuple[list[Any], list[int]]:
    """All objects and arrays in ``schema``, the outer ones first, and the index of what each is in."""
    containers, parents, n_nodes = [schema], [0], 1
    for i, container in enumerate(containers):  # grows while we look
        values = container.values() if isinstance(container, dict) else container if isinstance(container, list) else ()
        n_nodes += len(values)
        if n_nodes > MAX_NODES:
            raise InvalidRequest(f"schema has more than {MAX_NODES} values")
        for value in values:
            if isinstance(value, dict | list):
                containers.append(value)
                parents.append(i)
            elif isinstance(value, str) and len(value) > MAX_TEXT:
                raise InvalidRequest(f"schema has a string of more than {MAX_TEXT} characters")
    return containers, parents


def _check_keywords(container: dict[str, Any]) -> None:
    properties, required = container.get("properties"), container.get("required")
    needed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    fewest = container.get("minProperties")
    if isinstance(fewest, int) and fewest > max(1, len(needed)):  # the same name twice would count as two
        raise InvalidRequest('keyword "minProperties" is not supported beyond the number of required properties')
    if isinstance(properties, dict) and len(properties.keys() - needed) > MAX_OPTIONAL:
        raise InvalidRequest(f'schema: "properties" has more than {MAX_OPTIONAL} names that are not in "required"')
    if isinstance(container.get("pattern"), str):
        check_pattern(container["pattern"])
    if isinstance(container.get("patternProperties"), dict):
        for pattern in container["patternProperties"]:
            check_pattern(pattern)
