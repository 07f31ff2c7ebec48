"""What each family writes, and what becomes of it. Each text is read in pieces of several sizes, with one result."""

from __future__ import annotations

import pytest
from support.outputs import content, cut_up, feed, read, thought, weather

from gristmill.runtime.chat.output import Call, Parsed, make_parser
from gristmill.runtime.chat.output.reader import MAX_CALL
from gristmill.runtime.errors import OutputError

QWEN = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}\n</tool_call>'
XML = (
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
    "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>"
)
GLM = (
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
    "<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>"
)
DEEPSEEK_CALL = '<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris", "days": 2}<｜tool▁call▁end｜>'
DEEPSEEK = f"<｜tool▁calls▁begin｜>{DEEPSEEK_CALL}<｜tool▁calls▁end｜>"
COGITO = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"
    '```json\n{"city": "Paris", "days": 2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
)
GEMMA4 = '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:2}<tool_call|>'
FUNCTIONGEMMA = "<start_function_call>call:get_weather{city:<escape>Paris<escape>,days:2}<end_function_call>"
OLMO = '<function_calls>\nget_weather(city="Paris", days=2)\n</function_calls>'
LFM2 = "<|tool_call_start|>[get_weather(city='Paris', days=2)]<|tool_call_end|>"
MINISTRAL = '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris", "days": 2}'
COHERE = (
    '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "get_weather", '
    '"parameters": {"city": "Paris", "days": 2}}]<|END_ACTION|>'
)
CALLS = {
    "qwen3": QWEN,
    "qwen3-vl-instruct": QWEN,
    "qwen3-coder": XML,
    "deepseek3": DEEPSEEK,
    "cogito": COGITO,
    "glm-ocr": GLM,
    "laguna": GLM,
    "poolside-v1": GLM,
    "gemma4": GEMMA4,
    "gemma4-no-thinking": GEMMA4,
    "functiongemma": FUNCTIONGEMMA,
    "olmo3": OLMO,
    "lfm2": LFM2,
    "lfm2-thinking": LFM2,
    "ministral": MINISTRAL,
}
THINKERS = {
    "qwen3-thinking": QWEN,
    "qwen3-vl-thinking": QWEN,
    "qwen3.5": XML,
    "ornith": XML,
    "nemotron-3-nano": XML,
    "nemotron-3.5-nano": XML,
    "glm-4.7": GLM,
}
STRICT = {"qwen3": QWEN, "qwen3-vl-instruct": QWEN, "qwen3-coder": XML, "glm-ocr": GLM, "laguna": GLM, **THINKERS}
DROPPING = {name: call for name, call in CALLS.items() if name not in {*STRICT, "ministral", "poolside-v1"}}
PARIS = weather(city="Paris", days=2)
ALL = sorted({*CALLS, *THINKERS, "olmo3-think", "cohere", "passthrough"})


@pytest.mark.parametrize("name", ALL)
def test_plain_text_is_content(name):
    assert read(name, "Hello, 1 < 2 [x] {y}.", prefill="content", think=False) == content("Hello, 1 < 2 [x] {y}.")
    assert read(name, "", prefill="content", think=False) == Parsed()


@pytest.mark.parametrize("name", sorted(set(ALL) - {"passthrough"}))
def test_what_may_become_a_tag_is_text_if_the_answer_ends_there(name):
    assert read(name, "1 <", prefill="content", think=False) == content("1 <")


@pytest.mark.parametrize(("name", "call"), CALLS.items())
def test_calls_stand_between_content(name, call):
    assert read(name, call, think=False) == Parsed(calls=(PARIS,))
    assert read(name, f"Let me see.\n\n{call}", think=False) == Parsed("Let me see.", calls=(PARIS,))
    assert read(name, f"A {call}\n{call}\n\nB\n", think=False) == Parsed("AB", calls=(PARIS, PARIS))
    assert list(PARIS.arguments) == list(read(name, call, think=False).calls[0].arguments)


@pytest.mark.parametrize(("name", "call"), THINKERS.items())
def test_thinking_comes_before_content(name, call):
    assert read(name, "Hm, hm.\n</think>\n\nHello.") == thought("Hm, hm.", "Hello.")
    assert read(name, f"<think>\nHm.\n</think>\n\nHello.\n{call}\n") == thought("Hm.", "Hello.", PARIS)
    assert read(name, "Hm. <thi") == thought("Hm. <thi")
    assert read(name, "Hm.</think>a</think>") == thought("Hm.", "a</think>")


@pytest.mark.parametrize("name", ["qwen3-thinking", "qwen3.5", "ornith", "nemotron-3-nano"])
def test_a_call_ends_thinking_that_is_not_closed(name):
    call = THINKERS[name]
    assert read(name, f"Hm.\n{call}") == thought("Hm.", "", PARIS)


