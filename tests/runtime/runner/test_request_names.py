"""What a request is called reaches the runner, so that the runner's log can say it."""

import asyncio
import logging
from types import SimpleNamespace

import pytest

from gristmill.runtime.params import Sampling
from gristmill.runtime.request_id import REQUEST_ID
from gristmill.runtime.runner.client import Runner
from gristmill.runtime.runner.launch import Launched
from gristmill.runtime.runner.messages import Embed, Failed, Submit
from gristmill.runtime.runner.process import RunnerProcess


class Sent:
    """A link without a process: keeps what would be sent."""

    is_closing = False

    def __init__(self):
        self.messages = []

    def listen(self, on_message, on_end):
        pass

    def send(self, message):
        self.messages.append(message)


@pytest.mark.parametrize("name", ["req_1", ""])
async def test_the_present_request_is_named_in_messages(name):
    sent = Sent()
    runner = Runner(Launched(SimpleNamespace(returncode=None), sent))
    token = REQUEST_ID.set(name)
    answers = runner.submit("x", Sampling())
    REQUEST_ID.reset(token)
    asking = [asyncio.create_task(anext(answers))]
    REQUEST_ID.set(name)
    asking.append(asyncio.create_task(runner.embed(["x"])))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    submit, embed = sent.messages
    assert (type(submit), submit.name) == (Submit, name)
    assert (type(embed), embed.name) == (Embed, name)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


@pytest.mark.parametrize(("name", "shown"), [("req_1", "req_1"), ("", "7")])
def test_a_prompt_that_cannot_be_prepared_is_logged_by_name(name, shown, caplog):
    process = RunnerProcess(SimpleNamespace(send=(answers := []).append))
    process.engine = SimpleNamespace(submit=lambda *_, **__: 1 / 0)
    with caplog.at_level(logging.ERROR):
        process._handle(Submit(id=7, prompt="a secret", sampling=Sampling(), name=name))
    assert answers == [Failed(id=7, error="the prompt could not be tokenized")]
    assert f"request {shown} could not be prepared" in caplog.text
    assert "secret" not in caplog.text
