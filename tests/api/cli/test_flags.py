"""Values of flags: what is understood, and the texts of what is not."""

import pytest

from gristmill.api.cli import flags
from gristmill.runtime.errors import GristmillError


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("false", False), *((level, level) for level in ("low", "medium", "high", "max"))],
)
def test_think_is_a_boolean_or_a_level(text, value):
    assert flags.parse_think(text) is value


@pytest.mark.parametrize("text", ["", "x", "True", "highest"])
def test_any_other_value_of_think_is_refused(text):
    with pytest.raises(GristmillError) as error:
        flags.parse_think(text)
    assert str(error.value) == (f'invalid value for --think: "{text}" (must be true, false, high, medium, low, or max)')


@pytest.mark.parametrize(("text", "value"), [("", ""), ("json", "json"), ('{"type": "integer"}', {"type": "integer"})])
def test_a_format_is_json_or_a_schema(text, value):
    assert flags.parse_format(text) == value


@pytest.mark.parametrize("text", ["xml", "{", "[]", "1"])
def test_any_other_format_is_refused(text):
    with pytest.raises(GristmillError, match=r"^invalid value for --format: .* \(must be json or the text of a"):
        flags.parse_format(text)


def test_truncate_is_a_boolean():
    assert (flags.parse_truncate("true"), flags.parse_truncate("false")) == (True, False)
    with pytest.raises(GristmillError, match=r'^invalid value for --truncate: "no" \(must be true or false\)$'):
        flags.parse_truncate("no")