@pytest.mark.parametrize("name", ["qwen3-thinking", "qwen3.5", "nemotron-3.5-nano"])
def test_without_thinking_an_answer_is_content(name):
    assert read(name, "Hello.", think=False) == content("Hello.")
    assert read(name, "Hello.", prefill="content") == content("Hello.")
    assert read("qwen3-vl-thinking", "Hm.</think>Hello.", think=False) == thought("Hm.", "Hello.")


def test_thinking_must_be_asked_for():
    for name in ("deepseek3", "cogito", "laguna", "poolside-v1"):
        assert read(name, "Hm.\n</think>\nHello.", think=True, tools=()) == thought("Hm.", "Hello.")
        assert read(name, "Hello.") == content("Hello.")
    assert read("cogito", "Hello.", think=True) == content("Hello.")
    assert read("deepseek3", "Hello.", think=True, prefill="content") == content("Hello.")


def test_thinking_may_be_looked_for():
    for name, think in (("lfm2-thinking", True), ("glm-ocr", None), ("glm-4.7", False)):
        assert read(name, " <think>\nHm.</think>\nHello.", think=think) == thought("Hm.", "Hello.")
        assert read(name, " Hello.", think=think) == content(" Hello.")
        assert read(name, " <thin", think=think) == content(" <thin")


def test_thinking_of_laguna_may_begin_again_and_is_dropped_when_off():
    text = "A<think>Hm.</think>B</think>C"
    assert read("laguna", f"So.</think>{text}", think=True) == thought("So.Hm.", "ABC")
    assert read("laguna", text, think=False) == content("ABC")
    assert read("laguna", "A", think=True, last_role="assistant") == content("A")
    assert read("poolside-v1", "A", think=True, last_role="assistant", prefill="content") == thought("A")


def test_olmos_thinking_variant_has_no_calls():
    assert read("olmo3-think", f"Hm.</think>\n{OLMO}") == thought("Hm.", OLMO)


@pytest.mark.parametrize(("name", "call"), STRICT.items())
def test_broken_calls_are_errors(name, call):
    broken = call.replace("Paris", "<parameter=").replace('"name"', "name").replace("</arg_value>", "", 1)
    broken = broken.replace("</parameter>", "", 2)
    with pytest.raises(OutputError, match="the model wrote a broken tool call: "):
        read(name, f"Hm.</think>A{broken}B")


@pytest.mark.parametrize(("name", "call"), DROPPING.items())
def test_broken_calls_are_dropped(name, call):
    broken = call.replace("get_weather", "").replace("{", "{{{,,", 1).replace("(", "", 1)
    assert read(name, f"A{broken}B", think=False) == content("AB")


@pytest.mark.parametrize(("name", "call"), {**CALLS, **THINKERS}.items())
def test_a_call_that_the_answer_ends_in_is_dropped(name, call):
    half = call[: call.index("Paris") + 3]
    if "glm" in name or name in ("laguna", "poolside-v1"):
        with pytest.raises(OutputError, match="broken tool call"):
            read(name, f"</think>A {half}", think=name == "glm-4.7")
    else:
        assert read(name, f"</think>A {half}").calls == ()


def test_a_call_without_its_closing_tag_counts_where_that_is_safe():
    whole = GLM.removesuffix("</tool_call>")
    for tail in ("", "</tool_", "<"):
        assert read("glm-ocr", whole + tail) == Parsed(calls=(PARIS,))
    with pytest.raises(OutputError, match="argument 'city' is missing"):
        read("glm-ocr", "<tool_call>get_weather")
    with pytest.raises(OutputError, match="not closed"):
        read("glm-ocr", "<tool_call>unknown")
    assert read("gemma4", GEMMA4.removesuffix("<tool_call|>")) == Parsed(calls=(PARIS,))
    assert read("gemma4", GEMMA4.removesuffix("}<tool_call|>")) == Parsed()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{city:<|"|>Paris<|"|>', {"city": "Paris"}),
        ('{city:<|"|>Paris}', {"city": "Paris"}),
        ('{city:<|"|>Paris', {"city": "Paris"}),
        ("{city:'Paris'}", {"city": "Paris"}),
        ('{city:"Paris"}', {"city": "Paris"}),
        ("{city:Paris (France)}", {"city": "Paris (France)"}),
        ('{a:[1,<|"|>x, }<|"|>],b:{c:true,d:null},e:-1.5}', {"a": [1, "x, }"], "b": {"c": True, "d": None}, "e": -1.5}),
        ("{}", {}),
    ],
)
def test_gemmas_closed_calls_are_mended(arguments, expected):
    text = f"<|tool_call>call:get_weather{arguments}<tool_call|>"
    assert read("gemma4", text) == Parsed(calls=(weather(**expected),))


