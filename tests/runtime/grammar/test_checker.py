"""The checker's process: what takes too long or too much is one refusal, and nothing else notices."""

import asyncio
import subprocess
import sys

import pytest
from support.grammars import schema_grammar

from gristmill.runtime.errors import GristmillError, InvalidRequest
from gristmill.runtime.grammar import checker as checker_module
from gristmill.runtime.grammar.checker import GrammarChecker
from gristmill.runtime.params import Grammar

# Compiling these takes minutes, and gigabytes.
SLOW = {"type": "string", "allOf": [{"pattern": f"^(.*a.{{{i}}})*$"} for i in range(2, 40)]}
LARGE = {"type": "integer", "multipleOf": 999983}
FINE = schema_grammar({"type": "integer"})


@pytest.fixture
async def checker():
    checker = GrammarChecker(timeout_s=20.0)
    yield checker
    await checker.close()


async def test_a_reason_or_nothing(checker):
    await checker.check(FINE)
    with pytest.raises(InvalidRequest, match=r'^keyword "not" is not supported$'):
        await checker.check(schema_grammar({"not": {}}))
    await checker.check(Grammar("json"))


async def test_what_takes_too_long_is_stopped_and_the_next_is_checked():
    checker = GrammarChecker(timeout_s=0.5)
    try:
        with pytest.raises(InvalidRequest, match=r"^too complex: compiling takes more than 0\.5 s$"):
            await checker.check(schema_grammar(SLOW))
        await checker.check(FINE)
    finally:
        await checker.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not limit address space")
async def test_what_takes_too_much_memory_is_stopped_and_the_next_is_checked():
    checker = GrammarChecker(timeout_s=60.0, memory_bytes=256 << 20)
    try:
        with pytest.raises(InvalidRequest, match="too complex"):
            await checker.check(schema_grammar(LARGE))
        await checker.check(FINE)
    finally:
        await checker.close()


async def test_many_at_once_get_their_own_answers(checker):
    grammars = [schema_grammar({f"not{i}": 1} if i % 2 else {"not": {}, "const": i}) for i in range(20)]
    found = await asyncio.gather(*map(checker.check, grammars), return_exceptions=True)
    assert [isinstance(answer, InvalidRequest) for answer in found] == [i % 2 == 0 for i in range(20)]


async def test_a_good_grammar_is_remembered_and_their_number_is_bounded(checker, monkeypatch):
    monkeypatch.setattr(checker_module, "MAX_REMEMBERED", 3)
    for i in range(9):
        await checker.check(schema_grammar({"const": i}))
    assert len(checker._good) == 3
    await checker.close()
    await checker.check(schema_grammar({"const": 8}))  # without a process
    with pytest.raises(GristmillError, match="grammar checker is closed"):
        await checker.check(schema_grammar({"const": 0}))


def test_neither_side_imports_anything_heavy():
    for module, heavy in (("checker", {"torch", "numpy", "llguidance"}), ("worker", {"torch", "numpy", "aiohttp"})):
        code = f"import sys, gristmill.runtime.grammar.{module}\nprint(sorted({heavy!r} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
