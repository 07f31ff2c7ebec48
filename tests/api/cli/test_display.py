"""How an answer looks: thinking, text, tool calls; on a terminal and in a pipe."""

import io

import pytest

from gristmill.api.cli.display import Display, Part, call_text


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


CALL = {"function": {"name": "get_weather", "arguments": {"city": "Köln", "days": 2, "units": None}}}


def shown(*parts, stream=None, **options):
    stream = stream or io.StringIO()
    display = Display(stream, wrap=True, **options)
    for part in parts:
        display.push(part)
    display.finish()
    return stream.getvalue()


def test_text_alone_is_as_it_comes():
    assert shown(Part("Hel"), Part("lo")) == "Hello"


@pytest.mark.parametrize("thought", ["Let me see.", "Let me see.\n"])
def test_thinking_stands_between_its_marks(thought):
    assert shown(Part(thinking=thought[:5]), Part(thinking=thought[5:]), Part("42")) == (
        "Thinking...\nLet me see.\n...done thinking.\n\n42"
    )


def test_thinking_and_text_in_one_part():
    assert shown(Part("42", thinking="Hm.")) == "Thinking...\nHm.\n...done thinking.\n\n42"


def test_thinking_is_grey_on_a_terminal():
    assert shown(Part(thinking="Hm."), Part("42"), stream=FakeTerminal()) == (
        "\x1b[90mThinking...\nHm.\n...done thinking.\n\n\x1b[0m42"
    )


def test_thinking_that_is_cut_off_leaves_no_colour():
    assert shown(Part(thinking="Hm, wel"), stream=FakeTerminal()) == "\x1b[90mThinking...\nHm, wel\x1b[0m"
    assert shown(Part(thinking="Hm, wel")) == "Thinking...\nHm, wel"


def test_hidden_thinking_leaves_nothing():
    assert shown(Part(thinking="Hm."), Part("42"), hides_thinking=True) == "42"


def test_hidden_thinking_is_not_there_to_see():
    display = Display(io.StringIO(), wrap=True, hides_thinking=True)
    display.push(Part(thinking="Hm."))
    assert not display.has_shown
    display.push(Part("42"))
    assert display.has_shown


def test_a_tool_call_is_a_line_of_its_own():
    assert shown(Part("I look.", tool_calls=[CALL, CALL])) == (
        'I look.\nTool call: get_weather(city="Köln", days=2, units=null)'
        '\nTool call: get_weather(city="Köln", days=2, units=null)'
    )


def test_a_tool_call_ends_the_thinking_and_is_grey():
    call = {"function": {"name": "now", "arguments": {}}}
    assert shown(Part(thinking="Hm."), Part(tool_calls=[call]), stream=FakeTerminal()) == (
        "\x1b[90mThinking...\nHm.\n...done thinking.\n\n\x1b[0m\x1b[90mTool call: now()\x1b[0m"
    )


def test_text_behind_a_tool_call_begins_a_line():
    call = {"function": {"name": "now", "arguments": {}}}
    assert shown(Part(tool_calls=[call]), Part("It is "), Part("late.")) == "Tool call: now()\nIt is late."


def test_nothing_in_it_can_move_the_cursor():
    call = {"function": {"name": "a\x1b[2Jb"}}
    out = shown(Part("x\x1b[1m", thinking="y\x1b[2J", tool_calls=[call]), stream=FakeTerminal())
    assert out.replace("\x1b[90m", "").replace("\x1b[0m", "").count("\x1b") == 0


def test_a_call_without_arguments():
    assert call_text({"function": {"name": "f"}}) == "f()"
    assert call_text({}) == "()"