def test_gemma_thinks_in_a_channel_of_its_own():
    text = "<|channel>thought\nHm.\n<channel|>\nHello.<|channel>thought\nSo.<channel|>"
    assert read("gemma4", text, think=True) == thought("Hm.So.", "Hello.")
    assert read("gemma4", text, think=False) == content("Hello.")
    assert read("gemma4-no-thinking", text, think=True) == content("Hello.")
    assert read("gemma4", "Hm.<channel|>Hello.", think=True, last_role="tool") == thought("Hm.", "Hello.")
    assert read("gemma4", f"{GEMMA4}<tool_call|><|tool_response>\nx") == Parsed("x", calls=(PARIS,))


@pytest.mark.parametrize("name", ["lfm2", "lfm2-thinking"])
def test_lfms_list_without_tags_counts_at_the_end_of_an_answer(name):
    bare = "[get_weather(city='a]', days=2), get_time()]"
    calls = (weather(city="a]", days=2), Call("get_time"))
    assert read(name, bare) == Parsed(calls=calls)
    assert read(name, f"Sure.\n{bare}\n") == Parsed("Sure.", calls=calls)
    for text in (f"{bare} is it", "[1, 2]", "[get_weather]", "[other(a=1)]", "[get_weather(city='a'", "a[get_time(1)]"):
        assert read(name, text) == content(text)
    assert read(name, bare, tools=()) == content(bare)


def test_olmos_block_is_dropped_as_a_whole():
    assert read("olmo3", '<function_calls>get_time()\nget_weather("Paris")</function_calls>') == Parsed()


def test_ministral_knows_its_tools():
    assert read("ministral", "[THINK]Hm.[/THINK]A " + MINISTRAL + "[TOOL_CALLS]get_time[CALL_ID]1[ARGS]{}") == Parsed(
        "A", "Hm.", (PARIS, Call("get_time"))
    )
    with pytest.raises(OutputError, match="tool 'x' not found"):
        read("ministral", "[TOOL_CALLS]x[ARGS]{}")
    with pytest.raises(OutputError, match="broken tool call"):
        read("ministral", "[TOOL_CALLS]get_time[ARGS]{1}")
    with pytest.raises(OutputError, match="broken tool call"):
        read("ministral", "[TOOL_CALLS]get_time[ARGS]no")


def test_cohere_writes_blocks():
    text = f"Hm.\n<|END_THINKING|>{COHERE}<|START_TEXT|>Hello.<|END_TEXT|><|END_OF_TURN_TOKEN|>"
    assert read("cohere", text) == thought("Hm.", "Hello.", PARIS)
    assert read("cohere", "<|START_RESPONSE|>Hello.<|END_RESPONSE|>", think=False) == content("Hello.")
    assert read("cohere", "Hello.<|END_TEXT|>", prefill="content") == content("Hello.")
    assert read("cohere", COHERE.removesuffix("]<|END_ACTION|>"), think=False) == Parsed(calls=(PARIS,))
    one_broken = COHERE.replace("[{", '[{"tool_name": "f", "parameters": 1}{"tool_name": nothing}{')
    assert read("cohere", one_broken, think=False) == Parsed(calls=(PARIS,))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"name": "get_weather", "arguments": {"city": "P"}}', weather(city="P")),
        ('get_weather\n{"city": "P"}', weather(city="P")),
        ("get_time", Call("get_time")),
        ("get_weather<arg_key>city</arg_key><arg_value>{x}</arg_value>", weather(city="{x}")),
    ],
)
def test_laguna_has_three_spellings(body, expected):
    assert read("laguna", f"<tool_call>{body}</tool_call>") == Parsed(calls=(expected,))


def test_values_have_their_declared_types():
    text = XML.replace("Paris", "2").replace("\n2\n</parameter>\n</function>", "\n\nx\n</parameter>\n</function>")
    assert read("qwen3-coder", text) == Parsed(calls=(weather(city="2", days="\nx"),))
    assert read("qwen3-coder", text, tools=()) == Parsed(calls=(weather(city="2", days="\nx"),))


def test_a_name_is_needed():
    for name, text in (
        ("qwen3", '<tool_call>{"name": "", "arguments": {}}</tool_call>'),
        ("qwen3", "<tool_call></tool_call>"),
        ("qwen3-coder", "<tool_call><function=></function></tool_call>"),
        ("glm-ocr", "<tool_call> <arg_key>a</arg_key><arg_value>b</arg_value></tool_call>"),
    ):
        with pytest.raises(OutputError, match="broken tool call"):
            read(name, text)


def test_endless_calls_are_stopped():
    for size in (4096, 2 * MAX_CALL):
        parser = make_parser("qwen3")
        with pytest.raises(OutputError, match=f"of more than {MAX_CALL} characters"):
            feed(parser, *cut_up("<tool_call>" + "x" * (MAX_CALL + 1) + "</tool_call>", size))
    assert feed(make_parser("qwen3"), *cut_up("<tool_call>" + "x" * MAX_CALL, 4096)) == Parsed()


def test_an_error_quotes_the_call_in_one_short_line():
    with pytest.raises(OutputError) as caught:
        read("qwen3", "<tool_call>" + "x\n" * 5000 + "</tool_call>")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
