"""Sizes, times, numbers and tables, to the letter."""

from datetime import UTC, datetime, timedelta

import pytest

from gristmill.api.cli import human

NOW = datetime(2026, 8, 21, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1500, "1.5 KB"),
        (999_949, "999 KB"),
        (2_000_000_000, "2 GB"),
        (2_019_393_189, "2.0 GB"),
        (9_960_000_000, "10.0 GB"),
        (13_900_000_000, "13 GB"),
        (1_200_000_000_000, "1.2 TB"),
    ],
)
def test_sizes_are_decimal_with_one_digit_below_ten(n_bytes, text):
    assert human.size(n_bytes) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [(7_241_732_096, "7.2B"), (133_700_000, "133.70M"), (512, "512"), (22_000, "22K")],
)
def test_parameter_counts_are_short(n, text):
    assert human.parameter_count(n) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (125, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5399, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_spans_use_their_largest_unit(seconds, text):
    assert human.span(seconds) == text


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (timedelta(minutes=-5), "5 minutes ago"),
        (timedelta(minutes=4, seconds=30), "4 minutes from now"),
        (timedelta(days=292 * 365), "Forever"),
    ],
)
def test_times_are_relative_to_now(ahead, text):
    assert human.relative_time(NOW + ahead, NOW) == text


def test_no_time_is_never():
    assert human.relative_time(human.parse_time("0001-01-01T00:00:00Z"), NOW) == "Never"


def test_times_are_read_with_nine_digits_and_an_offset():
    time = human.parse_time("2026-08-21T12:00:00.123456789+02:00")
    assert time == datetime(2026, 8, 21, 10, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (30, "30"),
        (0.00001, "1e-05"),
        (1e-4, "0.0001"),
        (131072, "131072"),
        (1_000_000, "1e+06"),
        (134_515_008, "1.34515008e+08"),
        (-2.5, "-2.5"),
    ],
)
def test_numbers_are_written_as_go_does(value, text):
    assert human.go_number(value) == text


def test_every_cell_of_a_table_is_padded_the_last_one_too():
    assert human.table(["NAME", "ID"], [["a-long-name", "1"], ["b", "123"]]) == (
        "NAME           ID     \na-long-name    1      \nb              123    \n"
    )


def test_a_table_without_rows_is_its_header():
    assert human.table(["NAME", "ID"], []) == "NAME    ID    \n"
