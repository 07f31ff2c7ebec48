"""Random JSON schemas whose values are short, as a hypothesis strategy."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]

NAMES = st.text(st.sampled_from('abcxyz_ -"\\/é語🙂'), min_size=1, max_size=4)
_LEAVES = st.one_of(
    st.builds(lambda n: {"type": "string", "maxLength": n}, st.integers(0, 5)),
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
        st.integers(-1000, 1000),
        st.integers(0, 500),
    ),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["null", "boolean"]}]),
    st.sampled_from(["^[a-f]{2,4}$", "^(ja|nein)?$", "^\\d{1,3}-x$"]).map(lambda p: {"type": "string", "pattern": p}),
    st.builds(
        lambda values: {"enum": values},
        st.lists(st.one_of(NAMES, st.integers(-99, 99), st.booleans(), st.none()), min_size=1, max_size=4),
    ),
    NAMES.map(lambda value: {"const": value}),
)


def _arrays(children: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.builds(
        lambda items, low, span: {"type": "array", "items": items, "minItems": low, "maxItems": low + span},
        children,
        st.integers(0, 2),
        st.integers(0, 1),
    )


def _objects(children: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    def build(properties: dict[str, Schema], n_required: int) -> Schema:
        required = list(properties)[:n_required]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    return st.builds(build, st.dictionaries(NAMES, children, max_size=3), st.integers(0, 3))


def schemas() -> st.SearchStrategy[Schema]:
    """Of every keyword that people use most; each has a value, and all its values are short."""
    either = st.lists(_LEAVES, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts})
    return st.recursive(_LEAVES | either, lambda children: _arrays(children) | _objects(children), max_leaves=4)
