"""Whether a schema has a value that ends. One whose objects must hold themselves has none, and would never stop."""

from __future__ import annotations

from typing import Any

from .limits import references, resolve

_MAX_ROUNDS = 10


def has_finite_value(schema: Any) -> bool:
    """False only where no value can end. ``schema`` is within the limits of ``limits.check_schema``.

    References start as having none; what has one without them is found first, then what needs those. A chain that
    is not done after some rounds counts as having one.
    """
    targets = {reference: resolve(schema, reference) for reference in references(_objects(schema))}
    known = {reference: target is None for reference, target in targets.items()}
    for _ in range(_MAX_ROUNDS):
        memo: dict[int, bool] = {}
        found = [ref for ref, target in targets.items() if not known[ref] and _ends(target, known, memo)]
        known |= dict.fromkeys(found, True)
        if not found:
            return _ends(schema, known, {})
    return True


def _ends(node: Any, known: dict[str, bool], memo: dict[int, bool]) -> bool:
    """Recurses as deep as a schema may be nested."""
    if not isinstance(node, dict):
        return True
    if id(node) not in memo:
        memo[id(node)] = (
            known.get(node.get("$ref", ""), True)
            and all(_ends(part, known, memo) for part in _list(node, "allOf"))
            and all(any(_ends(part, known, memo) for part in _list(node, key) or [True]) for key in ("anyOf", "oneOf"))
            and _content_ends(node, known, memo)
        )
    return memo[id(node)]


def _content_ends(node: dict[str, Any], known: dict[str, bool], memo: dict[int, bool]) -> bool:
    kinds = node.get("type")
    kinds = {kinds} if isinstance(kinds, str) else set(map(str, kinds)) if isinstance(kinds, list) else {"null"}
    if "enum" in node or "const" in node or kinds - {"object", "array"}:
        return True
    if "object" in kinds:
        parts = node.get("properties")
        parts = parts if isinstance(parts, dict) else {}
        if all(_ends(parts.get(name), known, memo) for name in _list(node, "required") if isinstance(name, str)):
            return True
    if "array" in kinds:
        n_items, first = node.get("minItems", 0), _list(node, "prefixItems")
        items = first if isinstance(n_items, float) or n_items <= len(first) else [*first, node.get("items")]
        if all(_ends(item, known, memo) for item in items[: int(n_items)]):
            return True
    return False


def _list(node: dict[str, Any], key: str) -> list[Any]:
    value = node.get(key)
    return value if isinstance(value, list) else []


def _objects(schema: Any) -> list[Any]:
    found = [schema]
    for container in found:  # grows while we look
        values = container.values() if isinstance(container, dict) else container if isinstance(container, list) else ()
        found += [value for value in values if isinstance(value, dict | list)]
    return found
