"""Go's durations and Ollama's keep_alive."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.api.durations import FOREVER, format_duration, parse_duration, parse_keep_alive
from gristmill.runtime.errors import InvalidRequest

S = 10**9


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("+0", 0),
        ("-0", 0),
        ("0s", 0),
        ("5m", 300 * S),
        ("1h30m", 5400 * S),
        ("300ms", 300_000_000),
        ("1.5s", 1_500_000_000),
        (".5s", 500_000_000),
        ("1.s", S),
        ("-1m", -60 * S),
        ("1us2ns", 1002),
        ("3µs", 3000),
        ("3μs", 3000),
        ("9223372036854775807ns", 2**63 - 1),
    ],
)
def test_durations_are_read(text, ns):
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", 'time: invalid duration ""'),
        ("abc", 'time: invalid duration "abc"'),
        ("-", 'time: invalid duration "-"'),
        (".s", 'time: invalid duration ".s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("-1", 'time: missing unit in duration "-1"'),
        ("1h5", 'time: missing unit in duration "1h5"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        ("1 s", 'time: unknown unit " s" in duration "1 s"'),
        ("1s ", 'time: unknown unit "s " in duration "1s "'),
        ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
        ("1s\n", 'time: unknown unit "s\\n" in duration "1s\\n"'),
        ("٣s", 'time: invalid duration "\\u0663s"'),
    ],
)
def test_what_is_no_duration_is_refused(text, error):
    with pytest.raises(InvalidRequest) as caught:
        parse_duration(text)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (245_000_000_000, "4m5s"),
        (5_400_000_000_000, "1h30m0s"),
        (3_600_000_000_001, "1h0m0.000000001s"),
        (-1_500_000_000, "-1.5s"),
        (2**63 - 1, "2562047h47m16.854775807s"),
    ],
)
def test_durations_are_written_as_go_does(ns, text):
    assert format_duration(ns) == text


@settings(deadline=None)
@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_written_durations_are_read_again(ns):
    assert parse_duration(format_duration(ns)) == ns


@settings(deadline=None)
@given(st.text(st.sampled_from("0123456789.+-hmsnuµ x"), max_size=300))
def test_any_text_is_a_duration_or_refused(text):
    try:
        ns, error = parse_duration(text), "time: "
    except InvalidRequest as refused:
        ns, error = 0, str(refused)
    assert abs(ns) < 2**63
    assert error.startswith("time: ")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (0, 0),
        (5, 5),
        (0.5, 0.5),
        (-1, FOREVER),
        (-0.001, FOREVER),
        (1e300, FOREVER),
        ("10s", 10),
        ("0", 0),
        ("0s", 0),
        ("-1m", FOREVER),
        ("1h30m", 5400),
    ],
)
def test_keep_alive(value, seconds):
    assert parse_keep_alive(value) == seconds


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("5", 'time: missing unit in duration "5"'),
        ("-1", 'time: missing unit in duration "-1"'),
        ("abc", 'time: invalid duration "abc"'),
        (True, "Unsupported type: 'bool'"),
        ({}, "Unsupported type: 'map[string]interface {}'"),
        ([], "Unsupported type: '[]interface {}'"),
        (math.nan, "keep_alive is not a number"),
    ],
)
def test_wrong_keep_alive(value, error):
    with pytest.raises(InvalidRequest) as caught:
        parse_keep_alive(value)
    assert str(caught.value) == error
