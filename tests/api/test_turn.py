"""Turns of one and of two runs: what is free stays free, and what a grammar governs is written under it."""

import json

import pytest

from gristmill.api.inference import Run
from gristmill.api.schema import ChatRequest, Tool, ToolFunction
from gristmill.api.service import single_quoted
from gristmill.api.tools import Choice
from gristmill.api.turn import Turn
from gristmill.runtime.chat.output import Call, CallFormat, OutputParser, Parsed, Passthrough
from gristmill.runtime.params import Grammar

WEATHER = Tool(function=ToolFunction(name="weather", parameters={"type": "object"}))
STRICT = Tool(function=ToolFunction(name="weather", parameters={"type": "object"}, strict=True))
FORM = CallFormat(open="<call>\n", close="\n</call>")


class Thinks(OutputParser):
    """Thinking up to "|"; then content, with a tag for calls that it holds back."""

    call_format = FORM
    thinking_end = "|"

    def __init__(self):
        self.thinks, self.text = True, ""

    @property
    def in_thinking(self):
        return self.thinks

    def finish(self):
        return Parsed()

    def feed(self, text):
        thinking, bar, rest = text.partition("|") if self.thinks else ("", "|", text)
        self.thinks = self.thinks and not bar
        content, _, _ = rest.partition("<call>")
        return Parsed(content=content, thinking=thinking)


@pytest.fixture
async def run(api):
    await api.json("/api/generate", {"model": "tiny"})  # loads it
    target = await api.service.find("tiny", single_quoted)

    def make(*scripts, **options):
        api.runners.last.next_scripts = [list(script) for script in scripts]
        return Run(api.service, target, ChatRequest(model="tiny", options=options))

    return make


async def said(turn):
    deltas = [delta async for delta in turn.deltas()]
    assert [bool(delta.last) for delta in deltas] == [False] * (len(deltas) - 1) + [True]
    calls = [call for delta in deltas for call in delta.calls]
    return "".join(d.thinking for d in deltas), "".join(d.content for d in deltas), calls, deltas[-1].last


def submitted(api):
    return [(prompt, sampling.grammar) for prompt, sampling, _ in api.runners.last.prompts]


async def test_one_run_without_grammar(run, api):
    turn = Turn(run(["a", "b|", "c"]), "P", Thinks())
    thinking, content, calls, last = await said(turn)
    assert (thinking, content, calls) == ("ab", "c", [])
    assert last.usage.output_tokens == 3
    assert submitted(api) == [("P", None)]


async def test_thinking_is_free_and_the_content_governed(run, api):
    grammar = Grammar("json")
    turn = Turn(run(["a", "b|wrong"], ["{", "}"], num_predict=10), "P", Thinks(), grammar)
    thinking, content, _, last = await said(turn)
    assert (thinking, content) == ("ab", "{}"), "what begins the content without the grammar is written anew"
    assert submitted(api) == [("P", None), ("Pab|", grammar)]
    assert [sampling.max_tokens for _, sampling, _ in api.runners.last.prompts] == [10, 9]
    assert last.usage.output_tokens == 3
    assert last.usage.prompt_tokens == 2, "the runner saw 3, one of which the model wrote"
    assert api.runners.last.aborted == 1


async def test_a_turn_that_ends_in_thinking_is_asked_for_content_all_the_same(run, api):
    thinking, content, _, _ = await said(Turn(run(["a", "b"], ["{}"]), "P", Thinks(), Grammar("json")))
    assert (thinking, content) == ("ab", "{}")
    assert submitted(api) == [("P", None), ("Pab|", Grammar("json"))]


async def test_without_thinking_the_grammar_counts_from_the_start(run, api):
    await said(Turn(run(["{}"]), "P", Passthrough(), Grammar("json")))
    assert submitted(api) == [("P", Grammar("json"))]


async def test_a_forced_call_is_written_where_the_family_would_write_it(run, api):
    call = '{"name": "weather", "arguments": {"b": 1, "a": 2}}'
    turn = Turn(run(["a|"], [call[:9], call[9:]]), "P", Thinks(), choice=Choice((WEATHER,), forced=True))
    thinking, content, calls, _ = await said(turn)
    assert (thinking, content, calls) == ("a", "", [Call("weather", {"b": 1, "a": 2})])
    (_, free), (prompt, grammar) = submitted(api)
    assert free is None
    assert prompt == "Pa|<call>\n"
    assert json.loads(grammar.text)["properties"]["name"] == {"const": "weather"}


async def test_a_forced_call_of_a_family_without_json_is_json_all_the_same(run, api):
    turn = Turn(run(['{"name":"weather","arguments":{}}']), "P", Passthrough(), choice=Choice((WEATHER,), forced=True))
    assert (await said(turn))[2] == [Call("weather", {})]
    assert submitted(api)[0][0] == "P"


async def test_a_call_that_was_cut_off_is_content(run):
    turn = Turn(run(['{"name":"wea']), "P", Passthrough(), choice=Choice((WEATHER,), forced=True))
    _, content, calls, _ = await said(turn)
    assert (content, calls) == ('{"name":"wea', [])


async def test_strict_arguments_are_governed_from_the_tag_on(run, api):
    scripts = ["t|see ", "here: <call>", "bad"], ['{"name":"weather","arguments":{}}']
    thinking, content, calls, last = await said(Turn(run(*scripts), "P", Thinks(), choice=Choice((STRICT,))))
    assert (thinking, content, calls) == ("t", "see here: ", [Call("weather", {})])
    assert [prompt for prompt, _ in submitted(api)] == ["P", "Pt|see here: <call>\n"]
    assert last.usage.output_tokens == 3


async def test_a_tag_that_is_only_thought_of_opens_no_call(run, api):
    _, content, calls, _ = await said(Turn(run(["I could <call>", "|no"]), "P", Thinks(), choice=Choice((STRICT,))))
    assert (content, calls) == ("no", [])
    assert len(submitted(api)) == 1


@pytest.mark.parametrize(
    ("pieces", "prompts"), [([" ", '{"na'], ["P", "P "]), (["no ", '{"x"}'], ["P"]), (["t|", ' {"'], ["P", "Pt| "])]
)
async def test_without_a_tag_a_call_opens_with_its_bracket(run, api, pieces, prompts):
    class Bare(Thinks):
        call_format = CallFormat(open="", close="")

    parser = Bare()
    parser.thinks = "t|" in pieces
    turn = Turn(run(pieces, ['{"name":"weather","arguments":{}}']), "P", parser, choice=Choice((STRICT,)))
    _, _, calls, _ = await said(turn)
    assert [prompt for prompt, _ in submitted(api)] == prompts
    assert bool(calls) == (len(prompts) == 2)


async def test_strict_tools_that_are_not_called_cost_nothing(run, api):
    _, content, calls, _ = await said(Turn(run(["|no call"]), "P", Thinks(), choice=Choice((STRICT,))))
    assert (content, calls) == ("no call", [])
    assert len(submitted(api)) == 1


async def test_leaving_in_the_middle_aborts_the_run(run, api):
    turn = Turn(run(["a", "b"]), "P", Passthrough())
    deltas = turn.deltas()
    await anext(deltas)
    await deltas.aclose()
    assert api.runners.last.aborted == 1
