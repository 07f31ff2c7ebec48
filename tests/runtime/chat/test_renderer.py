"""The renderer's process: what it survives, and that it goes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import msgspec
import pytest

from gristmill.runtime.chat import Renderer
from gristmill.runtime.chat.renderer import WORKER
from gristmill.runtime.chat.wire import Job, encode_frame
from gristmill.runtime.errors import TemplateError

HELLO = "Hello {{ name }}"
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
GROWING = "{% set ns = namespace(x='xxxxxxxx') %}{% for a in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"


@pytest.fixture
async def renderer():
    renderer = Renderer(timeout_s=20.0)
    yield renderer
    await renderer.close()


@pytest.fixture
async def hasty():
    """For templates that do run into the time limit."""
    renderer = Renderer(timeout_s=0.5)
    yield renderer
    await renderer.close()


async def test_renders_and_keeps_its_worker(renderer):
    await renderer.prewarm()
    worker = renderer._worker.process
    assert await renderer.render(HELLO, {"name": "Jürgen 🙂"}) == "Hello Jürgen 🙂"
    assert await renderer.render(HELLO, {"name": "b"}) == "Hello b"
    assert renderer._worker.process is worker


async def test_a_templates_error_arrives_and_costs_nothing(renderer):
    await renderer.prewarm()
    worker = renderer._worker.process
    with pytest.raises(TemplateError, match=r"^template error: only users here$"):
        await renderer.render("{{ raise_exception('only users here') }}", {})
    assert await renderer.render(HELLO, {"name": "a"}) == "Hello a"
    assert renderer._worker.process is worker


async def test_a_template_that_runs_too_long_is_stopped_and_the_next_works(hasty):
    with pytest.raises(TemplateError, match=r"^template ran longer than 0\.5 s$"):
        await hasty.render(ENDLESS, {})
    assert await hasty.render(HELLO, {"name": "a"}) == "Hello a"


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not limit address space")
@pytest.mark.parametrize(
    "bomb",
    [
        GROWING,
        "{{ ('x' * 1000000).replace('', 'y' * 1000000) }}",
        "{{ ('y' * 1000000).join('x' * 1000000) }}",
        "{% set ns = namespace(x=[1]) %}{% for a in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    ],
)
async def test_a_template_that_eats_memory_is_stopped_and_the_next_works(bomb):
    renderer = Renderer(timeout_s=20.0, memory_bytes=256 << 20)
    try:
        with pytest.raises(TemplateError, match="memory"):
            await renderer.render(bomb, {})
        assert await renderer.render(HELLO, {"name": "a"}) == "Hello a"
    finally:
        await renderer.close()


async def test_a_worker_that_dies_is_replaced(renderer):
    await renderer.prewarm()
    first = renderer._worker.process
    first.kill()
    with pytest.raises(TemplateError, match="ended its worker process"):
        await renderer.render(HELLO, {"name": "a"})
    assert await renderer.render(HELLO, {"name": "b"}) == "Hello b"
    assert first.returncode is not None


async def test_a_worker_that_died_between_renders_is_not_noticed(renderer):
    await renderer.prewarm()
    renderer._worker.process.kill()
    await renderer._worker.process.wait()
    assert await renderer.render(HELLO, {"name": "a"}) == "Hello a"


async def test_many_at_once_get_their_own_answers(renderer):
    sources = [f"{i}: {{{{ name }}}}" for i in range(40)]  # more than are kept compiled
    texts = await asyncio.gather(*(renderer.render(s, {"name": i}) for i, s in enumerate(sources * 3)))
    assert texts == [f"{i % 40}: {i}" for i in range(120)]


async def test_failures_of_one_do_not_show_in_the_others(hasty):
    jobs = [hasty.render(HELLO, {"name": i}) for i in range(4)]
    jobs.insert(2, hasty.render(ENDLESS, {}))
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert isinstance(results.pop(2), TemplateError)
    assert results == [f"Hello {i}" for i in range(4)]


async def test_a_cancelled_render_does_not_mix_up_answers(renderer):
    await renderer.prewarm()
    task = asyncio.create_task(renderer.render(ENDLESS, {}))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await renderer.render(HELLO, {"name": "a"}) == "Hello a"


async def test_a_long_conversation_goes_through(renderer):
    content = "ü" * (1 << 20)
    assert await renderer.render("{{ content }}", {"content": content}) == content


async def test_data_that_is_not_json_is_refused(renderer):
    for value in (object(), "\ud800"):
        with pytest.raises(TemplateError, match="cannot be encoded"):
            await renderer.render(HELLO, {"name": value})


async def test_close_ends_the_worker_and_is_final():
    renderer = Renderer()
    await renderer.prewarm()
    worker = renderer._worker.process
    await renderer.close()
    assert worker.returncode is not None
    await renderer.close()
    with pytest.raises(TemplateError, match="closed"):
        await renderer.render(HELLO, {})


def start_worker() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", WORKER, str(1 << 30)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_the_worker_ends_with_its_input():
    with start_worker() as worker:
        worker.stdin.close()
        assert worker.wait(30) == 0


@pytest.mark.skipif(os.name != "posix", reason="needs interval timers")
def test_a_busy_worker_without_a_parent_ends_by_itself():
    with start_worker() as worker:
        worker.stdin.write(encode_frame(Job(source=ENDLESS, data=msgspec.Raw(b"{}"), timeout_s=0.0)))
        worker.stdin.close()
        assert worker.wait(30) != 0


def test_the_worker_imports_nothing_heavy():
    code = (
        "import sys, gristmill.runtime.chat.worker\n"
        "print(sorted({'torch', 'numpy', 'aiohttp', 'asyncio', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
